"""Network policies: closed in both directions, then name resolution, the own namespace, and what is declared. Pure."""

from collections.abc import Iterable

from commonpool.components.rendering import Body, body
from commonpool.model import Pool, SharedService
from commonpool.model.base import Egress, Port

NETWORKING = "networking.k8s.io/v1"
NAMESPACE_NAME = "kubernetes.io/metadata.name"


def baseline(pool: Pool, namespace: str) -> list[Body]:
    """Deny all, then DNS and traffic inside the namespace."""
    dns = pool.spec.network.dns
    resolver = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: dns.namespace}},
        "podSelector": {"matchLabels": dns.pod_labels},
    }
    ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return [
        _policy(pool, namespace, "default-deny", policyTypes=["Ingress", "Egress"]),
        _policy(pool, namespace, "allow-dns", policyTypes=["Egress"], egress=[{"to": [resolver], "ports": ports}]),
        _policy(
            pool,
            namespace,
            "allow-own-namespace",
            policyTypes=["Ingress", "Egress"],
            ingress=[{"from": [{"podSelector": {}}]}],
            egress=[{"to": [{"podSelector": {}}]}],
        ),
    ]


def openings(pool: Pool, namespace: str, egress: Iterable[Egress]) -> list[Body]:
    """One policy for each declared destination outside of the pool."""
    found = []
    for item in egress:
        rule = {"to": [{"ipBlock": {"cidr": item.cidr}}], "ports": [_port(port) for port in item.ports]}
        policy = _policy(pool, namespace, f"egress-{item.name}", policyTypes=["Egress"], egress=[rule])
        policy["metadata"]["annotations"] = {"commonpool.dev/reason": item.reason}
        found.append(policy)
    return found


def consumption(pool: Pool, namespace: str, service: SharedService) -> Body:
    """The way from a department's namespace to a shared service."""
    rule: Body = {"to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: service.namespace_name}}}]}
    if service.spec.workload:
        rule["ports"] = [{"port": port.port, "protocol": port.protocol} for port in service.spec.workload.ports]
    return _policy(pool, namespace, f"consume-{service.name}", policyTypes=["Egress"], egress=[rule])


def admission(pool: Pool, service: SharedService, namespaces: list[str]) -> list[Body]:
    """The same way seen from the service: only the namespaces that declared it; none, no policy."""
    if not namespaces:
        return []
    callers = {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": sorted(namespaces)}]}
    rule: Body = {"from": [{"namespaceSelector": callers}]}
    if service.spec.workload:
        rule["ports"] = [{"port": port.port, "protocol": port.protocol} for port in service.spec.workload.ports]
    return [_policy(pool, service.namespace_name, "allow-consumers", policyTypes=["Ingress"], ingress=[rule])]


def _policy(pool: Pool, namespace: str, name: str, **spec: object) -> Body:
    return body(NETWORKING, "NetworkPolicy", name, pool, namespace=namespace, spec={"podSelector": {}, **spec})


def _port(port: Port) -> Body:
    found: Body = {"port": port.port, "protocol": port.protocol}
    return found | ({"endPort": port.end_port} if port.end_port else {})
