"""The edit that mends a broken YAML text: the usual slips of a hand, told by where the parser stopped."""

import re
import unicodedata

from yaml import Mark

_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|(?:^|\s)#.*")
# Only where YAML wants a mark of its own: in a plain text they are letters like any other.
_WIDE = re.compile(
    r"(?:^[ -]*|[{,] *)[\w./-]+ *(：)|[{\[].*?(，)|[:：,，\[{] *([“”‘’＂＇｛［])|[{\[].*?([｝］])|^ *(　)"
)
_NARROW = {"：": ": ", "，": ", ", "“": '"', "”": '"', "‘": "'", "’": "'", "\u3000": "  "}
_CONFLICT = re.compile(r"^<{7} ", re.MULTILINE)
_UNFINISHED = ("cannot start any token", "alphabetic or numeric character", "whitespace or line break")
_DASH = re.compile(r" *-(?=[A-Za-z])")
_START = re.compile(r"(?: *- +)*(?= *[^\s#])")


def mending(text: str, words: str, at: Mark, inside: Mark | None) -> str:
    """What to write so that the parser gets further; empty where the cause cannot be told.

    `words` are the parser's, `at` is where it stopped, `inside` is where the collection or scalar begins that it was in.
    """
    conflict = _CONFLICT.search(text)
    if conflict:
        return f"keep one side of the merge conflict that begins at line {text.count(chr(10), 0, conflict.start()) + 1}"
    lines = text.split("\n")
    line = lines[at.line] if at.line < len(lines) else ""
    slip = _slip(lines, at.line)
    if slip:
        return slip
    if "tab character" in words or "\t" in line[: at.column + 1]:
        return "write spaces instead of the tab"
    if any(one in words for one in _UNFINISHED) or (
        "mapping values" in words and ":" in line[: at.column].lstrip()[1:]
    ):
        return "put the value in quotes"
    if (inside and "'}'" in words) or (inside and "']'" in words):
        closing = "}" if "'}'" in words else "]"
        return f"write {closing} where what opens at line {inside.line + 1}, column {inside.column + 1} ends, or the comma before this"
    if inside and "expected ':'" in words:
        return f"write ': ' behind the key at line {inside.line + 1}, column {inside.column + 1}"
    if inside and "unexpected end of stream" in words:
        return f"close the quote that opens at line {inside.line + 1}, column {inside.column + 1}"
    return _aligned(lines, at.line)


def _slip(lines: list[str], last: int) -> str:
    """A wrong mark on the line where the parser stopped, or on the one before it, which it often blames the next for."""
    filled = [number for number, line in enumerate(lines[: last + 1]) if line.strip()]
    for number in filled[-2:]:
        plain = _QUOTED.sub(lambda match: "x" * len(match.group()), lines[number])
        found = _WIDE.search(plain)
        if found:
            place = found.start(found.lastindex or 0)
            mark = plain[place]
            narrow = _NARROW.get(mark) or unicodedata.normalize("NFKC", mark)
            return f"write {narrow!r} instead of {mark!r} at line {number + 1}, column {place + 1}"
        dash = _DASH.match(plain)
        if dash:
            return f"write a space behind '-' at line {number + 1}, column {dash.end()}"
        opening = plain.find('"')
        if number < last and opening >= 0:
            return f"close the quote that opens at line {number + 1}, column {opening + 1}"
    return ""


def _aligned(lines: list[str], last: int) -> str:
    """The column nearest to where the line starts, of those at which what stands above it is aligned."""
    if last >= len(lines) or not lines[last].strip():
        return ""
    column = _indentation(lines[last])
    open_at: dict[int, int] = {}
    for number, line in enumerate(lines[:last]):
        if line.strip() and not line.lstrip().startswith("#"):
            start = _START.match(line)
            levels = {_indentation(line), start.end() if start and start.end() else _indentation(line)}
            open_at = {known: at for known, at in open_at.items() if known < min(levels)} | dict.fromkeys(
                levels, number
            )
    if not open_at or column in open_at:
        return ""
    nearest = min(open_at, key=lambda known: (abs(known - column), -known))
    odd = open_at[nearest]
    if _stands_alone(lines, odd, nearest, column) and _goes_on(lines[last + 1 :], column):
        return f"indent line {odd + 1} by {column} spaces, not {nearest}, as the lines below it are"
    return f"indent it by {nearest} spaces, not {column}, as line {open_at[nearest] + 1} is"


def _stands_alone(lines: list[str], odd: int, indented: int, column: int) -> bool:
    """Whether a line is the first of its block, and could start at `column` instead, with what is in it."""
    above = next((line for line in reversed(lines[:odd]) if line.strip() and not line.lstrip().startswith("#")), "")
    start = _START.match(above)
    outer = max(_indentation(above), start.end() if start else 0)
    return (
        _indentation(lines[odd]) == indented
        and outer < indented
        and (not above or outer < column)
        and column < indented
    )


def _goes_on(below: list[str], column: int) -> bool:
    """Whether more lines start at `column` before the block ends."""
    for line in below:
        if line.strip() and _indentation(line) <= column:
            return _indentation(line) == column
    return False


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
