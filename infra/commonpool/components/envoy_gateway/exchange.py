"""The process that stands in the way of a service's calls: takes fields out of answers, keeps evidence. Pure.

Envoy asks it about every call (`ext_proc`, gRPC); when it does not answer, the call fails and nothing passes unfiltered.
"""

from commonpool.components.envoy_gateway import GROUP, VERSION, backend_reference, target
from commonpool.components.rendering import Body, body
from commonpool.model import Pool, SharedService

NAME = "exchange"
SOCKET = "unix:"  # begins an address on the proxy's own machine


def objects(pool: Pool, service: SharedService, kind: str, routes: list[str], address: str) -> list[Body]:
    """The Backend at `host:port` or `unix:PATH`, and the policy that leads the service's routes through it."""
    namespace = service.namespace_name
    place: Body = {"endpoints": [_endpoint(address)], "appProtocols": [f"{GROUP}/h2c"]}
    asked: Body = {
        "backendRefs": [backend_reference(NAME)],
        "failOpen": False,
        # It waits for evidence to reach the disk, and says itself that it could not be written.
        "messageTimeout": "10s",
        # Bodies stream; what has to be read whole to take fields out of it is held there, up to a size.
        "processingMode": {
            "request": {"body": "FullDuplexStreamed", "attributes": ["xds.route_name"]},
            "response": {"body": "FullDuplexStreamed", "attributes": ["response.code_details"]},
        },
    }
    spec = {"targetRefs": [target(kind, name) for name in routes], "extProc": [asked]}
    return [
        body(VERSION, "Backend", NAME, pool, namespace=namespace, spec=place),
        body(VERSION, "EnvoyExtensionPolicy", service.name, pool, namespace=namespace, spec=spec),
    ]


def _endpoint(address: str) -> Body:
    if address.startswith(SOCKET):
        return {"unix": {"path": address.removeprefix(SOCKET)}}
    host, _, port = address.rpartition(":")
    return {"ip": {"address": host.strip("[]"), "port": int(port)}}
