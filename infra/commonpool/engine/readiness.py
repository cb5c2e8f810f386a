"""When an applied object may be relied on: the conditions that pulumi-kubernetes awaits, and waiting for them.

`condition` is pure. Annotations as documented for pulumi-kubernetes: `pulumi.com/skipAwait`, `pulumi.com/timeoutSeconds`,
`pulumi.com/waitFor` (`jsonpath={…}`, `jsonpath={…}=value`, `condition=Type[=Status]`, or a JSON list of them).
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from commonpool.engine.cluster import Cluster
from commonpool.engine.error import EngineError, NotReady
from commonpool.engine.event import Event, Observer

SKIP, SECONDS, WAIT_FOR = "pulumi.com/skipAwait", "pulumi.com/timeoutSeconds", "pulumi.com/waitFor"
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between looks: most objects are ready within the first few
Key = tuple[str, str, str, str]  # apiVersion, kind, namespace, name


@dataclass(frozen=True)
class Readiness:
    """Whether an object may be relied on; `failed` means that waiting is of no use."""

    ready: bool
    message: str = ""
    failed: bool = False


READY = Readiness(True)


def condition(live: Mapping[str, Any]) -> Readiness:
    """How far an object is, by its kind's own rules. Pure."""
    annotations = live["metadata"].get("annotations") or {}
    if str(annotations.get(SKIP, "")).lower() == "true":
        return READY
    if annotations.get(WAIT_FOR):
        return _wait_for(live, str(annotations[WAIT_FOR]))
    rule = _RULES.get(live["kind"])
    return rule(live) if rule else READY


def timeout_of(live: Mapping[str, Any], custom: Mapping[str, str], default: float) -> float:
    """Seconds to wait: the annotation, else the resource's customTimeouts, else the run's own."""
    annotations = live["metadata"].get("annotations") or {}
    if str(annotations.get(SECONDS, "")).isdigit():
        return float(annotations[SECONDS])
    texts = [seconds(custom[verb]) for verb in ("create", "update") if verb in custom]
    return max(texts) if texts else default


def seconds(text: str) -> float:
    """A Go duration such as `1h30m`, `90s`, `250ms` in seconds; 0 for anything else."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)(ms|h|m|s)", text))


def _workload(live: Mapping[str, Any]) -> Readiness:
    spec, status = live.get("spec", {}), live.get("status", {})
    wanted = spec.get("replicas", 1)
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return Readiness(False, "the controller has not seen the change yet")
    for item in status.get("conditions", ()):
        if item.get("reason") == "ProgressDeadlineExceeded":
            return Readiness(False, item.get("message", "the rollout stands still"), failed=True)
    updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
    if updated < wanted or ready < wanted or status.get("replicas", 0) > max(updated, wanted):
        failures = [item["message"] for item in status.get("conditions", ()) if item.get("type") == "ReplicaFailure"]
        return Readiness(False, failures[0] if failures else f"{ready} of {wanted} pods are ready, {updated} updated")
    return READY


def _daemon_set(live: Mapping[str, Any]) -> Readiness:
    status = live.get("status", {})
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    return READY if seen and ready >= wanted else Readiness(False, f"{ready} of {wanted} pods are ready")


def _pod(live: Mapping[str, Any]) -> Readiness:
    status = live.get("status", {})
    if status.get("phase") == "Succeeded":
        return READY
    if status.get("phase") == "Failed":
        return Readiness(False, status.get("message", "the pod failed"), failed=True)
    waiting = [
        f"{item['name']}: {item['state']['waiting'].get('reason')} {item['state']['waiting'].get('message', '')}".strip()
        for item in status.get("containerStatuses", ())
        if item.get("state", {}).get("waiting")
    ]
    unscheduled = [item.get("message", "") for item in status.get("conditions", ()) if item.get("status") == "False" and item.get("type") == "PodScheduled"]
    return READY if _has(live, "Ready") else Readiness(False, "; ".join(waiting or unscheduled) or f"phase {status.get('phase')}")


def _job(live: Mapping[str, Any]) -> Readiness:
    for item in live.get("status", {}).get("conditions", ()):
        if item.get("type") == "Failed" and item.get("status") == "True":
            return Readiness(False, item.get("message", "the job failed"), failed=True)
    if live.get("spec", {}).get("suspend"):
        return READY
    return READY if _has(live, "Complete") else Readiness(False, f"{live.get('status', {}).get('active', 0)} pods are at work")


def _service(live: Mapping[str, Any]) -> Readiness:
    spec = live.get("spec", {})
    if spec.get("type") != "LoadBalancer" or live.get("status", {}).get("loadBalancer", {}).get("ingress"):
        return READY
    return Readiness(False, "no load balancer has given it an address")


def _claim(live: Mapping[str, Any]) -> Readiness:
    phase = live.get("status", {}).get("phase", "Pending")
    # A class that waits for its first consumer binds when a pod comes, not before; Pulumi does not wait for it either.
    return Readiness(False, "the claim is lost", failed=True) if phase == "Lost" else READY


def _namespace(live: Mapping[str, Any]) -> Readiness:
    return READY if live.get("status", {}).get("phase", "Active") == "Active" else Readiness(False, "it is being deleted")


def _established(live: Mapping[str, Any]) -> Readiness:
    for item in live.get("status", {}).get("conditions", ()):
        if item.get("type") == "NamesAccepted" and item.get("status") == "False":
            return Readiness(False, item.get("message", ""), failed=True)
    return READY if _has(live, "Established") else Readiness(False, "the API server does not serve it yet")


def _available(live: Mapping[str, Any]) -> Readiness:
    return READY if _has(live, "Available") else Readiness(False, "it is not available yet")


def _has(live: Mapping[str, Any], name: str, status: str = "True") -> bool:
    conditions = live.get("status", {}).get("conditions", ())
    return any(item.get("type") == name and item.get("status") == status for item in conditions)


_RULES: dict[str, Callable[[Mapping[str, Any]], Readiness]] = {
    "Deployment": _workload,
    "StatefulSet": _workload,
    "ReplicaSet": _workload,
    "DaemonSet": _daemon_set,
    "Pod": _pod,
    "Job": _job,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "Namespace": _namespace,
    "CustomResourceDefinition": _established,
    "APIService": _available,
}


def _wait_for(live: Mapping[str, Any], text: str) -> Readiness:
    expressions = json.loads(text) if text.startswith("[") else [text]
    for expression in expressions:
        if not _holds(live, expression):
            return Readiness(False, f"waiting for {expression}")
    return READY


def _holds(live: Mapping[str, Any], expression: str) -> bool:
    kind, _, rest = expression.partition("=")
    if kind == "condition":
        name, _, status = rest.partition("=")
        return _has(live, name, status or "True")
    if kind != "jsonpath":
        raise NotReady(f"{WAIT_FOR} {expression!r} is neither jsonpath= nor condition=")
    from jsonpath_ng.ext import parse  # type: ignore[import-untyped]

    path, _, value = rest.partition("}")
    found = [match.value for match in parse("$" + path.strip("{}")).find(dict(live))]
    return any(str(item) == value.removeprefix("=") for item in found) if value else bool(found)


async def wait_ready(
    cluster: Cluster, key: Key, live: dict[str, Any], *, timeout: float, observer: Observer
) -> dict[str, Any]:
    """The object once it is ready. Raises `NotReady` with its last condition; the object stays applied."""
    api_version, kind, namespace, name = key
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    told = ""
    while True:
        now = condition(live)
        if now.ready:
            return live
        if now.failed or time.monotonic() + pause > deadline:
            place = f" -n {namespace}" if namespace else ""
            why = "failed" if now.failed else f"is not ready after {timeout:.0f} s"
            details = await _details(cluster, live) if kind in ("Deployment", "StatefulSet", "DaemonSet", "Job") else ""
            raise NotReady(f"{kind} {name} {why}: {now.message}{details} (more: kubectl describe {kind.lower()} {name}{place})")
        if now.message != told and pause >= LONGEST_PAUSE:
            told = now.message
            observer(Event("wait", f"{kind} {namespace}/{name}: {now.message}"))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
        live = await cluster.read(api_version, kind, namespace, name) or live


async def _details(cluster: Cluster, live: Mapping[str, Any]) -> str:
    labels = live.get("spec", {}).get("selector", {}).get("matchLabels", {})
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    try:
        pods, _ = await cluster.list_objects("v1", "Pod", namespace=live["metadata"]["namespace"], selector=selector)
    except EngineError:
        return ""
    words = {_pod({**pod, "kind": "Pod"}).message for pod in pods} - {""}
    return f"; pods: {'; '.join(sorted(words)[:3])}" if words else ""


async def wait_gone(cluster: Cluster, key: Key, uid: str, *, timeout: float) -> None:
    """Return when the object of this uid is gone. Raises `NotReady` when it stays, with what holds it."""
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        live = await cluster.read(*key)
        if live is None or live["metadata"]["uid"] != uid:
            return
        if time.monotonic() + pause > deadline:
            held = ", ".join(live["metadata"].get("finalizers", ())) or "its controller"
            raise NotReady(f"{key[1]} {key[3]} is still being deleted after {timeout:.0f} s, held by {held}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
