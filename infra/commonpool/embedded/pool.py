"""An embedded pool by name: start, stop, look at, forget. A real control plane on this machine, for one person or CI."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.embedded import binaries, log, proxy, proxy_start, stand_in, token_keys
from commonpool.embedded.certificate import Authority, Pair
from commonpool.embedded.configuration import Layout, Ports, Settings, kubeconfig
from commonpool.embedded.error import EmbeddedError, IdentityRefused, NotRunning, StartFailed
from commonpool.embedded.hosts.trial import Trial
from commonpool.embedded.objects import bootstrap_objects
from commonpool.embedded.preparation import kept_settings, prepare, settle, write_private
from commonpool.embedded.process import SUPERVISOR, Processes, supervisor
from commonpool.embedded.status import EmbeddedStatus, component_statuses, outdated, proxy_status
from commonpool.embedded.store import stored
from commonpool.embedded.supervisor import READY_PAUSE_SECONDS, api_ready
from commonpool.envoy.bootstrap import METRICS_PORT
from commonpool.folder import data_folder

if TYPE_CHECKING:
    from commonpool.engine.cluster import Cluster

START_SECONDS = 60.0
SLOW_SECONDS = 180.0  # more, as long as no component fails: a machine that is only busy gets there
STAND_IN_SECONDS = 15.0
LEAST_FREE = 256 << 20  # bytes: what etcd and the logs of an hour take
SERVING_SECONDS = 20.0  # 1,000 routes take Envoy some 6 s after a start
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


def pool_names() -> list[str]:
    """The embedded pools that have data on this machine."""
    folder = data_folder() / "pools"
    return sorted(path.name for path in folder.iterdir() if (path / "pool.json").exists()) if folder.is_dir() else []


class EmbeddedPool:
    """One embedded pool."""

    def __init__(self, name: str = "default", data: Path | None = None) -> None:
        """`data` is where all embedded pools are kept. Raises `EmbeddedError` for an unusable name."""
        if not _NAME.fullmatch(name):
            raise EmbeddedError(f"{name!r} is no name for an embedded pool: a-z, 0-9 and '-', at most 32 characters")
        self.name = name
        self.layout = Layout((data or data_folder()) / "pools" / name)
        self.processes = Processes(self.layout)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; exists once the pool was started."""
        return self.layout.kubeconfig

    @property
    def settings(self) -> Settings:
        """What was chosen at an earlier start, else what holds by default."""
        return kept_settings(self.layout)

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON document a line."""
        return self.layout.audit_log

    @property
    def node_server(self) -> str:
        """The API server's URL for machines. Raises `NotRunning` when only this machine reaches it."""
        ports, settings = self._ports(), self.settings
        if ports is None or not settings.machine_address:
            raise NotRunning(
                f"the embedded pool {self.name} has no address that machines could reach, so none can join it",
                f"commonpool embedded start {self.name} --listen ADDRESS with one of this machine's own",
            )
        return f"https://{settings.machine_address}:{ports.api}"

    @property
    def api_port(self) -> int:
        """The API server's port on loopback. Raises `NotRunning` when the pool was never started."""
        ports = self._ports()
        if ports is None:
            raise NotRunning(f"the embedded pool {self.name} was never started")
        return ports.api

    @property
    def proxy_address(self) -> str:
        """The loopback address on which the listeners of Gateways are served."""
        return proxy.Place(self.layout).listeners

    @property
    def proxy_metrics(self) -> str:
        """Where Envoy's metrics are read, on a loopback address."""
        return f"http://{proxy.Place(self.layout).control}:{METRICS_PORT}/stats/prometheus"

    def proxy_port(self, declared: int) -> int:
        """The port there that serves a declared one: itself, unless another program held it at the start."""
        return proxy.Place(self.layout).port(declared)

    def refusals(self) -> list[str]:
        """What of its present configuration Envoy refuses, in words."""
        found = proxy.Place(self.layout).rejections()
        return [f"Envoy refused {one.kind} (the last good one serves on): {one.reason}" for one in found]

    def stand_ins(self, roles: Mapping[str, stand_in.Role]) -> dict[str, stand_in.Role]:
        """The roles with the addresses at which they are, or would be, played."""
        return stand_in.Stage(self.layout).placed(roles)

    def played(self) -> dict[str, stand_in.Role]:
        """What is played for simulated machines now."""
        return stand_in.Stage(self.layout).played()

    def play(self, roles: Mapping[str, stand_in.Role], timeout: float = STAND_IN_SECONDS) -> set[str]:
        """Play these and nothing else; returns those that do not answer after `timeout` seconds. The pool must run."""
        stage = stand_in.Stage(self.layout)
        placed = stage.placed(roles)
        stage.note(placed)
        deadline = time.monotonic() + timeout
        while silent := {key for key, role in placed.items() if not stand_in.answers(role)}:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return silent

    def start(
        self,
        observer: binaries.Observer = binaries.silent,
        settings: Settings | None = None,
        timeout: float = START_SECONDS,
    ) -> None:
        """Start it unless it runs; returns when the API server is ready. Raises `EmbeddedError`."""
        self.layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with binaries.alone(
            self.layout.root.with_suffix(".lock"), lambda: observer(f"somebody else starts {self.name}", None)
        ):
            self._start(observer, settings, timeout)

    def _start(self, observer: binaries.Observer, settings: Settings | None, timeout: float) -> None:
        marker = self.layout.root / "bootstrapped"
        place = proxy.Place(self.layout)
        if self.running() and settings is None and marker.exists() and proxy_start.stands(place) and self.ready():
            asyncio.run(self._serve(observer))
            return
        with binaries.fetching([binaries.ENVOY_GATEWAY], observer):
            built = binaries.built(binaries.KUBERNETES, observer)
        self.processes.stop()
        ports, chosen = settle(self.layout, settings)
        prepare(self.layout, ports, chosen)
        proxy_start.withdraw(place)
        observer(f"starting the embedded pool {self.name}", None)
        with (self.layout.logs / "supervisor.log").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", SUPERVISOR, str(self.layout.root), str(built)],
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            )
        self._await_ready(process, ports, timeout)
        asyncio.run(self._bootstrap(observer))
        marker.touch()

    def _await_ready(self, process: "subprocess.Popen[bytes]", ports: Ports, timeout: float) -> None:
        import commonpool.engine.cluster  # noqa: F401  # it is needed next, and takes as long to import as a client to connect

        began, patience = time.monotonic(), timeout
        while not api_ready(self.layout, ports):
            if process.poll() is not None:
                raise StartFailed(f"the supervisor ended at once:\n{log.end(self.layout, 'supervisor')}")
            if time.monotonic() > began + patience:
                if patience == timeout and not any(part.last_words for part in self.status().components):
                    patience += SLOW_SECONDS
                    continue
                words = self._what_fails()
                self.processes.stop()
                raise StartFailed(f"not ready after {patience:.0f} s: {words}")
            time.sleep(READY_PAUSE_SECONDS)

    async def _bootstrap(self, observer: binaries.Observer) -> None:
        """Apply what a fresh API server lacks; a start that was killed half-way is completed by the next one."""
        from commonpool.embedded import https

        async with await self._client() as cluster:
            for body in bootstrap_objects():
                await cluster.apply(body, field_manager=proxy_start.MANAGER)
            await proxy_start.install(proxy.Place(self.layout), cluster, observer)
            ports = self._ports()
            authority = (self.layout.pki / "ca.crt").read_text(encoding="utf-8")
            for body in token_keys.objects(ports.api, authority) if ports else ():
                await cluster.apply(body, field_manager=proxy_start.MANAGER)
            await https.renew(self.layout, cluster)
        await self._serve(observer)

    async def _serve(self, observer: binaries.Observer) -> None:
        """Wait until Envoy serves what Gateways declare; one that cannot be served must not hold up everything else."""
        async with await self._client() as cluster:
            missing = await proxy_start.await_serving(proxy.Place(self.layout), cluster, SERVING_SECONDS)
        if missing:
            ports = ", ".join(str(port) for port in sorted(missing))
            observer(f"Envoy does not serve port {ports}; `commonpool embedded status` says more", None)

    def renew(self, timeout: float = START_SECONDS) -> list[str]:
        """Renew those of the proxy's certificates that are nearly over; returns the Secrets that were written.

        Raises `NotRunning` when the API server is not ready within `timeout` seconds.
        """
        from commonpool.embedded import https

        async def work() -> list[str]:
            async with await self._client() as cluster:
                return await https.renew(self.layout, cluster)

        deadline = time.monotonic() + timeout
        while not self.ready():
            if time.monotonic() > deadline:
                raise NotRunning(f"the embedded pool {self.name} is not ready, and nothing was renewed")
            time.sleep(0.5)
        return asyncio.run(work())

    async def _client(self) -> "Cluster":
        from commonpool.engine import kubeconfig as credentials
        from commonpool.engine.cluster import Cluster

        return await Cluster.connect(credentials.load(self.kubeconfig))

    @property
    def exchange(self) -> str:
        """Where Envoy asks about calls under an agreement: `unix:` and the path of a socket."""
        return proxy.Place(self.layout).exchange

    def enable_exchange(self) -> None:
        """Let the supervisor run the exchange from now on."""
        proxy.Place(self.layout).exchange_wanted.touch()

    def stop(self, timeout: float = 60.0) -> bool:
        """Stop it in good order, and its test hosts before; False when it did not run."""
        Trial(self.layout).stop()
        return self.processes.stop(timeout)

    def reset(self) -> None:
        """Stop it and delete its data."""
        Trial(self.layout).remove()
        self.processes.stop()
        stand_in.Stage(self.layout).forget()
        shutil.rmtree(self.layout.root, ignore_errors=True)

    def stored(self, key: str) -> bytes:
        """What the store holds under a key, as it lies there; empty when nothing does. Raises `NotRunning`."""
        ports = self._ports()
        if ports is None:
            raise NotRunning(f"the embedded pool {self.name} was never started")
        return stored(self.layout, ports, key)

    def ready(self) -> bool:
        """Whether the API server answers that it is ready."""
        ports = self._ports()
        return ports is not None and api_ready(self.layout, ports)

    def running(self) -> bool:
        """Whether somebody looks after its components, ready or not."""
        return self.processes.supervisor() is not None

    def status(self) -> EmbeddedStatus:
        """Look at processes, readiness and certificates; changes nothing."""
        ports, processes, place = self._ports(), self.processes.found(), proxy.Place(self.layout)
        pair = Pair(self.layout.pki / "apiserver.crt", self.layout.pki / "apiserver.key")
        supervising = supervisor(processes)
        supervised = supervising is not None
        return EmbeddedStatus(
            name=self.name,
            running=supervised,
            ready=self.ready(),
            url=f"https://127.0.0.1:{ports.api}" if ports else "",
            version=binaries.VERSION,
            data=self.layout.root,
            kubeconfig=self.kubeconfig,
            certificates_expire=pair.expires if pair.certificate.exists() else None,
            components=tuple(component_statuses(self.layout, processes, supervised=supervised)),
            proxy=proxy_status(place, running=supervised),
            outdated=outdated(place, supervising) if supervising else (),
        )

    def logs(self, component: str, lines: int = 100, follow: bool = False) -> Iterator[str]:
        """The last lines of a component's log, then what comes when `follow` is set."""
        return log.lines(self.layout, component, lines, follow)

    def issue_kubeconfig(self, user: str, groups: tuple[str, ...], path: Path, days: int = 30) -> Path:
        """A kubeconfig with a client certificate for a user and groups. Raises `IdentityRefused` for Kubernetes' own."""
        ports = self._ports()
        if ports is None:
            raise NotRunning(f"the embedded pool {self.name} was never started")
        for identity in (user, *groups):
            if identity.startswith("system:"):
                raise IdentityRefused(f"{identity!r} is an identity of Kubernetes itself; it is not given out")
        authority = Authority(self.layout.pki, "ca")
        folder = self.layout.pki / "issued"
        folder.mkdir(mode=0o700, exist_ok=True)
        stem = re.sub(r"[^A-Za-z0-9.-]", "_", "-".join((user, *groups)))[:80]
        for stale in folder.glob(f"{stem}.*"):
            stale.unlink()
        pair = authority.client(f"issued/{stem}", user, groups, days)
        ca = authority.pair.certificate.read_bytes()
        server = f"https://127.0.0.1:{ports.api}"
        content = kubeconfig(
            server, f"commonpool-{self.name}", ca, pair.certificate.read_bytes(), pair.key.read_bytes()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, content)
        return path

    def _ports(self) -> Ports | None:
        path = self.layout.root / "pool.json"
        return Ports(**json.loads(path.read_text(encoding="utf-8"))["ports"]) if path.exists() else None

    def _what_fails(self) -> str:
        """The last words of the first component that does not stay up, else the API server's: the others wait for it."""
        waits = ("running", "starting")
        found = (part.name for part in self.status().components if part.restarts or part.state not in waits)
        component = next(found, "kube-apiserver")
        free = shutil.disk_usage(self.layout.root).free
        room = f"{free / 1e6:.0f} MB are free in {self.layout.root}; " if free < LEAST_FREE else ""
        return f"{room}{component} says\n{log.end(self.layout, component)}"
