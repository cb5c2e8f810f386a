"""A noisy department: floods of reads and of objects end where its share ends, and others are answered (CASES F22)."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from commonpool.components.fairness import DEPARTMENTS, FLOW_CONTROL, PLATFORM

from escapes.attempt import STRATEGIC
from escapes.attempts import CORE, IMAGE, OTHER, OWN, SECURE, container, pod, thing
from escapes.attempts import PLATFORM as SYSTEM
from escapes.caller import Caller
from escapes.ground import Ground, token

SCHEMAS = f"/apis/{FLOW_CONTROL}/flowschemas"
LISTS, NOISY = 600, 24  # requests, and how many at once
QUOTA = f"{CORE}/namespaces/{OWN}/resourcequotas/objects"


def schema(ground: Ground, name: str) -> str:
    return str(ground.read(f"{SCHEMAS}/{name}")["metadata"]["uid"])


@pytest.mark.parametrize("person", ["admin", "developer", "account"])
def test_a_namespace_has_one_turn_whoever_asks_in_it(ground: Ground, person: str) -> None:
    live = ground.read(f"{SCHEMAS}/{DEPARTMENTS}")
    assert live["spec"]["distinguisherMethod"] == {"type": "ByNamespace"}
    for method, path, body in (
        ("GET", f"{CORE}/namespaces/{OWN}/configmaps", None),
        ("POST", f"{CORE}/namespaces/{OWN}/configmaps?dryRun=All", thing("v1", "ConfigMap", "turn", OWN)),
    ):
        assert ground.people[person].send(method, path, body).flow == live["metadata"]["uid"]


def test_the_platform_waits_for_no_department(ground: Ground) -> None:
    admin = ground.administrator
    engine = Caller("engine", admin.server, admin.authority, token=token(admin, SYSTEM, "engine"))
    assert engine.send("GET", f"{CORE}/namespaces/{OWN}/configmaps").flow == schema(ground, PLATFORM)


def counted(ground: Ground, place: str) -> int:
    """How many there are, once the quota has heard of all that was deleted before."""
    deadline = time.monotonic() + 120
    while True:
        used = int(ground.read(QUOTA)["status"]["used"]["count/configmaps"])
        there = len(ground.read(place)["items"])
        if used == there:
            return used
        assert time.monotonic() < deadline, f"the quota counts {used} of {there}"
        time.sleep(0.1)


def test_a_flood_of_objects_ends_at_the_quota_and_others_are_answered(ground: Ground) -> None:
    neighbour_file = ground.root / "neighbour.kubeconfig"
    ground.pool.issue_kubeconfig("oidc:neighbour", ("oidc:water1-developers",), neighbour_file, days=1)
    neighbour = Caller.of_kubeconfig("neighbour", neighbour_file)
    noisy = ground.people["developer"]
    place, elsewhere = (f"{CORE}/namespaces/{space}/configmaps" for space in (OWN, OTHER))
    hard = int(ground.read(QUOTA)["status"]["hard"]["count/configmaps"])
    # What stood before the quota's controller had heard of it is counted when something goes, or within five minutes.
    assert noisy.send("POST", place, thing("v1", "ConfigMap", "recount", OWN)).status == 201
    assert noisy.send("DELETE", f"{place}/recount").status == 200
    room = hard - counted(ground, place)
    over, others = threading.Event(), Counter[int]()

    def work_next_door() -> None:
        while not over.is_set():
            made = neighbour.send("POST", elsewhere, thing("v1", "ConfigMap", "quiet", OTHER))
            if made.status == 409 and "resourcequotas" in made.words:  # its own controller counts at the same moment
                continue
            others.update([made.status])
            others.update([neighbour.send("GET", elsewhere).status])
            others.update([neighbour.send("DELETE", f"{elsewhere}/quiet").status])

    def make(number: int) -> str:
        body = thing("v1", "ConfigMap", f"flood-{number}", OWN, data={"x": "y" * 2000})
        body["metadata"]["labels"] = {"flood": "1"}
        answer = noisy.send("POST", place, body)
        return "made" if answer.status == 201 else "quota" if "exceeded quota" in answer.words else answer.words

    beside = threading.Thread(target=work_next_door)
    beside.start()
    with ThreadPoolExecutor(NOISY) as pool:
        made = Counter(pool.map(make, range(room + 50)))
        lists = Counter(pool.map(lambda _: noisy.send("GET", place).status, range(LISTS)))
    over.set()
    beside.join()
    used = counted(ground, place)
    noisy.send("DELETE", f"{place}?labelSelector=flood%3D1")
    assert made == {"made": room, "quota": 50}
    assert used == hard
    assert set(lists) <= {200, 429}, "it waits, or is told to come again"
    assert set(others) == {200, 201}, f"nobody else is: {others}"


@pytest.mark.parametrize("person", ["admin", "developer", "account", "mistake"])
@pytest.mark.parametrize("arguments", [["x" * 200_000], ["x"] * 60_000, ["水" * 60_000]], ids=["long", "many", "wide"])
def test_no_object_is_so_large_that_a_few_thousand_fill_the_store(
    ground: Ground, person: str, arguments: list[str]
) -> None:
    large, labels = pod("large", containers=[container(args=arguments)]), {"a": "b"}
    template = {"metadata": {"labels": labels}, "spec": large["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    for path, body in (
        (f"{CORE}/namespaces/{OWN}/pods", large),
        (f"/apis/apps/v1/namespaces/{OWN}/deployments", thing("apps/v1", "Deployment", "large", OWN, spec=spec)),
    ):
        answer = ground.people[person].send("POST", path, body)
        assert (answer.status, "bytes in all" in answer.words) == (403, True), answer.words
    # A pod grows by containers that are added to it for looking into it, too.
    added = {"name": "debug", "image": IMAGE, "args": arguments, "securityContext": SECURE}
    path = f"{CORE}/namespaces/{OWN}/pods/standing/ephemeralcontainers"
    answer = ground.people[person].send("PATCH", path, {"spec": {"ephemeralContainers": [added]}}, STRATEGIC)
    assert (answer.status, "bytes in all" in answer.words) == (403, True), answer.words
    whole = thing("v1", "ConfigMap", "large", OWN, data={"x": "y" * 900_000})
    assert ground.people[person].send("POST", f"{CORE}/namespaces/{OWN}/configmaps?dryRun=All", whole).status == 201
