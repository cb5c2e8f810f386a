"""Waiting until objects are ready, or gone: a watch each while there are streams to spare, a look now and then if not.

An object that does not become ready stays applied; the error says what it says of itself, what its pods say, and which
command shows more. Waiting itself writes nothing.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from commonpool.engine.cluster import Cluster
from commonpool.engine.condition import READY, SKIP, Readiness, Surroundings, condition, pod_trouble, timeout_of
from commonpool.engine.error import EngineError, NotReady, Refused
from commonpool.engine.event import Event, Observer
from commonpool.engine.key import Key

__all__ = ["SKIP", "Readiness", "condition", "timeout_of", "wait_gone", "wait_ready"]

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0
QUIET_SECONDS = 1.0  # what is ready sooner than this is not worth a report; also how often one is made
AGAIN = 10  # every so many of them it is said again, and what the pods say: who watches need not wait for the end
NO_PODS_SECONDS = 5.0  # a Service whose pods nobody has made by then is not waited for: they may come after it
PODS_SHOWN = 3
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_LOOKED_AROUND = frozenset({"Service", "PersistentVolumeClaim"})
_WITH_PODS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Service"})


async def wait_ready(
    cluster: Cluster, key: tuple[str, str, str, str], live: dict[str, Any], *, timeout: float, observer: Observer
) -> dict[str, Any]:
    """The object once it is ready. Raises `NotReady`; `live` is what the apply answered, `timeout` is in seconds."""
    place = Key(*key)
    started = time.monotonic()
    now = READY

    async def tell() -> None:
        told = ""
        for look in itertools.count(1):
            await asyncio.sleep(QUIET_SECONDS)
            again = look % AGAIN == 0
            if now.message != told or again:
                told = now.message
                pods = await _pods_words(cluster, place, live) if again else ""
                observer(Event("wait", f"{place}: {told}{pods}"))

    telling = asyncio.create_task(tell(), name=f"waiting for {place}")
    try:
        async with asyncio.timeout(timeout), aclosing(_states(cluster, place, live)) as states:
            async for live in states:
                now = await _judge(cluster, place, live, time.monotonic() - started)
                if now.ready:
                    return live
                if now.failed:
                    break
    except TimeoutError:
        pass
    finally:
        telling.cancel()
    why = "failed" if now.failed else f"is not ready after {timeout:.0f} s"
    pods = await _pods_words(cluster, place, live)
    raise NotReady(f"{place} {why}: {now.message}{pods}. More: {_kubectl(place)}")


async def wait_gone(cluster: Cluster, key: tuple[str, str, str, str], uid: str, *, timeout: float) -> None:
    """Return when the object of this uid is gone. Raises `NotReady` when it stays, with what holds it."""
    place = Key(*key)
    live: dict[str, Any] | None = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            for pause in _pauses():
                live = await cluster.read(*place)
                if live is None or live["metadata"]["uid"] != uid:
                    cluster.note_room(place.namespace)
                    return
                await asyncio.sleep(pause)
    raise NotReady(f"{place} is still being deleted after {timeout:.0f} s{_held_by(live)}. More: {_kubectl(place)}")


async def _states(cluster: Cluster, place: Key, live: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """The object as it is now, and then whenever it may have changed."""
    yield live
    if place.kind in _LOOKED_AROUND or cluster.streams.locked():
        async for found in _looks(cluster, place):
            yield found
        return
    try:
        async with cluster.streams, aclosing(_changes(cluster, place, live)) as changes:
            async for kind, found in changes:
                if kind == "DELETED":
                    raise _vanished(place)
                yield {"apiVersion": place.api_version, "kind": place.kind, **found}
    except Refused as error:
        if error.status not in (403, 405):
            raise
        async for found in _looks(cluster, place):  # who may not watch may still read
            yield found


def _changes(cluster: Cluster, place: Key, live: Mapping[str, Any]) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    return cluster.watch(
        place.api_version,
        place.kind,
        namespace=place.namespace,
        field_selector=f"metadata.name={place.name}",
        version=live["metadata"]["resourceVersion"],
    )


async def _looks(cluster: Cluster, place: Key) -> AsyncGenerator[dict[str, Any], None]:
    for pause in _pauses():
        await asyncio.sleep(pause)
        found = await cluster.read(*place)
        if found is None:
            raise _vanished(place)
        yield found


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def _vanished(place: Key) -> NotReady:
    return NotReady(f"{place} was deleted by somebody else while its readiness was awaited")


async def _judge(cluster: Cluster, place: Key, live: Mapping[str, Any], waited: float) -> Readiness:
    now = condition(live)
    if now.ready or now.failed or place.kind not in _LOOKED_AROUND:
        return now
    around = await _around(cluster, place, live)
    now = condition(live, around)
    if around.endpoints == 0 and around.pods == 0 and waited > NO_PODS_SECONDS:
        return Readiness(True, message="no pod matches its selector yet; not waited for")
    return now


async def _around(cluster: Cluster, place: Key, live: Mapping[str, Any]) -> Surroundings:
    """What decides on a Service or a claim besides itself. Who may not look at it does not wait for it."""
    try:
        if place.kind == "PersistentVolumeClaim":
            return Surroundings(binding=await _binding_mode(cluster, live))
        selector = f"kubernetes.io/service-name={place.name}"
        slices, _ = await cluster.list_objects(
            "discovery.k8s.io/v1", "EndpointSlice", namespace=place.namespace, selector=selector
        )
        endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or ()]
        ready = sum((endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints)
        pods = 1 if ready else len(await _pods(cluster, place, live, metadata_only=True))
    except EngineError:
        return Surroundings(endpoints=1, pods=1, binding="")
    return Surroundings(endpoints=ready, pods=pods)


async def _binding_mode(cluster: Cluster, live: Mapping[str, Any]) -> str:
    name = live.get("spec", {}).get("storageClassName")
    classes, _ = await cluster.list_objects("storage.k8s.io/v1", "StorageClass")
    for item in classes:
        metadata = item["metadata"]
        default = (metadata.get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
        if metadata["name"] == name or (name is None and default):
            return str(item.get("volumeBindingMode") or "")
    return ""


async def _pods(
    cluster: Cluster, place: Key, live: Mapping[str, Any], *, metadata_only: bool = False
) -> list[dict[str, Any]]:
    selector = live.get("spec", {}).get("selector") or {}
    labels = selector if place.kind == "Service" else selector.get("matchLabels") or {}
    if not labels:
        return []
    words = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    pods, _ = await cluster.list_objects(
        "v1", "Pod", namespace=place.namespace, selector=words, metadata_only=metadata_only
    )
    return pods


async def _pods_words(cluster: Cluster, place: Key, live: Mapping[str, Any]) -> str:
    """What the pods that are not ready say, the newest first, each trouble once."""
    if place.kind not in _WITH_PODS:
        return ""
    try:
        pods = await _pods(cluster, place, live)
    except EngineError:
        return ""
    pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    troubles = {trouble: pod["metadata"]["name"] for pod in reversed(pods) if (trouble := pod_trouble(pod))}
    shown = [f"pod {name}: {trouble}" for trouble, name in list(troubles.items())[:PODS_SHOWN]]
    return f"; {'; '.join(shown)}" if shown else ""


def _held_by(live: Mapping[str, Any] | None) -> str:
    if live is None:
        return ""
    metadata, conditions = live["metadata"], (live.get("status") or {}).get("conditions") or ()
    words = [str(item.get("message")) for item in conditions if item.get("status") == "True" and item.get("message")]
    holders = [*metadata.get("finalizers", ()), *(live.get("spec") or {}).get("finalizers", ())]
    if live["kind"] == "Namespace" and words:
        return f": {'; '.join(words)}"
    return f", held by {', '.join(holders)}" if holders else ""


def _kubectl(place: Key) -> str:
    group = place.api_version.rpartition("/")[0]
    kind = f"{place.kind.lower()}.{group}" if group else place.kind.lower()
    return f"kubectl describe {kind} {place.name}{f' -n {place.namespace}' if place.namespace else ''}"
