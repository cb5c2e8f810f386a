"""Rendered objects as resources: what waits for what."""

from typing import Any

from commonpool.components.resource import declared


def body(kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    version = "gateway.networking.k8s.io/v1" if kind.endswith("Route") else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def test_a_route_waits_for_what_guards_it_and_nothing_else_waits() -> None:
    kinds = ("NetworkPolicy", "Deployment", "Service", "SecurityPolicy", "HTTPRoute", "GRPCRoute", "ConfigMap")
    found = declared([body("Namespace", "s"), *(body(kind, kind.lower(), "s") for kind in kinds)])
    guards = [place for place, one in enumerate(found) if one.body["kind"] in ("NetworkPolicy", "SecurityPolicy")]
    waiting = {one.body["kind"]: one.after for one in found if one.after}
    assert waiting == {"HTTPRoute": tuple(guards), "GRPCRoute": tuple(guards)}
    assert all(max(one.after) < place for place, one in enumerate(found) if one.after)


def test_nobody_is_let_in_before_the_fence_stands() -> None:
    """T5: a run that is killed in between leaves a namespace without people rather than people without bounds."""
    kinds = ("RoleBinding", "ResourceQuota", "LimitRange", "ConfigMap", "NetworkPolicy")
    spaces = [[body("Namespace", name), *(body(kind, kind.lower(), name) for kind in kinds)] for name in ("a", "b")]
    found = declared([body("RoleBinding", "readers", "catalogue"), *(one for space in spaces for one in space)])
    fence = {one.name: {found[place].name for place in one.fence} for one in found if one.body["kind"] == "RoleBinding"}
    assert fence == {"catalogue.readers": set()} | {
        f"{name}.rolebinding": {f"{name}.resourcequota", f"{name}.limitrange", f"{name}.networkpolicy"}
        for name in ("a", "b")
    }
    assert all(max(one.fence) < place for place, one in enumerate(found) if one.fence)
