"""What a consumer's pods need for calling a service: its name, and how a pod gets the token that proves who it is. Pure.

The token is made by Kubernetes for one audience and a short time, and renewed by it; nothing secret is written down here.
"""

import json

from commonpool.components import gateway
from commonpool.components.rendering import Body, body
from commonpool.model import Pool, SharedService

SECONDS = 3600  # of a token's life; Kubernetes renews it after four fifths
FOLDER = "/var/run/commonpool"


def objects(pool: Pool, namespace: str, service: SharedService) -> list[Body]:
    """A ConfigMap `consume-<service>` to read or to take as environment; none where the service has no endpoint."""
    if service.spec.endpoint is None:
        return []
    return [body("v1", "ConfigMap", f"consume-{service.name}", pool, namespace=namespace, data=data(pool, service))]


def data(pool: Pool, service: SharedService) -> dict[str, str]:
    """Where the service is, and for one that sees its callers the volume that holds the token."""
    host, port = service.host(pool.spec.network.domain), gateway.service_port(pool, service)
    found = {
        "HOST": host,
        "PORT": str(port),
        "PROTOCOL": service.spec.endpoint.protocol if service.spec.endpoint else "",
    }
    if not gateway.is_seen(service):
        return found
    token = {"serviceAccountToken": {"audience": host, "expirationSeconds": SECONDS, "path": "token"}}
    return found | {
        "URL": f"http://{host}:{port}",
        "AUDIENCE": host,
        "TOKEN_FILE": f"{FOLDER}/{service.name}/token",
        "volume.json": json.dumps({"name": service.name, "projected": {"sources": [token]}}),
        "volumeMount.json": json.dumps(
            {"name": service.name, "mountPath": f"{FOLDER}/{service.name}", "readOnly": True}
        ),
    }
