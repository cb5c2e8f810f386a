"""What a cut-over does next, decided from its plan, its record and what Envoy saw. Pure.

Backward comes before forward: a failed gate is looked at before any wait is over, while paused as well. Nothing moves on
numbers that are not there. Being late is said and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Self

from commonpool.model.cut_over import CutOver, CutOverStep
from commonpool.model.today import CHINA
from commonpool.proxy.record import Phase, Record
from commonpool.proxy.sample import Sample, Window

COMPARABLE = (
    20  # calls that each side needs before medians are compared: fewer say more about chance than about backends
)
RESOLUTION = 1.0  # milliseconds: what Envoy's buckets can tell apart among fast backends


class Action(StrEnum):
    """What is done."""

    STAY = "stay"
    STEP = "step"
    ROLL_BACK = "roll-back"
    ABORT = "abort"
    DONE = "done"
    RESTORE = "restore"
    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    FOLLOW = "follow"


class Cause(StrEnum):
    """Why, as a word for machines."""

    BEGIN = "begin"
    GATE_HELD = "gate-held"
    ERROR_RATE = "error-rate"
    LATENCY = "latency"
    UNHEALTHY = "unhealthy"
    ABORT = "abort-asked"
    NOTHING_TO_RETURN_TO = "nothing-to-return-to"
    NO_NUMBERS = "no-numbers"
    PAUSED = "paused"
    MINIMUM_TIME = "minimum-time"
    MINIMUM_REQUESTS = "minimum-requests"
    COMPARISON = "comparison"
    APPROVAL = "approval"
    NOT_ACCEPTED = "not-accepted"
    PERSON = "person"
    MOVED_BY_OTHERS = "moved-by-others"
    CLOCK_SET = "clock-set"


@dataclass(frozen=True)
class Decision:
    """One decision with everything that it rests on."""

    action: Action
    cause: Cause
    reason: str
    step: int  # the step after it; -1 before the first and after a return
    weight: int  # percent of the new backend after it
    window: Window | None
    at: datetime
    late: bool = False
    attempt: int = 1
    by: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the words of the API."""
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "attempt": self.attempt,
            "action": self.action.value,
            "cause": self.cause.value,
            "reason": self.reason,
            "step": self.step,
            "weight": self.weight,
            "late": self.late,
            "by": self.by,
            "seen": self.window.to_json() if self.window else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            Action(values["action"]),
            Cause(values["cause"]),
            values["reason"],
            values["step"],
            values["weight"],
            Window.from_json(values["seen"]) if values.get("seen") else None,
            datetime.fromisoformat(values["at"]),
            values.get("late", False),
            values.get("attempt", 1),
            values.get("by", ""),
        )


def decide(
    record: Record, window: Window | None, now: datetime, *, recent: Window | None = None, missing: str = ""
) -> Decision:
    """The next decision of a cut-over under way.

    `recent` is the last part of the window: trouble that begins late in a long step must not drown in what went well
    before. `missing` says why there is no window.
    """
    plan, late = record.plan, is_late(record.plan, now)

    def decision(action: Action, cause: Cause, reason: str, step: int = record.step) -> Decision:
        words = f"{reason}; the plan is late since {plan.deadline}" if late and action is not Action.DONE else reason
        weight = 0 if step < 0 else plan.steps[step].weight
        return Decision(action, cause, words, step, weight, window, now, late, record.attempt)

    if record.abort:
        return decision(Action.ABORT, Cause.ABORT, f"{record.abort} asked for it", -1)
    if record.step < 0:
        if record.phase is Phase.PAUSED:
            return decision(Action.STAY, Cause.PAUSED, record.paused)
        if window is None:
            return decision(Action.STAY, Cause.NO_NUMBERS, f"{missing or 'no numbers'}, and nothing moves without them")
        if not window.new.healthy:
            known = "the proxy does not know it yet" if window.new.hosts is None else f"0 of {window.new.hosts}"
            return decision(Action.STAY, Cause.UNHEALTHY, f"no host of {plan.to} is healthy: {known}")
        return decision(Action.STEP, Cause.BEGIN, f"the plan begins with {plan.steps[0].weight} %", 0)
    step = plan.steps[record.step]
    failed = next((found for seen in (window, recent) if seen and (found := failure(plan, step, seen))), None)
    if window and failed:
        cause, words = failed
        if window.old.down:
            words = f"{words}, and {plan.from_} is down as well: a person must look"
            return decision(Action.STAY, Cause.NOTHING_TO_RETURN_TO, words)
        return decision(Action.ROLL_BACK, cause, words, -1)
    if record.phase is Phase.PAUSED:
        return decision(Action.STAY, Cause.PAUSED, record.paused)
    if window is None:
        return decision(Action.STAY, Cause.NO_NUMBERS, f"{missing or 'no numbers'}, and nothing moves without them")
    if waits := waiting(plan, step, window):
        return decision(Action.STAY, *waits)
    if step.approval and record.step not in record.approved:
        return decision(Action.STAY, Cause.APPROVAL, f"a person must approve; the gate holds: {held(step, window)}")
    words = f"the gate holds: {held(step, window)}"
    if record.step + 1 == len(plan.steps):
        return decision(Action.DONE, Cause.GATE_HELD, words)
    return decision(Action.STEP, Cause.GATE_HELD, words, record.step + 1)


def after(record: Record, decision: Decision) -> Record:
    """What is remembered once it is decided; weights that change are not applied yet."""
    if decision.action is Action.STAY:
        return record
    found = replace(record, reason=decision.reason)
    if decision.action is Action.DONE:
        return replace(found, phase=Phase.DONE)
    moved = replace(found, weight=decision.weight, applied=False, since=None, baseline=Sample())
    if decision.action is Action.STEP:
        return replace(moved, step=decision.step)
    return replace(moved, phase=Phase.ABORTED if decision.action is Action.ABORT else Phase.ROLLED_BACK)


def failure(plan: CutOver, step: CutOverStep, window: Window) -> tuple[Cause, str] | None:
    """Why the new backend does not pass, if so.

    Errors are held against the requests that the step asks for at least: the first error of a few calls is no verdict,
    and as many as could not be made good any more are one at once.
    """
    new, old, share = window.new, window.old, float(step.maximum_error_rate)
    if new.down:
        return Cause.UNHEALTHY, f"no host of {plan.to} is healthy (0 of {new.hosts})"
    counted = max(new.requests, step.minimum_requests)
    if new.errors > share * counted:
        seen = f"{plan.to} failed {new.errors} of {new.requests} ({percent(new.error_rate)})"
        if new.requests < step.minimum_requests:
            return Cause.ERROR_RATE, f"{seen}, more than {percent(share)} of the {counted} that the gate asks for"
        return Cause.ERROR_RATE, f"{seen}, more than {percent(share)}"
    ratio = step.maximum_latency_ratio
    if ratio is None or min(new.timed, old.timed) < COMPARABLE or new.median is None or old.median is None:
        return None
    if new.median > float(ratio) * old.median and new.median - old.median > RESOLUTION:
        seen = f"the median of {plan.to} is {new.median:g} ms, of {plan.from_} {old.median:g} ms"
        times = f"{new.median / old.median:.1f}" if old.median else "many"
        return Cause.LATENCY, f"{seen}: {times} times, more than {ratio}"
    return None


def waiting(plan: CutOver, step: CutOverStep, window: Window) -> tuple[Cause, str] | None:
    """What the step still lacks."""
    new, old = window.new, window.old
    if window.seconds < step.minimum_seconds:
        return Cause.MINIMUM_TIME, f"{window.seconds:.0f} of {step.minimum_seconds} s"
    if new.requests < step.minimum_requests:
        return Cause.MINIMUM_REQUESTS, f"{new.requests} of {step.minimum_requests} requests"
    if step.maximum_latency_ratio is not None and step.weight < 100 and min(new.timed, old.timed) < COMPARABLE:
        seen = f"{new.timed} of {plan.to} and {old.timed} of {plan.from_}"
        return Cause.COMPARISON, f"{COMPARABLE} timed requests of each make medians comparable; there are {seen}"
    return None


def held(step: CutOverStep, window: Window) -> str:
    """The numbers of a gate that holds."""
    new, old = window.new, window.old
    words = f"{new.errors} of {new.requests} failed (at most {percent(float(step.maximum_error_rate))})"
    if step.maximum_latency_ratio is not None:
        if step.weight == 100 and old.timed < COMPARABLE:
            words += ", no median to compare with at 100 %"
        elif new.median is not None and old.median is not None:
            words += (
                f", median {new.median:g} ms against {old.median:g} ms (at most {step.maximum_latency_ratio} times)"
            )
    return f"{words}, {window.seconds:.0f} s"


def is_late(plan: CutOver, now: datetime) -> bool:
    """Whether its deadline has passed: it holds to the end of its day."""
    return now.astimezone(CHINA).date() > date.fromisoformat(plan.deadline)


def percent(share: float) -> str:
    """`1 %`, `0.25 %`."""
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"
