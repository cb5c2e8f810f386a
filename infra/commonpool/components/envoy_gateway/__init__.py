"""Everything that is Envoy Gateway's own and not the Gateway API's. Pure.

Another implementation of the Gateway API replaces this module: it must put the verified subject of a caller's token into
`x-commonpool-subject`, and the token's audience into `x-commonpool-audience` as `audience` writes it, before it chooses a
route, and take those headers from nobody else.
"""

import base64
import json

from commonpool.components.rendering import PROXY_CLASS, PROXY_NAMESPACE, Body, body
from commonpool.model import Pool, SharedService
from commonpool.model.backend import Backend

GROUP = "gateway.envoyproxy.io"
VERSION = f"{GROUP}/v1alpha1"
CONTROLLER = f"{GROUP}/gatewayclass-controller"
SETTINGS = "commonpool"
NOTICE, UNDECLARED, MISDIRECTED = "notice", "undeclared", "misdirected"
PROBLEM = "application/problem+json"
CERTIFIED = "certificate"  # in the audience's place, where a certificate says who calls; a token's is never this word


def audience(host: str) -> str:
    """A token's audience as Envoy writes it into a header: the claim is a list, so it is JSON in base64 (RFC 4648, section 4).

    A token for several audiences at once is for none of them here: who gets it at one could use it at another.
    """
    return base64.b64encode(json.dumps([host]).encode()).decode()


def parameters_reference() -> Body:
    """What the GatewayClass refers to."""
    return {"group": GROUP, "kind": "EnvoyProxy", "name": SETTINGS, "namespace": PROXY_NAMESPACE}


def filter_reference(name: str) -> Body:
    """A filter of a route's rule."""
    return {"type": "ExtensionRef", "extensionRef": {"group": GROUP, "kind": "HTTPRouteFilter", "name": name}}


def backend_reference(name: str) -> Body:
    """A backend of a route's rule."""
    return {"group": GROUP, "kind": "Backend", "name": name}


def backend(pool: Pool, service: SharedService, declared: Backend, addresses: list[tuple[str, int]]) -> Body:
    """Machines at their addresses, perhaps stepping in for others."""
    spec: Body = {"endpoints": [{"ip": {"address": address, "port": port}} for address, port in addresses]}
    if service.spec.endpoint and service.spec.endpoint.protocol == "GRPC":
        spec["appProtocols"] = [f"{GROUP}/h2c"]
    if declared.priority:
        spec["fallback"] = True
    name = f"{service.name}-{declared.name}"
    return body(VERSION, "Backend", name, pool, namespace=service.namespace_name, spec=spec)


def peer_host(pool: Pool, declared: Backend) -> str:
    """The name of the service in the other pool."""
    proxy, wanted = pool.spec.network.proxy, declared.peer
    assert proxy is not None  # `service_check` has seen to both
    assert wanted is not None
    domain = next(peer.domain for peer in proxy.peers if peer.name == wanted.peer)
    return f"{wanted.service}.{wanted.department}.{domain}"


def peer(pool: Pool, service: SharedService, declared: Backend) -> list[Body]:
    """A service of another pool, by TLS."""
    proxy, wanted = pool.spec.network.proxy, declared.peer
    assert proxy is not None
    assert wanted is not None
    other = next(one for one in proxy.peers if one.name == wanted.peer)
    host, name, namespace = peer_host(pool, declared), f"{service.name}-{declared.name}", service.namespace_name
    tls: Body = {"sni": host, "wellKnownCACertificates": "System"}
    found = []
    if other.certificate_authority:
        data = {"ca.crt": other.certificate_authority}
        found.append(body("v1", "ConfigMap", f"{name}-ca", pool, namespace=namespace, data=data))
        tls = {"sni": host, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": f"{name}-ca"}]}
    spec: Body = {"endpoints": [{"fqdn": {"hostname": host, "port": declared.port or other.port}}], "tls": tls}
    if declared.priority:
        spec["fallback"] = True
    return [*found, body(VERSION, "Backend", name, pool, namespace=namespace, spec=spec)]


def filters(pool: Pool, service: SharedService) -> list[Body]:
    """Answers that the proxy gives itself: to those who are not declared, to tokens for others, to all when the service is off."""
    host = service.host(pool.spec.network.domain)
    refusal = {
        "type": "https://commonpool.dev/problems/not-a-consumer",
        "title": "Not a declared consumer",
        "status": 403,
        "detail": f"%REQ(X-COMMONPOOL-SUBJECT)% is no declared consumer of {host}; "
        f"a namespace's manifest lists {service.name} under consumes, and the service admits its department",
    }
    misdirected = {
        "type": "https://commonpool.dev/problems/token-for-another-service",
        "title": "Token for another service",
        "status": 401,
        "detail": f"the token of %REQ(X-COMMONPOOL-SUBJECT)% is not for the audience {host}, or not for it alone",
    }
    found = [
        _direct(pool, service, UNDECLARED, 403, refusal, {}),
        _direct(pool, service, MISDIRECTED, 401, misdirected, {}),
    ]
    notice = service.spec.notice
    if notice:
        words = {
            "type": "https://commonpool.dev/problems/switched-off",
            "title": "The service is switched off",
            "status": 503,
            "detail": notice.message.replace("%", "%%"),  # Envoy reads %…% as commands
            "returns": notice.returns,
            "service": service.name,
        }
        found.append(_direct(pool, service, NOTICE, 503, words, {"retry-after": _http_date(notice.returns)}))
    return found


def _direct(
    pool: Pool, service: SharedService, name: str, status: int, words: dict[str, object], headers: dict[str, str]
) -> Body:
    answer: Body = {
        "statusCode": status,
        "contentType": PROBLEM,
        "body": {"type": "Inline", "inline": json.dumps(words, ensure_ascii=False)},
    }
    if headers:
        answer["header"] = {"set": [{"name": key, "value": value} for key, value in headers.items()]}
    spec = {"directResponse": answer}
    return body(VERSION, "HTTPRouteFilter", name, pool, namespace=service.namespace_name, spec=spec)


def _http_date(day: str) -> str:
    from datetime import UTC, datetime
    from email.utils import format_datetime

    from commonpool.model.today import CHINA

    return format_datetime(datetime.fromisoformat(day).replace(tzinfo=CHINA).astimezone(UTC), usegmt=True)


def target(kind: str, name: str, section: str = "") -> Body:
    """What a policy is about."""
    found = {"group": "gateway.networking.k8s.io", "kind": kind, "name": name}
    return found | ({"sectionName": section} if section else {})


def for_class() -> Body:
    """The target of patches, which is the class where Gateways share one fleet."""
    return target("GatewayClass", PROXY_CLASS)
