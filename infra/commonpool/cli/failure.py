"""From what went wrong to an exit code and to words; the only place that decides either.

Codes: 0 done or nothing to do, 1 refused, failed or misused, 2 changes and only with `--detailed-exitcode`, 130 interrupted.
"""

import os
import tempfile
import traceback
from pathlib import Path
from typing import Any

OK, FAILED, CHANGES, INTERRUPTED = 0, 1, 2, 130


class CommandFailed(Exception):
    """A command cannot or must not go on; `code` is the word in JSON output, `next_step` what the person may do."""

    def __init__(
        self, message: str, *, code: str = "refused", next_step: str = "", problems: tuple[Any, ...] = ()
    ) -> None:
        """`problems` are the model's, each with its place."""
        super().__init__(message)
        self.code, self.next_step, self.problems = code, next_step, problems


def describe(error: BaseException) -> CommandFailed:
    """Any exception as a failure that can be shown. Unexpected ones leave their traceback in a file."""
    if isinstance(error, CommandFailed):
        return error
    problems = getattr(error, "problems", ())
    if type(error).__name__ == "EstateRefused":
        count = len(problems)
        message = f"the estate has {count} problem{'s' if count != 1 else ''}"
        return CommandFailed(
            message, code="estate_refused", next_step="mend them and run `commonpool validate`", problems=problems
        )
    code = getattr(error, "code", None)
    if isinstance(code, str):
        place = f"{error.file}:{error.line}: " if getattr(error, "file", "") else ""  # type: ignore[attr-defined]
        return CommandFailed(f"{place}{error}", code=code, next_step=getattr(error, "next_step", ""))
    if isinstance(error, OSError) and error.filename:
        return CommandFailed(f"{error.filename}: {error.strerror}", code="file_error")
    return _unexpected(error)


def _unexpected(error: BaseException) -> CommandFailed:
    text = "".join(traceback.format_exception(error))
    if os.environ.get("COMMONPOOL_TRACEBACK") == "1":
        return CommandFailed(text, code="internal_error")
    descriptor, name = tempfile.mkstemp(prefix="commonpool-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    words = " ".join(str(error).split())[:200]
    return CommandFailed(
        f"something unexpected happened ({type(error).__name__}: {words})",
        code="internal_error",
        next_step=f"the details are in {Path(name)}; running again is safe",
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
