"""Deleting what is no longer declared: backwards, each only when it is certainly ours, the protected ones never.

What lies in a namespace that goes is deleted with it by the API server, which has no order; routes go before, so that
none leads callers in while what guards it is gone already. An object goes only with its recorded UID as
precondition (or, after a killed run, with its seal), so that nobody gets something foreign deleted by a label.
"""

import asyncio
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from commonpool.engine import readiness
from commonpool.engine.cluster import Cluster
from commonpool.engine.decision import propagation
from commonpool.engine.deployment import Deployment
from commonpool.engine.error import EngineError, Protected, Refused, UnknownKind, Unreachable
from commonpool.engine.event import Change, Operation
from commonpool.engine.index import Drift, urn_of
from commonpool.engine.record import PART_OF, REPLACED, RESOURCE, SEAL, Identity, Record

_GATEWAY_API = "gateway.networking.k8s.io"
# As in pulumi-kubernetes: kinds whose deletion is not awaited either when `pulumi.com/skipAwait` says so.
_NOT_AWAITED = frozenset({"Namespace", "Pod", "ReplicationController", "DaemonSet", "Deployment", "StatefulSet", "Job"})


def doomed(run: Deployment) -> list[Record]:
    """The records that this run's program did not declare again, the last registered first. Pure.

    Not those of a unit that failed, of which not everything stands that is declared, nor what such a unit declares by now: it
    may have been refused just because it is somebody else's, with all that lies in it.
    """
    evaluated = run.selected
    claimed = {identity for unit in run.broken for identity in run.wanted[unit]}
    known_units = run.program.units
    result = []
    for urn, record in run.state.records.items():
        unit = run.state.unit_of[urn]
        skipped = evaluated is not None and unit != "" and unit not in evaluated
        if skipped and known_units is not None and unit in known_units:
            continue
        if unit in run.broken or not claimed.isdisjoint((record.identity, _home(record))):
            continue
        if urn not in run.registered:
            result.append(record)
    return sorted(result, key=lambda record: -record.order)


def refuse_protected(run: Deployment, records: Iterable[Record]) -> set[str]:
    """Report every protected one among them; the units of which nothing is deleted then, "" for what is of none."""
    victims = list(records)
    namespaces = _namespaces(victims)
    protected = [
        record
        for record in victims
        if record.protect or (record.retain and (record.provider, record.identity.namespace) in namespaces)
    ]
    for record in protected:
        option, words = (
            ("protect", "is protected and would be deleted")
            if record.protect
            else ("retain_on_delete", "is to be kept, but its namespace would be deleted")
        )
        error = Protected(f"{record.identity} {words}")
        error.next_step = (
            f"declare it again, or take `{option}` off in its declaration and run `up` once before removing it; "
            "`destroy --exclude-protected` deletes the rest"
        )
        run.fail(record.urn, error)
    return {run.state.unit_of[record.urn] for record in protected}


def _home(record: Record) -> Identity:
    """The namespace in which it lies."""
    return Identity("", "Namespace", "", record.identity.namespace)


def _is_namespace(record: Record) -> bool:
    """Whether it is a namespace itself, and not a few fields on somebody's."""
    return record.identity.kind == "Namespace" and not record.identity.group and not record.patch


def _namespaces(victims: Iterable[Record]) -> set[tuple[str, str]]:
    """The namespaces that go, by provider and name."""
    return {
        (record.provider, record.identity.name) for record in victims if _is_namespace(record) and not record.retain
    }


def _is_route(record: Record) -> bool:
    return record.identity.group == _GATEWAY_API and record.identity.kind.endswith("Route") and not record.patch


def unprotected(records: Iterable[Record]) -> list[Record]:
    """The records that can go while every protected one stays, with its namespace and what it depends on. Pure."""
    victims = list(records)
    kept: list[Record] = []
    while True:
        urns = {urn for record in kept for urn in record.dependencies}
        places = {(record.provider, record.identity.namespace) for record in kept}
        staying = [
            record
            for record in victims
            if record.protect
            or record.urn in urns
            or (_is_namespace(record) and (record.provider, record.identity.name) in places)
        ]
        if not staying:
            return victims
        kept += staying
        victims = [record for record in victims if record not in staying]


async def sweep(run: Deployment, reason: str, records: list[Record] | None = None) -> None:
    """Delete what is doomed (or the given records); a preview only reports it."""
    victims = _without_renamed(run, doomed(run) if records is None else records)
    held = refuse_protected(run, victims)
    if held and records is not None:  # whoever destroys a stack means all of it, or says what is to stay
        return
    victims = [record for record in victims if run.state.unit_of[record.urn] not in held]
    leftovers = run.index.leftovers(run.state)  # before anything is forgotten that would look like one
    namespaces = _namespaces(victims)
    waiting: dict[str, asyncio.Task[None]] = {}
    dependents = _dependents(victims)
    limit = asyncio.Semaphore(run.options.parallel)
    for record in _dependents_first(victims, dependents):
        inside = (record.provider, record.identity.namespace) in namespaces and not _is_route(record)
        before = {urn: waiting[urn] for urn in dependents.get(record.urn, ()) if urn in waiting}
        waiting[record.urn] = asyncio.create_task(_delete(run, record, reason, inside, before, limit))
    await asyncio.gather(*waiting.values())
    if run.options.targets or run.interrupted:
        return
    await _sweep_leftovers(run, leftovers)


def _dependents(victims: list[Record]) -> dict[str, list[str]]:
    """What has to go before each of them, by URN: what depends on it, and before a namespace the routes in it."""
    found: dict[str, list[str]] = {}
    spaces = {(record.provider, record.identity.name): record.urn for record in victims if _is_namespace(record)}
    for record in victims:
        space = spaces.get((record.provider, record.identity.namespace)) if _is_route(record) else None
        for urn in (*record.dependencies, *([space] if space else ())):
            found.setdefault(urn, []).append(record.urn)
    return found


def _dependents_first(victims: list[Record], dependents: Mapping[str, list[str]]) -> list[Record]:
    """The victims in an order in which each comes after all that depends on it, also where that was said later on."""
    by_urn = {record.urn: record for record in victims}
    graph = {urn: dependents.get(urn, ()) for urn in by_urn}
    try:
        return [by_urn[urn] for urn in TopologicalSorter(graph).static_order()]
    except CycleError:  # of runs with targets, which left some records as they were
        return victims


def _without_renamed(run: Deployment, records: list[Record]) -> list[Record]:
    """The records whose object no other record stands for; the others are only forgotten.

    A resource that got another name in the program finds its object again by an alias or, without one, by the seal.
    """
    going = {record.urn for record in records}
    kept = {record.uid for urn, record in run.state.records.items() if urn not in going and not record.patch}
    renamed = [record for record in records if record.urn in run.continued or (record.uid in kept and not record.patch)]
    if not run.preview:
        for record in renamed:
            run.state.drop(record.urn)
    return [record for record in records if record not in renamed]


async def _delete(
    run: Deployment,
    record: Record,
    reason: str,
    inside: bool,
    before: Mapping[str, asyncio.Task[None]],
    limit: asyncio.Semaphore,
) -> None:
    if before:
        await asyncio.wait(before.values())
    async with limit:
        if run.interrupted:
            return
        try:
            if left := sorted(run.state.records[urn].identity for urn in before if urn in run.failed):
                raise Refused(
                    f"{record.identity} is left as it is, because what depends on it is: {', '.join(map(str, left))}"
                )
            await _delete_one(run, record, reason, inside)
        except Unreachable as error:
            if record.provider and run.clusters.gives_up(record.provider):
                await _forget(run, record, error)
            else:
                run.fail(record.urn, error)
        except EngineError as error:
            run.fail(record.urn, error)


async def _forget(run: Deployment, record: Record, error: Unreachable) -> None:
    """Give up what is in a cluster that does not answer, as its provider wants it."""
    await run.begin_writing()
    unit = run.state.unit_of[record.urn]
    run.state.drop(record.urn)
    run.report(_change(record, unit, f"it is forgotten (deleteUnreachable): {error}"))


async def _delete_one(run: Deployment, record: Record, reason: str, inside: bool) -> None:
    words, unit = reason, run.state.unit_of.get(record.urn, "")
    if record.retain:
        words = f"{reason}; the object itself is kept (retain_on_delete)"
    elif record.deleted_with and record.deleted_with not in run.registered:
        words = f"{reason}; it goes together with {record.deleted_with.rsplit('::', 1)[-1]}"
    elif inside:
        words = f"{reason}; it goes with its namespace"
    elif not run.preview:
        await _delete_live(run, record)
    if not run.preview:
        if record.retain:
            await let_go(run, record)
        run.state.drop(record.urn)
    if record.urn.partition(REPLACED)[0] not in run.registered:  # a replacement has been reported as one
        run.report(_change(record, unit, words))


async def _delete_live(run: Deployment, record: Record) -> None:
    await run.begin_writing()
    cluster = await run.clusters.connect(record.provider)
    place, version = record.identity, await _version(cluster, record)
    if not version:
        return
    if record.patch:
        await _give_back(cluster, version, record)
        return
    if run.index.drift(record) is Drift.REPLACED:
        run.note(f"{place} is another object by now (uid differs); it is left alone")
        return
    live = run.index.live.get((record.provider, place), {"metadata": {}})
    annotations = live["metadata"].get("annotations") or {}
    gone = not await cluster.delete(
        version, place.kind, place.namespace, place.name, uid=record.uid, propagation=propagation(place, annotations)
    )
    skipped = str(annotations.get(readiness.SKIP, "")).lower() == "true" and place.kind in _NOT_AWAITED
    if gone or skipped or not run.options.wait:
        return
    key = (version, place.kind, place.namespace, place.name)
    limits = {"create": record.delete_timeout} if record.delete_timeout else {}
    shown = {"kind": place.kind, "metadata": {"name": place.name, "annotations": annotations}}
    timeout = readiness.timeout_of(shown, limits, run.options.timeout)
    await run.unless_interrupted(readiness.wait_gone(cluster, key, record.uid, timeout=timeout), None)


async def _version(cluster: Cluster, record: Record) -> str:
    """The apiVersion in which the object can be had; empty when its kind is served no more, and the object gone with it."""
    try:
        return (await cluster.kind(record.api_version, record.identity.kind)).api_version
    except UnknownKind:
        return await cluster.version_serving(record.identity.group, record.identity.kind)


async def _give_back(cluster: Cluster, version: str, record: Record) -> None:
    """A patch ends by owning nothing: an apply of the bare object under the patch's own manager."""
    place = record.identity
    if await cluster.read(version, place.kind, place.namespace, place.name) is None:
        return
    metadata = {"name": place.name} | ({"namespace": place.namespace} if place.namespace else {})
    body = {"apiVersion": version, "kind": place.kind, "metadata": metadata}
    await cluster.apply(body, force=True, field_manager=record.owner)


async def let_go(run: Deployment, record: Record) -> None:
    """Take our marks off a retained object, so that no later run mistakes it for a leftover."""
    await run.begin_writing()
    cluster = await run.clusters.connect(record.provider)
    place, drift = record.identity, run.index.drift(record)
    if record.patch or drift is Drift.REPLACED or not (version := await _version(cluster, record)):
        return
    if drift is Drift.MISSING:  # unless it is only had in another version by now
        found = await cluster.read(version, place.kind, place.namespace, place.name)
        if found is None or found["metadata"]["uid"] != record.uid:
            return
    marks = {"metadata": {"labels": {PART_OF: None}, "annotations": {RESOURCE: None, SEAL: None}}}
    await cluster.merge_patch(version, place.kind, place.namespace, place.name, marks)


async def _sweep_leftovers(run: Deployment, leftovers: list[tuple[str, Mapping[str, Any]]]) -> None:
    """Objects of a killed run that no record names and that nobody declares any more."""
    for provider, live in leftovers:
        urn = urn_of(live)
        if urn in run.registered or urn in run.state.records or live["metadata"].get("deletionTimestamp"):
            continue
        metadata = live["metadata"]
        place = Identity.of(live)
        if not run.preview:
            await run.begin_writing()
            cluster = await run.clusters.connect(provider)
            await cluster.delete(live["apiVersion"], place.kind, place.namespace, place.name, uid=metadata["uid"])
        record = Record(urn, live["apiVersion"], place, metadata["uid"], "", "", 0, provider)
        run.report(_change(record, "", "an interrupted run had made it, and nothing declares it"))


def _change(record: Record, unit: str, reason: str) -> Change:
    place = record.identity
    return Change(
        Operation.DELETE,
        record.urn,
        record.type,
        record.api_version,
        place.kind,
        place.namespace,
        place.name,
        reason,
        unit=unit,
        kept=record.retain,
    )
