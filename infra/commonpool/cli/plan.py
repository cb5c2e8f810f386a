"""`up`, `preview`, `destroy`, `refresh`: the phases in the order in which they are read aloud."""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from commonpool.cli import consent, report
from commonpool.cli.ending import fallen, finish, pool_screen
from commonpool.cli.evidence import RunEvidence, refused
from commonpool.cli.failure import CommandFailed, Interrupted, nearest
from commonpool.cli.output import Format, count
from commonpool.cli.stack_run import Run, Wishes
from commonpool.cli.target import left_out, needs_exchange, programs, stand_ins

if TYPE_CHECKING:
    from commonpool.engine import Cluster, Event, Options, Program, Result
    from commonpool.journal import Entry
    from commonpool.model import Estate

LOOK_SECONDS = 10.0  # between two looks at the embedded pool's components while a run goes on


def read_estate(run: Run) -> str:
    """Read the estate and check its promises."""
    from commonpool.model import warnings

    if run.target.program is not None:
        run.programs = programs(run.target, None)
        _warn_unknown_keys(run)
        return f"program {run.target.program}"
    run.target.refuse_sample()
    run.estate = estate = _loaded(run)
    run.programs = programs(run.target, estate)
    _known_targets(run)
    for words in (*warnings(estate), *left_out(run.target, estate)):
        run.output.say(f"  warning: {words}")
    place = " (the sample estate)" if run.target.sample else ""
    return (
        f"{estate.pool.name}: {count(len(estate.machines), 'machine')}, {count(len(estate.departments), 'department')}, "
        f"{count(len(estate.services), 'shared service')}{place}"
    )


def _loaded(run: Run) -> "Estate":
    """The estate; an `up` that is refused leaves a record where the pool has a journal."""
    from commonpool.cli import evidence
    from commonpool.model import EstateRefused

    try:
        return run.target.load()
    except EstateRefused as error:
        if run.verb == "up" and (evidence.place(run.target)[0] / "segments").is_dir():
            from commonpool.cli import decisions
            from commonpool.cli.journal import whoever
            from commonpool.journal import JournalError

            try:
                refused(run.target, "", decisions.refusal(error.problems, whoever()))
            except JournalError as lost:  # nothing is done that it would have to prove, and the author has to know why
                run.output.say(f"  warning: the refusal is not recorded: {lost}")
        raise


def _warn_unknown_keys(run: Run) -> None:
    from commonpool.engine.project import unknown_keys

    given = {**run.target.config, **run.target.secret_config}
    for program in run.programs:
        for words in unknown_keys(program, given):
            run.output.say(f"  warning: {words}")


def stand_pool(run: Run) -> str:
    """Start the embedded pool when no cluster is named."""
    if not run.target.embedded:
        return ""
    from commonpool.embedded import EmbeddedPool

    pool = EmbeddedPool(run.target.pool)
    if run.verb == "up":
        pool.start(run.output.build)
    return f"no cluster named, so this is the embedded pool {run.target.pool!r} on this machine"


def exchange(run: Run) -> str:
    """Let the embedded pool run the process that agreements need in the way of calls."""
    if run.estate is None or run.verb != "up" or not needs_exchange(run.estate):
        return ""
    pool = run.target.own_pool
    if pool is None:
        return ""
    pool.enable_exchange()
    return "calls under an agreement that takes out fields, counts or keeps evidence pass a process of the proxy's own"


def play(run: Run) -> str:
    """Let the embedded pool answer for machines that have not joined, and say so."""
    if run.estate is None or run.verb != "up" or not run.target.embedded:
        return ""
    from commonpool.embedded import EmbeddedPool

    wanted = stand_ins(run.target, run.estate)
    silent = EmbeddedPool(run.target.pool).play(wanted)
    if silent:
        run.output.say(f"  warning: nothing plays {', '.join(sorted(silent))}; commonpool embedded logs stand-ins")
    run.programs = programs(run.target, run.estate)
    if not wanted:
        return ""
    return f"{', '.join(sorted(wanted))}: simulated, so that stand-ins on this machine answer for them"


def play_nothing(run: Run) -> None:
    """Stop answering for machines when the services are gone."""
    if run.estate is None or not run.target.embedded or run.wishes.options.get("targets"):
        return
    if any(result.stack == "services" and not result.problems for result in run.results):
        from commonpool.embedded import EmbeddedPool

        EmbeddedPool(run.target.pool).play({})


Phase = tuple[str, str, Callable[[Run], str]]
PHASES: tuple[Phase, ...] = (
    ("estate", "reading the manifests", read_estate),
    ("pool", "looking for the embedded pool", stand_pool),
    ("exchange", "preparing what agreements need", exchange),
    ("played", "starting what stands in for simulated machines", play),
)


def execute(run: Run) -> int:
    """Run all phases; returns the exit code."""
    consent.need_somebody(run.verb, run.wishes.yes, run.output)
    for title, doing, work in PHASES:
        began = time.monotonic()
        with run.output.working(doing):
            words = work(run)
        run.laps[title] = time.monotonic() - began
        if words:
            run.output.phase(f"{title:<9} {words}")
    try:
        return asyncio.run(_with_cluster(run))
    except (KeyboardInterrupt, asyncio.CancelledError):
        step = "what was applied is recorded; run the same command again to go on" if run.writing else ""
        raise Interrupted(step) from None


async def _with_cluster(run: Run) -> int:
    from commonpool.components.reading import holding
    from commonpool.engine import Cluster

    async with run.connections as kept:
        if run.estate is not None:
            kept.enter_context(holding(run.estate))
        run.cluster = cluster = await kept.enter_async_context(await Cluster.connect(run.target.credentials()))
        run.evidence = _evidence(run, cluster)
        cluster.trouble = lambda words: run.output.progress(f"{words}; trying again")
        for warning in cluster.warnings:
            run.output.say(f"  warning: {warning}")
        await _know_moves(run, cluster)
        await _serve_https(run, cluster)
        if run.verb == "destroy" or (run.verb == "up" and not (run.wishes.yes and _unseen(run.wishes))):
            await _stacks(run, "destroy" if run.verb == "destroy" else "preview", preview=True)
            if any(result.problems for result in run.results):
                return finish(run)
            if any(result.changed for result in run.results):
                asked = time.monotonic()
                run.consent = consent.ask(run.results, _owner(run), run.verb, run.wishes, run.output)
                run.started += time.monotonic() - asked  # a person's time is not the run's
            run.previewed, run.results = _plan(run.results), []
        run.writing = run.verb in ("up", "destroy")
        if run.writing:
            _stop_in_good_order(run)
        watching = asyncio.create_task(_tell_of_the_fallen(run))
        try:
            await _stacks(run, run.verb)
        finally:
            watching.cancel()
            await _ended(run, run.evidence)
        if run.verb == "destroy":
            play_nothing(run)
        moved = _plan(run.results) - run.previewed if run.previewed is not None else set()
        if moved:
            run.output.say(f"  the pool moved since the preview: {count(len(moved), 'change')} were not in it")
        brief = run.previewed is not None and not moved and not run.wishes.yes
        if run.verb == "up" and run.estate is not None and run.output.format is Format.TEXT:
            return finish(run, brief, await pool_screen(run))
        return finish(run, brief)


def _evidence(run: Run, cluster: "Cluster") -> RunEvidence:
    def begun() -> "list[Entry]":
        from commonpool.cli import decisions

        return decisions.begun(run)

    name = run.estate.pool.name if run.estate is not None else ""
    evidence = RunEvidence(run.target, name, begun, run.output.say)
    evidence.watch(cluster)
    return evidence


async def _ended(run: Run, evidence: RunEvidence) -> None:
    """The end is recorded when there was a beginning; a journal that is full by then has refused the writes already."""
    if not evidence.begun:
        return
    from commonpool.cli import decisions
    from commonpool.engine.error import EvidenceUnavailable

    try:
        await evidence.end(decisions.ended(run.results))
    except EvidenceUnavailable as error:
        run.output.say(f"  warning: {error}")


async def _know_moves(run: Run, cluster: "Cluster") -> None:
    """Render the weights that cut-overs have reached, where there are any, instead of the declared ones."""
    if run.estate is None or not any(service.spec.cut_over for service in run.estate.services):
        return
    from commonpool.proxy.store import shares

    moved = await shares(cluster, run.estate.services)
    if moved:
        run.programs = programs(run.target, run.estate, moved)


async def _serve_https(run: Run, cluster: "Cluster") -> None:
    """Give the embedded pool's proxy the certificate that the pool declares; a cluster's is made by whoever runs it."""
    proxy = run.estate.pool.spec.network.proxy if run.estate is not None else None
    if run.estate is None or proxy is None or proxy.certificate is None or run.verb != "up" or not run.target.embedded:
        return
    from commonpool.embedded import EmbeddedPool, https

    layout, names = EmbeddedPool(run.target.pool).layout, https.names(run.estate)
    if names and await https.issue(layout, cluster, proxy.certificate, names):
        run.output.say(f"  https     a certificate for {', '.join(names)}")
    clients = proxy.client_certificates
    if clients and await https.found_authority(layout, cluster, clients.authority):
        run.output.say("  https     an authority for the certificates of systems outside of the pool")


def _unseen(wishes: Wishes) -> bool:
    return wishes.skip_preview or not wishes.diff


def _owner(run: Run) -> str:
    """What is typed where the data of more than one department would be lost."""
    return run.estate.pool.name if run.estate is not None else run.programs[0].stack


async def _stacks(run: Run, verb: str, *, preview: bool = False) -> None:
    from commonpool import engine

    options = engine.Options(**run.wishes.options, diff=run.wishes.diff, reason=f"commonpool {run.verb}")
    ordered = list(reversed(run.programs)) if verb == "destroy" else run.programs
    for program in ordered:
        with run.output.working(f"{program.stack}: reading what the pool remembers"):
            result = await _one(run, verb, program, options, preview=preview)
        run.results.append(replace(result, changes=tuple(sorted(result.changes, key=report.order))))
        if verb == "up" and _ends_with(program, result) and not options.continue_on_error:
            break


def _ends_with(program: "Program", result: "Result") -> bool:
    """Whether later stacks wait: for the pool's own, by which the others are guarded, and where one did not come to its end."""
    return bool(result.problems) and (result.halted or program.config.get("commonpool:program") == "pool")


async def _one(run: Run, verb: str, program: "Program", options: "Options", *, preview: bool) -> "Result":
    from commonpool import engine

    assert run.cluster is not None
    cluster = run.cluster if verb == "refresh" else await _writer(run, run.cluster, program)
    observer = _observer(run, program.stack)
    if verb == "destroy":
        return await engine.destroy(program, cluster, observer=observer, options=options, preview=preview)
    work = {"up": engine.up, "preview": engine.preview, "refresh": engine.refresh}[verb]
    result = await work(program, cluster, observer=observer, options=options)
    if verb == "refresh" and run.estate is not None:
        from commonpool.cli.status import without_moves

        return await without_moves(run.target, run.estate, cluster, result)
    return result


async def _writer(run: Run, administrator: "Cluster", program: "Program") -> "Cluster":
    """Who writes a stack, or tries to: of the embedded pool its own the administrator, the others an account that rules fence.

    The pool's own stack writes those rules and makes that account; until it has, there is nobody but the administrator, who
    also takes over what others made. A preview of changes to the pool's own asks the administrator about the rest, since
    what the account may do can be among them.
    """
    from commonpool.components.roles import RBAC
    from commonpool.engine import Cluster

    ours = run.target.program is None and program.config.get("commonpool:program") != "pool"
    moving = not run.writing and any(result.stack == "pool" and result.changed for result in run.results)
    if not ours or moving or run.wishes.options.get("adopt"):
        return administrator
    if run.engine is None:
        credentials = run.target.engine_credentials()
        if credentials is None or await administrator.read(RBAC, "ClusterRoleBinding", "", "commonpool-engine") is None:
            return administrator
        run.engine = await run.connections.enter_async_context(await Cluster.connect(credentials))
        run.engine.evidence, run.engine.trouble = administrator.evidence, administrator.trouble
    run.engine.ruled = administrator.ruled
    return run.engine


def _plan(results: "list[Result]") -> set[tuple[str, str]]:
    return {(change.operation, change.urn) for result in results for change in result.changes}


def _observer(run: Run, stack: str) -> "Callable[[Event], None]":
    output = run.output

    def observe(event: "Event") -> None:
        if event.kind == "note":
            output.say(f"    {stack}: {event.message}".replace("\n", "\n        "))
        elif event.kind == "resource" and event.change is not None:
            total = f"/{event.total}" if event.total else ""
            output.progress(f"{stack}: {event.done}{total} {event.change.operation.sign} {report.place(event.change)}")
        elif event.kind == "wait":
            output.progress(f"{stack}: waiting for {event.message}")
        else:
            if event.units and run.writing and run.verb == "up" and run.estate and run.evidence:
                from commonpool.cli import decisions

                run.evidence.owe(decisions.admissions(run.estate, event.units))
            output.progress(f"{stack}: {event.message}")

    return observe


def _known_targets(run: Run) -> None:
    """Refuse a target that matches nothing: it would look like a run that found nothing to do."""
    if run.verb == "destroy":
        return  # the pool's memory decides there, and may hold what is no longer declared
    known = sorted({unit for program in run.programs for unit in program.units or ()})
    for target in run.wishes.options.get("targets", ()):
        if not any(fnmatchcase(unit, target) for unit in known):
            raise CommandFailed(
                f"--target {target}: there is no such department or service",
                code="target_unknown",
                next_step=nearest(target, known),
            )


async def _tell_of_the_fallen(run: Run) -> None:
    """Say while a run goes on why what it waits for may never come, each reason once."""
    told: set[str] = set()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for words in await asyncio.to_thread(fallen, run):
            if words not in told:
                told.add(words)
                run.output.say(f"  warning: {words}")


def _stop_in_good_order(run: Run) -> None:
    """Ctrl-C and SIGTERM: the writes in flight finish, the lease is given back; the second time ends at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if task.cancelling():
            raise KeyboardInterrupt
        run.output.say("\n  stopping: what is being written is finished and recorded; once more stops at once")
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
