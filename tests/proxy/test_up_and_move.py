"""A cut-over and `commonpool up` on the same service: neither takes back what the other did."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import estates
import pytest
from commonpool.engine import Cluster, kubeconfig
from commonpool.engine.error import FieldConflict
from commonpool.model import load_estate
from commonpool.proxy import engine, store
from commonpool.proxy.engine import CutOverEngine, Progress
from commonpool.proxy.look import Looker
from commonpool.proxy.record import Phase, Record

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, ROOT, DeclaredEstate
from proxy.load import Load
from proxy.moving import STEP

HOST = f"registry.d0.{DOMAIN}"
ROUTE = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
METADATA = {"name": "registry", "namespace": "service-registry"}
STEPS = [{"weight": 20, **STEP, "approval": True}, {"weight": 100, **STEP}]
PLAN = {"from": "old", "to": "new", "steps": STEPS, "responsible": {"role": "Office"}, "deadline": "2036-12-31"}
HEALTH = {"path": "/healthz", "interval": "1s", "timeout": "1s"}
BACKENDS: list[dict[str, Any]] = [
    {"name": "old", "machines": ["ha-registry-1"], "port": 8080},
    {"name": "new", "machines": ["rs-nas-2"], "port": 8080},
]


@pytest.fixture
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    """`registry` of d0, consumed by d1, with a plan to move from old to new."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("move"), 3))
    with Backend("old") as old, Backend("new") as new:
        declared.stand_ins["rs-nas-2:8080"] = f"127.0.0.1:{new.port}"
        declared.offer("registry", port=8080, at=old.port, backends=BACKENDS, cutOver=PLAN)
        declared.consume(d1=["registry"])
        declared.up("services", "departments")
        until(lambda: declared.call(HOST, caller="d1-main").status == 200, "the declared consumer passes")
        yield declared
        estates.consume(declared.root, "d1")
        (declared.root / "services" / "registry.yaml").unlink()
        declared.up("services", "departments")


def work(estate: DeclaredEstate, do: Any) -> Any:
    async def connected() -> Any:
        async with await Cluster.connect(kubeconfig.load(estate.pool.kubeconfig)) as cluster:
            return await do(cluster)

    return asyncio.run(connected())


def rules(estate: DeclaredEstate) -> list[dict[str, Any]]:
    async def read(cluster: Cluster) -> Any:
        return await cluster.read(ROUTE["apiVersion"], "HTTPRoute", METADATA["namespace"], "registry")

    return list(work(estate, read)["spec"]["rules"])


def weights(estate: DeclaredEstate) -> list[int]:
    return [one["weight"] for one in next(rule for rule in rules(estate) if "backendRefs" in rule)["backendRefs"]]


def drifted(estate: DeclaredEstate) -> list[str]:
    """What `commonpool status` says of the service's objects; `refresh` and `doctor` say the same."""
    environment = os.environ | {
        "COMMONPOOL_DATA": str(estate.pool.layout.root.parents[1]),
        "COMMONPOOL_POOL": estate.pool.name,
        "COMMONPOOL_ESTATE": str(estate.root),
    }

    def told(*words: str) -> Any:
        command = [sys.executable, "-m", "commonpool.cli", *words, "-o", "json"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
        return json.loads(ended.stdout)

    [stack] = (one for one in told("status")["stacks"] if one["stack"] == "services")
    [refreshed] = (one for one in told("refresh")["stacks"] if one["stack"] == "services")
    [examined] = (one for one in told("doctor")["findings"] if one["check"] == "drift")
    found = [f"{one['kind']} {one['name']}" for one in stack["drifted"]]
    assert [f"{one['kind']} {one['name']}" for one in refreshed["changes"]] == found
    assert ("HTTPRoute" in examined["words"]) is bool(found), examined
    return found


def write_names(estate: DeclaredEstate, *names: str) -> None:
    """As a person would, over what was applied."""

    async def write(cluster: Cluster) -> None:
        body = {**ROUTE, "metadata": METADATA, "spec": {"hostnames": list(names)}}
        await cluster.apply(body, force=True, field_manager="a-person")

    work(estate, write)


def change_another_field(estate: DeclaredEstate) -> None:
    """A time limit in the same rules as the weights, which are the cut-over's."""
    fields: dict[str, Any] = {"endpoint": {"protocol": "HTTP"}, "backends": BACKENDS, "cutOver": PLAN, "health": HEALTH}
    estates.add_service(estate.root, "registry", **fields, timeouts={"request": "17s"})
    estate.up("services")
    assert next(rule for rule in rules(estate) if "backendRefs" in rule)["timeouts"] == {"request": "17s"}


def refuse_who_does_not_know(estate: DeclaredEstate) -> None:
    """Another manager, such as the Pulumi CLI's, with the declared weights."""
    found = [rule for rule in rules(estate) if "backendRefs" in rule]
    stale = [rule | {"backendRefs": [one | {"weight": 1} for one in rule["backendRefs"]]} for rule in found]

    async def declare_anew(cluster: Cluster) -> None:
        await cluster.apply({**ROUTE, "metadata": METADATA, "spec": {"rules": stale}}, field_manager="another")

    with pytest.raises(FieldConflict):
        work(estate, declare_anew)


def take_the_plan_out(estate: DeclaredEstate) -> None:
    """The declared weights hold again."""
    settled = [BACKENDS[0] | {"weight": 0}, BACKENDS[1] | {"weight": 1}]
    fields: dict[str, Any] = {"endpoint": {"protocol": "HTTP"}, "backends": settled, "health": HEALTH}
    estates.add_service(estate.root, "registry", **fields)
    estate.up("services")
    assert weights(estate) == [0, 1]
    assert json.loads(estate.call(HOST, caller="d1-main").body)["name"] == "new"


def test_up_keeps_what_a_cut_over_reached_while_it_runs_and_after(estate: DeclaredEstate) -> None:
    assert weights(estate) == [100, 0], "a plan that has not begun sends nothing to the new backend"
    told: list[Progress] = []
    service = load_estate(estate.root).service("registry")
    assert service is not None
    plan = service.spec.cut_over
    assert plan is not None

    async def run(cluster: Cluster) -> Record:
        look = Looker(cluster, service, [estate.pool.proxy_metrics])
        return await CutOverEngine(cluster, service, look, told.append, 0.2).run(plan)

    url = f"http://{estate.pool.proxy_address}:{estate.port()}"
    token = {"Authorization": f"Bearer {estate.token('d1-main', HOST)}"}
    with Load(url, HOST, rate=50, headers=token) as load:
        running = threading.Thread(target=lambda: work(estate, run), daemon=True)
        running.start()
        until(
            lambda: bool(told) and told[-1].decision is not None and told[-1].decision.cause == "approval", "waits", 120
        )
        assert weights(estate) == [80, 20]
        assert drifted(estate) == [], "where a move stands is no drift"
        estate.up("services")
        assert weights(estate) == [80, 20]
        change_another_field(estate)
        assert weights(estate) == [80, 20]
        refuse_who_does_not_know(estate)

        async def agree(cluster: Cluster) -> None:
            await store.amend(cluster, "registry", lambda record: engine.approve(record, "office", ""))

        work(estate, agree)
        running.join(120)
        assert not running.is_alive()
    assert load.outcome.failed == 0, load.outcome
    assert told[-1].record.phase is Phase.DONE
    assert weights(estate) == [0, 100]
    estate.up("services")
    assert weights(estate) == [0, 100]
    assert json.loads(estate.call(HOST, caller="d1-main").body)["name"] == "new"
    write_names(estate, HOST, "other.test")
    assert drifted(estate) == ["HTTPRoute registry"], "what a person wrote over it is"
    write_names(estate, HOST)
    take_the_plan_out(estate)
