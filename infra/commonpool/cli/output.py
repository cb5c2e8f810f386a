"""What a command prints: data to standard output, everything else to standard error; plain wherever nobody looks."""

import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from commonpool.cli.failure import CommandFailed

if TYPE_CHECKING:
    from rich.text import Text

_COLOUR = r"\x1b\[[0-9]{1,2}m"  # as `paint` sets it
_OBEYED = re.compile(rf"(?!{_COLOUR})[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ACTIVE = re.compile(r"[\\`*_\[\]<>|~&!@]")
NARROWEST = 24  # columns that are worth wrapping a text into
QUIET_SECONDS = 10.0  # without a terminal, at most one line of progress in this time


class Format(StrEnum):
    """How data is printed."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
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
    _doing: str = ""
    _since: float = 0.0

    @property
    def live(self) -> bool:
        """Whether somebody watches standard error."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def colored(self) -> bool:
        """Whether to use colour."""
        if self.format is not Format.TEXT:
            return False
        if self.color is not Color.AUTO:
            return self.color is Color.ALWAYS
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def interactive(self) -> bool:
        """Whether a question can be asked; never where a program reads."""
        return sys.stdin.isatty() and sys.stderr.isatty() and self.format is Format.TEXT

    @property
    def width(self) -> int:
        """Columns of the terminal that data go to; 0 where they go elsewhere, and lines stay whole for other tools."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0

    @property
    def structured(self) -> bool:
        """Whether one document is wanted, and no text."""
        return self.format in (Format.JSON, Format.YAML)

    def data(self, text: str) -> None:
        """Print to standard output."""
        self._print(text, sys.stdout)

    def document(self, kind: str, **values: Any) -> None:  # noqa: ANN401
        """One document to standard output, as JSON unless YAML is wanted."""
        self.data(encoded({"apiVersion": "commonpool.dev/v1", "kind": kind, **values}, self.format))

    def say(self, text: str = "") -> None:
        """A message for people, to standard error."""
        self._print(text, sys.stderr)

    def paint(self, text: str, color: str) -> str:
        """The text in an ANSI colour, where colour is on."""
        codes = {"green": 32, "yellow": 33, "red": 31, "cyan": 36, "dim": 2, "bold": 1}
        return f"\x1b[{codes[color]}m{text}\x1b[0m" if self.colored and text else text

    def title(self, text: str) -> str:
        """The line above a table."""
        return f"### {text}\n" if self.format is Format.MARKDOWN else self.paint(text, "bold")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
        """Rows in columns, the first `left` ones flush left and numbers flush right; a table of markdown where that is wanted."""
        if self.format is not Format.MARKDOWN:
            return table(headings, rows, left=left, width=self.width)
        marks = ["---" if column < left else "---:" for column in range(len(headings))]
        lines = [headings, marks, *([escaped(cell) for cell in row] for row in rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def listing(
        self,
        kind: str,
        items: Iterable[dict[str, Any]],
        headings: Sequence[str],
        rows: Iterable[Sequence[str]],
        empty: str,
    ) -> None:
        """All of a kind: a document for scripts, a table for people, or what an empty one is told; only one is evaluated."""
        if self.structured:
            self.document(kind, items=list(items))
            return
        lines = list(rows)
        self.data(self.table(headings, lines, left=len(headings)) if lines else empty)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that the work goes on: a living line on a terminal, else a plain line now and then."""
        self._doing, self._since = text, time.monotonic()
        if self.live:
            self._show()
        over = threading.Event()
        teller = threading.Thread(target=self._tell, args=(over,), daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            self.clear()
            self._doing = ""

    def phase(self, text: str) -> None:
        """A part of the work is done: always told."""
        self.say(f"  {text}")

    def progress(self, text: str) -> None:
        """What is being done now, further lines below it; shown while `working`."""
        if self._doing:
            self._doing = text

    def build(self, text: str, done: float | None) -> None:
        """How far something long is, from 0 to 1 where that is known; its end is always told."""
        if done == 1.0:
            self.phase(f"{'built':<9} {text}")
        else:
            self.progress(text if done is None else f"{text} ({done:.0%})")

    def clear(self) -> None:
        """End the living line, for a question."""
        status, self._status = self._status, None
        if status is not None:
            status.stop()

    def _print(self, text: str, stream: TextIO) -> None:
        showing = self._status is not None
        self.clear()
        try:
            print(harmless(text), file=stream, flush=True)  # whoever reads it through a pipe waits for it
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandFailed(f"what is printed cannot be written: {error.strerror}", code="file_error") from error
        if showing and self._doing:
            self._show()

    def _show(self) -> None:
        from rich.console import Console

        console = Console(stderr=True, no_color=not self.colored, highlight=False)
        self._status = console.status(self, spinner="line")
        self._status.start()

    def __rich__(self) -> "Text":
        """The living line: what is done now, and for how long."""
        from rich.text import Text

        return Text(harmless(self._line("{doing}  {seconds:.0f} s")), overflow="ellipsis", no_wrap=True)

    def _line(self, form: str) -> str:
        """What is done now in this form, and below it what belongs to it."""
        doing, end, below = self._doing.partition("\n")
        return form.format(doing=doing, seconds=time.monotonic() - self._since) + end + below

    def _tell(self, over: threading.Event) -> None:
        while not over.wait(QUIET_SECONDS):
            if not self.live:
                self.say(self._line("    {doing} ({seconds:.0f} s so far)"))


def encoded(values: Any, format: Format) -> str:  # noqa: ANN401
    """One document as text."""
    if format is Format.YAML:
        import yaml

        plain = json.loads(json.dumps(values, ensure_ascii=False))
        return str(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=120)).rstrip("\n")
    return json.dumps(values, indent=2, ensure_ascii=False)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, width: int = 0) -> str:
    """Aligned columns; the first `left` ones flush left, numbers flush right. CJK characters count double.

    Where that takes more than `width`, the last column goes on below itself.
    """
    from rich.cells import cell_len

    lines = [*([list(headings)] if any(headings) else []), *(list(row) for row in rows)]
    widths = [max((cell_len(line[column]) for line in lines), default=0) for column in range(len(headings))]

    def pad(text: str, column: int) -> str:
        gap = " " * (widths[column] - cell_len(text))
        return text + gap if column < left or column == len(headings) - 1 else gap + text

    before = sum(widths[:-1]) + 2 * (len(headings) - 1)
    if left >= len(headings) and before + widths[-1] > width >= before + NARROWEST:
        lines = [part for line in lines for part in _wrapped(line, width - before)]
    return "\n".join("  ".join(pad(text, column) for column, text in enumerate(line)).rstrip() for line in lines)


def _wrapped(line: list[str], room: int) -> Iterator[list[str]]:
    """The line, and below it what its last cell does not hold in `room` columns."""
    from rich.cells import cell_len

    *cells, last = line
    part = ""
    for word in re.findall(r"[ -~]+?(?: +|$|(?=[^ -~]))|[^ -~] *", last):
        if part and cell_len(part + word.rstrip()) > room:
            yield [*cells, part.rstrip()]
            cells, part = [""] * len(cells), ""
        part += word
    yield [*cells, part.rstrip()]


def harmless(text: str) -> str:
    """Text that no terminal obeys, whoever wrote parts of it: controls but line ends, tabs and colours are shown, not sent."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escaped(text: str) -> str:
    """Text that is only text in markdown, on one line: no link, image, tag, mention or end of a cell."""
    return _ACTIVE.sub(r"\\\g<0>", " ".join(text.split()))


def count(number: int, word: str) -> str:
    """`1 machine`, `3 machines`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def own_name() -> str:
    """How this command is called from here: by name where it is on the PATH, else by its path."""
    if shutil.which("commonpool"):
        return "commonpool"
    path = Path(sys.argv[0]).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
