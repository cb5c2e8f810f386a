"""One run of one program against the pool: what every resource of it shares.

Nothing is written before `begin_writing`, which takes the stack's lease, checks that the recorded state is still the
one that was read, and notes which units are about to be touched, so that a run killed at any later point is continued
by running again.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from commonpool.engine import state as states
from commonpool.engine.cluster import Cluster
from commonpool.engine.clusters import Clusters
from commonpool.engine.error import (
    EngineError,
    FieldConflict,
    Interrupted,
    LockLost,
    NotReady,
    ProgramFailed,
    Refused,
    Unsupported,
)
from commonpool.engine.event import Change, Event, Observer, Operation, ResourceProblem
from commonpool.engine.index import Index
from commonpool.engine.lock import Lock
from commonpool.engine.mask import Masks
from commonpool.engine.record import Identity
from commonpool.engine.state import EVERYTHING, State

FLUSH_SECONDS = 10.0  # records younger than this are recovered from the seals of live objects instead
FLUSH_SHARE = 20  # the other parts of the time: each save packs everything anew, so those of a large stack are rarer
LONGEST_FLUSH_SECONDS = 120.0  # also after a save that waited for an API server that was away

T = TypeVar("T")
ConfigValue = str | int | float | bool | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Program:
    """A Pulumi program as one stack of it is run.

    `directory` holds `Pulumi.yaml` or is a program's own folder. `units`, where given, maps the names of independent
    parts (top-level components) to digests of everything they depend on: a unit whose digest is recorded and whose
    objects stand is not evaluated; its name is passed to the program as config `commonpool:unchanged`.
    """

    project: str
    stack: str
    directory: Path
    config: Mapping[str, ConfigValue] = field(default_factory=dict)
    secret_config: frozenset[str] = frozenset()
    units: Mapping[str, str] | None = None
    isolated: bool = False


@dataclass(frozen=True)
class Options:
    """How to run. `timeout` in seconds bounds each wait for readiness; `targets` are URNs, units or `*` wildcards."""

    targets: tuple[str, ...] = ()
    parallel: int = 48
    wait: bool = True
    timeout: float = 600.0
    refresh: bool = False
    continue_on_error: bool = False
    adopt: bool = False
    force_conflicts: bool = False
    exclude_protected: bool = False
    diff: bool = False
    reason: str = "commonpool up"


@dataclass
class Deployment:
    """The mutable side of a run."""

    program: Program
    options: Options
    preview: bool
    pool: Cluster
    clusters: Clusters
    state: State
    index: Index
    observer: Observer
    selected: frozenset[str] | None
    unsettled: frozenset[str] = frozenset()  # stays pending: not every kind of what it may have made could be listed
    changes: list[Change] = field(default_factory=list)
    problems: list[ResourceProblem] = field(default_factory=list)
    unchanged: int = 0
    registered: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    # By unit what it declares, where all of it is known at once.
    wanted: dict[str, set[Identity]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)  # of these units, those of which an object failed; the others go on
    halted: bool = False  # whether something failed that is of no unit, or says nothing of one object alone
    continued: set[str] = field(default_factory=set)  # the records whose objects resources of this run stand for
    unit_of: dict[str, str] = field(default_factory=dict)
    fresh_namespaces: set[tuple[str, str]] = field(default_factory=set)
    standing_namespaces: set[tuple[str, str]] = field(default_factory=set)
    outputs: dict[str, Any] | None = None
    secret_outputs: tuple[str, ...] = ()
    masks: Masks = field(default_factory=Masks)
    declared_namespaces: set[str] = field(default_factory=set)
    places: dict[tuple[str, Identity], str] = field(default_factory=dict)  # whose each object of this run is
    order: int = 0
    done: int = 0
    took_over: str = ""
    _interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    _expected_namespaces: dict[str, str] = field(default_factory=dict)
    _writing: asyncio.Task[None] | None = None
    _flushing: asyncio.Task[None] | None = None
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _lock: Lock | None = None

    def __post_init__(self) -> None:
        """Secret configuration is hidden from the first line on."""
        for key in self.program.secret_config:
            self.masks.hide(self.program.config.get(key))

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked for the run to end."""
        return self._interrupted.is_set()

    def interrupt(self) -> None:
        """Let writes in flight finish, and begin nothing new."""
        self._interrupted.set()

    async def unless_interrupted(self, work: Coroutine[Any, Any, T], otherwise: T) -> T:
        """The result of waiting for something, or `otherwise` as soon as the run is interrupted."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._interrupted.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else otherwise
        finally:
            for one in (task, stop):
                one.cancel()

    def stops(self, unit: str) -> bool:
        """Whether no further resource of this unit should be touched. A preview goes on, to tell all problems at once.

        Units are independent of each other: what one department has put in the way of its own objects keeps nobody else's
        from being written.
        """
        failed = self.halted or unit in self.broken
        return self.interrupted or (failed and not (self.preview or self.options.continue_on_error))

    @property
    def writing(self) -> bool:
        """Whether this run has taken the lease."""
        return self._writing is not None

    def next_order(self) -> int:
        """A number that grows with every registration; deletion goes backwards."""
        self.order += 1
        return self.order

    def report(self, change: Change) -> None:
        """Count a finished resource and tell the observer."""
        self.done += 1
        change = replace(change, reason=self.masks.apply(change.reason), name=self.masks.apply(change.name))
        if change.operation is Operation.SAME:
            self.unchanged += 1
        else:
            self.changes.append(change)
        self.tell(Event("resource", change.name, change=change, done=self.done))

    def tell(self, event: Event) -> None:
        """Pass an event on to the observer, without secrets."""
        self.observer(replace(event, message=self.masks.apply(event.message)))

    def note(self, message: str) -> None:
        """Tell the observer something that is no resource."""
        self.tell(Event("note", message, done=self.done))

    def fail(self, urn: str, error: EngineError) -> None:
        """Remember a problem; what depends on the resource is skipped, not tried, and so is the rest of its unit."""
        self.failed.add(urn)
        unit = self.unit_of.get(urn, "")
        if unit in self.wanted and error.of_one:
            self.broken.add(unit)
        else:
            self.halted = True
        step = error.next_step or next_step(error)
        self.problems.append(ResourceProblem(urn, error.code, self.masks.apply(str(error)), self.masks.apply(step)))

    def fail_program(self, error: ProgramFailed) -> None:
        """Remember that the program itself failed; when it did because we refused it something, that is told with its place."""
        place = error.file and f"{error.file}:{error.line}"
        refused = [problem for problem in self.problems if not problem.urn and problem.code == Unsupported.code]
        if place and refused:
            self.problems = [replace(one, urn=place) if one in refused else one for one in self.problems]
        elif not refused and not (self.failed and not error.file):
            self.fail(place, error)

    def expect_namespace(self, namespace: str, urn: str) -> None:
        """A preview met an object in a namespace that does not exist (yet)."""
        if namespace:
            self._expected_namespaces.setdefault(namespace, urn)

    def refuse_missing_namespaces(self) -> None:
        """At the end of a preview: who declared something in a namespace that neither exists nor is declared."""
        for namespace, urn in self._expected_namespaces.items():
            if namespace not in self.declared_namespaces:
                words = f"namespace {namespace} does not exist, and this program does not make it"
                error = Refused(words, status=404, reason="NotFound")
                error.next_step = "declare the Namespace, or correct metadata.namespace"
                self.fail(urn, error)

    async def begin_writing(self) -> None:
        """Take the lease, once, before the first write. Raises `LockHeld` or `LockLost`."""
        if self.preview:
            raise AssertionError("a preview never writes")
        if self.interrupted and self._writing is None:
            raise Interrupted("the run was interrupted before anything was written")
        if self._writing is None:
            self._writing = asyncio.create_task(self._begin())
        await asyncio.shield(self._writing)
        if self._lock is None or self._lock.lost.is_set():
            raise LockLost(
                f"the lease of stack {self.program.stack} was taken over or deleted by somebody; this run stops"
            )

    async def _begin(self) -> None:
        await states.ensure_namespace(self.pool)
        self._lock = Lock(self.pool, self.state.name, self.options.reason)
        try:
            self.took_over = await self._lock.acquire()
            if self.took_over:
                self.note(f"took the stack over from {self.took_over.split('/')[0]}, which ended without finishing")
            latest = await states.versions(self.pool, self.state.project, self.state.stack)
            if self.state.versions and latest != self.state.versions:
                raise LockLost(
                    f"another run changed stack {self.program.stack} while this one was looking; run it again"
                )
            self.state.pending = tuple(self.selected) if self.selected is not None else (EVERYTHING,)
            self.state.last_run = {"reason": self.options.reason, "holder": self._lock.holder, "started": now()}
            await states.save(self.pool, self.state)
        except BaseException:
            await self._lock.release()
            raise
        self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        took = 0.0
        while True:
            await asyncio.sleep(min(max(FLUSH_SECONDS, FLUSH_SHARE * took), LONGEST_FLUSH_SECONDS))
            began = time.monotonic()
            try:
                await self.save()
            except LockLost:
                if self._lock:
                    self._lock.lost.set()
                return
            except EngineError:
                pass  # the records wait for the next time
            took = time.monotonic() - began

    async def save(self) -> None:
        """Write what changed of the state."""
        async with self._saving:
            await states.save(self.pool, self.state)

    async def finish(self) -> None:
        """Stop flushing and let go of the lease, also after a failure."""
        if self._flushing:
            self._flushing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flushing
        if self._lock:
            # An aborted save leaves the digest of before, and the next run looks at everything.
            content = self.state.written.get(self.state.name)
            await self._lock.release(states.digest_of(content) if content is not None else "")


def next_step(error: EngineError) -> str:
    """What the person may do about it, in one sentence; empty when the message says it all."""
    if isinstance(error, FieldConflict):
        managers = ", ".join(sorted({manager for manager, _ in error.conflicts}))
        return (
            f"leave the field to {managers} (ignore_changes), take it out of {managers}, "
            "or take it over with --force-conflicts"
        )
    if isinstance(error, NotReady):
        return "the object stays applied; fix its cause and run again, or run with --no-wait"
    if isinstance(error, Refused) and error.reason == "Forbidden" and "quota" in str(error):
        return "lower the request, or raise the quota in the department's manifest"
    return ""


def now() -> str:
    """The present in RFC 3339, seconds, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
