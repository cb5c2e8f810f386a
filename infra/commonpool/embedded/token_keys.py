"""Where the proxy of an embedded pool gets the keys by which it verifies callers' tokens: this pool's API server. Pure.

The stacks refer to a Backend `kubernetes` in the proxy's namespace; in a real cluster `service-proxy/` declares it.
"""

from typing import Any

from commonpool.embedded.proxy import NAMESPACE

NAME = "kubernetes"
HOST = "kubernetes.default.svc"


def objects(port: int, authority: str) -> list[dict[str, Any]]:
    """The API server's address on loopback and the authority, in PEM, that vouches for it."""
    gateway_api, envoy_gateway = "gateway.networking.k8s.io", "gateway.envoyproxy.io"
    metadata = {"name": NAME, "namespace": NAMESPACE}
    validation = {"hostname": HOST, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": NAME}]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": authority}},
        {
            "apiVersion": f"{envoy_gateway}/v1alpha1",
            "kind": "Backend",
            "metadata": metadata,
            "spec": {"endpoints": [{"ip": {"address": "127.0.0.1", "port": port}}]},
        },
        {
            "apiVersion": f"{gateway_api}/v1",
            "kind": "BackendTLSPolicy",
            "metadata": metadata,
            "spec": {
                "targetRefs": [{"group": envoy_gateway, "kind": "Backend", "name": NAME}],
                "validation": validation,
            },
        },
    ]
