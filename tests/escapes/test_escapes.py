"""Nobody gets in where they do not belong: every attempt of the catalogue by everybody, refused, without effect, and on record."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from escapes.attempt import MERGE
from escapes.attempts import CATALOGUE, CORE, OWN, SERVED, pod, thing
from escapes.ground import Ground, attack, differences, send

PEOPLE = ("admin", "developer", "account", "nobody")


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("group", CATALOGUE)
def test_no_attempt_succeeds_changes_anything_or_goes_unrecorded(ground: Ground, group: str, person: str) -> None:
    """T1 to T9, T12 to T14, T17 to T24, T28 to T33, T35, each as department admin, developer, service account and nobody."""
    attempts = ground.attempts(group)
    before = ground.state()
    outcome = attack(ground.people[person], attempts)
    assert outcome.survived == []
    assert list(differences(before, ground.state())) == []
    assert ground.audited(outcome.audits) == set()


@pytest.mark.parametrize("group", CATALOGUE)
def test_what_policies_guard_is_guarded_whatever_roles_somebody_was_given(ground: Ground, group: str) -> None:
    """A person who was made cluster-admin by mistake still changes nothing that the platform holds in its namespaces."""
    attempts = [attempt for attempt in ground.attempts(group) if not attempt.by_roles]
    before = ground.state()
    assert attack(ground.people["mistake"], attempts).survived == []
    assert list(differences(before, ground.state())) == []


@pytest.mark.parametrize("group", CATALOGUE)
def test_every_attempt_is_one_that_the_api_server_would_carry_out_for_the_platform(ground: Ground, group: str) -> None:
    """An attempt that is refused for its spelling proves nothing: the administrator's dry run of it passes."""
    spoiled = []
    for attempt in ground.attempts(group):
        no_dry_run = (
            attempt.method == "GET" or attempt.headers or (attempt.by_roles and "/pods/standing/" in attempt.path)
        )
        if attempt.nobody or no_dry_run:
            continue
        answer = send(ground.administrator, attempt, "dryRun=All")
        if answer.status == 409 and "has been modified" in answer.words:  # a machine says now and then that it lives
            live = ground.administrator.send("GET", attempt.path).body
            metadata = attempt.body["metadata"] | {"resourceVersion": live["metadata"]["resourceVersion"]}
            renewed = replace(attempt, body=attempt.body | {"metadata": metadata})
            answer = send(ground.administrator, renewed, "dryRun=All")
        if answer.status >= 300:
            spoiled.append(f"{attempt}: {answer.status} {answer.words[:300]}")
    assert spoiled == []


MARKS = {"app.kubernetes.io/managed-by": "commonpool", "commonpool.dev/service": "register"}
APPS = f"/apis/apps/v1/namespaces/{OWN}"


def templates() -> dict[str, dict[str, Any]]:
    """Workloads of a department whose pods would bear the platform's marks, or whose claims those of the controllers."""

    def spec(name: str, labels: dict[str, str], **more: Any) -> dict[str, Any]:
        own = {"escape": name}
        template = {"metadata": {"labels": own | labels}, "spec": pod()["spec"]}
        return {"replicas": 1, "selector": {"matchLabels": own}, "template": template, **more}

    claim = {
        "metadata": {"name": "v", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "archive", "volumeName": "rs-nas-1-a",
                 "resources": {"requests": {"storage": "1Mi"}}},
    }  # fmt: skip
    marked = thing("apps/v1", "Deployment", "marked", OWN, spec=spec("marked", MARKS))
    replicas = thing("apps/v1", "ReplicaSet", "many", OWN, spec=spec("many", MARKS))
    endless = thing("apps/v1", "DaemonSet", "endless", OWN, spec=spec("endless", {}))
    del endless["spec"]["replicas"]
    endless["spec"]["template"]["metadata"]["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    bound = spec("bound", {}, serviceName="x", volumeClaimTemplates=[claim])
    return {
        "daemonsets": endless,
        "deployments": marked,
        "replicasets": replicas,
        "statefulsets": thing("apps/v1", "StatefulSet", "bound", OWN, spec=bound),
    }


def test_what_controllers_make_of_templates_is_held_to_the_same_rules(ground: Ground) -> None:
    """T28, T35: marks that nobody may set on a pod or a claim are not set by way of a controller that Kubernetes trusts."""
    caller, made = ground.people["developer"], templates()
    for kind, body in made.items():
        answer = caller.send("POST", f"{APPS}/{kind}", body)
        assert answer.status == 201, answer.words
    missing = {
        ("Deployment", "'commonpool-owned'"),
        ("ReplicaSet", "'commonpool-owned'"),
        ("DaemonSet", "'commonpool-owned'"),
        ("StatefulSet", "'commonpool-claims.marks'"),
    }
    deadline = time.monotonic() + 60
    while missing:
        events = ground.read(f"{CORE}/namespaces/{OWN}/events")["items"]
        told = {
            (one["involvedObject"]["kind"], rule) for one in events for _, rule in missing if rule in one["message"]
        }
        missing -= told
        assert time.monotonic() < deadline, missing
        time.sleep(0.2)
    pods = ground.read(f"{CORE}/namespaces/{OWN}/pods?labelSelector=escape")["items"]
    claims = ground.read(f"{CORE}/namespaces/{OWN}/persistentvolumeclaims")["items"]
    for kind, body in made.items():
        assert caller.send("DELETE", f"{APPS}/{kind}/{body['metadata']['name']}").status == 200
    assert (pods, claims) == ([], [])


def test_a_pod_that_a_job_counts_stays_the_jobs_and_ends(ground: Ground) -> None:
    """Given to another owner, it would keep a finalizer that the controller of Jobs takes away from nobody else's pods."""
    caller, jobs, pods = (
        ground.people["developer"],
        f"/apis/batch/v1/namespaces/{OWN}/jobs",
        f"{CORE}/namespaces/{OWN}/pods",
    )
    spec = {"template": {"spec": pod(schedulerName="nobody")["spec"] | {"restartPolicy": "Never"}}}
    assert caller.send("POST", jobs, thing("batch/v1", "Job", "counted", OWN, spec=spec)).status == 201
    selected = f"{pods}?labelSelector=batch.kubernetes.io%2Fjob-name%3Dcounted"
    until(lambda: len(ground.read(selected)["items"]) == 1)
    [counted] = ground.read(selected)["items"]
    assert counted["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    path, other = (
        f"{pods}/{counted['metadata']['name']}",
        {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1", "controller": True},
    )
    for owners in ([other], [other | {"apiVersion": "batch/v1", "kind": "Job"}], None):
        answer = caller.send("PATCH", path, {"metadata": {"ownerReferences": owners}}, MERGE)
        assert (answer.status, "stays its Job's" in answer.words) == (403, True), answer.words
    assert caller.send("PATCH", path, {"metadata": {"annotations": {"a": "b"}}}, MERGE).status == 200
    assert caller.send("DELETE", f"{jobs}/counted?propagationPolicy=Background").status == 200
    until(lambda: ground.read(selected)["items"] == [])


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_no_autoscaler_changes_how_many_of_a_shared_service_run(ground: Ground) -> None:
    """Whoever works in the service's namespace can point one at it, and it scales by an account that Kubernetes trusts."""
    by = {"Impersonate-User": "system:serviceaccount:kube-system:horizontal-pod-autoscaler"}
    path = f"/apis/apps/v1/namespaces/{SERVED}/deployments/register/scale"
    wanted = thing("autoscaling/v1", "Scale", "register", SERVED, spec={"replicas": 3})
    answer = ground.administrator.send("PUT", path, wanted, headers=by)
    assert (answer.status, "stands in its manifest" in answer.words) == (403, True), answer.words
    own = thing("apps/v1", "Deployment", "scaled", OWN, spec={
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}})  # fmt: skip
    assert ground.people["developer"].send("POST", f"{APPS}/deployments", own).status == 201
    wanted = thing("autoscaling/v1", "Scale", "scaled", OWN, spec={"replicas": 0})
    scaled = ground.administrator.send("PUT", f"{APPS}/deployments/scaled/scale", wanted, headers=by)
    assert scaled.status == 200, "a department's own is scaled"
    assert ground.people["developer"].send("DELETE", f"{APPS}/deployments/scaled").status == 200
