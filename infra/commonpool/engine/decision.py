"""What is to be done with one Kubernetes object, and what the program gets to see of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonpool.engine import readiness
from commonpool.engine.event import Operation
from commonpool.engine.index import Drift
from commonpool.engine.record import Identity, Record
from commonpool.engine.unknown import UNKNOWN


@dataclass(frozen=True)
class Decision:
    """What to do with one object and why; `force` takes drifted fields back."""

    operation: Operation
    reason: str = ""
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """What the program gets to see of the resource: the live object, or in a preview what is known of it."""

    identity: Identity
    live: Mapping[str, Any]
    known: bool = True


def decide(record: Record | None, drift: Drift, identity: Identity, digest: str) -> Decision:
    """Compare what is declared with what was applied and with what stands. Pure."""
    if record is None:
        return Decision(Operation.CREATE, "it is declared and not there yet")
    if record.identity != identity:
        return Decision(Operation.REPLACE, f"its identity changes from {record.identity} to {identity}")
    if drift in (Drift.MISSING, Drift.REPLACED, Drift.DELETING):
        return Decision(Operation.CREATE, drift.value)
    if record.digest != digest:
        return Decision(Operation.UPDATE, "its declaration changed")
    if drift is Drift.CHANGED:
        return Decision(Operation.UPDATE, drift.value, force=True)
    return Decision(Operation.SAME)


def announced(body: dict[str, Any]) -> dict[str, Any]:
    """What a preview tells a program of an object that does not exist yet: addresses come with it, so they are unknown."""
    if body["kind"] != "Service" or body["apiVersion"] != "v1":
        return body
    return {**body, "spec": {"clusterIP": UNKNOWN, "clusterIPs": UNKNOWN, **body.get("spec", {})}}


def unskipped(live: Mapping[str, Any]) -> dict[str, Any]:
    """The object without its wish not to be waited for: whether it is ready is asked all the same."""
    metadata = live["metadata"]
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key != readiness.SKIP}
    return {**live, "metadata": {**metadata, "annotations": annotations}}
