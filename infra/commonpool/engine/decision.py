"""What is to be done with one Kubernetes object, and what the program gets to see of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonpool.engine import readiness
from commonpool.engine.condition import BUILT_IN
from commonpool.engine.event import Operation
from commonpool.engine.index import Drift
from commonpool.engine.record import Identity, Record
from commonpool.engine.unknown import UNKNOWN

PROPAGATION = "pulumi.com/deletionPropagationPolicy"
_WITH_NOTHING = frozenset({"gateway.networking.k8s.io", "gateway.envoyproxy.io", "commonpool.dev"})
_POLICIES = {"orphan": "Orphan", "background": "Background", "foreground": "Foreground"}
_WITH_PODS = frozenset({"apps", "batch"})
_ON_NODES = ("NodePort", "LoadBalancer")


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


def announced(declared: Mapping[str, Any], tried: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a preview tells a program of an object that does not exist yet: addresses come with it, so they are unknown.

    `tried` is what the server answered when it was asked, with its defaults; its status is of nothing that stands.
    """
    shown = {key: value for key, value in (tried or declared).items() if key != "status"}
    spec = declared.get("spec", {})
    if declared["kind"] != "Service" or declared["apiVersion"] != "v1" or not isinstance(spec, Mapping):
        return shown
    given = {key: UNKNOWN for key in ("clusterIP", "clusterIPs") if key not in spec}
    shown["spec"] = {**shown.get("spec", {}), **given}
    ports = spec.get("ports")
    if spec.get("type") in _ON_NODES and isinstance(ports, list):
        found = shown["spec"]["ports"]
        shown["spec"]["ports"] = [_on_nodes(port, found[place]) for place, port in enumerate(ports)]
    return shown


def _on_nodes(declared: Any, shown: Any) -> Any:  # noqa: ANN401
    """A port whose number on the nodes the server chooses, another one each time that it is asked."""
    chosen = isinstance(declared, Mapping) and "nodePort" not in declared
    return {**shown, "nodePort": UNKNOWN} if chosen else shown


def propagation(place: Identity, annotations: Mapping[str, str]) -> str:
    """How the deletion of an object goes on to what stands below it, as the API server calls it.

    As in pulumi-kubernetes, pods, and who knows what of an operator's, are gone before the object is: what comes next may
    be what they stood on, or their successors. Routes and their policies have nothing below them that could be waited for.
    """
    of_others = place.group not in BUILT_IN and place.group not in _WITH_NOTHING
    holds = place.group in _WITH_PODS or of_others or place.kind == "ReplicationController"
    usual = "Foreground" if holds else "Background"
    return _POLICIES.get(str(annotations.get(PROPAGATION, "")).lower(), usual)


def unskipped(live: Mapping[str, Any]) -> dict[str, Any]:
    """The object without its wish not to be waited for: whether it is ready is asked all the same."""
    metadata = live["metadata"]
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key != readiness.SKIP}
    return {**live, "metadata": {**metadata, "annotations": annotations}}
