"""What must hold over the whole estate: references, ranges, terms, codes, names that could be mistaken. Pure but for positions."""

import ipaddress
import unicodedata
from collections.abc import Callable, Iterator
from datetime import date
from difflib import get_close_matches

from commonpool.model.base import Egress, Port
from commonpool.model.department import Department, NamespaceSpec
from commonpool.model.estate import WHO, Estate
from commonpool.model.problem import Problem, shown

Found = Iterator[Problem]
_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_CODE_DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_LONGEST_NAMESPACE = 63


def check(estate: Estate) -> list[Problem]:
    """Every problem of the estate as a whole."""
    problems: list[Problem] = []
    for rule in _POOL_RULES:
        problems += rule(estate)
    for department in estate.departments:
        for department_rule in _DEPARTMENT_RULES:
            problems += department_rule(estate, department)
    problems += _uniqueness(estate)
    problems += _parents(estate)
    problems += _services(estate)
    return problems


def _at(estate: Estate, key: str, where: tuple[str | int, ...], message: str, rule: str, fix: str = "") -> Problem:
    kind = {"pool": "Pool", "department": "Department", "service": "SharedService"}[key.split("/")[0]]
    return Problem(*estate.locate(key, *where), message, rule, WHO[kind], fix)


def _near(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return (
        f"write {near[0]}" if near else f"write one of {', '.join(sorted(known)[:10])}" if known else "declare it first"
    )


# -- the pool


def _ranges(estate: Estate) -> Found:
    known: list[tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network]] = []
    for index, block in enumerate(estate.pool.spec.network.ranges):
        where = ("spec", "network", "ranges", index, "cidr")
        try:
            network = ipaddress.ip_network(block.cidr)
        except ValueError as error:
            yield _at(
                estate,
                "pool",
                where,
                f"{shown(block.cidr)} is not an address block: {error}",
                "cidr-invalid",
                "write for instance 10.20.0.0/16",
            )
            continue
        for other, taken in known:
            if network.version == taken.version and network.overlaps(taken):
                yield _at(
                    estate,
                    "pool",
                    where,
                    f"{block.cidr} overlaps range {other!r} ({taken})",
                    "cidr-overlap",
                    "choose a block of its own",
                )
        known.append((block.name, network))


def _pool_references(estate: Estate) -> Found:
    spec = estate.pool.spec
    zones, tiers = [zone.name for zone in spec.network.zones], [tier.name for tier in spec.storage.tiers]
    machines = [machine.name for machine in estate.machines]
    for index, site in enumerate(spec.compute.sites):
        if site.zone not in zones:
            yield _at(
                estate,
                "pool",
                ("spec", "compute", "sites", index, "zone"),
                f"there is no zone {site.zone!r}",
                "zone-unknown",
                _near(site.zone, zones),
            )
    for index, volume in enumerate(spec.storage.volumes):
        where = ("spec", "storage", "volumes", index)
        if volume.tier not in tiers:
            yield _at(
                estate,
                "pool",
                (*where, "tier"),
                f"there is no tier {volume.tier!r}",
                "tier-unknown",
                _near(volume.tier, tiers),
            )
        if (volume.nfs is None) == (volume.local is None):
            yield _at(
                estate,
                "pool",
                where,
                f"volume {volume.name!r} needs exactly one of nfs and local",
                "volume-source",
                "keep one of the two",
            )
        if volume.local and volume.local.machine not in machines:
            yield _at(
                estate,
                "pool",
                (*where, "local", "machine"),
                f"there is no machine {volume.local.machine!r}",
                "machine-unknown",
                _near(volume.local.machine, machines),
            )
    if sum(tier.default for tier in spec.storage.tiers) > 1:
        yield _at(
            estate,
            "pool",
            ("spec", "storage", "tiers"),
            "more than one tier is the default",
            "tier-default",
            "keep one",
        )
    for flavor_index, flavor in enumerate(spec.compute.flavors):
        if estate.pool.over_commit(flavor).cpu in ("0", "0.0"):
            yield _at(
                estate,
                "pool",
                ("spec", "compute", "flavors", flavor_index),
                "an over-commit of zero promises nothing",
                "over-commit-zero",
                'write at least "1.0"',
            )


def _pool_names(estate: Estate) -> Found:
    spec = estate.pool.spec
    groups: list[tuple[str, tuple[str | int, ...], list[str]]] = [
        ("site", ("spec", "compute", "sites"), [item.name for item in spec.compute.sites]),
        ("flavor", ("spec", "compute", "flavors"), [item.name for item in spec.compute.flavors]),
        ("tier", ("spec", "storage", "tiers"), [item.name for item in spec.storage.tiers]),
        ("volume", ("spec", "storage", "volumes"), [item.name for item in spec.storage.volumes]),
        ("egress", ("spec", "network", "egressAllowList"), [item.name for item in spec.network.egress_allow_list]),
    ]
    for word, where, names in groups:
        for index, name in enumerate(names):
            if name in names[:index]:
                yield _at(
                    estate,
                    "pool",
                    (*where, index, "name"),
                    f"{word} {name!r} is declared twice",
                    "name-duplicate",
                    "choose another name",
                )


def _machines(estate: Estate) -> Found:
    flavors = [flavor.name for flavor in estate.pool.spec.compute.flavors]
    for machine in estate.machines:
        if machine.facts.flavor not in flavors:
            message = f"machine {machine.name}: there is no flavor {machine.facts.flavor!r}"
            yield Problem(*machine.source, message, "flavor-unknown", WHO["Pool"], _near(machine.facts.flavor, flavors))


def _code(estate: Estate) -> Found:
    if not code_is_valid(estate.pool.spec.organisation.code):
        yield _at(
            estate,
            "pool",
            ("spec", "organisation", "code"),
            "the check character of the organisation code is wrong",
            "organisation-code",
            "copy the code from the register again",
        )


def code_is_valid(code: str) -> bool:
    """Whether the last character of a unified social credit code fits the others (GB 32100-2015)."""
    total = sum(_CODE_DIGITS.index(mark) * weight for mark, weight in zip(code[:17], _WEIGHTS, strict=True))
    return _CODE_DIGITS[(31 - total % 31) % 31] == code[17]


# -- a department


def _department_facts(estate: Estate, department: Department) -> Found:
    key, spec = f"department/{department.name}", department.spec
    if not code_is_valid(spec.organisation.code):
        yield _at(
            estate,
            key,
            ("spec", "organisation", "code"),
            "the check character of the organisation code is wrong",
            "organisation-code",
            "copy the code from the register again",
        )
    if spec.contacts.duty.phone is None:
        yield _at(
            estate, key, ("spec", "contacts", "duty"), "the duty contact has no phone", "contact-phone", "add phone:"
        )
    start, review, end = (date.fromisoformat(day) for day in (spec.term.start, spec.term.review, spec.term.end))
    if not start <= review <= end:
        yield _at(
            estate,
            key,
            ("spec", "term"),
            f"the term is out of order: start {start}, review {review}, end {end}",
            "term-order",
            "put start, review and end in this order",
        )


def _namespaces(estate: Estate, department: Department) -> Found:
    key = f"department/{department.name}"
    seen: set[str] = set()
    for index, (full_name, namespace) in enumerate(department.namespaces()):
        where = ("spec", "namespaces", index)
        if namespace.name in seen:
            yield _at(
                estate,
                key,
                (*where, "name"),
                f"namespace {namespace.name!r} is declared twice",
                "name-duplicate",
                "choose another name",
            )
        seen.add(namespace.name)
        if len(full_name) > _LONGEST_NAMESPACE:
            yield _at(
                estate,
                key,
                (*where, "name"),
                f"{full_name!r} has {len(full_name)} characters; Kubernetes allows {_LONGEST_NAMESPACE}",
                "name-long",
                "shorten it",
            )
        yield from _resources(estate, key, where, namespace)
        yield from _openings(estate, key, where, namespace)
        yield from _consumed(estate, department, where, namespace)


def _resources(estate: Estate, key: str, where: tuple[str | int, ...], namespace: NamespaceSpec) -> Found:
    flavors = {flavor.name: flavor for flavor in estate.pool.spec.compute.flavors}
    tiers = [tier.name for tier in estate.pool.spec.storage.tiers]
    seen: set[str] = set()
    for index, item in enumerate(namespace.resources):
        place = (*where, "resources", index, "flavor")
        flavor = flavors.get(item.flavor)
        if flavor is None:
            yield _at(
                estate,
                key,
                place,
                f"there is no flavor {item.flavor!r}",
                "flavor-unknown",
                _near(item.flavor, list(flavors)),
            )
        elif flavor.trust < namespace.protection_level:
            trusted = [name for name, other in flavors.items() if other.trust >= namespace.protection_level]
            yield _at(
                estate,
                key,
                place,
                f"flavor {item.flavor!r} is trusted up to level {flavor.trust}; the namespace has level {namespace.protection_level}",
                "flavor-trust",
                _near(item.flavor, trusted),
            )
        if item.flavor in seen:
            yield _at(estate, key, place, f"flavor {item.flavor!r} is listed twice", "name-duplicate", "add the two up")
        seen.add(item.flavor)
    for index, storage in enumerate(namespace.storage):
        if storage.tier not in tiers:
            yield _at(
                estate,
                key,
                (*where, "storage", index, "tier"),
                f"there is no tier {storage.tier!r}",
                "tier-unknown",
                _near(storage.tier, tiers),
            )
    containers = namespace.containers
    if containers.default_memory_limit < containers.default_request.memory:
        yield _at(
            estate,
            key,
            (*where, "containers"),
            "the default memory limit is below the default request",
            "limit-below-request",
            "raise the limit or lower the request",
        )


def _openings(estate: Estate, key: str, where: tuple[str | int, ...], namespace: NamespaceSpec) -> Found:
    allowed = estate.pool.spec.network.egress_allow_list
    for index, egress in enumerate(namespace.egress):
        place = (*where, "egress", index)
        problem = _egress_problem(egress, allowed)
        if problem:
            message, rule, fix = problem
            yield _at(estate, key, place, message, rule, fix)
        if egress.name in [other.name for other in namespace.egress[:index]]:
            yield _at(
                estate,
                key,
                (*place, "name"),
                f"egress {egress.name!r} is declared twice",
                "name-duplicate",
                "choose another name",
            )
    for index, registry in enumerate(namespace.registries):
        if not any(
            registry == base or registry.startswith(f"{base}/") for base in estate.pool.spec.security.registries
        ):
            known = ", ".join(estate.pool.spec.security.registries)
            yield _at(
                estate,
                key,
                (*where, "registries", index),
                f"{registry} is not inside the pool's registries",
                "registry-foreign",
                f"write one inside {known}",
            )


def _egress_problem(egress: Egress, allowed: list[Egress]) -> tuple[str, str, str] | None:
    try:
        network = ipaddress.ip_network(egress.cidr)
    except ValueError as error:
        return (
            f"{shown(egress.cidr)} is not an address block: {error}",
            "cidr-invalid",
            "write for instance 192.0.2.0/24",
        )
    for base in allowed:
        block = ipaddress.ip_network(base.cidr, strict=False)
        inside = network.version == block.version and network.subnet_of(block)  # type: ignore[arg-type]
        if inside and all(any(_covers(wide, port) for wide in base.ports) for port in egress.ports):
            return None
    names = ", ".join(f"{base.name} ({base.cidr})" for base in allowed) or "empty"
    return (
        f"egress to {egress.cidr} lies outside of the pool's allow-list: {names}",
        "egress-not-allowed",
        "narrow it to an entry of spec.network.egressAllowList, or ask the pool's operators to add one",
    )


def _covers(wide: Port, narrow: Port) -> bool:
    last_wide, last_narrow = wide.end_port or wide.port, narrow.end_port or narrow.port
    return wide.protocol == narrow.protocol and wide.port <= narrow.port and last_narrow <= last_wide


def _consumed(estate: Estate, department: Department, where: tuple[str | int, ...], namespace: NamespaceSpec) -> Found:
    key = f"department/{department.name}"
    names = [service.name for service in estate.services]
    for index, name in enumerate(namespace.consumes):
        service = estate.service(name)
        place = (*where, "consumes", index)
        if service is None:
            yield _at(estate, key, place, f"there is no shared service {name!r}", "service-unknown", _near(name, names))
        elif not service.serves(department.name):
            yield _at(
                estate,
                key,
                place,
                f"service {name!r} does not list {department.name} among its consumers",
                "service-not-offered",
                f"ask {service.spec.offered_by} to add it to consumers.departments",
            )


# -- over departments


def _uniqueness(estate: Estate) -> Found:
    facts: list[tuple[str, tuple[str, ...], Callable[[Department], str]]] = [
        ("filing number", ("spec", "filing", "number"), lambda department: department.spec.filing.number),
        ("organisation code", ("spec", "organisation", "code"), lambda department: department.spec.organisation.code),
    ]
    for word, where, value_of in facts:
        owners: dict[str, str] = {}
        for department in estate.departments:
            value = value_of(department)
            if value in owners:
                yield _at(
                    estate,
                    f"department/{department.name}",
                    where,
                    f"{word} {shown(value)} is that of {owners[value]} too",
                    "value-duplicate",
                    "correct the wrong one of the two",
                )
            owners[value] = department.name
    yield from _collisions(estate)


def _collisions(estate: Estate) -> Found:
    taken: dict[str, str] = {service.namespace_name: f"service {service.name}" for service in estate.services}
    skeletons: dict[str, str] = {}
    for department in estate.departments:
        key = f"department/{department.name}"
        for index, (full_name, _) in enumerate(department.namespaces()):
            if full_name in taken:
                yield _at(
                    estate,
                    key,
                    ("spec", "namespaces", index, "name"),
                    f"namespace {full_name} belongs to {taken[full_name]} already",
                    "namespace-collision",
                    "choose another name",
                )
            taken[full_name] = department.name
        look = skeleton(department.spec.display_name)
        if look in skeletons:
            yield _at(
                estate,
                key,
                ("spec", "displayName"),
                f"the display name looks like that of {skeletons[look]}",
                "name-confusable",
                "choose one that cannot be mistaken",
            )
        skeletons[look] = department.name


# Letters of other scripts that look like a Latin one; the ones that keyboards offer, not all of Unicode TR39.
_LOOKS = str.maketrans("аеорсухіјѕһԁԛԝαορνικτ", "aeopcyxijshdqwaopvikt")


def skeleton(text: str) -> str:
    """A text reduced to what the eye sees, for comparing: compatibility forms folded, look-alikes mapped, case dropped."""
    return unicodedata.normalize("NFKC", text).casefold().translate(_LOOKS).replace(" ", "")


def _parents(estate: Estate) -> Found:
    parents = {department.name: department.spec.organisation.parent for department in estate.departments}
    for name, parent in parents.items():
        if parent is None:
            continue
        where = ("spec", "organisation", "parent")
        if parent not in parents:
            yield _at(
                estate,
                f"department/{name}",
                where,
                f"there is no department {parent!r}",
                "department-unknown",
                _near(parent, list(parents)),
            )
            continue
        chain = [name]
        step: str | None = parent
        while step is not None and step not in chain:
            chain.append(step)
            step = parents.get(step)
        if step == name:
            yield _at(
                estate,
                f"department/{name}",
                where,
                f"the parents form a circle: {' -> '.join([*chain, name])}",
                "parent-cycle",
                "take one of the parents out",
            )


def _services(estate: Estate) -> Found:
    departments = [department.name for department in estate.departments]
    flavors = [flavor.name for flavor in estate.pool.spec.compute.flavors]
    for service in estate.services:
        key = f"service/{service.name}"
        if service.spec.offered_by not in departments:
            yield _at(
                estate,
                key,
                ("spec", "offeredBy"),
                f"there is no department {service.spec.offered_by!r}",
                "department-unknown",
                _near(service.spec.offered_by, departments),
            )
        for index, name in enumerate(service.spec.consumers.departments):
            if name not in departments:
                yield _at(
                    estate,
                    key,
                    ("spec", "consumers", "departments", index),
                    f"there is no department {name!r}",
                    "department-unknown",
                    _near(name, departments),
                )
        for index, item in enumerate(service.spec.namespace.resources):
            if item.flavor not in flavors:
                yield _at(
                    estate,
                    key,
                    ("spec", "namespace", "resources", index, "flavor"),
                    f"there is no flavor {item.flavor!r}",
                    "flavor-unknown",
                    _near(item.flavor, flavors),
                )
        if service.spec.duty.phone is None:
            yield _at(estate, key, ("spec", "duty"), "the duty contact has no phone", "contact-phone", "add phone:")
        workload = service.spec.workload
        registries = estate.pool.spec.security.registries
        if workload and not any(workload.image.startswith(f"{registry}/") for registry in registries):
            yield _at(
                estate,
                key,
                ("spec", "workload", "image"),
                f"{shown(workload.image)} is not inside the pool's registries",
                "registry-foreign",
                f"write one inside {', '.join(registries)}",
            )


_POOL_RULES = (_ranges, _pool_references, _pool_names, _machines, _code)
_DEPARTMENT_RULES = (_department_facts, _namespaces)
