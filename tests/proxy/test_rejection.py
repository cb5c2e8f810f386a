"""What Envoy refuses: the last good configuration goes on serving, and the refusal can be seen until it is mended."""

import base64
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commonpool.embedded import ProxyStatus
from commonpool.embedded.certificate import Authority

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.declarations import ENVOY_GATEWAY, NAMESPACE, backend, gateway, http_route
from proxy.load import Load

TLS_PORT = 8443


def tls_gateway(folder: Path) -> list[dict[str, Any]]:
    pair = Authority(folder, "authority").server("server", ("secure.test",))
    files = {"tls.crt": pair.certificate, "tls.key": pair.key}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "secure", "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "data": {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()},
    }
    body = gateway("secure", TLS_PORT)
    body["spec"]["listeners"][0] |= {"protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "secure"}]}}
    return [secret, body]


def client_policy(tls: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": ENVOY_GATEWAY,
        "kind": "ClientTrafficPolicy",
        "metadata": {"name": "secure", "namespace": NAMESPACE},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "secure"}],
            "tls": tls,
        },
    }


def negotiated(proxy: Proxy) -> str:
    """The TLS version that the listener agrees to, or nothing when nobody answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((proxy.address, proxy.pool.proxy_port(TLS_PORT)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="secure.test") as wrapped,
        ):
            return wrapped.version() or ""
    except OSError:
        return ""


def test_a_refused_listener_leaves_the_last_good_one_and_is_told_until_it_is_mended(
    proxy: Proxy, tmp_path: Path, start_backend: Callable[[str], Backend]
) -> None:
    legacy = start_backend("legacy")
    proxy.apply(*tls_gateway(tmp_path), backend("good", legacy.port), http_route("good", {"good": 1}))
    proxy.await_status("good.test", 200)
    until(lambda: negotiated(proxy) == "TLSv1.3", "the listener serves")

    def status() -> ProxyStatus:
        return proxy.pool.status().proxy

    assert status().rejections == ()
    with Load(proxy.url, "good.test", rate=50) as load:
        proxy.apply(client_policy({"ecdhCurves": ["NO-SUCH-CURVE"]}))
        until(lambda: bool(status().rejections), "the refusal is told")
        refusal = status().rejections[0]
        assert refusal.kind == "Listener"
        assert "NO-SUCH-CURVE" in refusal.reason
        assert negotiated(proxy) == "TLSv1.3"
        # What was not refused still arrives.
        proxy.apply(http_route("meanwhile", {"good": 1}))
        assert json.loads(proxy.await_status("meanwhile.test", 200))["name"] == "legacy"
        proxy.apply(client_policy({"maxVersion": "1.2"}))
        until(lambda: negotiated(proxy) == "TLSv1.2", "the mended policy arrives")
        until(lambda: status().rejections == (), "nothing is refused any more")
    assert load.outcome.failed == 0, load.outcome


def looked_up(kind: str) -> dict[str, Any]:
    """A patch of the backends behind `first`: Envoy Gateway does not know that Envoy refuses one of these kinds here."""
    operation = {"op": "add", "path": "/type", "value": kind}
    cluster = {"type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "httproute/default/first/rule/0"}
    target = {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "commonpool"}
    return {
        "apiVersion": ENVOY_GATEWAY,
        "kind": "EnvoyPatchPolicy",
        "metadata": {"name": "looked-up", "namespace": NAMESPACE},
        "spec": {"targetRef": target, "type": "JSONPatch", "jsonPatches": [cluster | {"operation": operation}]},
    }


def test_what_is_refused_is_told_while_updates_of_something_else_are_taken(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    """An update holds only what has changed, so that Envoy's next answer of that type may be about other resources."""
    proxy.apply(backend("first", start_backend("first").port), http_route("first", {"first": 1}))
    proxy.await_status("first.test", 200)

    def refused() -> list[str]:
        return [one.reason for one in proxy.pool.status().proxy.rejections if one.kind == "Cluster"]

    proxy.apply(looked_up("LOGICAL_DNS"))
    until(lambda: bool(refused()), "the refusal is told")
    before = refused()
    for name in ("second", "third"):
        proxy.apply(backend(name, start_backend(name).port), http_route(name, {name: 1}))
        proxy.await_status(f"{name}.test", 200)
    assert refused() == before
    proxy.apply(looked_up("EDS"))
    until(lambda: refused() == [], "nothing is refused any more")
