"""What the proxy's control plane and Envoy have against the objects of services. Reads statuses; changes nothing."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from commonpool.engine.cluster import Cluster
from commonpool.engine.error import UnknownKind
from commonpool.model import SharedService
from commonpool.proxy import weights

ENVOY = "gateway.envoyproxy.io/v1alpha1"
KINDS = (
    (ENVOY, "BackendTrafficPolicy"),
    (ENVOY, "SecurityPolicy"),
    (ENVOY, "ClientTrafficPolicy"),
    (ENVOY, "EnvoyExtensionPolicy"),
    (ENVOY, "EnvoyPatchPolicy"),
    (ENVOY, "Backend"),
    (f"{weights.GATEWAY}/v1", "BackendTLSPolicy"),
    (f"{weights.GATEWAY}/v1", "Gateway"),
)
OWN = "app.kubernetes.io/managed-by=commonpool"  # a cluster may have Gateways of somebody else's
# It changes the filter that looks at tokens, which listeners have while there is a route to look for.
_NEEDS_ROUTES = ("EnvoyPatchPolicy", "known-tokens")
_WITH_TOKENS = frozenset({"HTTPRoute", "GRPCRoute"})
_WANTED = frozenset({"Accepted", "Programmed", "ResolvedRefs"})


async def complaints(cluster: Cluster, service: SharedService | None = None) -> list[str]:
    """One line for each object that is not taken as it is declared: of a service, or of all."""
    namespace = service.namespace_name if service else ""

    async def of_kind(api_version: str, kind: str) -> tuple[str, list[dict[str, Any]]]:
        try:
            items, _ = await cluster.list_objects(api_version, kind, selector=OWN, namespace=namespace)
        except UnknownKind:
            return kind, []
        return kind, items

    routes = ((f"{weights.GATEWAY}/{version}", kind) for version, kind in weights.KINDS.values())
    return lines(dict(await asyncio.gather(*(of_kind(*one) for one in (*KINDS, *routes)))))


def lines(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The complaints about objects by kind. Pure."""
    routed = any(found.get(kind) for kind in _WITH_TOKENS)
    return [
        line
        for kind, items in found.items()
        for item in items
        if routed or (kind, item["metadata"]["name"]) != _NEEDS_ROUTES
        for line in _lines(kind, item)
    ]


def _lines(kind: str, item: Mapping[str, Any]) -> list[str]:
    if not kind.endswith("Route"):
        return objections(kind, item)
    words = weights.objections(item, item["metadata"]["generation"]) or ()
    return [f"{kind} {item['metadata']['name']}: {one}" for one in words]


def objections(kind: str, item: Mapping[str, Any]) -> list[str]:
    """The conditions of an object that are not as they should be. Pure."""
    name = item["metadata"]["name"]
    return [
        f"{kind} {name}: {one['reason']}: {one.get('message', '')}"
        for one in _conditions(item.get("status", {}))
        if one["type"] in _WANTED and one["status"] == "False"
    ]


def _conditions(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("conditions", ())
    for ancestor in (*status.get("ancestors", ()), *status.get("listeners", ())):
        yield from ancestor.get("conditions", ())
