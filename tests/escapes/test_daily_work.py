"""The other side of every rule: what departments do every day passes, by each of their people and by Kubernetes for them."""

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest

from escapes.attempts import CORE, IMAGE, OWN, SECURE, pod, thing
from escapes.ground import Ground

APPS, BATCH = f"/apis/apps/v1/namespaces/{OWN}", f"/apis/batch/v1/namespaces/{OWN}"
HERE = f"{CORE}/namespaces/{OWN}"
# Of the own namespace, also where it is named.
APART = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
    {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname", "namespaces": [OWN]}]}}  # fmt: skip


def deployment(name: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm"}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": name}}, "template": template}
    return thing("apps/v1", "Deployment", name, OWN, spec=spec) | {"metadata": {"name": name, "labels": labels}}


def objects(name: str) -> list[tuple[str, dict[str, Any]]]:
    job = {"template": {"spec": pod()["spec"] | {"restartPolicy": "Never"}}}
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    token = {"serviceAccountToken": {"audience": "register", "expirationSeconds": 3600, "path": "token"}}
    return [
        (f"{HERE}/configmaps", thing("v1", "ConfigMap", name, OWN, data={"a": "b"})),
        (f"{HERE}/services", thing("v1", "Service", name, OWN, spec={"ports": [{"port": 80}], "clusterIP": "None"})),
        (f"{HERE}/services", thing("v1", "Service", f"{name}-address", OWN, spec={"ports": [{"port": 80}]})),
        (f"{HERE}/pods", pod(f"{name}-apart", affinity=APART)),
        (f"{HERE}/pods", pod(name, volumes=[{"name": "token", "projected": {"sources": [token]}}])),
        (f"{APPS}/deployments", deployment(name)),
        (f"{BATCH}/jobs", thing("batch/v1", "Job", name, OWN, spec=job)),
        (f"/apis/policy/v1/namespaces/{OWN}/poddisruptionbudgets", thing("policy/v1", "PodDisruptionBudget", name, OWN, spec=budget)),
        (f"/apis/autoscaling/v2/namespaces/{OWN}/horizontalpodautoscalers",
         thing("autoscaling/v2", "HorizontalPodAutoscaler", name, OWN, spec={"maxReplicas": 2, "scaleTargetRef": target})),
    ]  # fmt: skip


@pytest.mark.parametrize("person", ["admin", "developer", "account"])
def test_people_and_accounts_make_change_and_delete_their_own(ground: Ground, person: str) -> None:
    caller, name = ground.people[person], f"daily-{person}"
    for path, body in objects(name):
        one = f"{path}/{body['metadata']['name']}"
        tried = caller.send("POST", f"{path}?dryRun=All", body)
        assert tried.status == 201, (path, tried.words)
        made = caller.send("POST", path, body)
        assert made.status == 201, (path, made.words)
        patch = {"metadata": {"annotations": {"note": "x"}}}
        changed = caller.send("PATCH", one, patch, "application/merge-patch+json")
        assert changed.status == 200, (path, changed.words)
        applied = copy.deepcopy(body)
        applied["metadata"]["labels"] = {"own": "label"}
        answer = caller.send("PATCH", f"{one}?fieldManager=mine&force=true", applied, "application/apply-patch+yaml")
        assert answer.status == 200, (path, answer.words)
        if path.endswith("deployments"):
            scaled = caller.send("PATCH", f"{one}/scale", {"spec": {"replicas": 0}}, "application/merge-patch+json")
            assert scaled.status == 200, scaled.words
        assert (
            caller.send("DELETE", f"{one}?propagationPolicy=Background").status == 200
        )  # a Job leaves its pods otherwise
    assert until_gone(ground, f"{HERE}/pods?labelSelector=job-name%3D{name}"), (
        "what ends later would end under others' eyes"
    )


# What `kubectl get all`, `rollout history` and `describe` ask for besides what people make.
LOOKED_AT = (
    f"{HERE}/replicationcontrollers", f"{APPS}/controllerrevisions", f"{APPS}/replicasets", f"{HERE}/events",
    f"{HERE}/resourcequotas", f"{HERE}/limitranges", f"{HERE}/endpoints", f"/apis/discovery.k8s.io/v1/namespaces/{OWN}/endpointslices",
)  # fmt: skip


@pytest.mark.parametrize("person", ["admin", "developer", "account"])
def test_what_kubectl_looks_at_for_its_daily_commands_is_shown(ground: Ground, person: str) -> None:
    """One list that is refused, and the whole command ends in an error."""
    answers = {path: ground.people[person].send("GET", path).status for path in LOOKED_AT}
    assert set(answers.values()) == {200}, answers


@pytest.mark.parametrize("person", ["admin", "developer", "account"])
def test_a_pod_is_let_go_now_and_one_that_waits_or_has_ended_at_once(ground: Ground, person: str) -> None:
    """`--now` and, where nothing runs, `--force`."""
    caller, path = ground.people[person], f"{HERE}/pods/let-go-{person}"
    waiting = pod(f"let-go-{person}", schedulerName="nobody")
    for body, seconds in ((pod(f"let-go-{person}"), 1), (waiting, 0)):
        assert caller.send("POST", f"{HERE}/pods", body).status == 201
        # One that is being given a machine at that very moment the API server would let go at once, whatever is asked for.
        assert seconds == 0 or until(lambda: "nodeName" in ground.read(path)["spec"])
        answer = caller.send("DELETE", f"{path}?gracePeriodSeconds={seconds}")
        assert answer.status == 200, answer.words
        assert until_gone(ground, path)


def test_admins_keep_secrets_and_accounts_of_their_own(ground: Ground) -> None:
    caller = ground.people["admin"]
    for kind, body in {
        "secrets": thing("v1", "Secret", "own", OWN, stringData={"password": "x"}),
        "serviceaccounts": thing("v1", "ServiceAccount", "own", OWN),
    }.items():
        assert caller.send("POST", f"{HERE}/{kind}", body).status == 201
        assert caller.send("DELETE", f"{HERE}/{kind}/own").status == 200


def test_a_pod_is_looked_into_with_a_container_of_a_granted_registry_and_evicted(ground: Ground) -> None:
    caller = ground.people["developer"]
    assert caller.send("POST", f"{HERE}/pods", pod("looked-into")).status == 201
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": IMAGE, "securityContext": SECURE}]}}
    path = f"{HERE}/pods/looked-into"
    assert (
        caller.send("PATCH", f"{path}/ephemeralcontainers", debug, "application/strategic-merge-patch+json").status
        == 200
    )
    evicted = caller.send("POST", f"{path}/eviction", thing("policy/v1", "Eviction", "looked-into", OWN))
    assert evicted.status == 201, evicted.words
    assert until_gone(ground, path), "what plays the machine may end pods"


def test_controllers_do_for_a_department_what_it_asked_for(ground: Ground) -> None:
    """A Deployment's pods come, and go with it: ReplicaSets, garbage collection and quota keep working under the rules."""
    caller, name = ground.people["developer"], "by-controllers"
    assert caller.send("POST", f"{APPS}/deployments", deployment(name)).status == 201
    selector = f"{HERE}/pods?labelSelector=app.kubernetes.io/name%3D{name}"
    deadline = time.monotonic() + 60
    while not ground.read(selector)["items"]:
        assert time.monotonic() < deadline, "no pod came"
    assert caller.send("DELETE", f"{APPS}/deployments/{name}", {"propagationPolicy": "Background"}).status == 200
    while ground.read(selector)["items"]:
        assert time.monotonic() < deadline, "the pod stays"


def daemon_set(name: str, **spec: Any) -> dict[str, Any]:
    labels = {"daemons": name}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"] | spec}
    return thing("apps/v1", "DaemonSet", name, OWN, spec={"selector": {"matchLabels": labels}, "template": template})


def test_a_daemon_set_has_a_pod_on_every_machine_of_its_flavor_and_none_that_waits_for_ever(ground: Ground) -> None:
    """Its controller looks for machines by the template: for others' machines too, were it not led."""
    caller, path = ground.people["developer"], f"{APPS}/daemonsets/everywhere"
    machines = ground.read("/api/v1/nodes?labelSelector=commonpool.dev%2Fflavor%3Dperformance")["items"]
    assert caller.send("POST", f"{APPS}/daemonsets", daemon_set("everywhere")).status == 201
    status: dict[str, Any] = {}

    def ready() -> bool:
        status.update(ground.read(path)["status"])
        return bool(status.get("numberReady") == status.get("desiredNumberScheduled") == len(machines))

    assert until(ready), status
    assert caller.send("DELETE", f"{path}?propagationPolicy=Background").status == 200
    assert until_gone(ground, f"{HERE}/pods?labelSelector=daemons%3Deverywhere")


def test_a_daemon_set_is_led_where_its_class_says_and_follows_when_that_changes(ground: Ground) -> None:
    caller, flavor = ground.people["developer"], "commonpool.dev/flavor"
    led = []
    for spec in ({"priorityClassName": "flavor-secure"}, {"nodeSelector": {flavor: "secure", "disk": "ssd"}}):
        answer = caller.send("POST", f"{APPS}/daemonsets?dryRun=All", daemon_set("led", **spec))
        assert answer.status == 201, answer.words
        found = answer.body["spec"]["template"]["spec"]
        led.append((found["nodeSelector"], [one["value"] for one in found.get("tolerations", ())]))
    assert led == [({flavor: "secure"}, ["secure"]), ({flavor: "performance", "disk": "ssd"}, [])]


def test_a_pod_that_names_no_class_is_displaced_by_nobody_elses(ground: Ground) -> None:
    """Of priority 0 it would be: every pod that names its flavor's class is of a higher one."""
    caller = ground.people["developer"]
    silent, named = pod("silent"), pod("named", priorityClassName="flavor-performance")
    said = []
    for body in (silent, named):
        answer = caller.send("POST", f"{HERE}/pods", body)
        assert answer.status == 201, answer.words
        said.append([answer.body["spec"].get(word) for word in ("priorityClassName", "priority", "preemptionPolicy")])
        caller.send("DELETE", f"{HERE}/pods/{body['metadata']['name']}")
    assert said[0] == said[1] == ["flavor-performance", 10_000, "PreemptLowerPriority"]


def until_gone(ground: Ground, path: str) -> bool:
    """An object, or all of a list."""

    def gone() -> bool:
        answer = ground.administrator.send("GET", path)
        return answer.status == 404 or answer.body.get("items") == []

    return until(gone)


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.2)
    return False
