"""The file format: segments of 4,096 records, one JSON document a line. Pure but for reading.

A segment begins with a header (which journal, its first record, the hash before it, and the tree's frontier there, so that a
writer need not read what came before). Records follow, and after each group that was committed together its seal: the hashes
of the group's records and the signed checkpoint of the whole journal up to here. What no seal covers was never acknowledged.
"""

import base64
import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from commonpool.journal.error import JournalDamaged
from commonpool.journal.note import Checkpoint, Signer
from commonpool.journal.tree import Frontier

RECORDS = 4096  # of one segment: a power of two, so that each full one is one complete subtree
FORMAT = "commonpool.dev/journal/v1"
BODIES = "bodies"  # what was kept of calls, beside the segments
CHECKPOINT = "checkpoint"  # of a copy: how many records were handed on
LOCK = "lock"  # beside the segments; held by whoever writes
PATIENCE_SECONDS = 2.0  # with a writer, before what stands there is taken as it is


@dataclass(frozen=True)
class Header:
    """The first line of a segment."""

    origin: str
    first: int
    previous: bytes
    frontier: Frontier

    def line(self) -> bytes:
        """As it is written, with its newline."""
        values = {
            "journal": self.origin,
            "format": FORMAT,
            "first": self.first,
            "prev": base64.b64encode(self.previous).decode(),
            "frontier": [base64.b64encode(one).decode() for one in self.frontier.subtrees],
        }
        return orjson.dumps(values) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Raises ValueError, KeyError or TypeError for anything else."""
        values = orjson.loads(line)
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']!r}, not {FORMAT}")
        first = int(values["first"])
        subtrees = [base64.b64decode(one, validate=True) for one in values["frontier"]]
        return cls(str(values["journal"]), first, base64.b64decode(values["prev"]), Frontier(first, subtrees))


@dataclass(frozen=True)
class Seal:
    """The line after a group of records."""

    note: str
    leaves: tuple[bytes, ...]

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From a parsed line. Raises ValueError, KeyError or TypeError for anything else."""
        joined = base64.b64decode(values["leaves"], validate=True)
        if len(joined) % 32:
            raise ValueError("hashes have 32 bytes")
        return cls(str(values["seal"]), tuple(joined[place : place + 32] for place in range(0, len(joined), 32)))


def seal_line(signer: Signer, origin: str, frontier: Frontier, leaves: list[bytes]) -> bytes:
    """The seal of a group, with its newline; `frontier` is that after the group."""
    note = signer.sign(Checkpoint(origin, frontier.size, frontier.root()).text)
    return orjson.dumps({"seal": note, "leaves": base64.b64encode(b"".join(leaves)).decode()}) + b"\n"


def is_seal(line: bytes) -> bool:
    """Whether a line is a seal, or claims to be one."""
    return line.startswith(b'{"seal":')


def folder_of(journal: Path) -> Path:
    """Where the segments lie."""
    return journal / "segments"


def path_of(journal: Path, first: int) -> Path:
    """The segment that begins with a record."""
    return folder_of(journal) / f"{first:012d}.jsonl"


def segments(journal: Path) -> list[Path]:
    """All segments, in order."""
    folder = folder_of(journal)
    return sorted(folder.glob("*.jsonl")) if folder.is_dir() else []


def first_of(path: Path) -> int:
    """The number of the first record, from the name. Raises `JournalDamaged` for a file that is no segment."""
    try:
        return int(path.stem)
    except ValueError as error:
        raise JournalDamaged(f"{path} is no segment of a journal: segments are named by their first record") from error


def header_of(path: Path) -> Header:
    """Raises `JournalDamaged`."""
    with path.open("rb") as file:
        line = file.readline()
    try:
        return Header.parse(line)
    except (ValueError, KeyError, TypeError) as error:
        raise JournalDamaged(f"{path}:1: the header cannot be read: {error}") from error


def lines_of(path: Path) -> list[bytes]:
    """The lines of a segment that have their end; what a writer is at is none yet."""
    return path.read_bytes().split(b"\n")[:-1]


def settled(path: Path) -> bytes:
    """What stands in a segment when nobody is writing there: a half of what is written would look like one that was cut off."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _is_ended(content := path.read_bytes()) and time.monotonic() < deadline:
        with _unwritten(path.parent.parent) as unwritten:
            if unwritten:
                return path.read_bytes()
        time.sleep(0.01)
    return content


def _is_ended(content: bytes) -> bool:
    return content.endswith(b"\n") and is_seal(content[content.rfind(b"\n", 0, -1) + 1 :])


@contextlib.contextmanager
def _unwritten(journal: Path) -> Iterator[bool]:
    """Keep writers out, and say whether nobody is writing now; where there is no lock, in a copy, nobody ever is."""
    try:
        descriptor = os.open(journal / LOCK, os.O_RDONLY)
    except OSError:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def sealed_lines(path: Path) -> list[bytes]:
    """The lines of a segment's sealed records, as they stand; nothing is verified."""
    found: list[bytes] = []
    group: list[bytes] = []
    for line in lines_of(path)[1:]:
        if is_seal(line):
            found += group
            group = []
        else:
            group.append(line)
    return found


def record_lines(journal: Path, first: int = 0) -> Iterator[bytes]:
    """Those of all segments from a number on."""
    for path in segments(journal):
        begins = first_of(path)
        if begins + RECORDS > first:
            yield from sealed_lines(path)[max(0, first - begins) :]
