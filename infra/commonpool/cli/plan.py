"""`up`, `preview`, `destroy`, `refresh`: the phases in the order in which they are read aloud."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from commonpool.cli import report
from commonpool.cli.failure import CHANGES, FAILED, OK, CommandFailed
from commonpool.cli.output import Format, Output, count
from commonpool.cli.target import Target, programs

if TYPE_CHECKING:
    from commonpool.engine import Cluster, Event, Options, Program, Result
    from commonpool.model import Estate


@dataclass(frozen=True)
class Wishes:
    """How a run was asked for."""

    yes: bool = False
    diff: bool = False
    skip_preview: bool = False
    detailed_exitcode: bool = False
    expect_no_changes: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """What the phases hand on to each other."""

    target: Target
    wishes: Wishes
    output: Output
    verb: str
    estate: "Estate | None" = None
    programs: "list[Program]" = field(default_factory=list)
    cluster: "Cluster | None" = None
    results: "list[Result]" = field(default_factory=list)
    previewed: set[tuple[str, str]] | None = None
    started: float = field(default_factory=time.monotonic)


def read_estate(run: Run) -> str:
    """Read the estate and check its promises."""
    from commonpool.model import warnings

    if run.target.program is not None:
        run.programs = programs(run.target, None)
        return f"program {run.target.program}"
    run.estate = run.target.load()
    run.programs = programs(run.target, run.estate)
    estate = run.estate
    for words in warnings(estate):
        run.output.say(f"  warning: {words}")
    return (
        f"{estate.pool.name}: {count(len(estate.machines), 'machine')}, {count(len(estate.departments), 'department')}, "
        f"{count(len(estate.services), 'shared service')}"
    )


def stand_pool(run: Run) -> str:
    """Start the embedded pool when no cluster is named."""
    if not run.target.embedded:
        return ""
    from commonpool.embedded import EmbeddedPool

    pool = EmbeddedPool(run.target.pool)
    if run.verb == "up":
        pool.start(lambda message, done: run.output.progress(message))
    return f"no cluster named, so this is the embedded pool {run.target.pool!r} on this machine"


Phase = tuple[str, Callable[[Run], str]]
PHASES: tuple[Phase, ...] = (("estate", read_estate), ("pool", stand_pool))


def execute(run: Run) -> int:
    """Run all phases; returns the exit code."""
    _need_somebody(run)
    for title, work in PHASES:
        words = work(run)
        if words:
            run.output.phase(f"{title:<9} {words}")
    with _cancelled_by_signals():
        return asyncio.run(_with_cluster(run))


async def _with_cluster(run: Run) -> int:
    from commonpool.engine import Cluster

    async with await Cluster.connect(run.target.credentials()) as cluster:
        run.cluster = cluster
        for warning in cluster.warnings:
            run.output.say(f"  warning: {warning}")
        if run.verb == "up" and not (run.wishes.yes and (run.wishes.skip_preview or not run.wishes.diff)):
            await _stacks(run, "preview")
            if any(result.problems for result in run.results):
                return _end(run)
            if any(result.changed for result in run.results):
                _ask(run)
            run.previewed, run.results = _plan(run.results), []
        elif run.verb == "destroy":
            await _stacks(run, "destroy", preview=True)
            if any(result.changed for result in run.results):
                _ask(run)
            run.results = []
        await _stacks(run, run.verb)
        if run.previewed is not None and (moved := _plan(run.results) - run.previewed):
            run.output.say(f"  the pool moved since the preview: {count(len(moved), 'change')} were not in it")
        code = _end(run)
        if run.verb == "up" and run.estate is not None and run.output.format is Format.TEXT:
            await _screen(run)
        return code


async def _stacks(run: Run, verb: str, *, preview: bool = False) -> None:
    from commonpool import engine

    options = engine.Options(**run.wishes.options, diff=run.wishes.diff, reason=f"commonpool {run.verb}")
    ordered = list(reversed(run.programs)) if verb == "destroy" else run.programs
    for program in ordered:
        result = await _one(run, verb, program, options, preview=preview)
        run.results.append(result)
        run.output.clear()
        if result.problems and verb == "up" and not options.continue_on_error:
            break


async def _one(run: Run, verb: str, program: "Program", options: "Options", *, preview: bool) -> "Result":
    from commonpool import engine

    assert run.cluster is not None
    observer = _observer(run.output, program.stack)
    if verb == "destroy":
        return await engine.destroy(program, run.cluster, observer=observer, options=options, preview=preview)
    work = {"up": engine.up, "preview": engine.preview, "refresh": engine.refresh}[verb]
    return await work(program, run.cluster, observer=observer, options=options)


def _plan(results: "list[Result]") -> set[tuple[str, str]]:
    return {(change.operation, change.urn) for result in results for change in result.changes}


def _observer(output: Output, stack: str) -> "Callable[[Event], None]":
    def observe(event: "Event") -> None:
        if event.kind == "note":
            output.say(f"    {stack}: {event.message}")
        elif event.kind == "resource" and event.change is not None:
            output.progress(
                f"{stack:<12} {event.done:>5}  {report.SIGNS[event.change.operation]} {report.place(event.change)}"
            )
        elif event.kind == "wait":
            output.progress(f"{stack:<12} waiting: {event.message}")

    return observe


def _need_somebody(run: Run) -> None:
    """Refuse at once what would end in a question that nobody can answer."""
    if run.verb in ("up", "destroy") and not run.wishes.yes and not run.output.interactive:
        raise CommandFailed(
            f"`commonpool {run.verb}` asks before it changes anything, and this is no terminal",
            code="confirmation_needed",
            next_step="add --yes to go on without a question, or run `commonpool preview`",
        )


def _ask(run: Run) -> None:
    """Show the preview and ask; the end of input is a refusal."""
    if run.wishes.yes:
        return
    for result in run.results:
        for line in report.lines(result, run.output, diff=run.wishes.diff):
            run.output.say(line)
    while True:
        run.output.say("")
        try:
            answer = (
                input(f"{'Destroy' if run.verb == 'destroy' else 'Apply'} this? yes / no / details [no]: ")
                .strip()
                .lower()
            )
        except EOFError:
            raise CommandFailed(
                "the input ended before an answer", code="confirmation_needed", next_step="add --yes"
            ) from None
        if answer in ("yes", "y"):
            return
        if answer in ("details", "d"):
            for result in run.results:
                for line in report.lines(result, run.output, diff=True):
                    run.output.say(line)
            continue
        raise CommandFailed("not applied", code="declined")


def _end(run: Run) -> int:
    kind = {"preview": "Preview", "up": "Update", "destroy": "Destroy", "refresh": "Refresh"}[run.verb]
    if run.output.format is Format.JSON:
        run.output.json(report.to_json(run.results, kind))
    elif run.output.format is Format.MARKDOWN:
        run.output.data(report.to_markdown(run.results, f"commonpool {run.verb}"))
    else:
        for result in run.results:
            for line in report.lines(result, run.output, diff=run.wishes.diff or run.verb == "refresh"):
                run.output.data(line)
        run.output.say(f"  {time.monotonic() - run.started:.1f} s")
    if any(result.problems for result in run.results):
        return FAILED
    changed = any(result.changed for result in run.results)
    if changed and run.wishes.expect_no_changes:
        raise CommandFailed(
            "there are changes, and none were expected (--expect-no-changes)", code="unexpected_changes"
        )
    return CHANGES if changed and run.wishes.detailed_exitcode else OK


async def _screen(run: Run) -> None:
    from commonpool.cli.screen import screen
    from commonpool.engine.live import read_live

    assert run.cluster is not None
    assert run.estate is not None
    live = await read_live(run.cluster)
    run.output.data("\n" + screen(run.estate, live, run.output))


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: writes in flight finish, the lease is given back."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
