"""Nothing is changed without a yes, and no data are lost without their owner's name typed."""

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from commonpool.cli import report
from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output, count

if TYPE_CHECKING:
    from commonpool.cli.stack_run import Wishes
    from commonpool.engine import Result


def need_somebody(verb: str, yes: bool, output: Output) -> None:
    """Refuse at once what would end in a question that nobody can answer."""
    if verb in ("up", "destroy") and not yes and not output.interactive:
        raise CommandFailed(
            f"`commonpool {verb}` asks before it changes anything, and nobody can answer here",
            code="confirmation_needed",
            next_step="add --yes to go on without a question, or run `commonpool preview`",
        )


def ask(results: "Sequence[Result]", owner: str, verb: str, wishes: "Wishes", output: Output) -> str:
    """Show the preview and ask; the end of input is a refusal. Returns how it was granted; raises `CommandFailed` otherwise."""
    if wishes.yes:
        return "--yes"
    _show(results, output, diff=wishes.diff)
    lost = [change for result in results for change in report.losses(result.changes)]
    units = {change.unit for change in lost}
    word = (units.pop() if len(units) == 1 else owner) or owner
    if lost:
        names = ", ".join(map(report.place, lost))
        output.say(f"\n! {count(len(lost), 'deletion')} would lose data: {names}")
        question, granted = f"Type {word} to go on, details to see more, anything else to stop: ", {word}
    else:
        doing = "Destroy" if verb == "destroy" else "Apply"
        question, granted = f"{doing} this? yes / no / details [no]: ", {"yes", "y"}
    while True:
        output.say()
        answer = answered(question, output)
        if answer in granted:
            return f"typed {answer}"
        if answer.lower() not in ("details", "d"):
            raise CommandFailed("not applied, nothing was changed", code="declined")
        _show(results, output, diff=True)


def answered(question: str, output: Output) -> str:
    """One answer of a person; the end of input is none."""
    output.clear()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # inside a loop Ctrl-C would wait for Enter
    try:
        return input(question).strip()
    except EOFError:
        output.say()
        raise CommandFailed(
            "the input ended before an answer; nothing was changed", code="confirmation_needed", next_step="add --yes"
        ) from None
    finally:
        signal.signal(signal.SIGINT, handler)


def _show(results: "Sequence[Result]", output: Output, *, diff: bool) -> None:
    for result in results:
        for line in report.lines(result, output, diff=diff):
            output.say(line)
