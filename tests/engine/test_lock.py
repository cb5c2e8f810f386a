"""The stack's lease when somebody deletes it, under its holder and under who waits for it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from commonpool.engine import deployment, lock
from commonpool.engine import state as states
from commonpool.engine.cluster import Cluster
from commonpool.engine.deployment import Deployment, Options, Program
from commonpool.engine.error import LockLost
from commonpool.engine.index import Index
from commonpool.engine.kubeconfig import Credentials
from commonpool.engine.lock import Lock
from fault_server import Answer, Asked, faults, ok, status

DEAD = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "stack", "namespace": states.NAMESPACE, "resourceVersion": "3"},
    "spec": {"holderIdentity": "somebody@elsewhere:1/00000000/0", "renewTime": "2020-01-01T00:00:00.000000Z"},
}
GONE = [
    status(409, "Conflict", "StorageError: … Precondition failed: UID in precondition: u-1, UID in object meta: "),
    status(404, "NotFound", 'leases.coordination.k8s.io "stack" not found'),
]


async def on(script: Callable[[Asked], Answer | str], work: Callable[[Cluster], Any]) -> Any:
    async with faults(script) as server, await Cluster.connect(Credentials(server.url, "a test")) as cluster:
        return await work(cluster)


@pytest.mark.parametrize("answer", GONE)
def test_a_holder_whose_lease_was_deleted_has_lost_it(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.01)

    def script(asked: Asked) -> Answer:
        made = {**asked.body, "metadata": {**asked.body["metadata"], "uid": "u-1"}} if asked.body else {}
        return {"GET": status(404, "NotFound"), "POST": ok(made), "PUT": answer}[asked.method]

    async def work(cluster: Cluster) -> None:
        held = Lock(cluster, "stack", "a test")
        await held.acquire()
        await asyncio.wait_for(held.lost.wait(), 5)
        await held.release()

    asyncio.run(on(script, work))


def test_a_lease_that_is_deleted_while_its_silence_is_waited_out_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.01)
    reads = iter([ok(DEAD), ok(DEAD), status(404, "NotFound")])
    written: list[Asked] = []

    def script(asked: Asked) -> Answer:
        if asked.method == "GET":
            return next(reads)
        written.append(asked)
        return ok(asked.body)

    async def work(cluster: Cluster) -> str:
        mine = Lock(cluster, "stack", "a test")
        try:
            return await mine.acquire()
        finally:
            await mine.release()

    assert asyncio.run(on(script, work)).startswith("somebody@elsewhere")
    assert written[0].method == "POST"
    assert "resourceVersion" not in written[0].body["metadata"]


def test_a_run_that_finds_its_state_written_by_another_while_it_saves_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "FLUSH_SECONDS", 0.01)

    async def overwritten(*_: object) -> None:
        raise LockLost("another run wrote the state")

    async def scenario() -> None:
        run = Deployment(
            Program("p", "s", Path()),
            Options(),
            preview=False,
            pool=cast(Any, None),
            clusters=cast(Any, None),
            state=states.State("p", "s"),
            index=Index(),
            observer=lambda _: None,
            selected=None,
        )
        run._lock, run._writing = Lock(cast(Any, None), "stack", "a test"), asyncio.create_task(asyncio.sleep(0))
        monkeypatch.setattr(states, "save", overwritten)
        await asyncio.wait_for(run._flush(), 5)
        with pytest.raises(LockLost, match="this run stops"):
            await run.begin_writing()

    asyncio.run(scenario())


def test_a_real_lease_that_somebody_deletes_is_noticed_and_not_made_again(
    on_cluster: Callable[[Callable[[Cluster], Any]], Any], fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.2)

    async def work(cluster: Cluster) -> None:
        await states.ensure_namespace(cluster)
        held = Lock(cluster, fresh, "a test")
        await held.acquire()
        await cluster.delete("coordination.k8s.io/v1", "Lease", states.NAMESPACE, fresh)
        await asyncio.wait_for(held.lost.wait(), 10)
        await held.release()
        assert await cluster.read("coordination.k8s.io/v1", "Lease", states.NAMESPACE, fresh) is None

    on_cluster(work)
