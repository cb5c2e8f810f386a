"""What must hold of a shared service in its estate. Pure but for positions."""

from commonpool.model.backend_check import check_backends
from commonpool.model.duration import seconds
from commonpool.model.estate import Estate
from commonpool.model.grant_check import check_granted
from commonpool.model.problem import shown
from commonpool.model.service import SharedService
from commonpool.model.share import WORDS, agreed
from commonpool.model.sharing_check import check_sharing
from commonpool.model.subject import Found, Subject, nearest
from commonpool.model.traffic import WITH_REQUESTS

_HTTP_ONLY, _GRPC_ONLY, _TCP_ONLY = ("path", "host", "statuses", "body"), ("grpc_service",), ("send", "receive")
_HEALTH_FIELDS = {"HTTP": _HTTP_ONLY, "GRPC": _GRPC_ONLY, "TCP": _TCP_ONLY, "TLS": _TCP_ONLY}


def check_service(estate: Estate, service: SharedService) -> Found:
    """Every problem of one manifest."""
    subject = Subject(estate, f"service/{service.name}")
    yield from _references(subject, service)
    yield from _namespace(subject, service)
    yield from _sharing(subject, service)
    yield from _endpoint(subject, service)
    if service.spec.endpoint:
        yield from check_backends(subject, service)
        yield from _health(subject, service)
        yield from _limits(subject, service)
        yield from _cut_over(subject, service)


def _references(subject: Subject, service: SharedService) -> Found:
    estate, spec = subject.estate, service.spec
    departments = [department.name for department in estate.departments]
    named = [(("spec", "offeredBy"), spec.offered_by)]
    listed = enumerate(spec.consumers.departments)
    for where, name in (*named, *((("spec", "consumers", "departments", index), name) for index, name in listed)):
        if name not in departments:
            yield subject.problem(
                where, f"there is no department {name!r}", "department-unknown", nearest(name, departments)
            )
    groups = estate.pool.spec.department_groups
    for index, name in enumerate(spec.consumers.groups):
        if name not in groups:
            place = ("spec", "consumers", "groups", index)
            yield subject.problem(
                place,
                f"the pool has no group {name!r} of departments",
                "department-group-unknown",
                nearest(name, groups),
            )
    if spec.workload:
        ports = ("spec", "workload", "ports")
        yield from subject.twice(ports, (one.name for one in spec.workload.ports), "port")
        numbers = (f"{one.port}/{one.protocol}" for one in spec.workload.ports)
        yield from subject.twice(ports, numbers, "port", "port")
    if spec.duty.phone is None:
        yield subject.problem(("spec", "duty"), "the duty contact has no phone", "contact-phone", "add phone:")
    registries = estate.pool.spec.security.registries
    if spec.workload and not any(spec.workload.image.startswith(f"{registry}/") for registry in registries):
        yield subject.problem(
            ("spec", "workload", "image"),
            f"{shown(spec.workload.image)} is not inside the pool's registries",
            "registry-foreign",
            f"write one inside {', '.join(registries)}",
        )


def _namespace(subject: Subject, service: SharedService) -> Found:
    spec, given = service.spec, ("spec", "namespace")
    yield from check_granted(subject, given, spec.namespace.resources, spec.namespace.storage, spec.protection_level)
    if not spec.namespace.resources and (spec.workload or spec.namespace.storage):
        flavors = subject.estate.pool.spec.compute.flavors
        flavor = next((one.name for one in flavors if one.trust >= spec.protection_level), flavors[0].name)
        some = f'resources: [{{flavor: {flavor}, guaranteed: {{cpu: "1", memory: 1Gi}}}}]'
        declared = "namespace" in spec.model_fields_set
        yield subject.problem(
            given if declared else ("spec", "workload"),
            "pods run only on resources of the service's namespace, and it has none",
            "resources-missing",
            f"add {some} under spec.namespace" if declared else f"add namespace: {{{some}}} under spec",
        )


def _sharing(subject: Subject, service: SharedService) -> Found:
    sharing = service.spec.sharing
    if sharing is None:
        return
    yield from check_sharing(subject, ("spec", "sharing"), sharing)
    if "consumers" in service.spec.model_fields_set:
        yield subject.problem(
            ("spec", "consumers"),
            f"the class of sharing ({sharing.class_}) decides who may call; a list beside it would be a further condition",
            "sharing-consumers",
            "take consumers out",
        )


def _endpoint(subject: Subject, service: SharedService) -> Found:
    spec, endpoint = service.spec, service.spec.endpoint
    if endpoint is None:
        if spec.backends:
            yield subject.problem(
                ("spec", "backends"),
                "the service has backends and no endpoint by which callers reach them",
                "endpoint-missing",
                "add endpoint: {protocol: HTTP}",
            )
        return
    if subject.estate.pool.spec.network.proxy is None:
        yield subject.problem(
            ("spec", "endpoint"),
            "the pool has no service proxy",
            "proxy-missing",
            "ask the pool's operators for `proxy: {}` under spec.network of pool.yaml, or take the endpoint out",
        )
    if not spec.backends:
        source = "pods: true" if spec.workload else "machines: [name], port: 8080"
        yield subject.problem(
            ("spec", "endpoint"),
            "nothing stands behind the endpoint",
            "backend-missing",
            f"add backends: [{{name: main, {source}}}]",
        )
    own_port = endpoint.protocol not in WITH_REQUESTS
    if own_port != (endpoint.port is not None):
        words = (f"{endpoint.protocol} needs a port of its own", "add port:")
        if not own_port:
            words = (f"{endpoint.protocol} is served at the proxy's common ports", "take port out")
        yield subject.problem(("spec", "endpoint"), words[0], "endpoint-port", words[1])
    if endpoint.protocol == "TCP" and endpoint.hostnames:
        yield subject.problem(
            ("spec", "endpoint", "hostnames"),
            "a TCP connection does not say which name was meant, so further names cannot be served",
            "hostname-useless",
            "take hostnames out, or use protocol TLS",
        )


def _health(subject: Subject, service: SharedService) -> Found:
    health, endpoint = service.spec.health, service.spec.endpoint
    protocol = endpoint.protocol if endpoint else "HTTP"
    for name in (*_HTTP_ONLY, *_GRPC_ONLY, *_TCP_ONLY):
        if getattr(health, name) and name not in _HEALTH_FIELDS[protocol]:
            alias = type(health).model_fields[name].alias or name
            yield subject.problem(
                ("spec", "health", alias),
                f"checks of {protocol} backends know no {alias}",
                "health-protocol",
                "take it out",
            )
    if health.receive and not health.send:
        yield subject.problem(
            ("spec", "health", "receive"), "an answer is expected and nothing is sent", "health-protocol", "add send:"
        )
    if seconds(health.timeout) > seconds(health.interval):
        yield subject.problem(
            ("spec", "health"),
            f"a check may take {health.timeout}, longer than the {health.interval} between two",
            "health-order",
            f"write timeout: {health.interval} or less",
        )
    if seconds(health.evidence_expires) < 2 * seconds(health.interval):
        yield subject.problem(
            ("spec", "health"),
            f"evidence expires after {health.evidence_expires}, before the next check can renew it",
            "health-order",
            f"write evidenceExpires: at least twice {health.interval}",
        )


def _limits(subject: Subject, service: SharedService) -> Found:
    limits, endpoint = service.spec.limits, service.spec.endpoint
    listed = len(subject.estate.consumers.get(service.name, {}))
    with_requests = endpoint is not None and endpoint.protocol in WITH_REQUESTS
    for word, alias in WORDS:
        total, each = getattr(limits.total, word), getattr(limits.per_consumer, word)
        given = agreed(subject.estate, service, word)
        consumers = listed - len(given)
        if not with_requests:
            for place, value in (("total", total), ("perConsumer", each)):
                if value is not None and (place == "perConsumer" or word == "requests_per_second"):
                    yield subject.problem(
                        ("spec", "limits", place, alias),
                        f"the proxy sees no single calls in {endpoint.protocol if endpoint else 'it'}",
                        "limit-protocol",
                        "keep limits.total.concurrent only",
                    )
            continue
        if total is None:
            continue
        wanted = (each or 1) * consumers + sum(given.values())
        if wanted > total:
            sum_ = f"{consumers} consumers with {each or 1} each are {(each or 1) * consumers}"
            if given:
                sum_ += f" and the agreed rates of {', '.join(given)} make it {wanted}"
            yield subject.problem(
                ("spec", "limits", "total", alias),
                f"{sum_}, more than the total of {total}",
                "limit-exceeded",
                f"write limits.total.{alias}: {wanted}"
                + (
                    f", or limits.perConsumer.{alias}: {total // consumers}"
                    if total >= consumers > 0 and not given
                    else ""
                ),
            )


def _cut_over(subject: Subject, service: SharedService) -> Found:
    plan = service.spec.cut_over
    if plan is None:
        return
    names = [backend.name for backend in service.spec.backends]
    for word, name in (("from", plan.from_), ("to", plan.to)):
        if name not in names:
            yield subject.problem(
                ("spec", "cutOver", word), f"there is no backend {name!r}", "backend-unknown", nearest(name, names)
            )
    if plan.from_ == plan.to:
        yield subject.problem(
            ("spec", "cutOver", "to"),
            "the plan moves from a backend to itself",
            "cut-over-order",
            "name the new backend",
        )
    for backend in service.spec.backends:
        if backend.priority == 0 and backend.weight and backend.name not in (plan.from_, plan.to):
            yield subject.problem(
                ("spec", "cutOver"),
                f"backend {backend.name!r} serves beside the two of the plan",
                "cut-over-others",
                "give it weight 0 or priority 1",
            )
        if backend.priority and backend.name in (plan.from_, plan.to):
            yield subject.problem(
                ("spec", "cutOver"),
                f"backend {backend.name!r} has priority 1 and gets no share",
                "cut-over-others",
                "give it priority 0",
            )
    if service.spec.endpoint and service.spec.endpoint.protocol not in WITH_REQUESTS:
        yield subject.problem(
            ("spec", "cutOver"),
            f"the proxy counts the {service.spec.endpoint.protocol} connections of all backends together, and no gate can be read",
            "cut-over-numbers",
            "take cutOver out and change the weights by hand",
        )
    for backend in service.spec.backends:
        if backend.priority and backend.name not in (plan.from_, plan.to):
            yield subject.problem(
                ("spec", "cutOver"),
                f"backend {backend.name!r} steps in for others, so the proxy counts it together with them",
                "cut-over-numbers",
                f"take {backend.name} out until the move is over",
            )
    weights = [step.weight for step in plan.steps]
    if weights != sorted(set(weights)) or weights[-1] != 100:
        rising = sorted({*weights, 100})
        yield subject.problem(
            ("spec", "cutOver", "steps"),
            f"the weights {', '.join(map(str, weights))} do not rise to 100",
            "cut-over-order",
            f"write {', '.join(map(str, rising))}",
        )
