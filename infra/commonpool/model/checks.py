"""What must hold over the whole estate; asks the rules of each kind, and adds those between manifests."""

from base64 import b64decode
from collections.abc import Iterator, Mapping

from commonpool.model.agreement_check import check_agreements
from commonpool.model.backend import Backend
from commonpool.model.dataset_check import check_catalogue
from commonpool.model.department_check import check_department
from commonpool.model.document import Location
from commonpool.model.estate import Estate
from commonpool.model.hostname_check import check_hostnames
from commonpool.model.look_alike import skeleton
from commonpool.model.pool_check import check_pool
from commonpool.model.problem import Problem, shown
from commonpool.model.request_check import check_requests
from commonpool.model.service import SharedService
from commonpool.model.service_check import check_service
from commonpool.model.subject import Found, Subject, nearest


def check(estate: Estate) -> list[Problem]:
    """Every problem of the estate as a whole."""
    problems = [*check_pool(estate)]
    for department in estate.departments:
        problems += check_department(estate, department)
    for service in estate.services:
        problems += check_service(estate, service)
    problems += [*check_catalogue(estate), *check_agreements(estate), *check_requests(estate)]
    return [
        *problems,
        *check_hostnames(estate),
        *_backends(estate),
        *_uniqueness(estate),
        *_filing(estate),
        *_parents(estate),
    ]


def _uniqueness(estate: Estate) -> Found:
    owners: dict[str, str] = {}
    for department in estate.departments:
        code = department.spec.organisation.code
        if code in owners:
            yield Subject(estate, f"department/{department.name}").problem(
                ("spec", "organisation", "code"),
                f"organisation code {shown(code)} is that of {owners[code]} too",
                "value-duplicate",
                "correct the wrong one of the two",
            )
        owners[code] = department.name
    yield from _keys(estate)
    yield from _collisions(estate)


def _backends(estate: Estate) -> Found:
    """What answers one department's calls stands behind no service of another's, with other consumers and no agreement."""
    addresses = {machine.name: machine.address or machine.name for machine in estate.machines}
    owners: dict[tuple[object, ...], SharedService] = {}
    for service in estate.services:
        for index, backend in enumerate(service.spec.backends):
            for where, place, words in _places(backend, addresses):
                owner = owners.setdefault(place, service)
                if owner.spec.offered_by != service.spec.offered_by:
                    yield Subject(estate, f"service/{service.name}").problem(
                        ("spec", "backends", index, *where),
                        f"{words} answers for service {owner.name} of {owner.spec.offered_by}",
                        "backend-taken",
                        f"name what answers for {service.spec.offered_by} itself; whose a machine is, operators say by"
                        " commonpool_department in the inventory",
                    )


def _places(backend: Backend, addresses: Mapping[str, str]) -> Iterator[tuple[Location, tuple[object, ...], str]]:
    """Where calls end: its place in the manifest, what it is known by, and what it is called."""
    if backend.peer is not None:
        peer = backend.peer
        yield ("peer",), (peer.peer, peer.department, peer.service), f"service {peer.service} of pool {peer.peer}"
    for number, name in enumerate(backend.machines if backend.port is not None else ()):
        place = (addresses.get(name, name), backend.port)
        yield ("machines", number), place, f"port {backend.port} of machine {name}"


def _keys(estate: Estate) -> Found:
    """Whoever holds a key that two departments declare signs for both of them, and agrees with himself."""
    owners: dict[bytes, str] = {}
    for department in estate.departments:
        for index, key in enumerate(department.spec.keys):
            raw = b64decode(key.public)  # the same bytes have several spellings
            owner = owners.setdefault(raw, department.name)
            if owner != department.name:
                yield Subject(estate, f"department/{department.name}").problem(
                    ("spec", "keys", index, "public"),
                    f"key {key.id!r} is a key of {owner} too; whoever holds it would sign for both",
                    "value-duplicate",
                    "make a key of the department's own with `commonpool agreement key`",
                )


def _filing(estate: Estate) -> Found:
    """One record is one thing: a number stands on one department, service or dataset."""
    owners: dict[str, str] = {}
    for word, things in (
        ("department", estate.departments),
        ("service", estate.services),
        ("dataset", estate.datasets),
    ):
        for one in things:
            number = one.spec.filing.number if one.spec.filing else None
            if number is None:
                continue
            if number in owners:
                yield Subject(estate, f"{word}/{one.name}").problem(
                    ("spec", "filing", "number"),
                    f"filing number {shown(number)} is that of {owners[number]} too",
                    "value-duplicate",
                    "correct the wrong one of the two",
                )
            owners[number] = one.name


def _collisions(estate: Estate) -> Found:
    taken: dict[str, str] = {service.namespace_name: f"service {service.name}" for service in estate.services}
    skeletons: dict[str, str] = {}
    for department in estate.departments:
        key = f"department/{department.name}"
        for index, (full_name, _) in enumerate(department.namespaces()):
            if taken.get(full_name, department.name) != department.name:  # one that is its own twice is told there
                yield Subject(estate, key).problem(
                    ("spec", "namespaces", index, "name"),
                    f"namespace {full_name} belongs to {taken[full_name]} already",
                    "namespace-collision",
                    "choose another name",
                )
            taken[full_name] = department.name
        look = skeleton(department.spec.display_name)
        if look in skeletons:
            yield Subject(estate, key).problem(
                ("spec", "displayName"),
                f"the display name looks like that of {skeletons[look]}",
                "name-confusable",
                "choose one that cannot be mistaken",
            )
        skeletons[look] = department.name


def _parents(estate: Estate) -> Found:
    parents = {department.name: department.spec.organisation.parent for department in estate.departments}
    for name, parent in parents.items():
        if parent is None:
            continue
        where = ("spec", "organisation", "parent")
        if parent not in parents:
            yield Subject(estate, f"department/{name}").problem(
                where, f"there is no department {parent!r}", "department-unknown", nearest(parent, list(parents))
            )
            continue
        chain = [name]
        step: str | None = parent
        while step is not None and step not in chain:
            chain.append(step)
            step = parents.get(step)
        if step == name:
            yield Subject(estate, f"department/{name}").problem(
                where,
                f"the parents form a circle: {' -> '.join([*chain, name])}",
                "parent-cycle",
                "take one of the parents out",
            )
