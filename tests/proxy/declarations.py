"""The Kubernetes objects that tests of the proxy declare, as small as they can be. Pure."""

from typing import Any

GATEWAY_API = "gateway.networking.k8s.io/v1"
ENVOY_GATEWAY = "gateway.envoyproxy.io/v1alpha1"
NAMESPACE = "commonpool-proxy"


def plain_fleet(port: int = 8080) -> list[dict[str, Any]]:
    """The class and its fleet with one listener for HTTP, for a pool without our stacks."""
    parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "commonpool", "namespace": NAMESPACE}
    return [
        {
            "apiVersion": ENVOY_GATEWAY,
            "kind": "EnvoyProxy",
            "metadata": {"name": "commonpool", "namespace": NAMESPACE},
            "spec": {"mergeGateways": True},
        },
        {
            "apiVersion": GATEWAY_API,
            "kind": "GatewayClass",
            "metadata": {"name": "commonpool"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller", "parametersRef": parameters},
        },
        gateway("plain", port),
    ]


def gateway(name: str, port: int) -> dict[str, Any]:
    listener = {"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
    return {
        "apiVersion": GATEWAY_API,
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"gatewayClassName": "commonpool", "listeners": [listener]},
    }


def backend(name: str, *ports: int, namespace: str = "default") -> dict[str, Any]:
    """Hosts outside of the pool; here all on loopback."""
    return {
        "apiVersion": ENVOY_GATEWAY,
        "kind": "Backend",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"endpoints": [{"ip": {"address": "127.0.0.1", "port": port}} for port in ports]},
    }


def http_route(name: str, weights: dict[str, int], *, host: str = "", namespace: str = "default") -> dict[str, Any]:
    """A route to Backends by name, with their weights; its host is `<name>.test` unless named."""
    references = [
        {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": backend, "weight": weight}
        for backend, weight in weights.items()
    ]
    return {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "plain", "namespace": NAMESPACE}],
            "hostnames": [host or f"{name}.test"],
            "rules": [{"backendRefs": references}],
        },
    }
