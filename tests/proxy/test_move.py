"""Whole cut-overs under load, through a real Envoy: to the end, back by themselves, under kills, with people in between."""

import asyncio
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commonpool.engine import Cluster
from commonpool.engine.error import Stale
from commonpool.proxy import engine, store
from commonpool.proxy.cut_over import Decision
from commonpool.proxy.engine import CutOverRefused
from commonpool.proxy.look import Looker
from commonpool.proxy.record import Phase, Record
from commonpool.proxy.weights import MANAGER
from set_clock import SetClock

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.load import Load
from proxy.moving import STEP, Moving, declare, route

Start = Callable[[str], Backend]
STEPS = [{"weight": 10, **STEP}, {"weight": 50, **STEP}, {"weight": 100, **STEP}]
RATE = 200
SET = ("stay", "clock-set", 20)


@pytest.fixture
def fresh() -> str:
    """A name that no other test uses; `fresh` of the other tests would start one more pool."""
    return f"m{uuid.uuid4().hex[:8]}"


@pytest.fixture
def ends(start_backend: Start) -> tuple[Backend, Backend]:
    """The old backend and the new one."""
    return start_backend("old"), start_backend("new")


def test_a_whole_cut_over_loses_no_request(proxy: Proxy, fresh: str, ends: tuple[Backend, Backend]) -> None:
    moving = declare(proxy, fresh, *ends, STEPS)
    with Load(proxy.url, moving.host, rate=RATE) as load:
        load.await_answers(50)
        record = moving.run()
        load.await_answers(100)
    assert load.outcome.failed == 0, load.outcome
    assert (record.phase, moving.weights()) == (Phase.DONE, [0, 100])
    moves = [one for one in moving.kept().decisions if one.action.value != "stay"]
    expected = [("step", 10), ("step", 50), ("step", 100), ("done", 100)]
    assert [(one.action.value, one.weight) for one in moves] == expected
    seen = [one.window for one in moves[1:]]
    assert all(window and window.new.requests >= 20 and window.new.errors == 0 for window in seen), moves
    assert moves[1].reason.startswith("the gate holds: 0 of ")
    assert load.outcome.answered_by["new"] >= 100


def test_a_new_backend_that_fails_is_rolled_back_by_itself_and_the_record_says_why(
    proxy: Proxy, fresh: str, ends: tuple[Backend, Backend]
) -> None:
    ends[1].behave(errors=0.05)
    moving = declare(proxy, fresh, *ends, [{"weight": 50, **STEP, "minimumRequests": 200}, {"weight": 100, **STEP}])
    with Load(proxy.url, moving.host, rate=RATE) as load:
        record = moving.run()
        before = load.outcome.failed
        until(lambda: moving.weights() == [100, 0], "the old backend serves alone")
        load.await_answers(200)
    assert (record.phase, record.weight) == (Phase.ROLLED_BACK, 0)
    last = moving.kept().decisions[-1]
    assert (last.action.value, last.cause.value) == ("roll-back", "error-rate")
    assert last.window is not None
    assert last.window.new.errors > 0.01 * last.window.new.requests
    assert last.reason.startswith(f"new failed {last.window.new.errors} of {last.window.new.requests} (")
    assert load.outcome.failed - before <= 3, "once rolled back, at most what was under way fails"
    with pytest.raises(CutOverRefused, match="nothing to approve"):
        engine.approve(record, "x", "")


def test_a_new_backend_that_is_slow_is_rolled_back(proxy: Proxy, fresh: str, ends: tuple[Backend, Backend]) -> None:
    ends[1].behave(delay=1.0)
    moving = declare(proxy, fresh, *ends, [{"weight": 50, **STEP, "maximumLatencyRatio": "3"}, {"weight": 100, **STEP}])
    with Load(proxy.url, moving.host, rate=RATE) as load:
        record = moving.run()
    assert load.outcome.failed == 0, load.outcome
    assert record.phase is Phase.ROLLED_BACK
    assert moving.history()[-1][1] == "latency"


def test_an_engine_that_is_killed_at_every_write_still_arrives(
    proxy: Proxy, fresh: str, ends: tuple[Backend, Backend], tmp_path: Path
) -> None:
    moving = declare(proxy, fresh, *ends, STEPS)
    (tmp_path / "service.json").write_text(moving.service.model_dump_json(by_alias=True))
    script = Path(__file__).with_name("moving.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    codes = []
    with Load(proxy.url, moving.host, rate=50) as load:  # beside a process that starts again and again
        for die_at in range(1, 40):
            words = [str(proxy.pool.kubeconfig), proxy.pool.proxy_metrics, str(tmp_path), str(2 + die_at % 4)]
            result = subprocess.run(
                [sys.executable, str(script), *words], env=environment, capture_output=True, text=True
            )
            codes.append(result.returncode)
            if result.returncode == 0:
                break
            assert result.returncode == -9, result.stderr
    assert codes[-1] == 0, codes
    assert len(codes) > 4, "it was killed only a few times"
    assert load.outcome.failed == 0, load.outcome
    assert (moving.kept().record.phase, moving.weights()) == (Phase.DONE, [0, 100])
    moves = [(action, weight) for action, _, weight in moving.history() if action != "stay"]
    assert moves == [("step", 10), ("step", 50), ("step", 100), ("done", 100)]


def in_the_background(moving: Moving) -> threading.Thread:
    thread = threading.Thread(target=moving.run, daemon=True)
    thread.start()
    return thread


def amend(moving: Moving, change: Callable[[Record], tuple[Record, Decision]]) -> None:
    async def work(cluster: Cluster) -> None:
        await store.amend(cluster, moving.name, change)

    moving.work(work)


def waits_for(moving: Moving, cause: str) -> bool:
    found = moving.told[-1].decision if moving.told else None
    return found is not None and found.cause.value == cause


def test_people_approve_pause_resume_and_abort_while_it_runs(
    proxy: Proxy, fresh: str, ends: tuple[Backend, Backend]
) -> None:
    steps = [{"weight": 20, **STEP, "approval": True}, {"weight": 60, **STEP}, {"weight": 100, **STEP}]
    moving = declare(proxy, fresh, *ends, steps)
    with Load(proxy.url, moving.host, rate=RATE) as load:
        running = in_the_background(moving)
        until(lambda: waits_for(moving, "approval"), "it waits for a person")
        amend(moving, lambda record: engine.pause(record, "duty desk", "a storm"))
        amend(moving, lambda record: engine.approve(record, "registry office", "agreed"))
        until(lambda: waits_for(moving, "paused"), "it is paused")
        load.await_answers(200)
        assert moving.weights() == [80, 20]
        amend(moving, lambda record: engine.resume(record, "duty desk"))
        until(lambda: moving.weights() == [40, 60], "it goes on")
        amend(moving, lambda record: engine.abort(record, "registry office"))
        running.join(60)
        assert not running.is_alive()
    assert load.outcome.failed == 0, load.outcome
    assert (moving.kept().record.phase, moving.weights()) == (Phase.ABORTED, [100, 0])
    by_people = [(one.action.value, one.by) for one in moving.kept().decisions if one.by]
    assert by_people == [
        ("pause", "duty desk"),
        ("approve", "registry office"),
        ("resume", "duty desk"),
        ("abort", "registry office"),
    ]
    assert moving.run().phase is Phase.ABORTED, "running again moves nothing"


def test_two_engines_never_both_move(proxy: Proxy, fresh: str, ends: tuple[Backend, Backend]) -> None:
    moving = declare(proxy, fresh, *ends, [{"weight": 20, **STEP, "approval": True}, {"weight": 100, **STEP}])
    with Load(proxy.url, moving.host, rate=RATE):
        running = in_the_background(moving)
        until(lambda: waits_for(moving, "approval"), "the first one waits for a person")
        with pytest.raises(CutOverRefused, match=f"the cut-over of {fresh} is run by "):
            moving.run()
        kept = moving.kept()
        amend(moving, lambda record: engine.pause(record, "x", ""))

        async def overwrite(cluster: Cluster) -> None:
            await store.save(cluster, kept, kept.record)

        with pytest.raises(Stale):
            moving.work(overwrite)
        amend(moving, lambda record: engine.abort(record, "x"))
        running.join(60)
    assert moving.weights() == [100, 0]


def test_weights_that_somebody_else_writes_are_taken_back_and_noted(
    proxy: Proxy, fresh: str, ends: tuple[Backend, Backend]
) -> None:
    moving = declare(proxy, fresh, *ends, [{"weight": 20, **STEP, "approval": True}, {"weight": 100, **STEP}])
    with Load(proxy.url, moving.host, rate=RATE) as load:
        running = in_the_background(moving)
        until(lambda: waits_for(moving, "approval"), "it waits for a person")

        by_a_person = route(fresh)
        for reference in by_a_person["spec"]["rules"][0]["backendRefs"]:
            reference["weight"] = 50  # a weight of 0 can lose a call in Envoy Gateway, whoever writes it

        async def by_hand(cluster: Cluster) -> None:
            await cluster.apply(by_a_person, force=True, field_manager="a-person")

        moving.work(by_hand)
        until(lambda: moving.weights() == [80, 20], "the weights are back")
        until(lambda: ("restore", "moved-by-others", 20) in moving.history(), "it is noted")
        assert any("a-person had written other weights" in one.reason for one in moving.kept().decisions)
        amend(moving, lambda record: engine.abort(record, "x"))
        running.join(60)
    assert load.outcome.failed == 0, load.outcome
    managers = {entry["manager"] for entry in proxy.read(route(fresh))["metadata"]["managedFields"]}
    assert MANAGER in managers


def test_a_clock_that_is_set_neither_ends_a_step_nor_lengthens_it(
    proxy: Proxy, fresh: str, ends: tuple[Backend, Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    monkeypatch.setattr(engine, "datetime", clock)
    slow = {"minimumSeconds": 3600, "minimumRequests": 20, "maximumErrorRate": "0.5"}  # one lost call ends nothing
    moving = declare(proxy, fresh, *ends, [{"weight": 20, **slow}, {"weight": 100, **STEP}])

    def noted() -> int:
        assert running.is_alive(), moving.history()
        return moving.history().count(SET)

    with Load(proxy.url, moving.host, rate=RATE) as load:
        running = in_the_background(moving)
        until(lambda: waits_for(moving, "minimum-time"), "the step waits for its time")
        for by in (timedelta(days=1), timedelta(hours=-2)):
            before, clock.ahead = noted(), clock.ahead + by
            until(lambda before=before: noted() > before, "it is noted")  # type: ignore[misc]
            seen = len(moving.told)
            load.await_answers(50)
            until(lambda seen=seen: any(one.window for one in moving.told[seen:]), "it is looked at again")  # type: ignore[misc]
            assert all(one.window.seconds < 60 for one in moving.told[seen:] if one.window), (
                "only what was looked at counts"
            )
        assert (moving.kept().record.phase, moving.weights()) == (Phase.MOVING, [80, 20])
        amend(moving, lambda record: engine.abort(record, "x"))
        running.join(60)
    told = [one.reason for one in moving.kept().decisions if one.cause.value == "clock-set"]
    assert [one.split(" s,")[0].split("by ")[1] for one in told] == ["+86,400", "-7,200"]


def test_a_step_that_was_begun_by_a_clock_that_ran_ahead_takes_its_time_from_now(
    proxy: Proxy, fresh: str, ends: tuple[Backend, Backend]
) -> None:
    moving = declare(proxy, fresh, *ends, [{"weight": 20, **STEP, "approval": True}, {"weight": 100, **STEP}])
    with Load(proxy.url, moving.host, rate=RATE):
        running = in_the_background(moving)
        until(lambda: waits_for(moving, "approval"), "the step began")
        tomorrow, last = datetime.now(UTC) + timedelta(days=1), moving.kept().decisions[-1]
        amend(moving, lambda record: (replace(record, since=tomorrow), last))
        amend(moving, lambda record: engine.approve(record, "x", ""))
        running.join(60)
        assert not running.is_alive()
    assert moving.kept().record.phase is Phase.DONE


def test_without_numbers_nothing_moves(proxy: Proxy, fresh: str, ends: tuple[Backend, Backend]) -> None:
    moving = declare(proxy, fresh, *ends, STEPS)

    async def run(cluster: Cluster) -> None:
        look = Looker(cluster, moving.service, ["http://127.0.0.1:9/stats/prometheus"])
        assert moving.service.spec.cut_over is not None
        mover = engine.CutOverEngine(cluster, moving.service, look, moving.told.append, 0.1)
        running = asyncio.create_task(mover.run(moving.service.spec.cut_over))
        while not waits_for(moving, "no-numbers"):
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    moving.work(run)
    last = moving.told[-1].decision
    assert last is not None
    assert last.reason.startswith("Envoy does not answer at http://127.0.0.1:9/")
    assert moving.weights() == [1_000_000, 1]
