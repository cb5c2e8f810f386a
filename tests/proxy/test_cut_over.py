"""Every file of `cases/`: plan, record and numbers go in, one decision comes out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from commonpool.model.cut_over import CutOver
from commonpool.proxy.cut_over import Action, Decision, after, decide
from commonpool.proxy.record import Phase, Record, begin, follow, rebased
from commonpool.proxy.sample import Counts, Instance, Reading, Sample, Window

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def plan(**changes: Any) -> CutOver:
    fields: dict[str, Any] = {
        "from": "old",
        "to": "new",
        "steps": [{"weight": 10}, {"weight": 50}, {"weight": 100}],
        "responsible": {"role": "Registry office"},
        "deadline": "2026-12-31",
    }
    return CutOver.model_validate(fields | changes)


def reading(values: dict[str, Any]) -> Reading:
    timed = values.get("timed", values.get("requests", 0) if "median" in values else 0)
    return Reading(
        values.get("requests", 0),
        values.get("errors", 0),
        timed,
        values.get("median"),
        values.get("median"),
        values.get("healthy", 1),
        values.get("hosts", 1),
    )


def window(values: dict[str, Any] | None) -> Window | None:
    if values is None:
        return None
    return Window(values.get("seconds", 60), reading(values.get("old", {})), reading(values.get("new", {})))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = plan(**case.get("plan", {}))
    fields = case.get("record", {})
    step = fields.get("step", 0)
    record = replace(
        begin("register", found, NOON),
        phase=Phase(fields.get("phase", "moving")),
        step=step,
        weight=found.steps[step].weight if step >= 0 else 0,
        applied=True,
        approved=tuple(fields.get("approved", ())),
        paused=fields.get("paused", ""),
        abort=fields.get("abort", ""),
    )
    now = datetime.fromisoformat(case["now"]).replace(tzinfo=UTC) if "now" in case else NOON
    missing = case.get("missing", "")
    decision = decide(record, window(case.get("seen")), now, recent=window(case.get("recent")), missing=missing)
    answer = decision.to_json()
    assert {word: answer[word] for word in case["expect"]} == case["expect"]


def test_there_are_cases() -> None:
    assert len(CASES) >= 20


def moving(step: int = 0, **changes: Any) -> Record:
    found = plan()
    return replace(
        begin("register", found, NOON), step=step, weight=found.steps[step].weight, applied=True, since=NOON, **changes
    )


def decided(action: Action, record: Record) -> Decision:
    seen = Window(60, Reading(100, 0, healthy=1, hosts=1), Reading(200, 50 if action is Action.ROLL_BACK else 0))
    found = decide(record, seen, NOON)
    assert found.action is action
    return found


def test_what_is_decided_is_remembered_before_it_is_applied() -> None:
    stepped = after(moving(), decided(Action.STEP, moving()))
    assert (stepped.step, stepped.weights, stepped.applied, stepped.since) == (1, {"old": 50, "new": 50}, False, None)
    back = after(stepped, decided(Action.ROLL_BACK, moving(1)))
    assert (back.phase, back.weight, back.applied) == (Phase.ROLLED_BACK, 0, False)


def test_a_backend_without_a_share_stays_known_to_the_proxy_until_the_cut_over_is_over() -> None:
    assert begin("register", plan(), NOON).weights == {"old": 1_000_000, "new": 1}
    assert moving(2).weights == {"old": 1, "new": 1_000_000}
    assert replace(moving(2), phase=Phase.DONE, cleared=True).weights == {"old": 0, "new": 100}
    assert replace(moving(1), weight=0, phase=Phase.ABORTED, cleared=True).weights == {"old": 100, "new": 0}


def test_a_record_and_its_decisions_survive_being_written_down() -> None:
    record = moving(1, baseline=Sample({"a": Instance({"new": Counts(7, 1)})}), approved=(0,), paused="by x")
    assert Record.from_json(record.to_json()) == record
    decision = decided(Action.STEP, moving())
    assert Decision.from_json(decision.to_json()) == decision


def test_an_envoy_that_starts_anew_counts_from_nothing() -> None:
    before = Sample({"a": Instance({"new": Counts(100, 9)}), "b": Instance({"new": Counts(50, 0)})})
    record = rebased(moving(baseline=before), Sample({"a": Instance({"new": Counts(3)}), "b": before.instances["b"]}))
    later = Sample({"a": Instance({"new": Counts(120, 1)}), "b": Instance({"new": Counts(60, 0)})})
    found = record.window(later, NOON + timedelta(seconds=9))
    assert found is not None
    assert (found.new.requests, found.new.errors, found.seconds) == (130, 1, 9)


def test_a_plan_that_is_edited_under_way_goes_on_from_the_same_weight() -> None:
    at_50 = moving(1)
    finer = plan(steps=[{"weight": 5}, {"weight": 25}, {"weight": 50}, {"weight": 75}, {"weight": 100}])
    followed = follow(at_50, finer)
    assert followed is not None
    assert (followed.step, followed.weight) == (2, 50)
    assert follow(at_50, plan()) is at_50
    assert follow(at_50, plan(steps=[{"weight": 60}, {"weight": 100}])) is None
    assert follow(at_50, plan(to="newer")) is None
