"""The weights of a service's backends in its live routes, moved under a field manager of their own.

Rendering takes them from the record of the cut-over (`recorded`), so that applying the estate does not move them back; who
does not know the record and would, is refused by the API server with this manager's name.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from commonpool.engine.cluster import Cluster
from commonpool.engine.error import EngineError, Stale, UnknownKind
from commonpool.model import SharedService

MANAGER = "commonpool-cut-over"
GATEWAY = "gateway.networking.k8s.io"
KINDS = {"HTTP": ("v1", "HTTPRoute"), "GRPC": ("v1", "GRPCRoute"), "TCP": ("v1", "TCPRoute"), "TLS": ("v1", "TLSRoute")}
TRIES = 20
ACCEPTED_SECONDS = 15.0
PAUSE_SECONDS = 0.05
Route = Mapping[str, Any]


class NotAccepted(EngineError):
    """The proxy does not take the route; the weights of before go on holding."""

    code = "route_not_accepted"


def backends_by_object(service: SharedService) -> dict[str, str]:
    """The backends' names by the name of the object that routes refer to."""
    found = {f"{service.name}-{backend.name}": backend.name for backend in service.spec.backends}
    return found | dict([(service.name, backend.name) for backend in service.spec.backends if backend.pods])


async def routes(cluster: Cluster, service: SharedService) -> list[dict[str, Any]]:
    """The live routes of a service; none before it was applied."""
    if service.spec.endpoint is None:
        return []
    version, kind = KINDS[service.spec.endpoint.protocol]
    try:
        items, _ = await cluster.list_objects(f"{GATEWAY}/{version}", kind, namespace=service.namespace_name)
    except UnknownKind:
        return []
    return [{"apiVersion": f"{GATEWAY}/{version}", "kind": kind, **item} for item in items]


def moved(route: Route, service: SharedService, weights: Mapping[str, int]) -> list[dict[str, Any]] | None:
    """The rules of a route with these weights of backends; None when they hold already. Pure."""
    names = backends_by_object(service)
    rules = [
        {
            **rule,
            **(
                {"backendRefs": [_weighted(one, names, weights) for one in rule["backendRefs"]]}
                if "backendRefs" in rule
                else {}
            ),
        }
        for rule in route["spec"].get("rules", ())
    ]
    return None if rules == route["spec"].get("rules", []) else rules


def _weighted(reference: Mapping[str, Any], names: Mapping[str, str], weights: Mapping[str, int]) -> dict[str, Any]:
    backend = names.get(reference["name"], "")
    return {**reference, "weight": weights[backend]} if backend in weights else dict(reference)


def mover(route: Route) -> str:
    """Who wrote the rules of a route last."""
    entries = [
        entry
        for entry in route["metadata"].get("managedFields", ())
        if "f:rules" in entry.get("fieldsV1", {}).get("f:spec", {})
    ]
    return str(max(entries, key=lambda one: one.get("time", ""))["manager"]) if entries else "somebody"


async def move(cluster: Cluster, service: SharedService, weights: Mapping[str, int]) -> str:
    """Make the live routes have these weights; returns who had other ones, or nothing when they held already.

    Raises `NotAccepted` when the proxy refuses a route, and `EngineError`.
    """
    names = await asyncio.gather(*(_move(cluster, service, one, weights) for one in await routes(cluster, service)))
    return next((name for name in names if name), "")


async def _move(cluster: Cluster, service: SharedService, route: dict[str, Any], weights: Mapping[str, int]) -> str:
    found: dict[str, Any] | None = route
    for _ in range(TRIES):
        if found is None:
            return ""
        rules = moved(found, service, weights)
        if rules is None:
            await _accepted(cluster, found)
            return ""
        metadata = {key: found["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
        body = {
            "apiVersion": route["apiVersion"],
            "kind": route["kind"],
            "metadata": metadata,
            "spec": {"rules": rules},
        }
        try:
            applied = await cluster.apply(body, force=True, field_manager=MANAGER)
        except Stale:
            found = await cluster.read(route["apiVersion"], route["kind"], metadata["namespace"], metadata["name"])
            continue
        await _accepted(cluster, applied)
        return mover(found)
    raise Stale(f"the route {route['metadata']['name']} changes faster than it can be written")


async def _accepted(cluster: Cluster, route: Route) -> None:
    """Return when the proxy's control plane has taken this generation of the route. Raises `NotAccepted`."""
    metadata, deadline = route["metadata"], time.monotonic() + ACCEPTED_SECONDS
    found: Route | None = route
    while found is not None:
        words = objections(found, metadata["generation"])
        if words is None:
            return
        if time.monotonic() > deadline:
            raise NotAccepted(f"{route['kind']} {metadata['namespace']}/{metadata['name']}: {'; '.join(words)}")
        await asyncio.sleep(PAUSE_SECONDS)
        found = await cluster.read(route["apiVersion"], route["kind"], metadata["namespace"], metadata["name"])


def objections(route: Route, generation: int) -> Sequence[str] | None:
    """What the control plane has against a route; None when it took this generation. Pure."""
    parents = route.get("status", {}).get("parents", ())
    if not parents:
        return ["the proxy has not looked at it yet"]
    found = []
    for parent in parents:
        for condition in parent.get("conditions", ()):
            if condition["type"] not in ("Accepted", "ResolvedRefs"):
                continue
            if condition.get("observedGeneration", 0) < generation:
                found.append("the proxy has not looked at it yet")
            elif condition["status"] != "True":
                found.append(f"{condition['reason']}: {condition.get('message', '')}")
    return found or None
