"""What Envoy Gateway may do in all namespaces, in the embedded pool and in a cluster alike. Pure."""

from typing import Any


def _may(group: str, verbs: list[str], *resources: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": verbs}


_READ = ["get", "list", "watch"]
_ROUTES = ("grpcroutes", "httproutes", "tcproutes", "tlsroutes", "udproutes", "backendtlspolicies")
_POLICIES = (
    "envoyproxies",
    "envoypatchpolicies",
    "clienttrafficpolicies",
    "backendtrafficpolicies",
    "securitypolicies",
    "envoyextensionpolicies",
    "backends",
)
# It reads what it routes to and writes nothing but statuses.
RIGHTS = [
    _may("", _READ, "configmaps", "secrets", "services", "nodes", "namespaces", "serviceaccounts", "pods"),
    _may("", ["create", "patch", "update"], "events"),
    _may("events.k8s.io", ["create", "patch", "update"], "events"),
    _may("apps", _READ, "deployments", "daemonsets"),
    _may("discovery.k8s.io", _READ, "endpointslices"),
    _may("certificates.k8s.io", _READ, "clustertrustbundles"),
    _may("multicluster.x-k8s.io", _READ, "serviceimports"),
    _may("gateway.networking.k8s.io", _READ, "gateways", "listenersets", "referencegrants", *_ROUTES),
    _may("gateway.networking.k8s.io", [*_READ, "patch", "update"], "gatewayclasses"),
    _may(
        "gateway.networking.k8s.io",
        ["update"],
        *(f"{name}/status" for name in ("gatewayclasses", "gateways", "listenersets", *_ROUTES)),
    ),
    _may("gateway.envoyproxy.io", _READ, "httproutefilters", *_POLICIES),
    _may("gateway.envoyproxy.io", ["update"], *(f"{name}/status" for name in _POLICIES)),
]
