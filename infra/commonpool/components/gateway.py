"""The service proxy in Kubernetes' own Gateway API: nothing here is particular to one implementation. Pure.

One route for each service, with one rule for each consuming department. A rule is reached only with the verified identity
that the implementation puts into a header, which it takes from nobody else; the rule adds the department to it. What
matches no rule is not a declared caller.
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
SERVICE_HEADER, CASE_HEADER = "x-commonpool-service", "x-commonpool-case"
AGREEMENT_HEADER = "x-commonpool-agreement"
BACKEND_HEADER = "x-commonpool-backend"
HTTP, HTTPS, CLIENTS = "http", "https", "clients"  # listeners of the shared Gateway
READS = ("GET", "HEAD", "OPTIONS")
NOBODYS = "not.declared"  # the rule for whoever is no consumer; no department's name has a dot
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
        """A regular expression that matches just these subjects and systems."""
        by_accounts: dict[tuple[str, ...], list[str]] = {}
        for namespace in dict.fromkeys(namespace for namespace, _ in self.accounts):
            accounts = tuple(account for other, account in self.accounts if other == namespace)
            by_accounts.setdefault(accounts, []).append(namespace)
        groups = [f"({_either(names)}):({_either(accounts)})" for accounts, names in by_accounts.items()]
        accounts_ = f"system:serviceaccount:({'|'.join(groups)})"
        return "|".join([*([accounts_] if groups else []), *([_either(self.systems)] if self.systems else [])])


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
    rules = len(consumers(estate, service)) * _rules_each(service) + 1
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
    rules = [rule for one in consumers(estate, service) for rule in _consumer_rules(service, one, references)]
    rules.append(_undeclared(kind))
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


def _consumer_rules(service: SharedService, consumer: Consumer, references: list[Body]) -> list[Body]:
    identity = {"name": SUBJECT_HEADER, "type": "RegularExpression", "value": consumer.pattern}
    verified = [
        {"name": DEPARTMENT_HEADER, "value": consumer.department},
        {"name": SERVICE_HEADER, "value": service.name},
        *([{"name": AGREEMENT_HEADER, "value": consumer.agreement}] if consumer.agreement else []),
    ]
    # The token stops here: a backend has no use for it, and could pass itself off as the caller with it.
    change = {"set": verified, "remove": ["authorization"]}
    filters: list[Body] = [{"type": "RequestHeaderModifier", "requestHeaderModifier": change}]
    rule: Body = {"name": consumer.department, "matches": [{"headers": [identity]}], "filters": filters}
    if references:
        rule["backendRefs"] = references
    else:
        filters.append(envoy_gateway.filter_reference(envoy_gateway.NOTICE))
    if route_kind(service) == "HTTPRoute":
        rule["matches"] = [_everywhere() | {"headers": [identity]}]
        rule["timeouts"] = {"request": "0s" if service.spec.timeouts.unlimited else service.spec.timeouts.request}
    if not splits_reads(service):
        return [rule]
    reads = [_everywhere() | {"headers": [identity], "method": method} for method in READS]
    return [rule, rule | {"name": reads_name(consumer.department), "matches": reads}]


def reads_name(department: str) -> str:
    """The name of the rule for what a department reads; no department's name has a dot."""
    return f"{department}.reads"


def _everywhere() -> Body:
    return {"path": {"type": "PathPrefix", "value": "/"}}


def _undeclared(kind: str) -> Body:
    rule: Body = {"name": NOBODYS, "filters": [envoy_gateway.filter_reference(envoy_gateway.UNDECLARED)]}
    return rule | ({"matches": [_everywhere()]} if kind == "HTTPRoute" else {})


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
