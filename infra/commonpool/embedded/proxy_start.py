"""Bringing the service proxy up in a running embedded pool: programs, kinds, and proof that it serves."""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.embedded import binaries, proxy
from commonpool.embedded.error import StartFailed
from commonpool.embedded.gateway_source import DEFINITIONS
from commonpool.embedded.preparation import random_key
from commonpool.envoy import admin

if TYPE_CHECKING:  # the client costs a quarter of a second of import; `status` and `stop` do without
    from commonpool.engine.cluster import Cluster

MANAGER = "commonpool-embedded"
GATEWAY_API = "gateway.networking.k8s.io/v1"
ESTABLISHED_SECONDS = 20.0
PAUSE_SECONDS = 0.2


def withdraw(place: proxy.Place) -> None:
    """Take the programs away unless these very ones were installed, so that a supervisor that starts now waits for `install`.

    Those that were find their kinds and rights in the API server, and need not wait for whoever starts the pool.
    """
    for component, program in binaries.proxy_programs().items():
        if place.program(component).resolve() != program.resolve():
            place.program(component).unlink(missing_ok=True)
    for note in (place.decided_ports, place.noted_rejections):
        note.unlink(missing_ok=True)


def stands(place: proxy.Place) -> bool:
    """Whether `install` was completed."""
    return all(place.program(component).exists() for component in proxy.COMPONENTS)


async def install(place: proxy.Place, cluster: "Cluster", observer: binaries.Observer) -> None:
    """Build what is missing, teach the API server its kinds, and let the supervisor start it. Raises `EmbeddedError`."""
    gateway = await asyncio.to_thread(binaries.built, binaries.ENVOY_GATEWAY, observer)
    envoy = await asyncio.to_thread(binaries.envoy, observer)
    await _define(place, cluster, gateway / DEFINITIONS)
    for body in proxy.bootstrap_objects(place, random_key(place.folder / "hmac.key")):
        await cluster.apply(body, field_manager=MANAGER)
    for component, program in (("envoy-gateway", gateway / "envoy-gateway"), ("envoy", envoy)):
        link = place.folder / f"{component}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(program)
        link.replace(place.program(component))


async def _define(place: proxy.Place, cluster: "Cluster", definitions: Path) -> None:
    """Apply the custom resource definitions unless these very ones were applied before."""
    content = definitions.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    marker = place.folder / "defined"
    if marker.exists() and marker.read_text() == digest:
        return
    bodies = json.loads(content)
    await asyncio.gather(*(cluster.apply(body, field_manager=MANAGER) for body in bodies))
    deadline = time.monotonic() + ESTABLISHED_SECONDS
    wanted = {kind for body in bodies for kind in _kinds(body)}
    # Discovery has what is established; the definitions themselves are megabytes.
    while waiting := wanted - {f"{one.kind} of {one.api_version}" for one in await cluster.kinds()}:
        if time.monotonic() > deadline:
            raise StartFailed(f"the API server does not serve {', '.join(sorted(waiting))}")
        await asyncio.sleep(PAUSE_SECONDS)
    marker.write_text(digest)


def _kinds(definition: dict[str, Any]) -> list[str]:
    """What a CustomResourceDefinition makes the API server serve."""
    spec = definition["spec"]
    served = [version["name"] for version in spec["versions"] if version["served"]]
    return [f"{spec['names']['kind']} of {spec['group']}/{version}" for version in served]


async def missing_ports(place: proxy.Place, cluster: "Cluster") -> set[int]:
    """The ports that Gateways of this pool declare and Envoy does not serve.

    Not those that cannot be served as things are: HTTPS without a certificate, while there is no service to have one for.
    """
    gateways, _ = await cluster.list_objects(GATEWAY_API, "Gateway")
    declared = {
        listener["port"]
        for gateway in gateways
        if gateway["spec"]["gatewayClassName"] == proxy.GATEWAY_CLASS
        for listener in gateway["spec"]["listeners"]
        if listener["name"] not in _unserved(gateway)
    }
    served = admin.serving_ports(place.admin) if declared else frozenset()
    return {port for port in declared if place.port(port) not in served}


def _unserved(gateway: Mapping[str, Any]) -> set[str]:
    """The listeners of which the controller says that they are not passed on to Envoy."""
    return {
        listener["name"]
        for listener in gateway.get("status", {}).get("listeners", ())
        for condition in listener["conditions"]
        if (condition["type"], condition["status"]) == ("Programmed", "False")
    }


async def await_serving(place: proxy.Place, cluster: "Cluster", seconds: float) -> set[int]:
    """Wait until Envoy serves every declared port; returns those that it still does not."""
    deadline = time.monotonic() + seconds
    while (missing := await missing_ports(place, cluster)) and time.monotonic() < deadline:
        await asyncio.sleep(PAUSE_SECONDS)
    return missing
