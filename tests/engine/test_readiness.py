"""When objects may be relied on, kind by kind, and waiting for them."""

from typing import Any

import pytest
from commonpool.engine.condition import Surroundings
from commonpool.engine.error import Unsupported
from commonpool.engine.readiness import condition, timeout_of


def live(
    kind: str, api_version: str = "v1", *, spec: object = None, status: object = None, **metadata: object
) -> dict[str, Any]:
    """An object as the API server returns it."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "a", **metadata},
        "spec": spec or {},
        "status": status or {},
    }


def deployment(*, generation: int = 2, wanted: int = 3, **status: Any) -> dict[str, Any]:
    """A Deployment whose controller has seen generation 2."""
    return live(
        "Deployment",
        "apps/v1",
        spec={"replicas": wanted},
        status={"observedGeneration": 2, **status},
        generation=generation,
    )


FULL = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
STUCK = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "stands still"}]


def on(name: str, status: str = "True", **words: str) -> dict[str, Any]:
    """A status with one condition."""
    return {"conditions": [{"type": name, "status": status, **words}]}


@pytest.mark.parametrize(
    "body",
    [
        deployment(**FULL),
        deployment(wanted=0),
        live(
            "DaemonSet",
            "apps/v1",
            status={"desiredNumberScheduled": 1, "numberAvailable": 1, "updatedNumberScheduled": 1},
        ),
        live(
            "StatefulSet",
            "apps/v1",
            spec={"replicas": 2},
            status={"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2},
        ),
        live(
            "StatefulSet",
            "apps/v1",
            spec={"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            status={"replicas": 2, "readyReplicas": 2},
        ),
        live("Pod", status=on("Ready")),
        live("Pod", status={"phase": "Succeeded"}),
        live("Job", "batch/v1", status=on("Complete")),
        live("Job", "batch/v1", spec={"suspend": True}),
        live("Service", spec={"type": "ExternalName"}),
        live("Service", spec={"clusterIP": "None"}),
        live("PersistentVolumeClaim", status={"phase": "Bound"}),
        live("Namespace", status={"phase": "Active"}),
        live("CustomResourceDefinition", "apiextensions.k8s.io/v1", status=on("Established")),
        live("APIService", "apiregistration.k8s.io/v1", status=on("Available")),
        live("ResourceQuota", spec={"hard": {"pods": "3"}}, status={"hard": {"pods": "3"}, "used": {"pods": "0"}}),
        live("ResourceQuota", spec={"hard": {"pods": "3"}}),
        live("ConfigMap"),
        live("Node", status=on("Ready", "False")),
        live("Widget", "example.org/v1"),
        live("Widget", "example.org/v1", status=on("Ready")),
        live("Deployment", "apps/v1", generation=1, annotations={"pulumi.com/skipAwait": "true"}),
    ],
    ids=lambda body: body["kind"],
)
def test_it_is_ready(body: dict[str, Any]) -> None:
    """What pulumi-kubernetes would not wait for any longer."""
    assert condition(body).ready


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (deployment(generation=3, **FULL), "not seen it yet"),
        (deployment(**{**FULL, "availableReplicas": 1}), "1 of 3 pods"),
        (deployment(**{**FULL, "replicas": 4}), "4 in all"),
        (deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]), "quota"),
        (live("StatefulSet", "apps/v1", spec={"replicas": 2}, status={"replicas": 2, "readyReplicas": 2}), "updated"),
        (live("DaemonSet", "apps/v1", status={"desiredNumberScheduled": 2, "numberAvailable": 1}), "1 of 2"),
        (live("Pod", status=on("PodScheduled", "False", reason="Unschedulable", message="0/3 nodes")), "0/3 nodes"),
        (
            live(
                "Pod", status={"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}]}
            ),
            "container c: ErrImagePull",
        ),
        (live("Job", "batch/v1"), "0 of 1"),
        (live("Service", spec={"selector": {"a": "b"}}), "endpoints"),
        (live("Service", spec={"type": "LoadBalancer"}), "address"),
        (live("Ingress", "networking.k8s.io/v1"), "address"),
        (live("PersistentVolumeClaim"), "no volume"),
        (live("ResourceQuota", spec={"hard": {"pods": "3"}}, status={"hard": {"pods": "2"}}), "not counted"),
        (live("ResourceQuota", spec={"hard": {}}, status={"hard": {"pods": "2"}}), "not counted"),
        (live("Namespace", deletionTimestamp="2026-01-01T00:00:00Z"), "being deleted"),
        (live("CustomResourceDefinition", "apiextensions.k8s.io/v1"), "not serve"),
        (live("Widget", "example.org/v1", status=on("Ready", "False", message="no database")), "no database"),
        (live("Widget", "example.org/v1", status={"observedGeneration": 1, **on("Ready")}, generation=2), "not seen"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_it_is_waited_for_with_a_reason(body: dict[str, Any], words: str) -> None:
    """The reason is what a person sees while waiting."""
    now = condition(body)
    assert (now.ready, now.failed) == (False, False)
    assert words in now.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (deployment(conditions=STUCK), "stands still"),
        (live("Job", "batch/v1", status=on("Failed", message="BackoffLimitExceeded")), "Backoff"),
        (live("Pod", status={"phase": "Failed", "message": "evicted"}), "evicted"),
        (live("PersistentVolumeClaim", status={"phase": "Lost"}), "lost"),
        (live("CustomResourceDefinition", "apiextensions.k8s.io/v1", status=on("NamesAccepted", "False")), "names"),
        (live("Widget", "example.org/v1", status=on("Stalled", message="wrong key")), "wrong key"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_waiting_longer_would_not_help(body: dict[str, Any], words: str) -> None:
    """It has failed, and says why."""
    now = condition(body)
    assert now.failed
    assert words in now.message


@pytest.mark.parametrize(
    ("body", "around", "ready"),
    [
        (live("Service", spec={"selector": {"a": "b"}}), Surroundings(endpoints=1, pods=1), True),
        (live("Service", spec={"selector": {"a": "b"}}), Surroundings(endpoints=0, pods=2), False),
        (live("PersistentVolumeClaim"), Surroundings(binding="WaitForFirstConsumer"), True),
        (live("PersistentVolumeClaim"), Surroundings(binding="Immediate"), False),
    ],
)
def test_services_and_claims_depend_on_what_stands_around_them(
    body: dict[str, Any], around: Surroundings, ready: bool
) -> None:
    """Endpoints, and the mode of the storage class."""
    assert condition(body, around).ready is ready


STATUS = {"phase": "Running", "count": 3, "done": True, "conditions": [{"type": "Synced", "status": "False"}]}


@pytest.mark.parametrize(
    ("expression", "ready"),
    [
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath={.status.phase}=Pending", False),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.missing}", False),
        ("jsonpath={.status.count}=3", True),
        ("jsonpath={.status.done}=true", True),
        ('jsonpath={.status.conditions[?(@.type=="Synced")].status}=False', True),
        ("condition=Synced", False),
        ("condition=Synced=False", True),
        ('["jsonpath={.status.phase}=Running", "condition=Synced=False"]', True),
        ('["jsonpath={.status.phase}=Running", "condition=Synced"]', False),
    ],
)
def test_wait_for_takes_the_documented_forms(expression: str, ready: bool) -> None:
    """And overrides the kind's own rule."""
    body = live("Pod", status=STATUS, annotations={"pulumi.com/waitFor": expression})
    now = condition(body)
    assert (now.ready, now.failed) == (ready, False)


@pytest.mark.parametrize(
    "expression", ["phase=Running", "jsonpath=.status", "jsonpath={.a[}", "[1]", "[", "condition="]
)
def test_a_wait_for_of_another_form_fails_instead_of_waiting_for_ever(expression: str) -> None:
    """A slip of the pen is told at once."""
    now = condition(live("Pod", annotations={"pulumi.com/waitFor": expression}))
    assert now.failed
    assert "waitFor" in now.message


@pytest.mark.parametrize(
    ("annotation", "custom", "expected"),
    [
        (None, {}, 600.0),
        ("90", {}, 90.0),
        ("90", {"create": "1h30m"}, 5400.0),
        (None, {"create": "10s", "update": "1m0.5s"}, 60.5),
        (None, {"delete": "5m"}, 600.0),
    ],
)
def test_the_narrower_word_on_time_wins(annotation: str | None, custom: dict[str, str], expected: float) -> None:
    """Resource options, then the annotation, then the run's own."""
    annotations = {"pulumi.com/timeoutSeconds": annotation} if annotation else {}
    assert timeout_of(live("Pod", annotations=annotations), custom, 600.0) == expected


def test_a_span_of_time_that_is_none_is_refused() -> None:
    """Not taken for nought."""
    with pytest.raises(Unsupported, match="10 minutes"):
        timeout_of(live("Pod"), {"create": "10 minutes"}, 600.0)
