"""Runs a cut-over to its end: looks, decides, writes down, moves; once a second, in the foreground, for one service.

The order is the whole point: a decision stands in the cluster before any weight changes, and the record says that weights
are applied only after they are. Killed in between, the next one applies what was decided. A Lease keeps a second
engine away; were it to fail, the record's resourceVersion would.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from commonpool.engine.cluster import Cluster
from commonpool.engine.error import EngineError, LockHeld, LockLost, Stale
from commonpool.engine.lock import Lock
from commonpool.model import SharedService
from commonpool.model.cut_over import CutOver
from commonpool.proxy import store, weights
from commonpool.proxy.cut_over import Action, Cause, Decision, after, decide
from commonpool.proxy.metrics import NoNumbers
from commonpool.proxy.record import Phase, Record, begin, follow, rebased
from commonpool.proxy.sample import Sample, Window
from commonpool.proxy.store import Kept

LOOK_SECONDS = 1.0
QUIET_SECONDS = 1.0
CLOCK_SET_SECONDS = 2.0  # by which the clock of the day and the one that only counts differ when the former was set
RECENT_SECONDS = 60.0  # trouble that lasted this long is trouble, however well the hours before went

Look = Callable[[], Awaitable[Sample]]


class CutOverRefused(EngineError):
    """It cannot begin or go on as it is asked to."""

    code = "cut_over_refused"

    def __init__(self, message: str, next_step: str) -> None:
        """`next_step` is what the person may do."""
        super().__init__(message)
        self.next_step = next_step


@dataclass(frozen=True)
class Progress:
    """What there is to tell after a look."""

    record: Record
    decision: Decision | None
    window: Window | None
    written: bool  # whether the decision is a new one, and was kept


Tell = Callable[[Progress], None]


@dataclass
class CutOverEngine:
    """One service's cut-over under way on this machine."""

    cluster: Cluster
    service: SharedService
    look: Look
    tell: Tell
    pause_between_looks: float = LOOK_SECONDS
    _samples: deque[tuple[float, datetime, Sample]] = field(default_factory=deque)
    _looked: tuple[float, datetime] | None = None  # on the clock that only counts, and on that of the day

    async def run(self, plan: CutOver, *, again: bool = False) -> Record:
        """Begin or continue, until it is over. Raises `CutOverRefused`, `LockHeld`, `LockLost` and `EngineError`."""
        lock = Lock(self.cluster, store.object_name(self.service.name), f"the cut-over of {self.service.name}")
        try:
            await lock.acquire()
        except LockHeld as held:
            raise CutOverRefused(
                f"the cut-over of {self.service.name} is run by {held.holder} since {held.since}",
                "look at it with `commonpool service cutover status`; pause, approve and abort work from anywhere",
            ) from held
        try:
            kept = await self._begin(plan, again)
            while True:
                if lock.lost.is_set():
                    raise LockLost(f"another engine took the cut-over of {self.service.name} over; this one stops")
                kept, finished = await self._tick(kept)
                if finished:
                    return kept.record
                await asyncio.sleep(self.pause_between_looks)
        finally:
            await asyncio.shield(lock.release())

    async def _begin(self, plan: CutOver, again: bool) -> Kept:
        now, name = datetime.now(UTC), self.service.name
        kept = await store.load(self.cluster, name)
        if kept is None:
            return await store.save(self.cluster, None, begin(name, plan, now))
        record = kept.record
        if record.phase is Phase.DONE and again:
            raise CutOverRefused(
                f"{name} has moved to {record.plan.to} already",
                "take cutOver out of its manifest; a plan in the other direction moves it back",
            )
        if record.cleared and again:
            return await store.save(self.cluster, kept, begin(name, plan, now, record.attempt + 1))
        if record.over:
            return kept
        followed = follow(record, plan)
        if followed is None:
            raise CutOverRefused(
                f"the plan of {name} was changed while it is under way at {record.weight} %: it is about other backends, "
                "or has no step of that weight",
                f"change it back, or return to {record.plan.from_} first: commonpool service cutover abort {name}",
            )
        if followed is record:
            return kept
        words = "the plan in the manifest was edited; it goes on from the same weight"
        return await store.save(self.cluster, kept, followed, _note(followed, Action.FOLLOW, Cause.PERSON, words))

    async def _tick(self, kept: Kept) -> tuple[Kept, bool]:
        """One look. What somebody else wrote meanwhile is read by the next one."""
        try:
            kept = await store.load(self.cluster, self.service.name) or kept
            kept = await self._keep_time(kept)
            if not kept.record.applied:
                return await self._apply(kept), False
            if kept.record.over:
                return await self._clear(kept)
            kept = await self._hold(kept)
            return await self._decide(kept), False
        except Stale:
            return kept, False
        except weights.NotAccepted as refusal:
            words = f"the proxy has not taken the weights: {refusal}"
            self.tell(Progress(kept.record, _note(kept.record, Action.STAY, Cause.NOT_ACCEPTED, words), None, False))
            return kept, False

    async def _keep_time(self, kept: Kept) -> Kept:
        """Keep what was counted of the step's time when the clock is set, or the machine slept: nobody looked meanwhile."""
        counted, now, since = time.monotonic(), datetime.now(UTC), kept.record.since
        shift = timedelta()
        if self._looked is not None:
            shift = now - self._looked[1] - timedelta(seconds=counted - self._looked[0])
        if abs(shift.total_seconds()) < CLOCK_SET_SECONDS:
            shift = timedelta()
        # The clock of whoever began the step may also have run ahead of this one.
        if since is not None and (meant := min(since + shift, now)) != since:
            by = (meant - since).total_seconds()
            words = f"the clock was set by {by:+,.0f} s, or nobody looked for so long: that is no time of the step"
            record = replace(kept.record, since=meant)
            note = _note(record, Action.STAY, Cause.CLOCK_SET, words)
            kept = await store.save(self.cluster, kept, record, note)
            self.tell(Progress(record, note, None, True))
        self._looked = (counted, now)
        return kept

    async def _apply(self, kept: Kept) -> Kept:
        """Make true what was decided, and remember since when."""
        await weights.move(self.cluster, self.service, kept.record.weights)
        self._samples.clear()
        sample = await self._seen() or Sample()
        self._looked = (time.monotonic(), datetime.now(UTC))
        record = replace(kept.record, applied=True, since=self._looked[1], baseline=sample)
        return await store.save(self.cluster, kept, record)

    async def _clear(self, kept: Kept) -> tuple[Kept, bool]:
        """Take the backend that lost out of the routes, once nothing is sent there any more or nobody can tell."""
        record = kept.record
        if record.cleared:
            return kept, True
        loser = record.plan.from_ if record.weight else record.plan.to
        before = await self._seen()
        await asyncio.sleep(QUIET_SECONDS)
        now = await self._seen()
        if before and now and now.since(before, loser).requests:
            return kept, False
        cleared = replace(record, cleared=True)
        await weights.move(self.cluster, self.service, cleared.weights)
        return await store.save(self.cluster, kept, cleared), True

    async def _hold(self, kept: Kept) -> Kept:
        """Take back weights that somebody else wrote, and keep a note of who it was."""
        other = await weights.move(self.cluster, self.service, kept.record.weights)
        if not other:
            return kept
        words = f"{other} had written other weights; back to {kept.record.weight} %"
        note = _note(kept.record, Action.RESTORE, Cause.MOVED_BY_OTHERS, words)
        self.tell(Progress(kept.record, note, None, True))
        return await store.save(self.cluster, kept, kept.record, note)

    async def _decide(self, kept: Kept) -> Kept:
        sample, missing = Sample(), ""
        try:
            sample = await self.look()
        except NoNumbers as problem:
            missing = str(problem)
        now = datetime.now(UTC)
        record = rebased(kept.record, sample)
        window = record.window(sample, now)
        decision = decide(record, window, now, recent=self._recent(record, sample, now), missing=missing)
        new = decision.action is not Action.STAY or _differs(decision, kept.decisions)
        if record is not kept.record or new:
            kept = await store.save(self.cluster, kept, after(record, decision), *([decision] if new else []))
        self.tell(Progress(kept.record, decision, window, new))
        return kept

    def _recent(self, record: Record, sample: Sample, now: datetime) -> Window | None:
        """The last part of the window; None before there is one."""
        if not sample.instances or record.since is None:
            return None
        moment = time.monotonic()
        self._samples.append((moment, now, sample))
        while moment - self._samples[0][0] > RECENT_SECONDS:
            self._samples.popleft()
        _, began, first = self._samples[0]
        return replace(record, baseline=first, since=began).window(sample, now)

    async def _seen(self) -> Sample | None:
        with suppress(NoNumbers):
            return await self.look()
        return None


def _differs(decision: Decision, before: tuple[Decision, ...]) -> bool:
    """Whether staying has another cause than it had: each cause is kept once, with the numbers of its first look."""
    last = before[-1] if before else None
    return last is None or (last.action, last.cause, last.step) != (decision.action, decision.cause, decision.step)


def _note(record: Record, action: Action, cause: Cause, words: str, by: str = "") -> Decision:
    return Decision(
        action, cause, words, record.step, record.weight, None, datetime.now(UTC), attempt=record.attempt, by=by
    )


def pause(record: Record, by: str, why: str) -> tuple[Record, Decision]:
    """Stay at the present weight; a failed gate still rolls back."""
    _under_way(record, "pause")
    words = f"paused by {by}" + (f": {why}" if why else "")
    found = replace(record, phase=Phase.PAUSED, paused=words)
    return found, _note(found, Action.PAUSE, Cause.PERSON, words, by)


def resume(record: Record, by: str) -> tuple[Record, Decision]:
    """Go on."""
    _under_way(record, "resume")
    found = replace(record, phase=Phase.MOVING, paused="")
    return found, _note(found, Action.RESUME, Cause.PERSON, f"resumed by {by}", by)


def approve(record: Record, by: str, why: str) -> tuple[Record, Decision]:
    """Agree to what comes after the present step."""
    _under_way(record, "approve")
    if record.step < 0 or not record.plan.steps[record.step].approval:
        waiting = [str(step.weight) for step in record.plan.steps if step.approval]
        raise CutOverRefused(
            f"{record.service} is at {record.weight} %, and that step asks for nobody's approval",
            f"approval is asked for at {', '.join(waiting)} %" if waiting else "no step of its plan asks for one",
        )
    found = replace(record, approved=tuple(sorted({*record.approved, record.step})))
    words = f"approved by {by} at {record.weight} %" + (f": {why}" if why else "")
    return found, _note(found, Action.APPROVE, Cause.PERSON, words, by)


def abort(record: Record, by: str) -> tuple[Record, Decision]:
    """Return to the old backend; the engine does it, or whoever runs it next."""
    _under_way(record, "abort")
    found = replace(record, abort=by)
    return found, _note(found, Action.ABORT, Cause.PERSON, f"{by} asks to abort", by)


def _under_way(record: Record, verb: str) -> None:
    if record.over:
        raise CutOverRefused(
            f"the cut-over of {record.service} is {record.phase.value}; there is nothing to {verb}",
            f"commonpool service cutover status {record.service}",
        )
