"""From what went wrong to an exit code and to words; the only place that decides either."""

import os
import sys
import tempfile
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException

OK, FAILED, CHANGES, INTERRUPTED = 0, 1, 2, 130
EXIT_CODES = {
    OK: "Done, or nothing to do.",
    FAILED: "Refused, failed or misused; a mistyped option too. In JSON, `error.code` says which in a word.",
    CHANGES: "There are changes; only with `--detailed-exitcode`.",
    INTERRUPTED: "Interrupted by Ctrl-C or the system; what was begun is continued by running again.",
}


class CommandFailed(Exception):
    """A command cannot or must not go on; `code` is the word in JSON output, `next_step` what the person may do."""

    exit_code = FAILED

    def __init__(
        self, message: str, *, code: str = "refused", next_step: str = "", problems: tuple[Any, ...] = ()
    ) -> None:
        """`problems` are the model's, each with its place."""
        super().__init__(message)
        self.code, self.next_step, self.problems = code, next_step, problems


class Interrupted(CommandFailed):
    """Somebody pressed Ctrl-C, or the system asks to end."""

    exit_code = INTERRUPTED

    def __init__(self, next_step: str = "") -> None:
        """`next_step` says how to go on, where something was begun."""
        super().__init__("interrupted", code="interrupted", next_step=next_step)


def report(error: BaseException, wanted: str) -> int:
    """Say what went wrong, in the wanted format; returns the exit code."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):  # completion ends this way
        return error.code if isinstance(error.code, int) else FAILED
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error, file=sys.stderr)
        return FAILED
    from commonpool.cli.output import Format, columns, encoded, folded, harmless

    failure = describe(error)
    if wanted in ("json", "yaml"):
        # Flushed, so that a reader who has gone shows here and not at the very end.
        print(encoded(document(failure), Format(wanted)), flush=True)
        return failure.exit_code
    if wanted == "markdown":
        print(harmless(markdown(failure)), flush=True)
    lines = [line for problem in failure.problems for line in problem.lines()]
    lines += [f"error: {failure} [{failure.code}]", *([f"  next: {failure.next_step}"] if failure.next_step else [])]
    print(harmless(folded("\n".join(lines), columns(sys.stderr))), file=sys.stderr)
    return failure.exit_code


def describe(error: BaseException) -> CommandFailed:
    """Any exception as a failure that can be shown. Unexpected ones leave their traceback in a file."""
    if isinstance(error, CommandFailed):
        return error
    if isinstance(error, TyperException):
        return _misused(error)
    if isinstance(error, typer.Abort):
        return CommandFailed("the input ended before an answer", code="confirmation_needed")
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("what was begun goes on when the same is run again")
    problems = getattr(error, "problems", ())
    if type(error).__name__ == "EstateRefused":
        count = len(problems)
        message = f"the estate has {count} problem{'s' if count != 1 else ''}"
        step = "mend them, and run the same again"
        return CommandFailed(message, code="estate_refused", next_step=step, problems=problems)
    code = getattr(error, "code", None)
    if isinstance(code, str):
        place = f"{error.file}:{error.line}: " if getattr(error, "file", "") else ""  # type: ignore[attr-defined]
        return CommandFailed(f"{place}{error}", code=code, next_step=getattr(error, "next_step", ""))
    if isinstance(error, OSError) and error.filename:
        return CommandFailed(f"{error.filename}: {error.strerror}", code="file_error")
    return _unexpected(error)


def nearest(name: str, known: list[str]) -> str:
    """What to try instead of a name that does not exist."""
    near = get_close_matches(name, known, n=1) or [word for word in known if word.startswith(name)][:1]
    return (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:20])}" if known else "there are none yet"
    )


def _misused(error: TyperException) -> CommandFailed:
    context = getattr(error, "ctx", None)
    usage = f"{context.command_path} --help" if context is not None else "commonpool --help"
    option = getattr(error, "option_name", None)
    if isinstance(option, str) and type(error).__name__ == "NoSuchOption":
        known = sorted(getattr(error, "possibilities", None) or ())
        near = get_close_matches(option, known, n=1) or known
        step = f"did you mean {near[0]}? otherwise {usage}" if near else usage
        return CommandFailed(f"there is no option {option}", code="usage", next_step=step)
    words = " ".join(error.format_message().replace("Value error, ", "").split())
    if words.startswith("No such command") and context is not None:
        name = words.split("'")[1] if "'" in words else ""
        known = context.command.list_commands(context)
        return CommandFailed(f"there is no command {name!r}", code="usage", next_step=nearest(name, known))
    return CommandFailed(words.rstrip("."), code="usage", next_step=usage)


def _unexpected(error: BaseException) -> CommandFailed:
    text = "".join(traceback.format_exception(error))
    if os.environ.get("COMMONPOOL_TRACEBACK") == "1":
        return CommandFailed(text, code="internal_error")
    words = " ".join(str(error).split())[:200]
    try:
        descriptor, name = tempfile.mkstemp(prefix="commonpool-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        details = f"the details are in {Path(name)}"
    except OSError as full:
        details = f"the details could not be kept ({full.strerror}); COMMONPOOL_TRACEBACK=1 prints them"
    return CommandFailed(
        f"something unexpected happened ({type(error).__name__}: {words})",
        code="internal_error",
        next_step=f"{details}; running again is safe",
    )


def document(failure: CommandFailed) -> dict[str, Any]:
    """The one shape of an error in JSON."""
    problems = [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "message": problem.message,
            "rule": problem.rule,
            "who": problem.who,
            "fix": problem.fix,
        }
        for problem in failure.problems
    ]
    error = {"code": failure.code, "message": str(failure), "next": failure.next_step, "problems": problems}
    return {"apiVersion": "commonpool.dev/v1", "kind": "Error", "error": error}


def markdown(failure: CommandFailed) -> str:
    """The same as a comment for a pull request."""
    from commonpool.cli.output import escaped
    from commonpool.model.problem import shown

    found = [f"### ❌ {escaped(str(failure))}", ""]
    for problem in failure.problems:
        place = f"{shown(problem.file)}:{problem.line}".replace("`", "'")
        found.append(f"- `{place}` {escaped(problem.message)} `{problem.rule}`")
        found += [
            f"  - **{word}** {escaped(text)}" for word, text in (("fix", problem.fix), ("who", problem.who)) if text
        ]
    if failure.next_step and not failure.problems:
        found.append(f"Next: {escaped(failure.next_step)}")
    return "\n".join(found).rstrip()
