"""What must hold of one department in its estate: references, terms, trust, openings. Pure but for positions."""

from datetime import date

from commonpool.model import opening
from commonpool.model.agreement_check import check_consumed
from commonpool.model.base import RESERVED_PREFIXES
from commonpool.model.department import Department, NamespaceSpec
from commonpool.model.document import Location
from commonpool.model.estate import Estate
from commonpool.model.grant_check import LEAST, check_granted
from commonpool.model.organisation_code import is_valid
from commonpool.model.subject import Found, Subject, nearest
from commonpool.model.traffic import WITH_REQUESTS

_LONGEST_NAMESPACE = 63  # characters of a label (RFC 1123)


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
        given = namespace.resources, namespace.storage, namespace.protection_level
        yield from check_granted(subject, where, *given)
        yield from _containers(subject, where, namespace)
        yield from _openings(subject, where, namespace)
        yield from _accounts(subject, where, namespace)


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
    if request.cpu < LEAST.cpu or request.memory < LEAST.memory:
        yield subject.problem(
            (*where, "containers", "defaultRequest"),
            f"a container asks for {LEAST.cpu} cores and {LEAST.memory} at least, or it would count as nothing",
            "request-too-small",
            f"write {LEAST.cpu} and {LEAST.memory}, or more",
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
    network = subject.estate.pool.spec.network
    for index, egress in enumerate(namespace.egress):
        found = opening.objection(egress, network.egress_allow_list, network.ranges)
        if found:
            message, rule, fix = found
            field = "ports" if rule == "port-order" else "cidr"
            yield subject.problem((*where, "egress", index, field), message, rule, fix)
    bases = subject.estate.pool.spec.security.registries
    for index, registry in enumerate(namespace.registries):
        if not any(registry == base or registry.startswith(f"{base}/") for base in bases):
            yield subject.problem(
                (*where, "registries", index),
                f"{registry} is not inside the pool's registries",
                "registry-foreign",
                f"write one inside {', '.join(bases)}",
            )


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
