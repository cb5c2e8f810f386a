"""Whether a journal is what was written: offline, with public keys only, on any machine, in parallel.

Segments are judged by themselves, each from the tree's frontier in its header, and then joined: a segment that verifies from
that frontier proves it, because the signed root depends on it. Every seal carries the hashes of its group's records, so the
first bad record is named and not only its group.
"""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

from commonpool.journal import segment
from commonpool.journal.error import JournalDamaged, KeyUnusable, NoteDamaged
from commonpool.journal.note import Checkpoint, Note, Verifier
from commonpool.journal.record import START
from commonpool.journal.report import Finding, Sealed, SegmentReport, SetBack, judge
from commonpool.journal.segment import RECORDS

FEW = 8  # segments below which starting processes costs more than it saves


@dataclass(frozen=True)
class Verdict:
    """What is known of a journal: how far it is good, and what is the first thing that is not."""

    origin: str
    size: int = 0  # records that verify
    root: bytes = b""
    finding: Finding | None = None
    keys: tuple[str, ...] = ()  # ids of the keys that sealed, in the order in which they did
    trusted: bool = False  # whether the first key was named by whoever asks, or came with the journal
    anchors: int = 0  # heads that others keep and that agree
    stamps: tuple[str, ...] = ()
    roots: Mapping[int, bytes] = field(default_factory=dict)
    set_back: tuple[SetBack, ...] = ()  # where the writer's clock was set back: no fault of the journal

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.finding is None

    def with_(self, finding: Finding | None) -> "Verdict":
        """The same, good up to a finding, if there is one."""
        return replace(self, finding=finding, size=min(self.size, finding.sequence)) if finding else self


def verify(
    journal: Path,
    keys: Sequence[Verifier] = (),
    heads: Iterable[Checkpoint] = (),
    *,
    sizes: Iterable[int] = (),
    processes: int | None = None,
) -> Verdict:
    """Judge a journal's folder. `keys` are those of whoever's it should be, `heads` are checkpoints kept elsewhere.

    `sizes` are numbers of records of which the roots are wanted as well.
    Without keys, the first one that came with the journal is believed, which proves that it is whole and not whose it is. With
    some, one of them has sealed: its root covers everything before, whatever key had sealed that.
    """
    paths = segment.segments(journal)
    if not paths:
        return Verdict("", finding=Finding(0, "truncated", "there is no segment: every record is missing", journal, 0))
    heads = list(heads)
    wanted = tuple(sorted({*sizes, *(head.size for head in heads)}))
    carried = _carried(journal)
    candidates = {key.text: key for key in (*carried, *keys)}
    own = _origin(paths[0])
    named = [key for key in keys if key.name == own]  # one file may hold the keys of many journals
    origin = keys[0].name if keys and not named else own
    reports = _reports(paths, list(candidates.values()), wanted, processes or os.cpu_count() or 1)
    authority = _Authority({key.text for key in (*named, *carried[:1])})
    verdict = _joined(Verdict(origin, trusted=bool(keys)), reports, authority)
    if verdict.good:
        verdict = verdict.with_(authority.of_nobody_named(named, journal) or _unfinished(verdict, journal))
    return _held_against(verdict, heads)


def _unfinished(verdict: Verdict, journal: Path) -> Finding | None:
    """A copy holds as many records as were handed on with it: the end of one may be lost on its way."""
    try:
        told = Checkpoint.parse(Note.parse((journal / segment.CHECKPOINT).read_text(encoding="utf-8")).text)
    except (OSError, ValueError, NoteDamaged):
        return None
    if told.origin != verdict.origin or told.size <= verdict.size:
        return None
    words = f"{told.size} records were handed on, says the checkpoint beside them, and there are {verdict.size}: record {verdict.size} is missing"
    return Finding(verdict.size, "truncated", words, journal, 0)


def _carried(journal: Path) -> list[Verifier]:
    """The keys that came with the journal: candidates only, the records say which of them count."""
    path = journal / "keys"
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            found.append(Verifier.parse(line))
        except KeyUnusable:
            continue
    return found


def _origin(path: Path) -> str:
    try:
        return segment.header_of(path).origin
    except JournalDamaged:
        return ""


def _reports(
    paths: list[Path], keys: list[Verifier], wanted: tuple[int, ...], processes: int
) -> Iterable[SegmentReport]:
    if len(paths) < FEW or processes == 1:
        yield from (judge(path, keys, wanted) for path in paths)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        many = len(paths)
        yield from pool.map(judge, paths, [keys] * many, [wanted] * many, chunksize=4)


@dataclass
class _Authority:
    """Which key counts, seal by seal: the first is one that may begin, each further one is vouched for by a record."""

    first: set[str]  # public keys that may have made the first seal
    counting: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)  # that ever counted
    sealed: list[str] = field(default_factory=list)  # in their order, each once in a row

    def judge(self, report: SegmentReport) -> Finding | None:
        """Whether each seal of a segment is by a key that counted then; follows the records by which keys change."""
        changes = dict(report.changes)
        for sealed in report.seals:
            if not self.known and sealed.key in self.first:
                self.counting, self.known = {sealed.key}, {sealed.key}
            if sealed.key not in self.counting:
                words = f"the seal of the records before {sealed.size} is by the key {_identity(sealed.key)}, which did not count then"
                return Finding(sealed.start, "signature", words, report.path, sealed.line)
            if self.sealed[-1:] != [sealed.key]:
                self.sealed.append(sealed.key)
            for sequence in [one for one in changes if one < sealed.size]:
                vkey, retired = changes.pop(sequence)
                self.counting = {one for one in self.counting if _identity(one) != retired} | {vkey}
                self.known.add(vkey)
        return None

    def of_nobody_named(self, keys: Sequence[Verifier], journal: Path) -> Finding | None:
        """What is whole, but not sealed by those whose it should be, or only from before one of their keys.

        Keys are compared whole: their ids have four bytes, of which somebody finds another key with the same ones.
        """
        strangers = [key.identity.hex() for key in keys if key.text not in self.known]
        sealed = ", ".join(map(_identity, self.sealed))
        if strangers:
            words = f"it is sealed by {sealed}, and knows nothing of the key {strangers[0]} that was named: it is another's, or of before that key"
            return Finding(0, "signature", words, journal, 0)
        if keys and not any(key.text in self.sealed for key in keys):
            words = f"it is sealed by {sealed}, and none of the keys that were named has sealed anything yet"
            return Finding(0, "signature", words, journal, 0)
        return None


def _identity(vkey: str) -> str:
    """The id of a public key, as people see it."""
    return vkey.split("+")[1] if "+" in vkey else "unknown"


def _joined(verdict: Verdict, reports: Iterable[SegmentReport], authority: _Authority) -> Verdict:
    """Put segments together in order; stops at the first one that is not good."""
    size, previous = 0, START
    subtrees: list[bytes] = []
    roots: dict[int, bytes] = {}
    set_back: list[SetBack] = []
    ended = ""
    for report in reports:
        finding = _seam(report, verdict.origin, size, previous, subtrees)
        if finding is None:
            finding = authority.judge(report) or report.finding
        good = min(report.size, finding.sequence) if finding else report.size
        roots |= {at: root for at, root in report.roots.items() if at <= good}
        newest = next((one for one in reversed(report.seals) if one.size <= good), None)
        set_back += [*SetBack.between(report.first, ended, report.began), *report.set_back]
        ended = report.ended or ended
        identities = tuple(map(_identity, authority.sealed))
        verdict = replace(verdict, keys=identities, roots=roots, size=max(size, good), set_back=tuple(set_back))
        if newest and newest.size == good:
            verdict = replace(verdict, root=newest.root)
        if finding:
            return replace(verdict, finding=finding)
        size, previous, subtrees = report.size, report.last, report.subtrees
    return verdict


def _seam(report: SegmentReport, origin: str, size: int, previous: bytes, subtrees: Sequence[bytes]) -> Finding | None:
    """Whether a segment goes on where the one before ended."""
    if report.first > size:
        last = report.first - 1
        words = f"record {size} is missing" if last == size else f"records {size} to {last} are missing"
        rule = "truncated" if size == 0 or size % RECORDS == 0 else "deleted"
        return Finding(size, rule, words, report.path, 0)
    if report.first < size:
        return Finding(report.first, "inserted", f"record {report.first} stands there twice", report.path, 0)
    if report.origin != origin:
        return Finding(size, "spliced", f"this segment is of the journal {report.origin}", report.path, 1)
    if report.previous != previous or list(report.before) != list(subtrees):
        if report.finding and report.finding.sequence == size:
            return report.finding
        words = "this segment verifies, but does not go on from the one before it"
        return Finding(size, "spliced", words, report.path, 1)
    return None


def _held_against(verdict: Verdict, heads: list[Checkpoint]) -> Verdict:
    """Compare with heads that others keep: what was cut off, or written anew with the right key, shows here."""
    agreed = 0
    if heads and not verdict.finding and all(head.origin != verdict.origin for head in heads):
        others = ", ".join(sorted({head.origin for head in heads}))
        words = f"the heads that are kept elsewhere are of {others}, and none is of this journal: it stands in the place of another one, or these are not its peers"
        return replace(verdict, finding=Finding(0, "replaced", words, Path(), 0), size=0)
    for head in sorted(heads, key=lambda one: one.size):
        if head.origin != verdict.origin:
            continue
        if head.size > verdict.size:
            if verdict.finding:
                break
            words = f"a head of {head.size} records is kept elsewhere, and there are {verdict.size}: record {verdict.size} is missing"
            return replace(verdict, anchors=agreed, finding=Finding(verdict.size, "truncated", words, Path(), 0))
        if verdict.roots.get(head.size) != head.root:
            start = max((one.size for one in heads if one.size < head.size), default=0)
            words = (
                f"the records {start} to {head.size - 1} are not those of the head of {head.size} that is kept elsewhere: "
                f"they were written anew, or two journals went on from {start}"
            )
            finding = Finding(start, "rewritten", words, Path(), 0)
            first = verdict.finding if verdict.finding and verdict.finding.sequence < start else finding
            return replace(verdict, anchors=agreed, finding=first, size=min(verdict.size, first.sequence))
        agreed += 1
    return replace(verdict, anchors=agreed)


def checkpoint_of(note: str, keys: Sequence[Verifier]) -> Checkpoint:
    """The checkpoint of a note that one of the keys signed. Raises `NoteDamaged`."""
    parsed = Note.parse(note)
    if not any(parsed.signed_by(key) for key in keys):
        raise NoteDamaged("the checkpoint is signed by none of the keys that count")
    return Checkpoint.parse(parsed.text)


def short(root: bytes) -> str:
    """A root for people."""
    return base64.b64encode(root).decode()


__all__ = ["Finding", "Sealed", "SetBack", "Verdict", "checkpoint_of", "short", "verify"]
