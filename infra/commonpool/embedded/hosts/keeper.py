"""The process that makes a pool's test hosts, brings them in, and keeps them: it relays the API server to them and routes to their pods.

It speaks to them as a person would: keys pinned, then survey, then onboard, over SSH. It ends on SIGTERM, and the hosts
with it; their disks stay, so that the next start only boots them.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from commonpool.components import names
from commonpool.components.rendering import PROXY_NAMESPACE
from commonpool.embedded.configuration import POD_RANGE
from commonpool.embedded.hosts.error import HostFailed
from commonpool.embedded.hosts.host import Shape, attempt
from commonpool.embedded.hosts.lan import Lan
from commonpool.embedded.hosts.relay import Relay
from commonpool.embedded.hosts.trial import NETWORK, Trial, played
from commonpool.embedded.node_archive import NodeArchive, node_archive
from commonpool.embedded.pool import EmbeddedPool
from commonpool.embedded.proxy import Place
from commonpool.engine import Cluster, kubeconfig
from commonpool.folder import data_folder
from commonpool.machines import Access, survey
from commonpool.machines.host_keys import HostKey, pin, pin_file
from commonpool.machines.onboard import ControlPlane, Joined, onboard
from commonpool.machines.run import collection_folder
from commonpool.model import Machine, load_estate

API_PORT = 6443
NICE = 10  # while building; whoever sits at this machine goes first
LOOK_SECONDS = 2.0
READY_SECONDS = 60.0
ROUTE_PROTOCOL = "177"  # as the network agent's: nobody else's routes are touched


class Keeper:
    """One run of the process."""

    def __init__(self, folder: Path, pool: str, estate: Path) -> None:
        """Nothing is started before `run`."""
        self.pool = EmbeddedPool(pool)
        self.trial = Trial(self.pool.layout)
        self.estate = load_estate(estate)
        self.machines = played(self.estate)
        self.names = [machine.name for machine in self.machines]
        self.ending = threading.Event()
        if folder != self.trial.folder:
            raise HostFailed(f"{folder} is not the folder of the pool {pool}")

    def run(self) -> int:
        """Until SIGTERM; returns the exit code."""
        self._listen()
        lan: Lan | None = None
        try:
            archive = self._archive()
            lan = self._hosts()
            relay = Relay((lan.gateway, API_PORT), ("127.0.0.1", self.pool.api_port))
            relay.start()
            self._join(lan, archive)
            asyncio.run(self._keep(lan))
            return 0
        except Ended:
            return 0
        except Exception as error:
            self.trial.note("failed", str(error), self.names)
            print(f"{type(error).__name__}: {error}", flush=True)
            return 1
        finally:
            if lan is not None:
                lan.halt()

    def _listen(self) -> None:
        """End on signals."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if not self.ending.is_set():
            self.ending.set()
            raise Ended

    def _say(self, words: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)
        self.trial.note("working", words, self.names)

    def _building(self, words: str, done: float | None) -> None:
        """How far a build is: its ends go into the log, each package only to whoever waits."""
        if done in (None, 0.0, 1.0):
            self._say(words)
        else:
            self.trial.note("working", words, self.names)

    def _archive(self) -> NodeArchive:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        try:
            return node_archive(self._building)
        finally:
            os.setpriority(os.PRIO_PROCESS, 0, 0)

    def _hosts(self) -> Lan:
        """Boot them, and pin the keys that their disks hold: nobody can stand in between."""
        self._say("making the hosts")
        lan = Lan(self.trial.folder, NETWORK, apart=False, keep=True)
        try:
            lan.add({machine.name: _shape(lan, machine) for machine in self.machines})
            for machine in self.machines:
                host = lan.hosts[machine.name]
                if host.address != machine.address:
                    raise HostFailed(f"{machine.name} has {machine.address} in the inventory; write {host.address}")
                pin(pin_file(machine), [HostKey(machine.name, *host.host_key())], self.names)
        except BaseException:
            lan.halt()
            raise
        return lan

    def _join(self, lan: Lan, archive: NodeArchive) -> None:
        began = time.monotonic()
        credentials = kubeconfig.load(self.pool.kubeconfig)
        plane = ControlPlane(
            f"https://kubernetes:{API_PORT}",  # by a name that the API server's certificate has
            credentials.ca,
            archive.path,
            archive.digest,
            archive.pause_image,
            archive.dns_image,
            POD_RANGE,
            proxies=(lan.gateway,),
        )
        folder, access = data_folder() / "machines" / self.estate.pool.name, Access(lan.key)
        if self._stand_again(lan, credentials, archive):
            return
        self._say("survey")
        surveys = survey(self.machines, folder, access, lambda event: None)

        async def work() -> list[Joined]:
            async with await Cluster.connect(credentials) as cluster:
                for body in (_endpoints(lan.gateway), *proxy_place(lan.gateway)):
                    await cluster.apply(body, field_manager="commonpool-embedded", force=True)
                return await onboard(
                    cluster, self.estate.pool, surveys, plane, folder, access,
                    lambda event: self._say(f"{event.machine}: {event.step}"),
                )  # fmt: skip

        found = asyncio.run(work())
        bad = [f"{one.machine.name}: {one.step} {one.words}" for one in found if one.state in ("failed", "refused")]
        if bad:
            raise HostFailed("; ".join(bad))
        words = f"{' and '.join(self.names)} joined over SSH in {time.monotonic() - began:.0f} s"
        self._joined.write_text(_recipe(archive), encoding="utf-8")
        self._say(words)
        self.trial.note("joined", words, self.names)

    @property
    def _joined(self) -> Path:
        return self.trial.folder / "joined"

    def _stand_again(self, lan: Lan, credentials: kubeconfig.Credentials, archive: NodeArchive) -> bool:
        """Whether they were brought in before, by the same means, and have only been booted: then they come by themselves."""
        known = self._joined.exists() and self._joined.read_text(encoding="utf-8") == _recipe(archive)
        if not known or not all(host.kept for host in lan.hosts.values()):
            return False
        self._say("waiting until the nodes are ready again")

        async def stand() -> bool:
            deadline = time.monotonic() + READY_SECONDS
            async with await Cluster.connect(credentials) as cluster:
                while not all([heard(await cluster.read("v1", "Node", "", name), lan.booted) for name in self.names]):
                    if time.monotonic() > deadline:
                        return False
                    await asyncio.sleep(0.5)
            return True

        if not asyncio.run(stand()):
            return False
        words = f"{' and '.join(self.names)} were booted and are ready again"
        self._say(words)
        self.trial.note("joined", words, self.names)
        return True

    async def _keep(self, lan: Lan) -> None:
        """Boot again what went down, and lead the way to the pods for Envoy, which is on this machine, and to it for them."""
        credentials = kubeconfig.load(self.pool.kubeconfig)
        relayed: set[int] = set()
        while not self.ending.is_set():
            for host in lan.hosts.values():
                if host.process is not None and host.process.poll() is not None:
                    self._say(f"{host.name} went down; it is booted again")
                    lan.boot_again(host)
            for port in Place(self.pool.layout).ports().keys() - relayed:
                relayed.add(port)
                self._relay_proxy(lan, port)
            with contextlib.suppress(Exception):  # a pool that rests has no routes to tell
                async with await Cluster.connect(credentials, patience=LOOK_SECONDS) as cluster:
                    await route(cluster, self.names)
            await asyncio.sleep(LOOK_SECONDS)

    def _relay_proxy(self, lan: Lan, port: int) -> None:
        """Pods reach a port of the proxy at the address that its name has for them."""
        try:
            Relay((lan.gateway, port), (self.pool.proxy_address, self.pool.proxy_port(port))).start()
        except OSError as error:
            self._say(f"pods do not reach port {port} of the proxy: {error}")


class Ended(KeyboardInterrupt):
    """SIGTERM came; of the one kind that an event loop lets through wherever it is raised."""


def _recipe(archive: NodeArchive) -> str:
    """What they were brought in with: another archive or other roles, and they are brought in anew."""
    digest = hashlib.sha256(archive.digest.encode())
    for path in sorted(collection_folder().rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def heard(node: Mapping[str, Any] | None, since: datetime) -> bool:
    """Whether a node is ready and has become so, or has said so, since then: what it said before proves nothing."""
    for one in (node or {}).get("status", {}).get("conditions") or ():
        if one["type"] == "Ready":
            said = max(datetime.fromisoformat(one[word]) for word in ("lastHeartbeatTime", "lastTransitionTime"))
            return one["status"] == "True" and said >= since
    return False


async def route(cluster: Cluster, names: Sequence[str]) -> None:
    """Routes from this machine to the pods of these nodes."""
    for name in names:
        node = await cluster.read("v1", "Node", "", name)
        block = (node or {}).get("spec", {}).get("podCIDR")
        addresses = (node or {}).get("status", {}).get("addresses") or ()
        address = next((one["address"] for one in addresses if one["type"] == "InternalIP"), None)
        if block and address:
            attempt("ip", "route", "replace", block, "via", address, "proto", ROUTE_PROTOCOL)


def _shape(lan: Lan, machine: Machine) -> Shape:
    names = f"127.0.0.1 localhost\n{machine.address} {machine.name}\n{lan.gateway} kubernetes\n"
    return Shape(files={"etc/hosts": names})


def proxy_place(gateway: str) -> list[dict[str, object]]:
    """Where pods find the proxy, to which the names of services lead; one that listens on loopback has no place in a cluster."""
    labels = {"kubernetes.io/service-name": names.PROXY_SERVICE, "endpointslice.kubernetes.io/managed-by": "commonpool"}
    meta = {"name": names.PROXY_SERVICE, "namespace": PROXY_NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"clusterIP": "None"}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": labels},
            "addressType": "IPv4",
            "ports": [],
            "endpoints": [{"addresses": [gateway], "conditions": {"ready": True}}],
        },
    ]


def _endpoints(gateway: str) -> dict[str, object]:
    """Where pods find the API server; one that listens on loopback names no place itself."""
    labels = {"kubernetes.io/service-name": "kubernetes", "endpointslice.kubernetes.io/managed-by": "commonpool"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "commonpool-hosts", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [gateway], "conditions": {"ready": True}}],
    }
