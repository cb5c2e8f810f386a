"""What stands in the pool of one stack's objects: one metadata list per kind, compared with the records.

No spec is read. An object counts as drifted when it is gone, is another object of the same name, or when somebody
changed a field that we own (see `managed_fields`). Objects that are only patched carry no label of ours, so their
kinds are listed whole.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any

from commonpool.engine.cluster import Cluster
from commonpool.engine.clusters import provider_urn
from commonpool.engine.error import CredentialRefused, EngineError, KubeconfigInvalid, Refused, Unreachable
from commonpool.engine.managed_fields import applied_entries
from commonpool.engine.record import PART_OF, RESOURCE, Identity, Record, sealed
from commonpool.engine.state import Kind, State

UNNAMED_SECONDS = 5.0  # a kind that no record names is asked for no longer: it may be broken for days
Place = tuple[str, Identity]  # (provider, identity)
Connect = Callable[[str], Awaitable[Cluster]]


class Drift(StrEnum):
    """How a live object differs from its record, as words for a reason."""

    NONE = ""
    MISSING = "it was deleted outside of this stack"
    DELETING = "somebody is deleting it"
    REPLACED = "an object of the same name but another uid stands in its place"
    CHANGED = "somebody changed a field that this stack owns"


@dataclass
class Index:
    """Live metadata by place, for the kinds in `listed`: of our own objects, and of those that we only patch.

    Instead of `managedFields`, which are most of a list, `applied` has their digests: made while other lists are under way.
    """

    live: dict[Place, Mapping[str, Any]] = field(default_factory=dict)
    patched: dict[Place, Mapping[str, Any]] = field(default_factory=dict)
    listed: set[Kind] = field(default_factory=set)
    unseen: dict[Kind, str] = field(default_factory=dict)  # what should have been listed and could not be, and why
    # Providers whose cluster does not let us in by what is remembered of it: the program may know better by now.
    closed: dict[str, EngineError] = field(default_factory=dict)

    def drift(self, record: Record) -> Drift:
        """Compare one record with what stands. Raises when its cluster could not be looked at."""
        if record.provider in self.closed:
            raise self.closed[record.provider]
        found = (self.patched if record.patch else self.live).get((record.provider, record.identity))
        if found is None:
            return Drift.NONE if record.transient and not record.unready else Drift.MISSING
        if found["metadata"]["uid"] != record.uid:
            return Drift.REPLACED
        if found["metadata"].get("deletionTimestamp") and not record.patch:
            return Drift.DELETING
        return Drift.NONE if found["applied"].get(record.owner, "") == record.fields else Drift.CHANGED

    def standing(self) -> Iterable[tuple[Place, Mapping[str, Any]]]:
        """All that stands, patched objects of others included."""
        return chain(self.live.items(), self.patched.items())

    def leftovers(self, state: State) -> list[tuple[str, Mapping[str, Any]]]:
        """(provider, object) of ours that a killed run applied but could not record: sealed, and without a record."""
        seen = {record.uid for record in state.records.values()}  # two providers may speak to one cluster
        others = [(place, found) for place, found in self.live.items() if found["metadata"]["uid"] not in seen]
        known = {(record.provider, record.identity) for record in state.records.values()} if others else set()
        result = []
        for place, found in others:
            uid = found["metadata"]["uid"]
            if place not in known and uid not in seen and sealed(state.key, found):
                seen.add(uid)
                result.append((place[0], found))
        return result

    def smuggled(self, state: State) -> list[Mapping[str, Any]]:
        """Objects that carry our membership label but neither a record nor a valid seal: never touched, reported."""
        uids = {record.uid for record in state.records.values()}
        return [
            found
            for found in self.live.values()
            if found["metadata"]["uid"] not in uids and not sealed(state.key, found) and not _copies_labels(found)
        ]


def _copies_labels(found: Mapping[str, Any]) -> bool:
    """Controllers copy the labels of what they work for: of Services to their endpoints, of templates to pods."""
    return found["kind"] in ("Endpoints", "EndpointSlice") or bool(found["metadata"].get("ownerReferences"))


def unseen_words(unseen: Mapping[Kind, str]) -> str:
    """What could not be looked at, for a person, with the first reason. Pure."""
    kinds = sorted({f"{api_version} {kind}" for _, api_version, kind in unseen})
    return f"could not look at {', '.join(kinds)} ({next(iter(unseen.values()))})"


def urn_of(live: Mapping[str, Any]) -> str:
    """The resource that an object says it belongs to."""
    return str(live["metadata"].get("annotations", {}).get(RESOURCE, ""))


async def complete(index: Index, connect: Connect, state: State, *, everything: bool) -> None:
    """List what the records name; `everything` asks for every kind, for the run after one that was killed."""
    wanted = state.kinds()
    await asyncio.gather(*(_list_patched(index, connect, kind) for kind in state.patched_kinds()))
    await extend(index, connect, state, wanted)
    if everything:
        for provider in {"", *state.providers} - set(map(provider_urn, index.closed)):
            with _noting_closed(index, provider):
                cluster = await connect(provider)
                others = {(provider, kind.api_version, kind.kind) for kind in await cluster.kinds()} - wanted
                await asyncio.gather(*(_list_where_possible(index, connect, state, kind) for kind in others))
        _forgive_versions(index)


def _forgive_versions(index: Index) -> None:
    """What was listed in one version has been seen, also where another version needs a converter that is away."""
    seen = {(provider, version.rpartition("/")[0], kind) for provider, version, kind in index.listed}
    for provider, version, kind in list(index.unseen):
        if (provider, version.rpartition("/")[0], kind) in seen:
            del index.unseen[provider, version, kind]


async def _list_where_possible(index: Index, connect: Connect, state: State, kind: Kind) -> None:
    """A kind that no record names. One that does not answer stops no run, which can hardly have made anything of it."""
    for _ in range(2):
        try:
            index.live |= await _metadata(connect, kind, f"{PART_OF}={state.part_of}", UNNAMED_SECONDS)
            index.listed.add(kind)
        except Refused as error:
            if error.status != 403:  # a credential that may not even list a kind has made nothing of it
                index.unseen[kind] = str(error)
        except Unreachable as error:
            index.unseen[kind] = str(error)
            await (await connect(kind[0])).version()  # raises where it is the whole server that is away
            continue
        else:
            index.unseen.pop(kind, None)
        return


async def extend(index: Index, connect: Connect, state: State, wanted: Iterable[Kind]) -> None:
    """Add kinds to an index; those that are listed already cost nothing."""
    missing = [kind for kind in sorted(wanted) if kind not in index.listed]
    index.listed.update(missing)
    await asyncio.gather(*(_list(index, connect, state, kind) for kind in missing))


async def again(index: Index, connect: Connect, state: State, provider: str) -> None:
    """List anew what the records name of one provider, which speaks to its cluster in another way by now."""
    index.closed.pop(provider, None)
    for found in (index.live, index.patched):
        for place in [place for place in found if place[0] == provider]:
            del found[place]
    index.listed -= {kind for kind in index.listed if kind[0] == provider}
    await asyncio.gather(
        *(_list_patched(index, connect, kind) for kind in state.patched_kinds() if kind[0] == provider)
    )
    await extend(index, connect, state, {kind for kind in state.kinds() if kind[0] == provider})


async def _list(index: Index, connect: Connect, state: State, wanted: Kind) -> None:
    with _noting_closed(index, wanted[0]):
        index.live |= await _metadata(connect, wanted, f"{PART_OF}={state.part_of}")


async def _list_patched(index: Index, connect: Connect, wanted: Kind) -> None:
    with _noting_closed(index, wanted[0]):
        index.patched |= await _metadata(connect, wanted, "")


@contextmanager
def _noting_closed(index: Index, provider: str) -> Iterator[None]:
    try:
        yield
    except (CredentialRefused, KubeconfigInvalid, Unreachable) as error:
        if not provider:  # the pool itself
            raise
        index.closed[provider] = error


async def _metadata(
    connect: Connect, wanted: Kind, selector: str, patience: float | None = None
) -> dict[Place, Mapping[str, Any]]:
    provider, api_version, kind = wanted
    cluster = await connect(provider)
    try:
        items, _ = await cluster.list_objects(
            api_version, kind, selector=selector, metadata_only=True, patience=patience
        )
    except Refused as error:
        if error.status in (404, 405):
            return {}  # the kind is gone with its CustomResourceDefinition, and its objects with it
        raise
    group = api_version.rpartition("/")[0]
    found: dict[Place, Mapping[str, Any]] = {}
    for item in items:
        metadata = item["metadata"]
        if not metadata.get("uid"):
            continue  # it is reckoned and not kept, as the metrics of a pod are, with the pod's labels
        identity = Identity(group, kind, metadata.get("namespace", ""), metadata["name"])
        applied = applied_entries(metadata.pop("managedFields", ()))
        found[provider, identity] = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "applied": applied}
    return found
