"""One record: what happened, who did it, when, and the hash of the record before. Pure.

Whatever comes from outside is encoded and bounded: a newline or an escape sequence stays inside one JSON string, and a field
of ten megabytes is kept as its beginning, its length and its digest (A8).
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from commonpool.journal.tree import leaf_hash

LONGEST_TEXT = 4096  # characters of one field
LARGEST_LINE = 64 << 10  # bytes of one record
MOST_ITEMS = 1000  # of one list or mapping
DEEPEST = 12  # levels
START = b"\0" * 32  # what stands before the first record
# One form alone: times are compared as texts, and one without a zone would be of another day on another machine.
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """What is to be recorded: `kind` is dotted, `actor` is who did it as the pool knows them."""

    kind: str
    actor: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """One record as it stands in a journal; `at` is the writer's clock, the order is that of `sequence`."""

    sequence: int
    previous: bytes
    at: str
    kind: str
    actor: str
    data: Mapping[str, Any]

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """From its line. Raises ValueError, KeyError or TypeError for anything else."""
        values = orjson.loads(line)
        if not isinstance(values["seq"], int) or not isinstance(values["data"], dict):
            raise TypeError("a record has a number and data")
        if not isinstance(values["kind"], str) or not isinstance(values["by"], str):
            raise TypeError("a record says what it is of, and by whom")
        if not _MOMENT.fullmatch(values["at"]):
            raise ValueError(f"{values['at']!r:.40} is no moment in UTC")
        previous = base64.b64decode(values["prev"], validate=True)
        return cls(values["seq"], previous, values["at"], values["kind"], values["by"], values["data"])

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order in which they are written."""
        return {
            "seq": self.sequence,
            "prev": base64.b64encode(self.previous).decode(),
            "at": self.at,
            "kind": self.kind,
            "by": self.actor,
            "data": self.data,
        }


def encoded(entry: Entry, sequence: int, previous: bytes, now: datetime | None = None) -> bytes:
    """The line of a record, without its newline; its hash is that of these very bytes."""
    at = (now or datetime.now(UTC)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    kind, actor = _text(entry.kind, 100), _text(entry.actor, 300)
    record = Record(sequence, previous, at, kind, actor, bounded(entry.data))
    line = orjson.dumps(record.to_json())
    if len(line) <= LARGEST_LINE:
        return line
    whole = orjson.dumps(record.data)
    cut = {"cut": whole[:LONGEST_TEXT].decode(errors="replace"), "length": len(whole), "sha256": _digest(whole)}
    return orjson.dumps(Record(sequence, previous, at, kind, actor, cut).to_json())


def canonical(record: Record, line: bytes) -> bool:
    """Whether a line is the only one that says this record: no key twice, of which readers take one or the other."""
    return orjson.dumps(record.to_json()) == line


def line_hash(line: bytes) -> bytes:
    """What the next record, and the tree, say of this one."""
    return leaf_hash(line)


def bounded(value: Any, depth: int = 0) -> Any:  # noqa: ANN401
    """The value as JSON can hold it, with no part larger than is allowed."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(1 << 53) < value < 1 << 53 else str(value)
    if isinstance(value, bytes):
        return _text(value.decode("utf-8", "backslashreplace"), LONGEST_TEXT)
    if depth >= DEEPEST:
        return "(deeper than is kept)"
    if isinstance(value, Mapping):
        kept = [(_text(str(key), 300), bounded(item, depth + 1)) for key, item in list(value.items())[:MOST_ITEMS]]
        return dict(kept) | ({"(more)": len(value) - MOST_ITEMS} if len(value) > MOST_ITEMS else {})
    if isinstance(value, list | tuple):
        kept_items = [bounded(item, depth + 1) for item in value[:MOST_ITEMS]]
        return kept_items + ([{"(more)": len(value) - MOST_ITEMS}] if len(value) > MOST_ITEMS else [])
    return _text(str(value), LONGEST_TEXT)


def _text(text: str, most: int) -> str:
    clean = text.encode("utf-8", "backslashreplace").decode()  # lone surrogates have no UTF-8
    if len(clean) <= most:
        return clean
    return f"{clean[: most // 2]}… ({len(clean)} characters, sha256:{_digest(clean.encode())})"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
