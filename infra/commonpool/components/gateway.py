"""The service proxy in Kubernetes' own Gateway API: nothing here is particular to one implementation. Pure.

One route for each service, with one rule for each consuming department. A rule is reached only with the verified subject and
audience of a token, which the implementation puts into headers that it takes from nobody else; the rule adds the department.
What matches no rule is not a declared caller, or has a token for another service.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from commonpool.components import envoy_gateway
from commonpool.components.rendering import (
    DEPARTMENT,
    PROXY_CLASS,
    PROXY_NAMESPACE,
    SERVICE,
    SHARED_GATEWAY,
    Body,
    body,
)
from commonpool.model import Department, Estate, Pool, SharedService
from commonpool.model.proxy import Proxy
from commonpool.model.traffic import WITH_REQUESTS

GATEWAY = "gateway.networking.k8s.io/v1"
SUBJECT_HEADER, DEPARTMENT_HEADER = "x-commonpool-subject", "x-commonpool-department"
AUDIENCE_HEADER = "x-commonpool-audience"
SERVICE_HEADER, CASE_HEADER = "x-commonpool-service", "x-commonpool-case"
AGREEMENT_HEADER = "x-commonpool-agreement"
BACKEND_HEADER = "x-commonpool-backend"
EXCHANGE_HEADER = "x-commonpool-exchange"  # the agreement under which the exchange let a call pass; goes no further
HTTP, HTTPS, CLIENTS = "http", "https", "clients"  # listeners of the shared Gateway
READS = ("GET", "HEAD", "OPTIONS")
# The rules for whoever is no consumer, and for tokens that were made for another service; no department's name has a dot.
NOBODYS, OTHERS = "not.declared", "not.addressed"
_MOST_RULES = 16  # of one route; the kind itself allows no more
_KINDS = {"HTTP": "HTTPRoute", "GRPC": "GRPCRoute", "TCP": "TCPRoute", "TLS": "TLSRoute"}


@dataclass(frozen=True)
class Consumer:
    """A department that lists the service, the accounts of its pods that may call, and its systems outside of the pool."""

    department: str
    accounts: tuple[tuple[str, str], ...]  # (namespace, account)
    agreement: str = ""  # by which it calls, if by any
    systems: tuple[str, ...] = ()  # as their certificates name them

    @property
    def subjects(self) -> list[str]:
        """The subjects of its tokens, as Kubernetes writes them."""
        return [f"system:serviceaccount:{namespace}:{account}" for namespace, account in self.accounts]

    @property
    def pattern(self) -> str:
        """A regular expression that matches just these subjects; empty when there is none."""
        by_accounts: dict[tuple[str, ...], list[str]] = {}
        for namespace in dict.fromkeys(namespace for namespace, _ in self.accounts):
            accounts = tuple(account for other, account in self.accounts if other == namespace)
            by_accounts.setdefault(accounts, []).append(namespace)
        groups = [f"({_either(names)}):({_either(accounts)})" for accounts, names in by_accounts.items()]
        return f"system:serviceaccount:({'|'.join(groups)})" if groups else ""


def _either(words: Sequence[str]) -> str:
    return "|".join(re.escape(word).replace(r"\-", "-") for word in words)


def consumers(estate: Estate, service: SharedService) -> list[Consumer]:
    """Who may call, by department: every namespace's default account, those that its manifest declares, and its systems."""
    found = []
    for name, namespaces in sorted(estate.consumers.get(service.name, {}).items()):
        department = estate.department(name)
        specs = dict(department.namespaces()) if department else {}
        accounts = [
            (namespace, account)
            for namespace in namespaces
            for account in ("default", *(one.name for one in specs[namespace].service_accounts))
        ]
        terms = estate.terms(service.name, name)
        found.append(
            Consumer(name, tuple(accounts), terms.name if terms else "", tuple(_systems(estate, service, department)))
        )
    return found


def _systems(estate: Estate, service: SharedService, department: Department | None) -> Iterator[str]:
    if department is None:
        return
    for system in department.spec.systems:
        if service.name in system.consumes:
            yield department.identity(system.name, estate.pool.spec.network.domain)


def shared(pool: Pool) -> list[Body]:
    """The class and the Gateway of all services whose calls the proxy sees."""
    proxy = pool.spec.network.proxy
    if proxy is None:
        return []
    of_services = {"matchExpressions": [{"key": SERVICE, "operator": "Exists"}]}
    routes = {
        "namespaces": {"from": "Selector", "selector": of_services},
        "kinds": [{"kind": "HTTPRoute"}, {"kind": "GRPCRoute"}],
    }
    listeners: list[Body] = [{"name": HTTP, "port": proxy.http_port, "protocol": "HTTP", "allowedRoutes": routes}]
    tls = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": proxy.certificate}]}
    for name, port in secured(proxy).items():
        listeners.append({"name": name, "port": port, "protocol": "HTTPS", "tls": tls, "allowedRoutes": routes})
    return [
        body(
            GATEWAY,
            "GatewayClass",
            PROXY_CLASS,
            pool,
            spec={
                "controllerName": envoy_gateway.CONTROLLER,
                "parametersRef": envoy_gateway.parameters_reference(),
                "description": f"Service proxy of the pool {pool.name}",
            },
        ),
        _gateway(pool, SHARED_GATEWAY, PROXY_NAMESPACE, listeners),
    ]


def secured(proxy: Proxy) -> dict[str, int]:
    """The ports of the shared Gateway's listeners with TLS, by their names: for tokens, and for certificates of callers."""
    if not proxy.certificate:
        return {}
    return {HTTPS: proxy.https_port} | ({CLIENTS: proxy.client_certificates.port} if proxy.client_certificates else {})


def _gateway(pool: Pool, name: str, namespace: str, listeners: list[Body]) -> Body:
    spec = {"gatewayClassName": PROXY_CLASS, "listeners": listeners}
    return body(GATEWAY, "Gateway", name, pool, namespace=namespace, spec=spec)


def route_names(estate: Estate, service: SharedService) -> list[str]:
    """The names of a service's routes: its own, and numbered ones when it has more consumers than one route can hold."""
    rules = len(consumers(estate, service)) * _rules_each(service) + len(_refusals(estate.pool, service))
    count = -(-rules // _MOST_RULES)
    return [service.name if number == 0 else f"{service.name}-{number + 1}" for number in range(count)]


def route_kind(service: SharedService) -> str:
    """The kind of its routes."""
    return _KINDS[service.spec.endpoint.protocol] if service.spec.endpoint else ""


def _rules_each(service: SharedService) -> int:
    return 2 if splits_reads(service) else 1


def splits_reads(service: SharedService) -> bool:
    """Whether reads have rules of their own, since they alone are repeated."""
    endpoint = service.spec.endpoint
    return bool(endpoint and endpoint.protocol == "HTTP" and service.spec.retries.repeat == "reads")


def hostnames(pool: Pool, service: SharedService) -> list[str]:
    """Its own name and the further ones."""
    more = service.spec.endpoint.hostnames if service.spec.endpoint else []
    return [service.host(pool.spec.network.domain), *more]


def routes(estate: Estate, service: SharedService, references: list[Body]) -> list[Body]:
    """The routes of a service whose calls the proxy sees; `references` are its backends, or none when it is off."""
    pool, kind = estate.pool, route_kind(service)
    rules = [rule for one in consumers(estate, service) for rule in _consumer_rules(pool, service, one, references)]
    rules += _refusals(pool, service)
    names = route_names(estate, service)
    size = -(-len(rules) // len(names))
    parent = {"name": SHARED_GATEWAY, "namespace": PROXY_NAMESPACE}
    return [
        body(
            GATEWAY,
            kind,
            name,
            pool,
            namespace=service.namespace_name,
            spec={
                "parentRefs": [parent],
                "hostnames": hostnames(pool, service),
                "rules": rules[number * size : (number + 1) * size],
            },
        )
        for number, name in enumerate(names)
    ]


def rules(estate: Estate, service: SharedService) -> list[tuple[str, str]]:
    """Every rule of a service's routes: the route's name and its own."""
    return [
        (route["metadata"]["name"], rule["name"])
        for route in routes(estate, service, [{}])
        for rule in route["spec"]["rules"]
    ]


def _consumer_rules(pool: Pool, service: SharedService, consumer: Consumer, references: list[Body]) -> list[Body]:
    verified = [
        {"name": DEPARTMENT_HEADER, "value": consumer.department},
        {"name": SERVICE_HEADER, "value": service.name},
        *([{"name": AGREEMENT_HEADER, "value": consumer.agreement}] if consumer.agreement else []),
    ]
    # The token stops here: a backend has no use for it, and could pass itself off as the caller with it.
    change = {
        "set": verified,
        "remove": ["authorization", AUDIENCE_HEADER, *([EXCHANGE_HEADER] if consumer.agreement else [])],
    }
    filters: list[Body] = [{"type": "RequestHeaderModifier", "requestHeaderModifier": change}]
    callers = _callers(pool, service, consumer)
    rule: Body = {"name": consumer.department, "matches": callers, "filters": filters}
    if references:
        rule["backendRefs"] = references
    else:
        filters.append(envoy_gateway.filter_reference(envoy_gateway.NOTICE))
    if route_kind(service) == "HTTPRoute":
        rule["timeouts"] = {"request": "0s" if service.spec.timeouts.unlimited else service.spec.timeouts.request}
    if not splits_reads(service):
        return [rule]
    reads = [one | {"method": method} for one in callers for method in READS]
    return [rule, rule | {"name": reads_name(consumer.department), "matches": reads}]


def _callers(pool: Pool, service: SharedService, consumer: Consumer) -> list[Body]:
    """The matches of a consumer: its tokens for this service, and its certificates."""
    proven = [(consumer.pattern, _audience(pool, service)), (_either(consumer.systems), envoy_gateway.CERTIFIED)]
    return [
        _with_headers(
            service,
            {"name": SUBJECT_HEADER, "type": "RegularExpression", "value": pattern},
            {"name": AUDIENCE_HEADER, "value": audience},
        )
        for pattern, audience in proven
        if pattern
    ]


def audiences(pool: Pool, service: SharedService) -> list[str]:
    """What the audience's header says of a proven caller of this service, in the implementation's own writing."""
    found = [_audience(pool, service)]
    if pool.spec.network.proxy and CLIENTS in secured(pool.spec.network.proxy):
        found.append(envoy_gateway.CERTIFIED)
    return found


def _audience(pool: Pool, service: SharedService) -> str:
    return envoy_gateway.audience(service.host(pool.spec.network.domain))


def reads_name(department: str) -> str:
    """The name of the rule for what a department reads; no department's name has a dot."""
    return f"{department}.reads"


def _with_headers(service: SharedService, *headers: Body) -> Body:
    """A match of every path, with these headers."""
    place: Body = {"path": {"type": "PathPrefix", "value": "/"}} if route_kind(service) == "HTTPRoute" else {}
    return place | ({"headers": list(headers)} if headers else {})


def _refusals(pool: Pool, service: SharedService) -> list[Body]:
    """What matches no consumer's rule: callers who are proven and not declared, and, last of all, tokens for another service.

    Which rule comes first follows from the number of headers that its matches ask for (Gateway API), in whichever of a
    service's routes it stands.
    """
    proven = [_with_headers(service, {"name": AUDIENCE_HEADER, "value": one}) for one in audiences(pool, service)]
    everybody = _with_headers(service)
    return [
        {"name": NOBODYS, "matches": proven, "filters": [envoy_gateway.filter_reference(envoy_gateway.UNDECLARED)]},
        {"name": OTHERS, "filters": [envoy_gateway.filter_reference(envoy_gateway.MISDIRECTED)]}
        | ({"matches": [everybody]} if everybody else {}),
    ]


def passthrough(estate: Estate, service: SharedService, references: list[Body]) -> list[Body]:
    """The Gateway and the route of a service whose connections are passed on: TCP by port, TLS by name too."""
    pool, endpoint, namespace = estate.pool, service.spec.endpoint, service.namespace_name
    if endpoint is None or not references:
        return []
    kind = route_kind(service)
    listener: Body = {
        "name": "main",
        "port": endpoint.port,
        "protocol": endpoint.protocol,
        "allowedRoutes": {"namespaces": {"from": "Same"}, "kinds": [{"kind": kind}]},
    }
    spec: Body = {"parentRefs": [{"name": service.name}], "rules": [{"backendRefs": references}]}
    if endpoint.protocol == "TLS":
        listener["tls"] = {"mode": "Passthrough"}
        spec["hostnames"] = hostnames(pool, service)
    return [
        _gateway(pool, service.name, namespace, [listener]),
        body(GATEWAY, kind, service.name, pool, namespace=namespace, spec=spec),
    ]


def service_port(pool: Pool, service: SharedService) -> int:
    """The port by which callers reach it, on the proxy or, without an endpoint, on its own pods."""
    endpoint, proxy = service.spec.endpoint, pool.spec.network.proxy
    if endpoint and endpoint.port:
        return endpoint.port
    return proxy.http_port if proxy else 0


def is_seen(service: SharedService) -> bool:
    """Whether the proxy sees single calls, and so their callers."""
    return service.spec.endpoint is not None and service.spec.endpoint.protocol in WITH_REQUESTS


def labelled(found: Body, service: SharedService) -> Body:
    """With the labels by which a service's objects are found."""
    found["metadata"]["labels"] |= {SERVICE: service.name, DEPARTMENT: service.spec.offered_by}
    return found


def weighted(service: SharedService, references: Mapping[str, Body], weights: Mapping[str, int]) -> list[Body]:
    """References to backends by name, with the weights that hold now.

    While a service moves, each says its name to what stands behind it: that makes the proxy count the two apart. Otherwise
    they share one set of connections, in which an unhealthy one's share goes to the others.
    """
    found = [reference | {"weight": weights[name]} for name, reference in references.items()]
    if service.spec.cut_over and is_seen(service):
        for name, reference in zip(references, found, strict=True):
            said = {"set": [{"name": BACKEND_HEADER, "value": name}]}
            tells = {"type": "RequestHeaderModifier", "requestHeaderModifier": said}
            reference["filters"] = [*reference.get("filters", []), tells]
    return found
