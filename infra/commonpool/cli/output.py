"""What a command prints: data to standard output, everything else to standard error; plain wherever nobody looks."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

QUIET_SECONDS = 10.0  # without a terminal, at most one line of progress in this time


class Format(StrEnum):
    """How data is printed."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class Color(StrEnum):
    """When colour is used; it never carries meaning alone."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass
class Output:
    """Where and how this command speaks."""

    format: Format = Format.TEXT
    color: Color = Color.AUTO
    _status: Any = None
    _last: float = field(default=0.0)
    _phase: str = ""

    @property
    def live(self) -> bool:
        """Whether somebody watches standard error."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and self.format is Format.TEXT

    @property
    def colored(self) -> bool:
        """Whether to use colour."""
        if self.color is not Color.AUTO:
            return self.color is Color.ALWAYS
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def interactive(self) -> bool:
        """Whether a question can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and self.format is Format.TEXT

    def data(self, text: str) -> None:
        """Print to standard output."""
        self.clear()
        print(text)

    def json(self, values: Any) -> None:  # noqa: ANN401
        """One JSON document to standard output."""
        self.data(json.dumps(values, indent=2, ensure_ascii=False))

    def say(self, text: str = "") -> None:
        """A message for people, to standard error."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def paint(self, text: str, color: str) -> str:
        """The text in an ANSI colour, where colour is on."""
        codes = {"green": 32, "yellow": 33, "red": 31, "cyan": 36, "dim": 2, "bold": 1}
        return f"\x1b[{codes[color]}m{text}\x1b[0m" if self.colored else text

    def phase(self, text: str) -> None:
        """A new part of the work: always told."""
        if text != self._phase:
            self._phase = text
            self.say(f"  {text}")
            self._last = time.monotonic()

    def progress(self, text: str) -> None:
        """How far the work is: one living line on a terminal, now and then a line elsewhere."""
        if self.live:
            if self._status is None:
                self._status = self._console().status(text, spinner="line")
                self._status.start()
            self._status.update(text)
        elif self.format is Format.TEXT and time.monotonic() - self._last > QUIET_SECONDS:
            self._last = time.monotonic()
            self.say(f"    {text}")

    def clear(self) -> None:
        """End the living line."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _console(self) -> "Console":
        from rich.console import Console

        return Console(stderr=True, no_color=not self.colored, highlight=False)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Aligned columns; the first `left` ones flush left, numbers flush right. CJK characters count double."""
    from rich.cells import cell_len

    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(headings))]

    def pad(text: str, column: int) -> str:
        gap = " " * (widths[column] - cell_len(text))
        return text + gap if column < left or column == len(headings) - 1 else gap + text

    return "\n".join("  ".join(pad(text, column) for column, text in enumerate(line)).rstrip() for line in lines)


def count(number: int, word: str) -> str:
    """`1 machine`, `3 machines`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def own_name() -> str:
    """How this command is called from here: by name where it is on the PATH, else by its path."""
    if shutil.which("commonpool"):
        return "commonpool"
    path = Path(sys.argv[0]).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
