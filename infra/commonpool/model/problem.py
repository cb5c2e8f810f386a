"""What is wrong with a manifest, in the form in which compilers speak."""

import unicodedata
from dataclasses import dataclass

LONGEST_SHOWN = 120  # characters of somebody's value that a message repeats: enough to recognise, too few to flood


@dataclass(frozen=True, order=True)
class Problem:
    """One violation: where (line and column count from 1), what, which rule, who may change it, and the edit that passes."""

    file: str
    line: int
    column: int
    message: str
    rule: str
    who: str = "the author of the manifest"
    fix: str = ""

    def __str__(self) -> str:
        """`file:line:column: message [rule]`, one line whatever the values hold."""
        return f"{shown(self.file)}:{self.line}:{self.column}: {self.message} [{self.rule}]"

    def lines(self) -> list[str]:
        """The problem with who may change it and the edit that passes, for a terminal."""
        extra = [f"  who: {self.who}"] if self.who else []
        return [str(self), *extra, *([f"  fix: {self.fix}"] if self.fix else [])]


class ModelError(Exception):
    """Root of what reading an estate can raise."""


class EstateRefused(ModelError):
    """The estate has problems; all of them are in `problems`, in the order of files and lines."""

    def __init__(self, problems: list[Problem]) -> None:
        """Sort them as a reader wants them."""
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        count = len(self.problems)
        head = "\n".join(str(problem) for problem in self.problems[:20])
        more = f"\n… and {count - 20} more" if count > 20 else ""
        super().__init__(f"the estate has {count} problem{'s' if count != 1 else ''}:\n{head}{more}")


def spelt(value: str) -> str:
    """A value in quotes for whoever wrote it, with every mark escaped that can be taken for another one.

    What is wide, as Chinese is, cannot, and stays as it was written.
    """
    return f"'{''.join(mark if unicodedata.east_asian_width(mark) in 'WF' else ascii(mark)[1:-1] for mark in value)}'"


def shown(value: object) -> str:
    """A value as it may be printed: bounded, control and direction characters escaped, so that no terminal obeys it."""
    text = str(value)
    cut = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
    return "".join(
        mark if mark == "…" or unicodedata.category(mark)[0] not in "CZ" or mark == " " else f"\\u{ord(mark):04x}"
        for mark in cut
    )
