"""How a run ends: what is printed of it, what comes next, and the exit code."""

import time

from commonpool.cli import report
from commonpool.cli.failure import CHANGES, FAILED, OK, CommandFailed
from commonpool.cli.output import Format, count
from commonpool.cli.stack_run import Run


def finish(run: Run, brief: bool = False, screen: str = "") -> int:
    """Print the result; returns the exit code. A failure stands in the document as it does in `kind: Error`."""
    kind = {"preview": "Preview", "up": "Update", "destroy": "Destroy", "refresh": "Refresh"}[run.verb]
    failed = _failure(run)
    if run.output.structured:
        run.output.document(kind, **report.to_json(run.results, failed))
    elif run.output.format is Format.MARKDOWN:
        run.output.data(report.to_markdown(run.results, run.verb, failed))
    else:
        for result in run.results:
            diff = run.wishes.diff or run.verb == "refresh"
            found = report.lines(result, run.output, diff=diff)
            for line in found[:1] if brief and not result.problems else found:
                run.output.words(line)
    if screen:
        run.output.data(f"\n{screen}\n")
    _close(run)
    if failed is not None:
        run.output.say(f"error: {failed} [{failed.code}]")
        return FAILED
    changed = any(result.changed for result in run.results)
    return CHANGES if changed and run.wishes.detailed_exitcode else OK


def _failure(run: Run) -> CommandFailed | None:
    problems = [problem for result in run.results for problem in result.problems]
    if problems:
        wrote = run.writing and any(result.changed for result in run.results)
        applied = "; what was applied stays and is recorded" if wrote else ""
        return CommandFailed(
            f"{count(len(problems), 'problem')}{applied}",
            code=problems[0].code,
            next_step="mend what is named above and run it again",
        )
    if run.wishes.expect_no_changes and any(result.changed for result in run.results):
        message = "there are changes, and none were expected (--expect-no-changes)"
        return CommandFailed(message, code="unexpected_changes", next_step=f"{run.target.rerun('preview')} shows them")
    return None


def _close(run: Run) -> None:
    """The three lines at the end: what changed, how long it took, what comes next."""
    from commonpool.cli.screen import call, next_commands

    changed = any(result.changed for result in run.results)
    command, rerun = run.target.command, run.target.rerun
    if any(result.problems for result in run.results):
        steps = [(rerun(run.verb), "again, when it is mended")]
    elif changed and run.wishes.expect_no_changes:
        steps = [(rerun("preview"), "shows them")]
    elif run.verb == "up" and run.estate is not None:
        steps = next_commands(run.estate, command)
    elif run.verb == "destroy":
        kept = any(change.kept for result in run.results for change in result.changes)
        steps = [
            (f"{rerun('up')} --adopt", "makes it again, with what was kept")
            if kept
            else (rerun("up"), "makes it again")
        ]
    elif run.verb == "refresh" and any(result.damage for result in run.results):
        steps = [(rerun("up"), "rebuilds what is remembered from what stands")]
    elif changed and run.verb != "up":
        steps = [(rerun("up"), "applies this" if run.verb == "preview" else "mends what drifted")]
    elif run.estate is not None:
        steps = [(command("status"), "what stands, what drifted, what is about to expire")]
    else:
        steps = [(rerun("refresh"), "tells how the cluster drifts from this")]
    for words in fallen(run):
        run.output.say(f"  warning: {words}")
    for line in report.closing(run.results, time.monotonic() - run.started, steps, run.laps, run.output):
        run.output.say(line)
    served = run.verb == "up" and run.target.embedded and not any(result.problems for result in run.results)
    called = call(run.estate, command) if served and run.estate is not None else ""
    if called:
        run.output.say(run.output.command("call", called))


def fallen(run: Run) -> list[str]:
    """What is wrong with the embedded pool: what was applied stands, and may not be served."""
    if run.verb != "up" or not run.target.embedded:
        return []
    from commonpool.embedded import EmbeddedPool

    return [f"{words}; {step}" for words, step in EmbeddedPool(run.target.pool).status().troubles]


async def pool_screen(run: Run) -> str:
    """The whole pool at a look, as it stands now."""
    from commonpool.cli.screen import screen
    from commonpool.engine.live import read_live

    assert run.cluster is not None
    assert run.estate is not None
    touched = {change.unit for result in run.results for change in result.changes}
    return screen(run.estate, await read_live(run.cluster), run.output, touched)
