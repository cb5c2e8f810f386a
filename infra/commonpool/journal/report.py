"""The judgement of one segment, by itself. Pure but for reading the file; runs in processes of its own."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

import orjson

from commonpool.journal import segment
from commonpool.journal.error import JournalDamaged, NoteDamaged
from commonpool.journal.note import Checkpoint, Note, Verifier
from commonpool.journal.record import Record, canonical, line_hash
from commonpool.journal.segment import Header, Seal, is_seal
from commonpool.journal.tree import Frontier

LEAST_SET_BACK = 1.0  # seconds; what NTP corrects in small steps is nobody's matter


@dataclass(frozen=True)
class Finding:
    """The first record that is not as it was written: `rule` says in a word what happened to it."""

    sequence: int
    rule: str
    message: str
    file: Path
    line: int

    def __str__(self) -> str:
        """In compiler style."""
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file.name else ""
        return f"{place}record {self.sequence}: {self.message} [{self.rule}]"


@dataclass(frozen=True)
class SetBack:
    """A record that says an earlier time than the one before it: the writer's clock was set back. Its number still tells the order."""

    sequence: int
    before: str
    at: str

    @classmethod
    def between(cls, sequence: int, before: str, at: str) -> list[Self]:
        """One, or none where the clock went on, or only trembled. Times that cannot be read are no matter of clocks."""
        if not before or at >= before:  # written in one form by all writers
            return []
        try:
            seconds = (datetime.fromisoformat(before) - datetime.fromisoformat(at)).total_seconds()
        except (ValueError, TypeError):
            return []
        return [cls(sequence, before, at)] if seconds >= LEAST_SET_BACK else []

    @property
    def seconds(self) -> float:
        """By how much."""
        return (datetime.fromisoformat(self.before) - datetime.fromisoformat(self.at)).total_seconds()


@dataclass(frozen=True)
class Sealed:
    """A seal that verifies: records from `start` to before `size`, the root, and the whole public key."""

    start: int
    size: int
    root: bytes
    key: str
    line: int


@dataclass
class SegmentReport:
    """What one segment says of itself, as far as it is good."""

    path: Path
    origin: str = ""
    first: int = 0
    previous: bytes = b""
    before: tuple[bytes, ...] = ()  # the frontier that the header claims
    size: int = 0
    last: bytes = b""
    subtrees: list[bytes] = field(default_factory=list)
    seals: list[Sealed] = field(default_factory=list)
    changes: list[tuple[int, tuple[str, str]]] = field(default_factory=list)  # record, (new key, id of the old one)
    began: str = ""  # the times of its first record and of its last one
    ended: str = ""
    set_back: list[SetBack] = field(default_factory=list)
    roots: Mapping[int, bytes] = field(default_factory=dict)
    finding: Finding | None = None


def judge(path: Path, keys: Sequence[Verifier], wanted: Sequence[int] = ()) -> SegmentReport:
    """Judge a segment; `wanted` are sizes of which the roots are to be reported."""
    report = SegmentReport(path)
    try:
        report.first = report.size = segment.first_of(path)
        lines = segment.settled(path).split(b"\n")
        header = Header.parse(lines[0])
        if header.first != report.first:
            raise ValueError(f"it says that it begins with {header.first}")
    except (OSError, ValueError, KeyError, TypeError, JournalDamaged) as error:
        report.finding = Finding(report.first, "changed", f"the segment's header cannot be read: {error}", path, 1)
        return report
    report.origin, report.previous = header.origin, header.previous
    report.before = tuple(header.frontier.subtrees)
    _Judge(report, header, keys, frozenset(wanted)).run(lines)
    return report


class _Judge:
    """Goes through the lines group by group."""

    def __init__(self, report: SegmentReport, header: Header, keys: Sequence[Verifier], wanted: frozenset[int]) -> None:
        self.report, self.frontier, self.wanted = report, header.frontier.copy(), wanted
        self.keys = {(key.name, key.identity): key for key in keys}
        self.previous = header.previous
        self.roots: dict[int, bytes] = {}

    def run(self, lines: list[bytes]) -> None:
        group: list[tuple[int, bytes]] = []
        for number, line in enumerate(lines[1:], 2):
            if not line and number == len(lines):
                break
            if not is_seal(line):
                group.append((number, line))
            elif self._seal(number, line, group):
                break
            else:
                group = []
        report = self.report
        if report.finding is None and group:
            words = (
                f"{len(group)} line(s) at the end have no seal: cut off here, or the writer died and did not come back"
            )
            report.finding = Finding(report.size, "truncated", words, report.path, group[0][0])
        report.last, report.subtrees, report.roots = self.previous, self.frontier.subtrees, self.roots

    def _seal(self, number: int, line: bytes, group: list[tuple[int, bytes]]) -> bool:
        """Judge a group by its seal; whether something is wrong."""
        report, start = self.report, self.frontier.size
        hashes = [line_hash(one) for _, one in group]
        authentic = self._authentic(line, start)
        if authentic is None or authentic[1].leaves != tuple(hashes):
            report.finding = self._bad(number, group, hashes, authentic)
            return True
        checkpoint, _, key, frontier = authentic
        finding = self._read(group, hashes, start)
        if finding:
            report.finding = finding
            return True
        self.frontier = frontier
        report.size = checkpoint.size
        report.seals.append(Sealed(start, checkpoint.size, checkpoint.root, key.text, number))
        return False

    def _authentic(self, line: bytes, start: int) -> tuple[Checkpoint, Seal, Verifier, Frontier] | None:
        """The seal when it is signed and its hashes are those that were signed."""
        try:
            seal = Seal.of(orjson.loads(line))
            note = Note.parse(seal.note)
            checkpoint = Checkpoint.parse(note.text)
        except (ValueError, KeyError, TypeError, NoteDamaged):
            return None
        key = next((key for one in note.signatures if (key := self.keys.get((one.name, one.identity)))), None)
        if key is None or checkpoint.origin != self.report.origin or checkpoint.size != start + len(seal.leaves):
            return None
        frontier = self.frontier.copy()
        roots = {}
        for leaf in seal.leaves:
            frontier.add(leaf)
            if frontier.size in self.wanted:
                roots[frontier.size] = frontier.root()
        if frontier.root() != checkpoint.root or not note.signed_by(key):
            return None
        self.roots |= roots
        return checkpoint, seal, key, frontier

    def _read(self, group: list[tuple[int, bytes]], hashes: list[bytes], start: int) -> Finding | None:
        """Whether records that are sealed also say the right number and the right hash before them."""
        for offset, (number, line) in enumerate(group):
            record = self._record(line)
            if record is None:
                words = "it is sealed, but is no record, or could be read in two ways"
                return Finding(start + offset, "form", words, self.report.path, number)
            if record.sequence != start + offset or record.previous != self.previous:
                words = "it is sealed, but does not go on from the record before it"
                return Finding(start + offset, "spliced", words, self.report.path, number)
            if record.kind == "journal.key":
                change = (str(record.data.get("vkey")), str(record.data.get("retires")))
                self.report.changes.append((start + offset, change))
            self._keep_time(start + offset, record.at)
            self.previous = hashes[offset]
        return None

    def _record(self, line: bytes) -> Record | None:
        try:
            found = Record.parse(line)
        except (ValueError, KeyError, TypeError):
            return None
        return found if canonical(found, line) else None

    def _keep_time(self, sequence: int, at: str) -> None:
        report = self.report
        report.set_back += SetBack.between(sequence, report.ended, at)
        report.began, report.ended = report.began or at, at

    def _bad(
        self,
        number: int,
        group: list[tuple[int, bytes]],
        hashes: list[bytes],
        authentic: tuple[Checkpoint, Seal, Verifier, Frontier] | None,
    ) -> Finding:
        start = self.frontier.size
        if authentic:
            place, rule, words = compared(hashes, authentic[1].leaves)
        else:
            place, rule, words = self._guessed(group, hashes, start)
        line = group[place][0] if place < len(group) else number
        return Finding(start + place, rule, words, self.report.path, line)

    def _guessed(self, group: list[tuple[int, bytes]], hashes: list[bytes], start: int) -> tuple[int, str, str]:
        """The seal itself is not to be believed: the chain still shows where it breaks, if it does."""
        previous = self.previous
        for place, (_, line) in enumerate(group):
            try:
                values = orjson.loads(line)
                sequence, before = int(values["seq"]), base64.b64decode(values["prev"])
            except (ValueError, KeyError, TypeError):
                return place, "changed", "it cannot be read any more"
            if sequence != start + place:
                words = f"record {sequence} stands in its place"
                return place, "deleted" if sequence > start + place else "inserted", words
            if before != previous:
                return max(0, place - 1), "changed", "the record after it says another hash of it"
            previous = hashes[place]
        last = start + len(group) - 1
        many = f"the records {start} to {last}" if len(group) > 1 else "it"
        return 0, "signature", f"the seal of {many} is missing, changed, or by a key that is not known"


def compared(found: Sequence[bytes], sealed: Sequence[bytes]) -> tuple[int, str, str]:
    """Where records by their hashes first differ from those that were sealed, and what happened there."""
    pairs = enumerate(zip(found, sealed, strict=False))
    place = next((one for one, (mine, theirs) in pairs if mine != theirs), min(len(found), len(sealed)))
    if place == len(found):
        return place, "deleted", "it is missing"
    if place == len(sealed):
        return place, "inserted", "it was never sealed: a line was put in before the seal"
    if len(found) > len(sealed):
        return place, "inserted", "the line in its place was never sealed"
    if len(found) < len(sealed):
        return place, "deleted", "it is missing" if found[place] in sealed else "it is missing or changed"
    if sealed[place] in found[place + 1 :] or found[place] in sealed:
        return place, "reordered", "another record stands in its place"
    return place, "changed", "it is not what was sealed"
