"""Journals for tests: made, filled, and taken apart line by line as somebody with an editor would."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

from commonpool.journal import Entry, Journal
from commonpool.journal.note import Signer
from commonpool.journal.record import encoded, line_hash
from commonpool.journal.segment import is_seal, seal_line, segments
from commonpool.journal.tree import Frontier

Lines = list[bytes]


def made(root: Path, groups: list[int], name: str = "test") -> Journal:
    """A journal below `root` with one more commit for each number, of so many records; record 0 is its own."""
    journal = Journal.open(root / "journal", root / "journal.key", name)
    count = 1
    for size in groups:
        journal.append([Entry("exchange.asked", "d1", {"number": count + place}) for place in range(size)])
        count += size
    return journal


def sealed_by(signer: Signer, journal: Journal, line: bytes | None = None) -> None:
    """Add one record as whoever holds a key can, past the writer; of a `line` `%s` is the hash of the record before."""
    path = segments(journal.folder)[0]
    content = path.read_bytes()
    tree, previous = Frontier(), b""
    for one in content.split(b"\n")[1:-1]:
        if not is_seal(one):
            previous = line_hash(one)
            tree.add(previous)
    own = line or encoded(Entry("up.begun", "thief"), tree.size, previous)
    own = own.replace(b"%s", base64.b64encode(previous))
    tree.add(line_hash(own))
    path.write_bytes(content + own + b"\n" + seal_line(signer, journal.origin, tree, [line_hash(own)]))


def edit(journal: Path, change: Callable[[Lines], Lines], segment: int = 0) -> None:
    """Rewrite the lines of a segment behind its header."""
    path = segments(journal)[segment]
    header, *lines = path.read_bytes().split(b"\n")[:-1]
    path.write_bytes(b"\n".join([header, *change(lines)]) + b"\n")


def place(lines: Lines, record: int) -> int:
    """Where a record stands among the lines."""
    return next(at for at, line in enumerate(lines) if line.startswith(f'{{"seq":{record},'.encode()))


def changed(lines: Lines, record: int, **fields: object) -> Lines:
    """With other fields in one record."""
    at = place(lines, record)
    line = json.dumps(json.loads(lines[at]) | fields, separators=(",", ":")).encode()
    return [*lines[:at], line, *lines[at + 1 :]]


def flipped_bit(lines: Lines, record: int) -> Lines:
    """With one other bit in a record."""
    at = place(lines, record)
    line = bytearray(lines[at])
    line[-3] ^= 1
    return [*lines[:at], bytes(line), *lines[at + 1 :]]
