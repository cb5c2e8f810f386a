"""What is remembered of a cut-over, so that whoever continues it knows where it stands. Pure.

The weights stand here before they are applied (`applied` says whether they were), and the counters at which they began to
hold stand here too: a process that dies in between leaves nothing that its successor has to guess.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import orjson

from commonpool.model.cut_over import CutOver
from commonpool.proxy.sample import Counts, Members, Reading, Sample, Window

MOST_WEIGHT = 1_000_000  # of the Gateway API; against it, a weight of 1 is next to nothing


class Phase(StrEnum):
    """Where a cut-over stands."""

    MOVING = "moving"
    PAUSED = "paused"
    DONE = "done"
    ROLLED_BACK = "rolled-back"
    ABORTED = "aborted"


OVER = (Phase.DONE, Phase.ROLLED_BACK, Phase.ABORTED)


@dataclass(frozen=True)
class Record:
    """One attempt at one plan."""

    service: str
    plan: CutOver
    started: datetime
    attempt: int = 1
    phase: Phase = Phase.MOVING
    step: int = -1
    weight: int = 0  # percent of the new backend
    applied: bool = False
    cleared: bool = False  # whether the backend that lost is out of the route for good
    since: datetime | None = None  # when the present weights began to hold
    baseline: Sample = field(default_factory=Sample)  # the counters at that moment
    approved: tuple[int, ...] = ()
    paused: str = ""  # by whom and why
    abort: str = ""  # by whom
    reason: str = ""  # of the last decision that moved something

    @property
    def over(self) -> bool:
        """Whether nothing will move any more."""
        return self.phase in OVER

    @property
    def weights(self) -> dict[str, int]:
        """What stands in the routes for the two backends of the plan.

        A proxy learns of a backend, or drops it, not at the very moment at which its routes change; calls that are sent to
        it in between fail. So one that gets no share keeps a weight of one in a million while the cut-over is under
        way, which also keeps its health watched, and loses even that when it is over and quiet.
        """
        if self.cleared:
            return {self.plan.from_: 100 - self.weight, self.plan.to: self.weight}
        if self.weight in (0, 100):
            most, least = (self.plan.to, self.plan.from_) if self.weight else (self.plan.from_, self.plan.to)
            return {most: MOST_WEIGHT, least: 1}
        return {self.plan.from_: 100 - self.weight, self.plan.to: self.weight}

    def window(self, sample: Sample, now: datetime) -> Window | None:
        """What both backends did since the present weights hold; None before they do, and without any Envoy."""
        if self.since is None or not self.applied or not sample.instances:
            return None
        old, new = (self._reading(sample, name) for name in (self.plan.from_, self.plan.to))
        return Window(max(0.0, (now - self.since).total_seconds()), old, new)

    def _reading(self, sample: Sample, backend: str) -> Reading:
        members: Members | None = sample.members(backend)
        counts: Counts = sample.since(self.baseline, backend)
        return Reading.of(counts, members)

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the words of the API."""
        return {
            "service": self.service,
            "plan": self.plan.model_dump(mode="json", by_alias=True),
            "started": self.started.isoformat(),
            "attempt": self.attempt,
            "phase": self.phase.value,
            "step": self.step,
            "weight": self.weight,
            "applied": self.applied,
            "cleared": self.cleared,
            "since": self.since.isoformat() if self.since else None,
            "baseline": self.baseline.to_json(),
            "approved": list(self.approved),
            "paused": self.paused,
            "abort": self.abort,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; raises ValueError, KeyError or TypeError for anything else."""
        return cls(
            service=values["service"],
            plan=CutOver.model_validate(values["plan"]),
            started=datetime.fromisoformat(values["started"]),
            attempt=values["attempt"],
            phase=Phase(values["phase"]),
            step=values["step"],
            weight=values["weight"],
            applied=values["applied"],
            cleared=values["cleared"],
            since=datetime.fromisoformat(values["since"]) if values["since"] else None,
            baseline=Sample.from_json(values["baseline"]),
            approved=tuple(values["approved"]),
            paused=values["paused"],
            abort=values["abort"],
            reason=values["reason"],
        )


def digest(plan: CutOver) -> str:
    """What tells one plan from another."""
    content = orjson.dumps(plan.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:16]


def rebased(record: Record, sample: Sample) -> Record:
    """The record without the baseline of Envoys that started anew: what they count now began after it."""
    anew = {
        address
        for address, one in record.baseline.instances.items()
        if (found := sample.instances.get(address))
        and any(found.counts.get(name, Counts()).restarted(counts) for name, counts in one.counts.items())
    }
    if not anew:
        return record
    kept = {address: one for address, one in record.baseline.instances.items() if address not in anew}
    return replace(record, baseline=Sample(kept))


def begin(service: str, plan: CutOver, now: datetime, attempt: int = 1) -> Record:
    """A cut-over that has not moved anything yet."""
    return Record(service, plan, now, attempt)


def follow(record: Record, plan: CutOver) -> Record | None:
    """The record under a plan that was edited meanwhile; nothing moves by the edit.

    None when the plan is about another move, or has no step of the weight that holds now.
    """
    if digest(record.plan) == digest(plan):
        return record
    if (record.plan.from_, record.plan.to) != (plan.from_, plan.to):
        return None
    if record.step < 0:
        return replace(record, plan=plan)
    reached = [number for number, step in enumerate(plan.steps) if step.weight == record.weight]
    return replace(record, plan=plan, step=reached[0], approved=()) if reached else None
