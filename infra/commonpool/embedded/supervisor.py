"""The process that keeps the components of one embedded pool alive.

Run as `python -m commonpool.embedded FOLDER BINARIES`. It starts the components in order, restarts one that dies
with growing pauses, renews certificates, and stops everything on SIGTERM, in reverse. If it is itself killed, the
components go with it (parent-death signal), and the data stays. The service proxy's two start as soon as their programs
stand in the pool's folder: whoever started the pool puts them there when the API server knows their kinds. What stands in
for simulated machines runs while there is something to play.
"""

import ctypes
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from commonpool.embedded import loopback, proxy, stand_in
from commonpool.embedded.binaries import used
from commonpool.embedded.configuration import COMPONENTS, Layout, Ports, Settings, arguments
from commonpool.embedded.preparation import prepare
from commonpool.folder import cache_folder

LONGEST_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 60.0  # a component that ran this long starts over with the shortest pause
STOP_SECONDS = 15.0
# Between two questions whether the API server is ready: each is a handshake, while it has most to do.
READY_PAUSE_SECONDS = 0.15
LARGEST_LOG = 20 << 20  # bytes; what a log had before stands in one older file
RENEWAL_CHECK_SECONDS = 6 * 3600.0
CLOCK_SET_SECONDS = 60.0  # by which the clock was set, or the machine slept: certificates may have ended meanwhile
RENEWAL_MODULE = "commonpool.embedded.renewal"
# What does not ask the API server; that one retries until etcd answers.
FIRST = ("etcd", "kube-apiserver", stand_in.COMPONENT)
# Half of what the API server does to list a large pool is its search for garbage. Half as often, it takes a third more memory.
ENVIRONMENTS = {"kube-apiserver": {"GOGC": os.environ.get("GOGC", "200")}}
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
_PR_SET_PDEATHSIG = 1


@dataclass
class Component:
    """One running (or restarting) program."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    longest_pause: float = LONGEST_PAUSE_SECONDS
    needs: Path | None = None  # what must be there, where it is not the program
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restarts: int = 0
    failures: int = 0  # ends in a row, each soon after its start
    pause: float = 0.5
    due: float = field(default=0.0)

    def start(self) -> None:
        """Start it with its log as output."""
        self.cut_log()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
                preexec_fn=_die_with_parent,
            )
        self.started = time.monotonic()

    @property
    def may_start(self) -> bool:
        """Whether what it needs is there and its pause is over."""
        return time.monotonic() >= self.due and (self.needs or Path(self.command[0])).exists()

    def cut_log(self) -> None:
        """Keep one older log; the component goes on writing to the same file, at its new end."""
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def died(self) -> bool:
        """Whether it ended; decides when it may start again."""
        if self.process is None or self.process.poll() is None:
            return False
        if time.monotonic() - self.started > STABLE_SECONDS:
            self.pause, self.failures = 0.5, 0
        self.process = None
        self.restarts += 1
        self.failures += 1
        self.due = time.monotonic() + self.pause
        self.pause = min(self.pause * 2, self.longest_pause)
        return True

    def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def _direct() -> dict[str, str]:
    """Machines are reached without the proxy that stands between this network and others: for logs and shells of pods."""
    named = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    return {"NO_PROXY": ",".join(filter(None, (named, *PRIVATE_NETWORKS)))}


def _die_with_parent() -> None:
    # Without this a killed supervisor would leave a control plane behind that nobody watches.
    # Killed, not asked: without etcd an API server takes a minute to end in good order, and all of them survive a kill.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class Clocks:
    """Both clocks at one moment: the one that only counts stands still while the machine sleeps, the other one may be set."""

    counted: float = field(default_factory=time.monotonic)
    shown: float = field(default_factory=time.time)

    def due(self) -> bool:
        """Whether certificates are to be looked at: it is long ago, or the day is another one than it seems."""
        counted, shown = time.monotonic() - self.counted, time.time() - self.shown
        return counted > RENEWAL_CHECK_SECONDS or abs(shown - counted) > CLOCK_SET_SECONDS


class Supervisor:
    """All components of one pool."""

    def __init__(self, root: Path, binaries: Path) -> None:
        """Nothing is started before `run`."""
        self.layout = Layout(root)
        self.binaries = binaries
        self.stopping = False
        self.renewal: subprocess.Popen[bytes] | None = None
        state = json.loads((root / "pool.json").read_text(encoding="utf-8"))
        self.ports = Ports(**state["ports"])
        self.settings = Settings.from_json(state["settings"])
        self.components = [self._component(name) for name in COMPONENTS]
        self.components += [self._proxy_component(name) for name in proxy.COMPONENTS]
        self.components += [self._stand_ins(), self._exchange()]

    def _component(self, name: str) -> Component:
        words = arguments(name, self.layout, self.ports, self.settings)
        own = self.binaries / name
        command = [str(own), *words[1:]] if own.exists() else [str(self.binaries / "kubernetes"), *words]
        environment = ENVIRONMENTS.get(name, {}) | _direct()
        return Component(name, command, self.layout.logs / f"{name}.log", environment)

    def _proxy_component(self, name: str) -> Component:
        place = proxy.Place(self.layout)
        command = [str(place.program(name)), *proxy.arguments(name, place)]
        return Component(
            name, command, self.layout.logs / f"{name}.log", proxy.environment(place), proxy.LONGEST_PAUSE_SECONDS[name]
        )

    def _stand_ins(self) -> Component:
        log, noted = self.layout.logs / f"{stand_in.COMPONENT}.log", stand_in.Stage(self.layout).file
        return Component(
            stand_in.COMPONENT, stand_in.command(self.layout, sys.executable), log, stand_in.ENVIRONMENT, needs=noted
        )

    def _exchange(self) -> Component:
        place, name = proxy.Place(self.layout), proxy.EXCHANGE
        command = [sys.executable, *proxy.arguments(name, place)]
        pause = proxy.LONGEST_PAUSE_SECONDS[name]
        return Component(name, command, self.layout.logs / f"{name}.log", {}, pause, needs=place.exchange_wanted)

    def run(self) -> None:
        """Start, watch, stop."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        first = [component for component in self.components if component.name in FIRST]
        while not self.stopping and not api_ready(self.layout, self.ports):
            if self._mend(first):
                self._report()
            time.sleep(READY_PAUSE_SECONDS)
        self._watch()
        for component in reversed(self.components):
            component.stop()
        (self.layout.root / "running.json").unlink(missing_ok=True)

    def _watch(self) -> None:
        checked = Clocks()
        while not self.stopping:
            if self._mend(self.components):
                self._report()
            for component in self.components:
                component.cut_log()
            if checked.due():
                checked = Clocks()
                self._note_use()
                self._renew()
            if self.renewal is not None:
                self.renewal.poll()  # else it stays a zombie until the next one
            time.sleep(0.2)

    def _renew(self) -> None:
        if prepare(self.layout, self.ports, self.settings):
            for component in reversed(self.components):
                component.stop()  # started again by the watch, in order
        serves = any((self.layout.pki / f"{name}-ca.crt").exists() for name in ("https", "clients"))
        if serves and (self.renewal is None or self.renewal.poll() is not None):
            self.renewal = subprocess.Popen([sys.executable, "-m", RENEWAL_MODULE, str(self.layout.root)])

    def _note_use(self) -> None:
        """Programs of a pool that runs for months are not pruned: it may have to start them again."""
        for folder in {self.binaries, *(Path(one.command[0]).resolve().parent for one in self.components)}:
            if folder.is_relative_to(cache_folder()):
                used(folder)

    def _mend(self, components: list[Component]) -> bool:
        changed = False
        for component in components:
            changed |= component.died()
            if component.process is None and not self.stopping and component.may_start:
                component.start()
                changed = True
        return changed

    def _report(self) -> None:
        """Who runs, for `status`; written whole or not at all."""
        running = {
            component.name: {
                "pid": component.process.pid if component.process else 0,
                "restarts": component.restarts,
                "failures": component.failures,
            }
            for component in self.components
        }
        content = json.dumps({"supervisor": os.getpid(), "components": running})
        scratch = self.layout.root / "running.json.new"
        scratch.write_text(content, encoding="utf-8")
        scratch.replace(self.layout.root / "running.json")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def api_ready(layout: Layout, ports: Ports) -> bool:
    """Whether the API server says that it is ready; its certificate must be the pool's own."""
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    try:
        with loopback.ask(f"https://127.0.0.1:{ports.api}/readyz", context, 2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False
