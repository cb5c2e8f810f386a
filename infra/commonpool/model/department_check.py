"""What must hold of one department in its estate: references, terms, trust, openings. Pure but for positions."""

import ipaddress
from datetime import date

from commonpool.model.agreement_check import check_consumed
from commonpool.model.base import RESERVED_PREFIXES, Egress, Port, Resources
from commonpool.model.department import Department, NamespaceSpec
from commonpool.model.document import Location
from commonpool.model.estate import Estate
from commonpool.model.organisation_code import is_valid
from commonpool.model.problem import shown
from commonpool.model.quantity import Quantity
from commonpool.model.subject import Found, Subject, nearest
from commonpool.model.traffic import WITH_REQUESTS

_LONGEST_NAMESPACE = 63  # characters of a label (RFC 1123)
_LEAST = Resources(cpu=Quantity.parse("1m"), memory=Quantity.parse("1Mi"))  # of every container, in every namespace


def check_department(estate: Estate, department: Department) -> Found:
    """Every problem of one manifest."""
    subject = Subject(estate, f"department/{department.name}")
    yield from _facts(subject, department)
    yield from _namespaces(subject, department)
    yield from _consumed(subject, department)
    yield from _systems(subject, department)


def _facts(subject: Subject, department: Department) -> Found:
    spec = department.spec
    if not is_valid(spec.organisation.code):
        yield subject.problem(
            ("spec", "organisation", "code"),
            "the check character of the organisation code is wrong",
            "organisation-code",
            "copy the code from the register again",
        )
    if spec.contacts.duty.phone is None:
        yield subject.problem(
            ("spec", "contacts", "duty"), "the duty contact has no phone", "contact-phone", "add phone:"
        )
    yield from subject.twice(("spec", "keys"), (key.id for key in spec.keys), "key", "id")
    pipelines = subject.estate.pool.spec.security.identity.groups.pipelines
    for word in type(spec.groups).model_fields:
        for index, group in enumerate(getattr(spec.groups, word)):
            if group in pipelines:
                yield subject.problem(
                    ("spec", "groups", word, index),
                    f"group {group!r} is that of the pool's pipelines, which write for all departments and work in none",
                    "group-reserved",
                    "name a group of the department's own",
                )
    start, review, end = (date.fromisoformat(day) for day in (spec.term.start, spec.term.review, spec.term.end))
    if not start <= review <= end:
        yield subject.problem(
            ("spec", "term"),
            f"the term is out of order: start {start}, review {review}, end {end}",
            "term-order",
            "put start, review and end in this order",
        )


def _namespaces(subject: Subject, department: Department) -> Found:
    spaces = ("spec", "namespaces")
    yield from subject.twice(spaces, (namespace.name for _, namespace in department.namespaces()), "namespace")
    for index, (full_name, namespace) in enumerate(department.namespaces()):
        where = (*spaces, index)
        if full_name.startswith(RESERVED_PREFIXES):
            yield subject.problem(
                (*where, "name"),
                f"{full_name!r} is a name that the platform keeps for itself: none of {', '.join(RESERVED_PREFIXES)} begins it",
                "name-reserved",
                "give the department another name",
            )
        if len(full_name) > _LONGEST_NAMESPACE:
            yield subject.problem(
                (*where, "name"),
                f"{full_name!r} has {len(full_name)} characters; Kubernetes allows {_LONGEST_NAMESPACE}",
                "name-long",
                "shorten it",
            )
        yield from _resources(subject, where, namespace)
        yield from _openings(subject, where, namespace)
        yield from _accounts(subject, where, namespace)


def _resources(subject: Subject, where: Location, namespace: NamespaceSpec) -> Found:
    flavors = {flavor.name: flavor for flavor in subject.estate.pool.spec.compute.flavors}
    tiers = [tier.name for tier in subject.estate.pool.spec.storage.tiers]
    seen: set[str] = set()
    for index, item in enumerate(namespace.resources):
        place = (*where, "resources", index, "flavor")
        flavor = flavors.get(item.flavor)
        if flavor is None:
            yield subject.problem(
                place, f"there is no flavor {item.flavor!r}", "flavor-unknown", nearest(item.flavor, list(flavors))
            )
        elif flavor.trust < namespace.protection_level:
            trusted = [name for name, other in flavors.items() if other.trust >= namespace.protection_level]
            most = max(other.trust for other in flavors.values())
            more = f"write protectionLevel: {most} or less, or ask the pool's operators for machines that are trusted further"
            yield subject.problem(
                place,
                f"flavor {item.flavor!r} is trusted up to level {flavor.trust}; the namespace has level {namespace.protection_level}",
                "flavor-trust",
                nearest(item.flavor, trusted) if trusted else more,
            )
        if item.flavor in seen:
            yield subject.problem(place, f"flavor {item.flavor!r} is listed twice", "name-duplicate", "add the two up")
        seen.add(item.flavor)
        for word, promised in (("guaranteed", item.guaranteed), ("burst", item.burst)):
            if promised:
                yield from _enough(subject, (*where, "resources", index, word, "memory"), promised.memory)
    yield from subject.twice((*where, "storage"), (one.tier for one in namespace.storage), "tier", "tier")
    for index, storage in enumerate(namespace.storage):
        yield from _enough(subject, (*where, "storage", index, "capacity"), storage.capacity)
        if storage.tier not in tiers:
            yield subject.problem(
                (*where, "storage", index, "tier"),
                f"there is no tier {storage.tier!r}",
                "tier-unknown",
                nearest(storage.tier, tiers),
            )
    yield from _containers(subject, where, namespace)


def _enough(subject: Subject, where: Location, amount: Quantity) -> Found:
    """A number without its suffix means bytes, and with `m` thousandths of one, in which nothing can be kept."""
    if amount < _LEAST.memory:
        text = str(amount)
        words = f"{text} is an amount of bytes, and nothing has room in less than {_LEAST.memory}"
        likely = f"{text.rstrip('mk')}{'Mi' if text.endswith('m') else 'Gi'}"
        yield subject.problem(where, words, "amount-too-small", f"write {likely}, or whichever suffix is meant")


def _containers(subject: Subject, where: Location, namespace: NamespaceSpec) -> Found:
    containers = namespace.containers
    request, limit, most = containers.default_request, containers.default_memory_limit, containers.maximum
    if most and (request.cpu > most.cpu or limit > most.memory):
        yield subject.problem(
            (*where, "containers", "maximum"),
            f"the maximum of {most.cpu} cores and {most.memory} is below what a silent container gets:"
            f" {request.cpu} cores, at most {limit}",
            "limit-above-maximum",
            "raise the maximum, or lower defaultRequest and defaultMemoryLimit",
        )
    if request.cpu < _LEAST.cpu or request.memory < _LEAST.memory:
        yield subject.problem(
            (*where, "containers", "defaultRequest"),
            f"a container asks for {_LEAST.cpu} cores and {_LEAST.memory} at least, or it would count as nothing",
            "request-too-small",
            f"write {_LEAST.cpu} and {_LEAST.memory}, or more",
        )
    if containers.default_memory_limit < containers.default_request.memory:
        yield subject.problem(
            (*where, "containers"),
            "the default memory limit is below the default request",
            "limit-below-request",
            "raise the limit or lower the request",
        )


def _accounts(subject: Subject, where: Location, namespace: NamespaceSpec) -> Found:
    names = [one.name for one in namespace.service_accounts]
    yield from subject.twice((*where, "serviceAccounts"), names, "account")
    if "default" in names:
        yield subject.problem(
            (*where, "serviceAccounts", names.index("default"), "name"),
            "the account 'default' is every pod's that names no other, and has no rights",
            "name-reserved",
            "choose a name of your own",
        )


def _openings(subject: Subject, where: Location, namespace: NamespaceSpec) -> Found:
    yield from subject.twice((*where, "egress"), (one.name for one in namespace.egress), "egress")
    allowed = subject.estate.pool.spec.network.egress_allow_list
    for index, egress in enumerate(namespace.egress):
        place = (*where, "egress", index)
        problem = _egress_problem(egress, allowed)
        if problem:
            message, rule, fix = problem
            field = "ports" if rule == "port-order" else "cidr"
            yield subject.problem((*place, field), message, rule, fix)
    bases = subject.estate.pool.spec.security.registries
    for index, registry in enumerate(namespace.registries):
        if not any(registry == base or registry.startswith(f"{base}/") for base in bases):
            yield subject.problem(
                (*where, "registries", index),
                f"{registry} is not inside the pool's registries",
                "registry-foreign",
                f"write one inside {', '.join(bases)}",
            )


def _egress_problem(egress: Egress, allowed: list[Egress]) -> tuple[str, str, str] | None:
    try:
        network = ipaddress.ip_network(egress.cidr, strict=False)
    except ValueError as error:
        return (
            f"{shown(egress.cidr)} is not an address block: {error}",
            "cidr-invalid",
            "write for instance 192.0.2.0/24",
        )
    if str(network) != egress.cidr:
        words = f"{shown(egress.cidr)} is another spelling of {network}, which the API server does not take"
        return words, "cidr-invalid", f"write {network}"
    if any(port.end_port and port.end_port < port.port for port in egress.ports):
        return "a range of ports ends before it begins", "port-order", "write the smaller number as port"
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


def _consumed(subject: Subject, department: Department) -> Found:
    estate = subject.estate
    names = [service.name for service in estate.services]
    for place, listed in department.lists():
        yield from subject.twice(place, listed, "service", "")
    for place, name in department.listed():
        service = estate.service(name)
        if service is None:
            yield subject.problem(
                place, f"there is no shared service {name!r}", "service-unknown", nearest(name, names)
            )
        else:
            yield from check_consumed(subject, department, place, service)


def _systems(subject: Subject, department: Department) -> Found:
    """Systems outside of the pool are known by their certificates, which the proxy sees in calls over HTTP only."""
    proxy, systems = subject.estate.pool.spec.network.proxy, department.spec.systems
    if systems and (proxy is None or proxy.client_certificates is None):
        yield subject.problem(
            ("spec", "systems"),
            "the pool lets in no systems from outside",
            "systems-closed",
            "ask the pool's operators for spec.network.proxy.clientCertificates",
        )
    yield from subject.twice(("spec", "systems"), (system.name for system in systems), "system")
    for index, system in enumerate(systems):
        where = ("spec", "systems", index)
        for number, name in enumerate(system.consumes):
            service = subject.estate.service(name)
            endpoint = service.spec.endpoint if service else None
            if service and (endpoint is None or endpoint.protocol not in WITH_REQUESTS):
                yield subject.problem(
                    (*where, "consumes", number),
                    f"the proxy sees no single calls of service {name!r}, and so no certificate",
                    "system-protocol",
                    "take the line out; services over HTTP and gRPC can be called from outside",
                )
