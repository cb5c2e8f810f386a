"""Where the record of a cut-over and all of its decisions are kept: one ConfigMap of the platform for each service.

Every write carries the resourceVersion that was read, so of two who decide at the same time one loses and reads again. The
namespace is the platform's, not the service's: whoever may write there could approve what others must.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from commonpool.components.rendering import PREFIX
from commonpool.engine.cluster import Cluster
from commonpool.engine.error import Refused, Stale, StateDamaged
from commonpool.engine.state import NAMESPACE
from commonpool.model import SharedService
from commonpool.proxy.cut_over import Decision
from commonpool.proxy.record import Record

LABEL = f"{PREFIX}/cut-over"
MOST = 1000  # decisions of one service: some 600 kB of the 1 MB that an object may have
TRIES = 20  # writers of one record are a few people and one engine


@dataclass(frozen=True)
class Kept:
    """What stands in the cluster, at one version."""

    record: Record
    decisions: tuple[Decision, ...]
    version: str = ""


def object_name(service: str) -> str:
    """The ConfigMap's name, and the Lease's."""
    return f"cut-over.{service}"


async def load(cluster: Cluster, service: str) -> Kept | None:
    """What is kept of a service's cut-over; None when there never was one. Raises `StateDamaged`."""
    found = await cluster.read("v1", "ConfigMap", NAMESPACE, object_name(service))
    return _kept(found) if found else None


async def load_all(cluster: Cluster) -> dict[str, Kept]:
    """What is kept of every service's cut-over."""
    items, _ = await cluster.list_objects("v1", "ConfigMap", namespace=NAMESPACE, selector=LABEL)
    kept = [_kept(item) for item in items]
    return {one.record.service: one for one in kept}


async def shares(cluster: Cluster, services: Iterable[SharedService]) -> dict[str, dict[str, int]]:
    """What the backends of services with a plan get now, by service; those whose move never began are left out."""
    kept = await load_all(cluster)
    found = {}
    for service in services:
        plan, one = service.spec.cut_over, kept.get(service.name)
        if plan and one and (plan.from_, plan.to) == (one.record.plan.from_, one.record.plan.to):
            found[service.name] = one.record.weights
    return found


def _kept(item: Mapping[str, Any]) -> Kept:
    data, metadata = item.get("data", {}), item["metadata"]
    try:
        record = Record.from_json(json.loads(data["record"]))
        decisions = tuple(Decision.from_json(json.loads(line)) for line in data["decisions"].splitlines())
    except (KeyError, TypeError, ValueError) as error:
        raise StateDamaged(
            f"the ConfigMap {NAMESPACE}/{metadata['name']} is no record of a cut-over: {error}. Restore it from a backup; "
            "or delete it, and the plan begins anew from the weights that the manifest declares"
        ) from error
    return Kept(record, decisions, metadata["resourceVersion"])


async def save(cluster: Cluster, before: Kept | None, record: Record, *decisions: Decision) -> Kept:
    """Write a record with further decisions over what was read. Raises `Stale` when somebody else wrote meanwhile."""
    if cluster.evidence is not None:
        for decision in decisions:
            await cluster.evidence.decided("cut-over.decided", {"service": record.service, **decision.to_json()})
    all_decisions = (*(before.decisions if before else ()), *decisions)[-MOST:]
    metadata: dict[str, Any] = {
        "name": object_name(record.service),
        "namespace": NAMESPACE,
        "labels": {LABEL: record.phase.value, f"{PREFIX}/service": record.service},
    }
    lines = "\n".join(json.dumps(one.to_json(), ensure_ascii=False) for one in all_decisions)
    data = {"record": json.dumps(record.to_json(), ensure_ascii=False), "decisions": lines}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    if before is None:
        try:
            found = await cluster.create(body)
        except Refused as error:
            if error.reason == "AlreadyExists":
                raise Stale(f"somebody else began the cut-over of {record.service} at the same moment") from error
            raise
    else:
        metadata["resourceVersion"] = before.version
        found = await cluster.replace(body)
    return Kept(record, all_decisions, found["metadata"]["resourceVersion"])


async def amend(cluster: Cluster, service: str, change: Callable[[Record], tuple[Record, Decision]]) -> Kept | None:
    """Change a record as a person asks, whoever else writes at the same time; None when there is none."""
    for _ in range(TRIES):
        before = await load(cluster, service)
        if before is None:
            return None
        record, decision = change(before.record)
        try:
            return await save(cluster, before, record, decision)
        except Stale:
            continue
    raise Stale(f"the record of {service} changes faster than it can be written")
