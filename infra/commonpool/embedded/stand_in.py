"""What stands in for simulated machines behind the service proxy, and at which ports of this machine.

A machine that has not joined is simulated, and nothing answers at its address. So that a service whose backends stand there
can be called all the same, a process of the embedded pool answers in its place, and says so in every answer. Pods are played
too, as long as no node of their flavor has joined on which they could really run. Nothing is played that asks for a
certificate of its own, and nothing of another pool.
"""

import hashlib
import json
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from commonpool.embedded.configuration import Layout

if TYPE_CHECKING:  # what models an estate takes a quarter of a second to import; whoever runs a pool does without
    from commonpool.model import Estate, SharedService
    from commonpool.model.backend import Backend

COMPONENT = "stand-ins"
MODULE = "commonpool.embedded.stand_in_server"
DATABASE_PORT = 5432
_FIRST_PORT, _PORTS = 20_000, 10_000
HEADER = "x-commonpool-stand-in"
ENVIRONMENT = {"GRPC_ENABLE_FORK_SUPPORT": "0"}  # it starts a database beside its gRPC servers
FOLDER = "commonpool-stand-in-"  # how a database's folder is called


@dataclass(frozen=True)
class Role:
    """What is played at one place: `checks` are status and text by path of HTTP, `receive` bytes of TCP in hexadecimal."""

    protocol: str  # HTTP, GRPC, TCP, or DATABASE for PostgreSQL where that is installed
    of: str
    services: tuple[str, ...] = ()
    checks: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    receive: str = ""
    items: tuple[str, ...] = ()  # of the datasets that are read by it, whose names answers of HTTP hold
    address: str = ""
    port: int = 0

    @property
    def says(self) -> str:
        """The sentence that stands in every answer."""
        return f"a stand-in on this machine for {self.of}, which is only simulated; nothing of {self.about} is real"

    @property
    def about(self) -> str:
        """The services, in words."""
        return " and ".join(self.services)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """As `dataclasses.asdict` gave them, perhaps before there were items."""
        checks = {path: (status, text) for path, (status, text) in values["checks"].items()}
        items = tuple(values.get("items", ()))
        return cls(**{**values, "services": tuple(values["services"]), "checks": checks, "items": items})


def roles(estate: "Estate") -> dict[str, Role]:
    """What is to be played, by the keys of `commonpool:standIns`. Pure."""
    found: dict[str, Role] = {}
    if estate.pool.spec.network.proxy is None:
        return found
    for service in estate.services:
        for backend in service.spec.backends if service.spec.endpoint else ():
            for key, of in _places(estate, service, backend):
                found[key] = _with(found.get(key), _role(estate, service, key, of))
    return found


def _places(estate: "Estate", service: "SharedService", backend: "Backend") -> Iterable[tuple[str, str]]:
    from commonpool.components.backend import pods_key

    if backend.tls or backend.peer:
        return
    if backend.pods and not _real_pods(estate, service):
        yield pods_key(service, backend), f"the pods of {service.name}"
    for name in backend.machines:
        machine = estate.machine(name)
        if machine is not None and not machine.facts.joined:
            yield f"{name}:{backend.port}", f"the machine {name}"


def _real_pods(estate: "Estate", service: "SharedService") -> bool:
    """Whether a node has joined, or a test host joins, on which its pods may run."""
    flavors = {item.flavor for item in service.spec.namespace.resources}
    real = (one.facts for one in estate.machines if one.facts.role == "node" and (one.facts.joined or one.facts.trial))
    return any(not flavors or one.flavor in flavors for one in real)


def _role(estate: "Estate", service: "SharedService", key: str, of: str) -> Role:
    spec = service.spec
    protocol = spec.endpoint.protocol if spec.endpoint else "HTTP"
    if protocol == "HTTP":
        status = spec.health.statuses[0] if spec.health.statuses else 200
        checks = {spec.health.path or "/": (status, spec.health.body or "healthy")}
        items = [item.name for one in estate.datasets if one.spec.service == service.name for item in one.spec.items]
        return Role("HTTP", of, (service.name,), checks, items=tuple(items))
    if protocol == "GRPC":
        return Role("GRPC", of, (service.name,))
    kind = "DATABASE" if key.endswith(f":{DATABASE_PORT}") and not spec.health.send else "TCP"
    return Role(kind, of, (service.name,), receive=spec.health.receive or "")


def _with(before: Role | None, role: Role) -> Role:
    """One place that serves several services answers the checks of all of them."""
    if before is None:
        return role
    names = tuple(dict.fromkeys((*before.services, *role.services)))
    items = tuple(dict.fromkeys((*before.items, *role.items)))
    checks = {**before.checks, **role.checks}
    return Role(before.protocol, before.of, names, checks, before.receive or role.receive, items)


@dataclass(frozen=True)
class Stage:
    """Where one pool notes what is played, for the process that plays it and for whoever tells people."""

    layout: Layout

    @property
    def file(self) -> Path:
        """The roles with their addresses, as JSON; absent when nothing is played."""
        return self.layout.root / "stand-ins.json"

    @property
    def database(self) -> Path:
        """Names the folder of the database that is played, which may have to lie elsewhere."""
        return self.layout.root / "stand-in-database"

    @property
    def address(self) -> str:
        """A loopback address of this pool's own."""
        digest = hashlib.sha256(str(self.layout.root).encode()).digest()
        return f"127.{64 + digest[0] % 128}.{digest[1]}.3"

    def played(self) -> dict[str, Role]:
        """What is played now."""
        try:
            noted = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {key: Role.from_json(values) for key, values in noted.items()}

    def placed(self, wanted: Mapping[str, Role]) -> dict[str, Role]:
        """The roles at ports: those of before where they have some, else free ones. Changes nothing."""
        before = {key: role.port for key, role in self.played().items()}
        taken = set(before.values())
        found = {}
        for key in sorted(wanted):
            port = before.get(key) or self._free(key, taken)
            taken.add(port)
            found[key] = Role(**{**vars(wanted[key]), "address": self.address, "port": port})
        return found

    def _free(self, key: str, taken: set[int]) -> int:
        first = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4])
        for offset in range(_PORTS):
            port = _FIRST_PORT + (first + offset) % _PORTS
            if port not in taken and _bindable(self.address, port):
                return port
        raise OSError(f"no port of {self.address} is free")

    def note(self, roles: Mapping[str, Role]) -> None:
        """Let the process play these and nothing else."""
        if roles == self.played():
            return
        if not roles:
            self.file.unlink(missing_ok=True)
            return
        scratch = self.file.with_suffix(".new")
        scratch.write_text(json.dumps({key: asdict(role) for key, role in roles.items()}), encoding="utf-8")
        scratch.replace(self.file)

    def forget(self) -> None:
        """Delete what lies outside of the pool's folder; the process must have ended."""
        try:
            folder = Path(self.database.read_text(encoding="utf-8"))
        except OSError:
            return
        if folder.name.startswith(FOLDER):
            shutil.rmtree(folder, ignore_errors=True)
        self.database.unlink(missing_ok=True)


def _bindable(address: str, port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind((address, port))
        except OSError:
            return False
    return True


def answers(role: Role) -> bool:
    """Whether somebody listens at its place."""
    with socket.socket() as one:
        one.settimeout(1.0)
        return one.connect_ex((role.address, role.port)) == 0


def command(layout: Layout, python: str) -> list[str]:
    """The command line of the process."""
    return [python, "-m", MODULE, str(layout.root)]
