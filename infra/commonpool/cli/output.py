"""What a command prints: data to standard output, everything else to standard error; plain wherever nobody looks."""

import json
import os
import re
import shutil
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from commonpool.cli.failure import CommandFailed

if TYPE_CHECKING:
    from rich.text import Text

_COLOUR = r"\x1b\[[0-9]{1,2}m"  # as `paint` sets it
_OBEYED = re.compile(
    rf"(?!{_COLOUR})[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# What stays together, with the space behind it: Chinese goes on below anywhere but before what closes and behind what opens,
# names in parts where there is no room, commands between their options.
_OPEN, _CLOSE, _CHINESE = r"(\[（《「『【〔“‘", r")\],.;:!?，。；：、）》」』】〕”’！？", r"\u2e80-\uffff"
_SIGN = rf"[{_OPEN}]?(?![{_OPEN}])[{_CHINESE}][{_CLOSE}]* *"
# These are compiled when something is too long for its line: with so many signs in them that takes 30 ms.
_WHOLE = rf"`[^`]*`[^ {_CHINESE}]* *|[^ {_CHINESE}]*[{_OPEN}][{_CHINESE}][{_CLOSE}]* *|[^ {_CHINESE}]+ *|{_SIGN}|[{_CHINESE}] *| +"
_PARTS = rf"(?:[^ {_CHINESE}-]+|-(?![a-z]))+(?:-(?=[a-z])| *)|{_SIGN}|[{_CHINESE}] *|[ -]+"
_OPTIONS = r"(?:\| )?(?:--?[\w-]+ (?=[^|-]))?(?:'[^']*'|[^\s'])+ *"
_ANY = r"(?s:.)"
_ACTIVE = re.compile(r"[\\`*_\[\]<>|~&!@]")
NARROWEST = 8  # columns below which wrapped text is no longer read
# Where a line goes on: below what stands behind a label and two spaces, else two columns further in than it began.
_HANGING = re.compile(r"(?P<label> *(?:[-+~=!*?✓✗] +)?\S+(?: \S+)* {2,}(?=\S))?(?P<indent> *)")
_COMMAND = re.compile(r"\bcommonpool(?: -[mC] \S+)? [a-z-]+\b")
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
        return columns(sys.stdout)

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

    def say(self, text: str = "", *, whole: bool = False) -> None:
        """A message for people, to standard error; lines go on below themselves where a terminal ends, unless `whole`."""
        self._print(text if whole else folded(text, columns(sys.stderr)), sys.stderr)

    def words(self, text: str) -> None:
        """Data that are sentences: to standard output, and long lines go on below themselves where a terminal ends."""
        self.data(folded(text, self.width))

    def paint(self, text: str, color: str) -> str:
        """The text in an ANSI colour, where colour is on."""
        codes = {"green": 32, "yellow": 33, "red": 31, "cyan": 36, "dim": 2, "bold": 1}
        return f"\x1b[{codes[color]}m{text}\x1b[0m" if self.colored and text else text

    def prose(self, text: str) -> str:
        """Text below a title, which goes on below itself where the terminal ends."""
        return "\n".join(f"  {part}" for part in (_wrapped(text, self.width - 2, _WHOLE) if self.width else [text]))

    def command(self, label: str, command: str, meaning: str = "") -> str:
        """A command to copy, behind its label. Where the terminal ends it goes on as shells want it, and its meaning below."""
        head = f"  {label:<8} "
        whole = f"{head}{command}  {meaning}".rstrip()
        room = columns(sys.stderr)
        if not room or _cells(whole) <= room:
            return whole
        parts = _wrapped(command.rstrip(), room - len(head) - 4, _OPTIONS)
        lines = (" \\\n" + " " * (len(head) + 2)).join(parts)
        return f"{head}{lines}" + (f"\n{' ' * (len(head) + 2)}# {meaning}" if meaning else "")

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

    def cut(self, line: str) -> str:
        """As much of a line as the terminal has room for; documents have all of it."""
        return line if not self.width or _cells(line) <= self.width else f"{_wrapped(line, self.width - 1, _ANY)[0]}…"

    def fits(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
        """Whether a table of these rows breaks nowhere."""
        widest = [max(map(_cells, column)) for column in zip(headings, *rows, strict=True)]
        return not self.width or sum(widest) + len(widest) - 1 <= self.width

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
        if lines:
            self.data(self.table(headings, lines, left=len(headings)))
        else:
            self.words(empty)

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

    Where that takes more than `width`, cells go on below themselves, those of the widest columns first.
    """
    lines = [*([list(headings)] if any(headings) else []), *(list(row) for row in rows)]
    columns = range(len(headings))
    widths = [max((_cells(line[at]) for line in lines), default=0) for at in columns]
    layout = _Layout(widths) if not width else _fitting(lines, widths, width, left)

    def pad(text: str, at: int) -> str:
        gap = " " * (layout.widths[at] - _cells(text))
        return text + gap if at < left or at == columns[-1] else gap + text

    parts = (part for line in lines for part in _folded(line, layout))
    return "\n".join((" " * layout.gap).join(map(pad, part, columns)).rstrip() for part in parts)


def columns(stream: TextIO) -> int:
    """Of the terminal that a stream goes to; 0 where it goes elsewhere."""
    if not stream.isatty():
        return 0
    named = os.environ.get("COLUMNS", "")
    try:
        return int(named) if named.isdecimal() and int(named) else os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def folded(text: str, width: int) -> str:
    """The lines of a text, each going on below itself at `width` columns; whole where that is 0.

    A line with a command of ours stays whole: what the terminal itself breaks is copied as one line. Where the command is
    quoted only that does.
    """
    return "\n".join(part for line in text.split("\n") for part in _hung(line, width)) if width else text


def _hung(line: str, width: int) -> list[str]:
    plain = re.sub(_COLOUR, "", line)
    if _cells(plain) <= width or _COMMAND.search(re.sub("`[^`]*`", "", plain)):
        return [line]
    found = _HANGING.match(plain)
    label = (found and found["label"]) or ""
    indent = _cells(label) if 0 < _cells(label) <= width // 2 else len(plain) - len(plain.lstrip(" ")) + 2
    color = re.match(rf" *({_COLOUR})", line)
    first = _wrapped(plain, width, _WHOLE)[0]
    rest = _wrapped(plain[len(first) :].lstrip(), max(width - indent, NARROWEST), _WHOLE)
    lines = [first, *(" " * indent + part for part in rest)] if first and rest[0] else [plain]
    return [f"{color[1]}{part}\x1b[0m" for part in lines] if color and line.endswith("\x1b[0m") else lines


def _cells(text: str) -> int:
    """Columns that a text takes on a terminal; its colour takes none."""
    from rich.cells import cell_len

    return cell_len(re.sub(_COLOUR, "", text))


@dataclass(frozen=True)
class _Layout:
    """How wide the columns are, what stands between two, and what of a cell stays together."""

    widths: list[int]
    gap: int = 2
    words: str = _WHOLE  # a regular expression


def _fitting(lines: list[list[str]], widths: list[int], room: int, left: int) -> _Layout:
    """The layout that breaks least, of those whose lines fit in `room`; the widths as they are where none does."""
    columns = range(len(widths))
    taken = [sorted(_cells(line[at]) for line in lines) for at in columns]
    # Sentences one space apart would read as one; names and numbers do not.
    close = not any(" " in cell.strip() for line in lines[1:] for cell in line[:-1][:left])

    def spare(fitting: list[int], least: list[int], at: int) -> tuple[bool, int, int]:
        """What becomes narrower first: what may, then that in which the fewest cells go on below, then the widest."""
        broken = len(lines) - bisect_right(taken[at], fitting[at] - 1)
        return fitting[at] > least[at], -broken, fitting[at]

    for gap, words in ((2, None), (1, None), (2, _WHOLE), (1, _WHOLE), (1, _PARTS)):
        free = room - gap * (len(widths) - 1)
        if words is None:  # nothing is broken while closer columns are enough
            if sum(widths) <= free and (gap > 1 or close):
                return _Layout(widths, gap)
            continue
        longest = [max(_cells(word.rstrip()) for line in lines for word in _split(line[at], words)) for at in columns]
        least = [max(longest[at], min(widths[at], NARROWEST)) for at in columns]
        fitting = list(widths)
        while sum(least) <= free < sum(fitting):
            fitting[max(columns, key=partial(spare, fitting, least))] -= 1
        if sum(fitting) <= free:
            return _Layout(fitting, gap, words)
    return _Layout(widths)


def _split(text: str, words: str) -> list[str]:
    return re.findall(words, re.sub(_COLOUR, "", text)) or [""]


def _folded(line: list[str], layout: _Layout) -> Iterator[list[str]]:
    """The line, and below it what its cells do not hold."""
    cells = zip(line, layout.widths, strict=True)
    folded = [_wrapped(text, room, layout.words) if _cells(text) > room else [text] for text, room in cells]
    yield from (list(part) for part in zip_longest(*folded, fillvalue=""))


def _wrapped(text: str, room: int, words: str) -> list[str]:
    """The text in parts of `room` columns, each in its colour."""
    color = re.match(_COLOUR, text)
    parts, part = [], ""
    for word in _split(text, words):
        if part and _cells(part + word.rstrip()) > room:
            parts.append(part.rstrip())
            part = ""
        part += word
    parts.append(part.rstrip())
    return [f"{color.group()}{part}\x1b[0m" for part in parts] if color else parts


def harmless(text: str) -> str:
    """Text that no terminal obeys, whoever wrote parts of it: controls but line ends, tabs and colours are shown, not sent.

    So are halves of characters, which what is no UTF-8 becomes on its way through Python, and which no terminal can be sent.
    """
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
    if path.name == "__main__.py":
        return f"{Path(sys.executable).name} -m commonpool.cli"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
