"""Nobody gets in where they do not belong: every attempt of the catalogue by everybody, refused, without effect, and on record."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from escapes.attempt import MERGE
from escapes.attempts import CATALOGUE, CORE, OWN, SERVED, container, pod, thing
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


@contextmanager
def different(ground: Ground, metadata: dict[str, Any], probe: dict[str, Any], *, passes: bool) -> Iterator[None]:
    """The attacker's namespace with other labels and annotations for a while, from when a pod passes that did not, or the other way round."""
    path, pods = f"{CORE}/namespaces/{OWN}", f"{CORE}/namespaces/{OWN}/pods?dryRun=All"
    live = ground.read(path)["metadata"]
    before = {word: {key: live[word].get(key) for key in keys} for word, keys in metadata.items()}

    def known(*, so: bool) -> bool:
        return (ground.administrator.send("POST", pods, probe).status == 201) is so

    assert ground.administrator.send("PATCH", path, {"metadata": metadata}, MERGE).status == 200
    try:
        until(lambda: known(so=passes))
        yield
    finally:
        assert ground.administrator.send("PATCH", path, {"metadata": before}, MERGE).status == 200
        until(lambda: known(so=not passes))


FEWER: dict[str, dict[str, Any]] = {  # what a manifest that grants less makes of a namespace
    "registries": {"labels": {"commonpool.dev/registries": None}, "annotations": {"commonpool.dev/registries": "elsewhere.example"}},
    "flavors": {"labels": {"commonpool.dev/flavor": "standard"}, "annotations": {"commonpool.dev/flavors": "standard"}},
}  # fmt: skip


@pytest.mark.parametrize("fewer", FEWER)
def test_what_stood_before_less_was_granted_still_ends(ground: Ground, fewer: str) -> None:
    """Kubernetes takes the mark of a Job off its pods by an update: refused, they and their namespace would never go."""
    caller, jobs, pods = (
        ground.people["developer"],
        f"/apis/batch/v1/namespaces/{OWN}/jobs",
        f"{CORE}/namespaces/{OWN}/pods",
    )
    spec = {"template": {"spec": pod(schedulerName="nobody")["spec"] | {"restartPolicy": "Never"}}}
    assert caller.send("POST", jobs, thing("batch/v1", "Job", "before", OWN, spec=spec)).status == 201
    selected = f"{pods}?labelSelector=batch.kubernetes.io%2Fjob-name%3Dbefore"
    until(lambda: len(ground.read(selected)["items"]) == 1)
    [one] = ground.read(selected)["items"]
    with different(ground, FEWER[fewer], pod("probe", priorityClassName="flavor-performance"), passes=False):
        tolerant = {"spec": {"tolerations": [*one["spec"]["tolerations"], {"key": "a", "operator": "Exists"}]}}
        refused = caller.send("PATCH", f"{pods}/{one['metadata']['name']}", tolerant, MERGE)
        assert refused.status == 403, "what it asks for anew is looked at"
        assert caller.send("DELETE", f"{jobs}/before?propagationPolicy=Background").status == 200
        until(lambda: ground.read(selected)["items"] == [])


SHARES: dict[str, dict[str, Any]] = {
    "nfs": {"server": "10.20.1.21", "path": "/export/a"},
    "iscsi": {"targetPortal": "10.20.1.21", "iqn": "iqn.2026-01.example:a", "lun": 0},
    "flexVolume": {"driver": "example/driver"},
    "csi": {"driver": "nfs.csi.k8s.io"},
}


def test_no_share_of_ones_own_choice_is_mounted_where_the_pool_asks_for_the_baseline_only(ground: Ground) -> None:
    """T28: of Pod Security's two levels the wider one lets a pod mount whatever a machine reaches, as root."""
    caller, pods = ground.people["developer"], f"{CORE}/namespaces/{OWN}/pods?dryRun=All"
    root = pod("probe", containers=[container(securityContext={})])
    with different(ground, {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}, root, passes=True):
        for word, source in SHARES.items():
            answer = caller.send("POST", pods, pod(volumes=[{"name": "v", word: source}]))
            assert (answer.status, "volumes are" in answer.words) == (403, True), answer.words


def test_a_service_that_had_an_address_before_the_namespace_was_the_pools_goes(ground: Ground) -> None:
    """Who gave it one lets go by an update of its finalizers; what it asks for anew is refused."""
    space, before = (
        "adopted-later",
        thing("v1", "Service", "before", "adopted-later", spec={"type": "NodePort", "ports": [{"port": 80}]}),
    )
    before["metadata"]["finalizers"] = ["service.kubernetes.io/load-balancer-cleanup"]
    place, administrator = f"{CORE}/namespaces/{space}/services", ground.administrator
    assert administrator.send("POST", f"{CORE}/namespaces", thing("v1", "Namespace", space)).status == 201
    assert administrator.send("POST", place, before).status == 201
    ours = {"metadata": {"labels": {"commonpool.dev/flavor": "standard"}}}
    assert administrator.send("PATCH", f"{CORE}/namespaces/{space}", ours, MERGE).status == 200
    until(
        lambda: administrator.send("POST", f"{place}?dryRun=All", before | {"metadata": {"name": "new"}}).status == 403
    )
    assert (
        administrator.send("PATCH", f"{place}/before", {"spec": {"externalTrafficPolicy": "Local"}}, MERGE).status
        == 403
    )
    assert administrator.send("DELETE", f"{place}/before").status == 200
    assert administrator.send("PATCH", f"{place}/before", {"metadata": {"finalizers": None}}, MERGE).status == 200
    assert administrator.send("GET", f"{place}/before").status == 404
    assert administrator.send("DELETE", f"{CORE}/namespaces/{space}").status == 200
    until(lambda: administrator.send("GET", f"{CORE}/namespaces/{space}").status == 404)


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


def test_no_autoscaler_makes_a_set_larger_than_its_controller_bears(ground: Ground) -> None:
    """Its least number is asked for at once, without a metric, by an account that Kubernetes trusts."""
    by = {"Impersonate-User": "system:serviceaccount:kube-system:horizontal-pod-autoscaler"}
    path = f"{APPS}/statefulsets/standing/scale"
    for replicas, status in ((2_147_483_647, 403), (500, 200)):
        wanted = thing("autoscaling/v1", "Scale", "standing", OWN, spec={"replicas": replicas})
        answer = ground.administrator.send("PUT", f"{path}?dryRun=All", wanted, headers=by)
        assert (answer.status, "at most 500 replicas" in answer.words) == (status, status == 403), answer.words
