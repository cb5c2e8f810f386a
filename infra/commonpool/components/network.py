"""Network policies: closed in both directions, then name resolution, the own namespace, and what is declared. Pure."""

from collections.abc import Iterable

from commonpool.components.gateway import CLIENTS
from commonpool.components.rendering import FLAVOR, PROXY_CLASS, PROXY_NAMESPACE, Body, body
from commonpool.model import Pool, SharedService, opening
from commonpool.model.base import Egress, Port

NETWORKING = "networking.k8s.io/v1"
PROXY_PODS = {"gateway.envoyproxy.io/owning-gatewayclass": PROXY_CLASS}
NAMESPACE_NAME = "kubernetes.io/metadata.name"
BASELINE = "closed"  # the policy of every namespace


def baseline(pool: Pool, namespace: str) -> Body:
    """Closed in both directions but for names and the own namespace; every other policy only opens more.

    One object and not one for each sentence: every namespace has it, and a pool has thousands of namespaces.
    """
    dns = pool.spec.network.dns
    resolver = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: dns.namespace}},
        "podSelector": {"matchLabels": dns.pod_labels},
    }
    ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    own: Body = {"podSelector": {}}
    return _policy(
        pool,
        namespace,
        BASELINE,
        policyTypes=["Ingress", "Egress"],
        ingress=[{"from": [own]}],
        egress=[{"to": [resolver], "ports": ports}, {"to": [own]}],
    )


def openings(pool: Pool, namespace: str, egress: Iterable[Egress]) -> list[Body]:
    """One policy for each declared destination outside of the pool; what of it is the pool's own stays closed."""
    found = []
    for item in egress:
        shut = opening.shut(item.cidr, pool.spec.network.ranges)
        block = {"cidr": item.cidr} | ({"except": shut} if shut else {})
        rule = {"to": [{"ipBlock": block}], "ports": [_port(port) for port in item.ports]}
        policy = _policy(pool, namespace, f"egress-{item.name}", policyTypes=["Egress"], egress=[rule])
        policy["metadata"]["annotations"] = {"commonpool.dev/reason": item.reason}
        found.append(policy)
    return found


def consumption(pool: Pool, namespace: str, service: SharedService) -> Body:
    """The way from a department's namespace to a shared service: to the proxy, or without one to the service's pods."""
    if service.spec.endpoint:
        rule: Body = {"to": [_in_namespace(PROXY_NAMESPACE)], "ports": _proxy_ports(pool, service)}
    else:
        rule = {"to": [_in_namespace(service.namespace_name)], **_workload_ports(service)}
    return _policy(pool, namespace, f"consume-{service.name}", policyTypes=["Egress"], egress=[rule])


def admission(pool: Pool, service: SharedService, namespaces: list[str]) -> list[Body]:
    """The same way seen from the service: only the namespaces that declared it, or the proxy, which lets in no others."""
    if not namespaces:
        return []
    callers = {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": sorted(namespaces)}]}
    peers = [_in_namespace(PROXY_NAMESPACE)] if service.spec.endpoint else [{"namespaceSelector": callers}]
    found = []
    if not service.spec.endpoint or service.spec.workload:
        rule = {"from": peers, **_workload_ports(service)}
        found.append(_policy(pool, service.namespace_name, "allow-consumers", policyTypes=["Ingress"], ingress=[rule]))
    if service.spec.endpoint and service.spec.endpoint.port:
        # Its calls carry no identity that the proxy could read: who reaches the port is who may call.
        rule = {"from": [{"namespaceSelector": callers}], "ports": _proxy_ports(pool, service)}
        found.append(_of_proxy(pool, f"port-{service.name}", ingress=[rule]))
    return found


def proxy(pool: Pool) -> list[Body]:
    """Who reaches the proxy's common ports: every namespace of ours, since it knows its callers by their tokens."""
    settings = pool.spec.network.proxy
    if settings is None:
        return []
    ours = {"matchExpressions": [{"key": FLAVOR, "operator": "Exists"}]}
    numbers = [settings.http_port, *([settings.https_port] if settings.certificate else [])]
    rule = {"from": [{"namespaceSelector": ours}], "ports": [{"port": number, "protocol": "TCP"} for number in numbers]}
    found = [_of_proxy(pool, "common-ports", ingress=[rule])]
    if settings.client_certificates:  # from anywhere: who comes without a certificate of the pool's gets no further
        opened = {"ports": [{"port": settings.client_certificates.port, "protocol": "TCP"}]}
        found.append(_of_proxy(pool, CLIENTS, ingress=[opened]))
    return found


def _of_proxy(pool: Pool, name: str, ingress: list[Body]) -> Body:
    found = _policy(pool, PROXY_NAMESPACE, name, policyTypes=["Ingress"], ingress=ingress)
    found["spec"]["podSelector"] = {"matchLabels": PROXY_PODS}
    return found


def _proxy_ports(pool: Pool, service: SharedService) -> list[Body]:
    settings, endpoint = pool.spec.network.proxy, service.spec.endpoint
    if endpoint and endpoint.port:
        return [{"port": endpoint.port, "protocol": "TCP"}]
    numbers = [settings.http_port, *([settings.https_port] if settings.certificate else [])] if settings else []
    return [{"port": number, "protocol": "TCP"} for number in numbers]


def _workload_ports(service: SharedService) -> Body:
    workload = service.spec.workload
    if workload is None:
        return {}
    return {"ports": [{"port": port.port, "protocol": port.protocol} for port in workload.ports]}


def _in_namespace(name: str) -> Body:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: name}}}


def _policy(pool: Pool, namespace: str, name: str, **spec: object) -> Body:
    return body(NETWORKING, "NetworkPolicy", name, pool, namespace=namespace, spec={"podSelector": {}, **spec})


def _port(port: Port) -> Body:
    found: Body = {"port": port.port, "protocol": port.protocol}
    return found | ({"endPort": port.end_port} if port.end_port else {})
