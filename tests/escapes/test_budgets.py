"""A disruption budget that lets nothing go holds a machine for as long as the operator has patience, and no longer."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from commonpool.engine import Cluster, kubeconfig
from commonpool.machines import leaving
from commonpool.machines.error import MachineError

from escapes.attempts import CORE, OWN, pod, thing
from escapes.ground import Ground

PODS, BUDGETS = f"{CORE}/namespaces/{OWN}/pods", f"/apis/policy/v1/namespaces/{OWN}/poddisruptionbudgets"


@pytest.fixture
def held(ground: Ground) -> Iterator[str]:
    """A machine with a single pod, which its department lets nobody evict; the machine's name."""
    developer = ground.people["developer"]
    busy = {one["spec"].get("nodeName") for one in ground.read(f"{CORE}/pods")["items"]}
    nodes = ground.read(f"{CORE}/nodes?labelSelector=commonpool.dev%2Fflavor%3Dperformance")["items"]
    free = next(name for one in nodes if (name := one["metadata"]["name"]) not in busy)
    selector = {"matchLabels": {"held": "yes"}}
    budget = thing("policy/v1", "PodDisruptionBudget", "held", OWN, spec={"maxUnavailable": 0, "selector": selector})
    assert developer.send("POST", BUDGETS, budget).status == 201
    body = pod("held", nodeSelector={"kubernetes.io/hostname": free})
    body["metadata"]["labels"] = selector["matchLabels"]
    assert developer.send("POST", PODS, body).status == 201
    deadline = time.monotonic() + 60
    while ground.read(f"{PODS}/held")["status"].get("phase") != "Running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield free
    developer.send("DELETE", f"{PODS}/held")
    developer.send("DELETE", f"{BUDGETS}/held")


def drained(ground: Ground, node: str, *, past_budgets: bool) -> None:
    async def work() -> None:
        async with await Cluster.connect(kubeconfig.load(ground.pool.kubeconfig)) as cluster:
            await leaving.drain(cluster, node, lambda _: None, past_budgets=past_budgets)

    asyncio.run(work())


def test_a_budget_that_lets_nothing_go_ends_with_the_operators_patience(
    ground: Ground, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "DRAIN_SECONDS", 2.0)
    with pytest.raises(MachineError) as error:
        drained(ground, held, past_budgets=False)
    assert (error.value.code, f"{OWN}/held" in str(error.value)) == ("drain_held", True)
    assert "--past-budgets" in error.value.next_step
    assert "deletionTimestamp" not in ground.read(f"{PODS}/held")["metadata"]
    drained(ground, held, past_budgets=True)
    assert ground.administrator.send("GET", f"{PODS}/held").status == 404
