"""How an embedded pool is: its components, what its proxy serves, and what is wrong with them. Looking changes nothing."""

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from commonpool.embedded import binaries, log, proxy, stand_in
from commonpool.embedded.configuration import Layout
from commonpool.embedded.process import COMPONENTS
from commonpool.envoy import admin

AGAIN_AND_AGAIN = 2  # ends soon after a start: one can be anybody's doing
PROVEN_SECONDS = 10.0  # what ended again and again and has run for so long stays up


@dataclass(frozen=True)
class ComponentStatus:
    """One component: `state` is running, starting, restarting or stopped; memory in bytes of resident set.

    `last_words` are those of one that does not stay up.
    """

    name: str
    pid: int
    state: str
    restarts: int
    rss_bytes: int
    last_words: str = ""


@dataclass(frozen=True)
class ProxyStatus:
    """What Envoy serves: at which address, which declared ports and where, and what it was told and refused."""

    address: str
    ports: dict[int, int]
    rejections: tuple[proxy.Rejection, ...]
    silent: bool = False  # it runs, and does not answer


@dataclass(frozen=True)
class EmbeddedStatus:
    """What there is to know about an embedded pool."""

    name: str
    running: bool
    ready: bool
    url: str
    version: str
    data: Path
    kubeconfig: Path
    certificates_expire: datetime | None
    components: tuple[ComponentStatus, ...]
    proxy: ProxyStatus
    outdated: tuple[str, ...] = ()  # what runs from programs of another version; the next start takes this one's

    @property
    def troubles(self) -> list[tuple[str, str]]:
        """What is wrong with its components while it runs, and the command that mends it or says more."""
        logs = f"commonpool embedded logs --pool {self.name}"
        found = [
            (f"{part.name} does not stay up: {part.last_words}", f"{logs} {part.name}")
            for part in self.components
            if part.last_words
        ]
        if self.running and not self.ready and not found:
            words = "the API server does not answer, as after a start, or because it or its store (etcd) hangs"
            found.append((words, f"where it lasts for longer than a minute, commonpool embedded start {self.name}"))
        again = f"commonpool embedded stop {self.name} && commonpool embedded start {self.name}"
        if self.proxy.silent:
            found.append(("Envoy runs and does not answer", f"where it lasts for longer than a minute, {again}"))
        if self.outdated:
            found.append((f"{', '.join(self.outdated)} of another version of Commonpool still runs", again))
        return found


def component_statuses(layout: Layout, processes: list[psutil.Process], *, supervised: bool) -> list[ComponentStatus]:
    """Each component that this pool has, as the supervisor noted it, as far as that is still so."""
    noted, by_pid = _noted(layout), {process.pid: process for process in processes}
    return [_component(layout, name, noted.get(name, {}), by_pid, supervised=supervised) for name in _names(layout)]


def proxy_status(place: proxy.Place, *, running: bool) -> ProxyStatus:
    """What Envoy serves and refused."""
    silent = running and admin.silent(place.admin)
    served = admin.serving_ports(place.admin) if running and not silent else frozenset()
    ports = {declared: port for declared, port in place.ports().items() if port in served}
    return ProxyStatus(place.listeners, ports, place.rejections() if running else (), silent)


def outdated(place: proxy.Place, supervisor: psutil.Process) -> tuple[str, ...]:
    """What runs from programs that are not this version's: their folders are named by what is in them, wherever they lie."""
    links = {place.program(name): program.parent.name for name, program in binaries.proxy_programs().items()}
    found = [link.name for link, folder in links.items() if link.exists() and link.resolve().parent.name != folder]
    with contextlib.suppress(psutil.Error):
        if Path(supervisor.cmdline()[-1]).name != binaries.folder_of(binaries.KUBERNETES).name:
            found.insert(0, "Kubernetes")
    return tuple(found)


def _names(layout: Layout) -> tuple[str, ...]:
    wanted = {stand_in.COMPONENT: stand_in.Stage(layout).file, proxy.EXCHANGE: proxy.Place(layout).exchange_wanted}
    return (*COMPONENTS, *(name for name, marker in wanted.items() if marker.exists()))


def _noted(layout: Layout) -> dict[str, Any]:
    try:
        told = json.loads((layout.root / "running.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return dict(told.get("components", {}))


def _component(
    layout: Layout, name: str, noted: dict[str, Any], processes: Mapping[int, psutil.Process], *, supervised: bool
) -> ComponentStatus:
    """A pid of old may be nobody's, or somebody else's."""
    process = processes.get(int(noted.get("pid", 0)))
    restarts = int(noted.get("restarts", 0))
    words = log.last_words(layout, name) if supervised and _fails(noted, process) else ""
    with contextlib.suppress(psutil.Error):
        if process is not None:
            return ComponentStatus(name, process.pid, "running", restarts, process.memory_info().rss, words)
    waiting = "restarting" if restarts or noted.get("pid") else "starting"
    return ComponentStatus(name, 0, waiting if noted and supervised else "stopped", restarts, 0, words)


def _fails(noted: Mapping[str, Any], process: psutil.Process | None) -> bool:
    """Whether a component ends soon after each start; between two ends it may look well for a moment."""
    if int(noted.get("failures", 0)) < AGAIN_AND_AGAIN:
        return False
    with contextlib.suppress(psutil.Error):
        return process is None or time.time() - process.create_time() < PROVEN_SECONDS
    return True
