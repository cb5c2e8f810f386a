"""When an applied object may be relied on: the conditions that pulumi-kubernetes awaits, as pure functions.

Kinds of Kubernetes itself have rules of their own, or are ready at once; custom resources follow the conventions that
kstatus reads (observedGeneration, Ready, Available, Stalled). Annotations as documented for pulumi-kubernetes:
`pulumi.com/skipAwait`, `pulumi.com/timeoutSeconds`, `pulumi.com/waitFor`. Nothing here looks at the clock.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from commonpool.engine.duration import seconds
from commonpool.engine.error import Unsupported

SKIP, SECONDS, WAIT_FOR = "pulumi.com/skipAwait", "pulumi.com/timeoutSeconds", "pulumi.com/waitFor"
WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"
BUILT_IN = frozenset(
    {
        "",
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "extensions",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
        "internal.apiserver.k8s.io",
    }
)
_JSONPATH = re.compile(r"jsonpath=\{(?P<path>.*)\}(=(?P<value>.*))?", re.DOTALL)
_CONDITION = re.compile(r"condition=(?P<type>[^=]+)(=(?P<status>.*))?")

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Readiness:
    """Whether an object may be relied on; `failed` means that waiting is of no use. The message is for a person."""

    ready: bool
    failed: bool = False
    message: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What stands around an object and decides on it: None (or "") where nobody has looked yet.

    `endpoints` counts a Service's ready addresses, `pods` those that its selector finds; `binding` is the
    volumeBindingMode of a claim's storage class.
    """

    endpoints: int | None = None
    pods: int | None = None
    binding: str = ""


READY = Readiness(True)
UNSEEN = Surroundings()


def condition(live: Body, around: Surroundings = UNSEEN) -> Readiness:
    """How far an object is. A `pulumi.com/waitFor` that is none of the documented forms counts as failed."""
    metadata = live["metadata"]
    annotations = metadata.get("annotations") or {}
    if str(annotations.get(SKIP, "")).lower() == "true":
        return READY
    if metadata.get("deletionTimestamp"):
        return _waiting("it is being deleted")
    if annotations.get(WAIT_FOR):
        return _wait_for(live, str(annotations[WAIT_FOR]))
    group = live["apiVersion"].rpartition("/")[0]
    if group not in BUILT_IN:
        return _custom(live)
    if live["kind"] == "Service":
        return _service(live, around)
    if live["kind"] == "PersistentVolumeClaim":
        return _claim(live, around)
    rule = _RULES.get((group, live["kind"]))
    return rule(live) if rule else READY


def timeout_of(live: Body, custom: Mapping[str, str], default: float) -> float:
    """Seconds to wait: the resource's customTimeouts, else the annotation, else the run's own.

    Raises `Unsupported` for a span of time that is none.
    """
    texts = [custom[verb] for verb in ("create", "update") if verb in custom]
    text = str((live["metadata"].get("annotations") or {}).get(SECONDS, ""))
    try:
        if texts:
            return max(map(seconds, texts))
        return seconds(text) if text else default
    except ValueError as error:
        raise Unsupported(f"{live['kind']} {live['metadata']['name']}: how long to wait: {error}") from error


def pod_trouble(pod: Body) -> str:
    """Why a pod is not ready, in its own words: images, scheduling, crashes. Empty for one that is."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded" or _is(pod, "Ready"):
        return ""
    told = []
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = container.get("state") or {}
        reason = state.get("waiting") or (state.get("terminated") if container.get("ready") is False else None) or {}
        if reason.get("reason") not in (None, "", "PodInitializing", "ContainerCreating", "Completed"):
            told.append(f"container {container['name']}: {reason['reason']} {reason.get('message', '')}".strip())
    scheduled = _find(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        told.append(f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}")
    return "; ".join(told) or str(status.get("message") or f"phase {status.get('phase', 'Pending')}")


def _waiting(message: str) -> Readiness:
    return Readiness(False, message=message)


def _failed(message: str) -> Readiness:
    return Readiness(False, True, message)


def _find(live: Body, name: str) -> Body:
    conditions = (live.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == name), {})


def _is(live: Body, name: str, status: str = "True") -> bool:
    return bool(_find(live, name).get("status") == status)


def _unseen(live: Body) -> bool:
    """Whether the controller has yet to see this generation of the object."""
    return bool((live.get("status") or {}).get("observedGeneration", 0) < live["metadata"].get("generation", 0))


def _deployment(live: Body) -> Readiness:
    spec, status = live.get("spec", {}), live.get("status") or {}
    if _unseen(live):
        return _waiting("its controller has not seen it yet")
    if spec.get("paused"):
        return Readiness(True, message="its rollout is paused")
    progress = _find(live, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return _failed(str(progress.get("message") or "its rollout stands still"))
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    available, total = status.get("availableReplicas", 0), status.get("replicas", 0)
    if updated >= wanted and available >= wanted and total <= updated:
        return READY
    refusal = _find(live, "ReplicaFailure").get("message")
    return _waiting(str(refusal or f"{available} of {wanted} pods are available, {updated} updated, {total} in all"))


def _replica_set(live: Body) -> Readiness:
    if _unseen(live):
        return _waiting("its controller has not seen it yet")
    status = live.get("status") or {}
    wanted, available = live.get("spec", {}).get("replicas", 1), status.get("availableReplicas", 0)
    if available >= wanted and status.get("replicas", 0) <= wanted:
        return READY
    return _waiting(str(_find(live, "ReplicaFailure").get("message") or f"{available} of {wanted} pods are available"))


def _stateful_set(live: Body) -> Readiness:
    if _unseen(live):
        return _waiting("its controller has not seen it yet")
    spec, status = live.get("spec", {}), live.get("status") or {}
    strategy = spec.get("updateStrategy") or {}
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    if ready < wanted or status.get("replicas", 0) > wanted:
        return _waiting(f"{ready} of {wanted} pods are ready")
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    updated, due = status.get("updatedReplicas", 0), max(wanted - partition, 0)
    if strategy.get("type") != "OnDelete" and updated < due:
        return _waiting(f"{updated} of {due} pods are updated")
    return READY


def _daemon_set(live: Body) -> Readiness:
    if _unseen(live):
        return _waiting("its controller has not seen it yet")
    status = live.get("status") or {}
    wanted, available = status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if (live.get("spec", {}).get("updateStrategy") or {}).get("type") == "OnDelete":
        updated = wanted
    if available >= wanted and updated >= wanted:
        return READY
    return _waiting(f"{available} of {wanted} pods are available, {updated} updated")


def _pod(live: Body) -> Readiness:
    status = live.get("status") or {}
    if status.get("phase") == "Succeeded" or _is(live, "Ready"):
        return READY
    if status.get("phase") == "Failed":
        return _failed(str(status.get("message") or status.get("reason") or pod_trouble(live)))
    return _waiting(pod_trouble(live))


def _job(live: Body) -> Readiness:
    failure = _find(live, "Failed")
    if failure.get("status") == "True":
        return _failed(str(failure.get("message") or "it failed"))
    if _is(live, "Complete") or live.get("spec", {}).get("suspend"):
        return READY
    status = live.get("status") or {}
    done, wanted = status.get("succeeded", 0), live.get("spec", {}).get("completions", 1)
    return _waiting(f"{done} of {wanted} pods have succeeded, {status.get('active', 0)} at work")


def _service(live: Body, around: Surroundings) -> Readiness:
    spec = live.get("spec", {})
    if spec.get("type") == "ExternalName":
        return READY
    if spec.get("type") == "LoadBalancer" and not _balanced(live).ready:
        return _balanced(live)
    if not spec.get("selector") or around.endpoints:
        return READY
    if around.endpoints is None:
        return _waiting("its endpoints are not known yet")
    if around.pods == 0:
        return _waiting("no pod matches its selector")
    return _waiting(f"none of the {around.pods if around.pods is not None else '?'} pods that it selects is ready")


def _balanced(live: Body) -> Readiness:
    if ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return READY
    return _waiting("nothing has given it an address from outside (is there a controller for it?)")


def _claim(live: Body, around: Surroundings) -> Readiness:
    phase = (live.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        return _failed("its volume is lost")
    if phase == "Bound":
        return READY
    if around.binding == WAIT_FOR_FIRST_CONSUMER:
        return Readiness(True, message="it is bound when the first pod uses it")
    return _waiting("no volume is bound to it")


def _definition(live: Body) -> Readiness:
    names = _find(live, "NamesAccepted")
    if names.get("status") == "False":
        return _failed(str(names.get("message") or "its names are taken"))
    return READY if _is(live, "Established") else _waiting("the API server does not serve it yet")


def _api_service(live: Body) -> Readiness:
    if _is(live, "Available"):
        return READY
    return _waiting(str(_find(live, "Available").get("message") or "it does not answer"))


def _secret(live: Body) -> Readiness:
    if live.get("type") != "kubernetes.io/service-account-token" or (live.get("data") or {}).get("token"):
        return READY
    return _waiting("its token has not been made yet")


def _quota(live: Body) -> Readiness:
    """A new one refuses nothing until it has been counted; one whose limits changed refuses by those of before."""
    wanted, heeded = live.get("spec", {}).get("hard") or {}, (live.get("status") or {}).get("hard") or {}
    if heeded in ({}, wanted):
        return READY
    return _waiting("its controller has not counted by its new limits yet")


def _custom(live: Body) -> Readiness:
    status = live.get("status") or {}
    if "observedGeneration" in status and _unseen(live):
        return _waiting("its controller has not seen it yet")
    if _is(live, "Stalled"):
        return _failed(str(_find(live, "Stalled").get("message") or "it is stalled"))
    if _is(live, "Reconciling"):
        return _waiting(str(_find(live, "Reconciling").get("message") or "its controller is at work"))
    for name in ("Ready", "Available"):
        found = _find(live, name)
        if found:
            words = found.get("message") or found.get("reason") or f"{name} is {found.get('status')}"
            return READY if found.get("status") == "True" else _waiting(str(words))
    return READY


_RULES: Mapping[tuple[str, str], Callable[[Body], Readiness]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("", "Pod"): _pod,
    ("", "Secret"): _secret,
    ("", "ResourceQuota"): _quota,
    ("batch", "Job"): _job,
    ("networking.k8s.io", "Ingress"): _balanced,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _api_service,
}


def _wait_for(live: Body, text: str) -> Readiness:
    try:
        missing = [expression for expression in _expressions(text) if not _holds(live, expression)]
    except ValueError as error:
        return _failed(str(error))
    return _waiting(f"{WAIT_FOR}: {missing[0]} does not hold yet") if missing else READY


def _expressions(text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        return [text]
    try:
        expressions = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{WAIT_FOR} is no JSON list: {error}") from error
    if not all(isinstance(expression, str) for expression in expressions):
        raise ValueError(f"{WAIT_FOR} is a JSON list of something else than strings")
    return list(expressions)


def _holds(live: Body, expression: str) -> bool:
    if match := _CONDITION.fullmatch(expression):
        return str(_find(live, match["type"]).get("status", "")).lower() == (match["status"] or "True").lower()
    match = _JSONPATH.fullmatch(expression)
    if match is None:
        forms = "jsonpath={…}, jsonpath={…}=value, condition=Type, condition=Type=Status"
        raise ValueError(f"{WAIT_FOR} {expression!r} is none of {forms}")
    found = _at(live, match["path"])
    return bool(found) if match["value"] is None else any(_text(value) == match["value"] for value in found)


def _at(live: Body, path: str) -> list[Any]:
    # Imported only here: nearly nobody uses it, and it costs a tenth of a second.
    from jsonpath_ng.exceptions import JSONPathError
    from jsonpath_ng.ext.parser import parse

    try:
        root = "$" if path.startswith((".", "[")) else "$."
        return [match.value for match in parse(root + path).find(dict(live))]
    except (JSONPathError, AttributeError) as error:
        raise ValueError(f"{WAIT_FOR}: {path!r} is no JSONPath: {error}") from error


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
