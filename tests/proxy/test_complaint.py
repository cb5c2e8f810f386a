"""What the control plane has against objects of services, from their statuses alone, and as the doctor hears of it."""

import asyncio
from typing import Any

import pytest
from commonpool.engine import Cluster, kubeconfig
from commonpool.proxy.complaint import complaints, lines

from proxy.conftest import Proxy, until
from proxy.declarations import ENVOY_GATEWAY, NAMESPACE

PATCH = "EnvoyPatchPolicy"
OWN = {"app.kubernetes.io/managed-by": "commonpool"}


def judged(name: str, kind: str = "Accepted", status: str = "False") -> dict[str, Any]:
    condition = {"type": kind, "status": status, "reason": "Invalid", "message": "a word too much"}
    return {"metadata": {"name": name, "generation": 1}, "status": {"ancestors": [{"conditions": [condition]}]}}


ROUTE = {"metadata": {"name": "r", "generation": 1}, "status": {"parents": []}}


@pytest.mark.parametrize("kind", ["EnvoyExtensionPolicy", PATCH])
def test_a_policy_that_is_not_taken_is_told(kind: str) -> None:
    assert lines({kind: [judged("x")]}) == [f"{kind} x: Invalid: a word too much"]
    assert lines({kind: [judged("x", status="True")]}) == []


def test_a_patch_of_what_comes_with_routes_is_no_complaint_while_there_is_none() -> None:
    waits = judged("known-tokens", "Programmed")
    assert lines({PATCH: [waits], "HTTPRoute": []}) == []
    assert lines({PATCH: [waits], "TCPRoute": [ROUTE]}) == lines({"TCPRoute": [ROUTE]})
    for kind in ("HTTPRoute", "GRPCRoute"):
        assert "EnvoyPatchPolicy known-tokens: Invalid: a word too much" in lines({PATCH: [waits], kind: [ROUTE]})
    assert lines({PATCH: [judged("answers", "Programmed")]}) != []


def heard(proxy: Proxy) -> list[str]:
    """About guards alone: services of other tests may be on their way."""

    async def work() -> list[str]:
        async with await Cluster.connect(kubeconfig.load(proxy.pool.kubeconfig)) as cluster:
            return await complaints(cluster)

    kinds = (PATCH, "EnvoyExtensionPolicy")
    return [line for line in asyncio.run(work()) if line.startswith(kinds)]


def test_a_pool_without_a_service_has_nothing_to_complain_of_until_a_guard_is_wrong(proxy: Proxy) -> None:
    until(lambda: heard(proxy) == [], "everything is taken in")
    listener = {"type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "nowhere"}
    operation = {"op": "add", "path": "/traffic_direction", "value": "INBOUND"}
    target = {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "commonpool"}
    patches = [listener | {"operation": operation}]
    proxy.apply(
        {
            "apiVersion": ENVOY_GATEWAY,
            "kind": PATCH,
            "metadata": {"name": "wrong", "namespace": NAMESPACE, "labels": OWN},
            "spec": {"targetRef": target, "type": "JSONPatch", "jsonPatches": patches},
        },
        {
            "apiVersion": ENVOY_GATEWAY,
            "kind": "EnvoyExtensionPolicy",
            "metadata": {"name": "wrong", "namespace": NAMESPACE, "labels": OWN},
            "spec": {
                "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "plain"}],
                "extProc": [{"backendRefs": [{"name": "nobody", "port": 80}]}],
            },
        },
    )
    until(
        lambda: {line.split(":")[0] for line in heard(proxy)} == {f"{PATCH} wrong", "EnvoyExtensionPolicy wrong"},
        "told",
    )
