"""What must hold of the places where a service runs: that they exist, are the pool's to use, and can be reached."""

from commonpool.model.address import RESERVED_PORTS, objection
from commonpool.model.backend import Backend
from commonpool.model.document import Location
from commonpool.model.problem import shown
from commonpool.model.service import SharedService
from commonpool.model.subject import Found, Subject, nearest
from commonpool.model.traffic import WITH_REQUESTS

_NOT_BACKENDS = {"node": "is a node of the pool", "retire": "is to be retired"}


def check_backends(subject: Subject, service: SharedService) -> Found:
    """Every problem of a service's backends."""
    spec = service.spec
    names = [backend.name for backend in spec.backends]
    for index, backend in enumerate(spec.backends):
        where: Location = ("spec", "backends", index)
        if backend.name in names[:index]:
            yield subject.problem(
                (*where, "name"), f"backend {backend.name!r} is declared twice", "name-duplicate", "choose another name"
            )
        if bool(backend.machines) + backend.pods + (backend.peer is not None) != 1:
            yield subject.problem(
                where,
                f"backend {backend.name!r} needs exactly one of machines, pods and peer",
                "backend-source",
                "keep one of them",
            )
            continue
        yield from _machines(subject, service, where, backend)
        yield from _pods(subject, service, where, backend)
        yield from _peer(subject, service, where, backend)
        yield from _tls(subject, service, where, backend)
    yield from _order(subject, service)


def _machines(subject: Subject, service: SharedService, where: Location, backend: Backend) -> Found:
    if backend.machines and backend.port is None:
        yield subject.problem(
            where,
            f"backend {backend.name!r} does not say at which port its machines answer",
            "backend-port",
            "add port:",
        )
    if backend.machines and backend.port in RESERVED_PORTS:
        yield subject.problem(
            (*where, "port"),
            f"port {backend.port} is one {RESERVED_PORTS[backend.port]}",
            "backend-port",
            "write the port of the service's own server",
        )
    for index, name in enumerate(backend.machines):
        place = (*where, "machines", index)
        machine = subject.estate.machine(name)
        if machine is None:
            others = subject.estate.machines
            candidates = [other.name for other in others if other.facts.role not in _NOT_BACKENDS]
            yield subject.problem(place, f"there is no machine {name!r}", "machine-unknown", nearest(name, candidates))
            continue
        if machine.facts.role in _NOT_BACKENDS:
            yield subject.problem(
                place,
                f"machine {name} {_NOT_BACKENDS[machine.facts.role]} and cannot be a backend",
                "backend-role",
                f"give it commonpool_role: backend in {shown(machine.file)}, or name another machine",
            )
        owner = machine.facts.department
        if owner is not None and owner != service.spec.offered_by:
            yield subject.problem(
                place,
                f"machine {name} belongs to {owner}, the service to {service.spec.offered_by}",
                "backend-foreign",
                f"name a machine of {service.spec.offered_by}, or let {owner} offer the service",
            )
        words = objection(machine.address, subject.estate.pool.spec.network.ranges) if machine.address else "is missing"
        if words:
            yield subject.problem(
                place,
                f"the address {shown(machine.address) or 'of machine ' + name} {words}",
                "backend-address",
                f"write ansible_host of {name} in {shown(machine.file)}, an address of the pool's machines",
            )


def _pods(subject: Subject, service: SharedService, where: Location, backend: Backend) -> Found:
    if not backend.pods:
        return
    workload = service.spec.workload
    if workload is None:
        yield subject.problem(
            (*where, "pods"), "the service has no workload, so it has no pods", "backend-pods", "add spec.workload"
        )
        return
    ports = [port.port for port in workload.ports if port.protocol == "TCP"]
    if not ports or backend.port not in (None, *ports):
        yield subject.problem(
            (*where, "port") if backend.port is not None else where,
            f"the workload has no TCP port {backend.port or ''}".rstrip(),
            "backend-port",
            f"write one of {', '.join(map(str, ports))}" if ports else "add a TCP port to the workload",
        )
    if backend.priority:
        yield subject.problem(
            (*where, "priority"),
            "pods cannot stand behind others: the proxy knows no fail-over to a Service",
            "backend-priority",
            "give the machines priority 1 and the pods 0, or divide by weight",
        )


def _peer(subject: Subject, service: SharedService, where: Location, backend: Backend) -> Found:
    if backend.peer is None:
        return
    proxy = subject.estate.pool.spec.network.proxy
    peers = [peer.name for peer in proxy.peers] if proxy else []
    if backend.peer.peer not in peers:
        yield subject.problem(
            (*where, "peer", "peer"),
            f"there is no peer {backend.peer.peer!r}",
            "peer-unknown",
            nearest(backend.peer.peer, peers),
        )
    endpoint = service.spec.endpoint
    if endpoint and endpoint.protocol not in WITH_REQUESTS:
        yield subject.problem(
            (*where, "peer"),
            f"another pool can stand behind HTTP and GRPC only, not behind {endpoint.protocol}",
            "backend-peer",
            "name machines",
        )


def _tls(subject: Subject, service: SharedService, where: Location, backend: Backend) -> Found:
    endpoint = service.spec.endpoint
    if backend.tls is None or endpoint is None:
        return
    if backend.peer or endpoint.protocol == "TLS":
        words = (
            "another pool is always reached by TLS" if backend.peer else "TLS passes through to the backend untouched"
        )
        yield subject.problem((*where, "tls"), words, "backend-tls", "take tls out")


def _order(subject: Subject, service: SharedService) -> Found:
    backends, notice = service.spec.backends, service.spec.notice
    first = [backend for backend in backends if backend.priority == 0]
    if backends and not first:
        yield subject.problem(
            ("spec", "backends"), "no backend has priority 0", "backend-priority", "give the one that serves priority 0"
        )
    elif first and not any(backend.weight for backend in first) and notice is None:
        yield subject.problem(
            ("spec", "backends"),
            "every backend has weight 0, so nothing serves",
            "backend-weight",
            "give one a weight, or add spec.notice to switch the service off",
        )
