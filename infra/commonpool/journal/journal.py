"""One pool's journal: records are appended, sealed and on the disk before anybody acts on them.

Several processes of one machine may write: each commit holds the file's lock and begins where the last one of whomever
ended, so a fork cannot arise here; copies that go on by themselves are found by their anchors (`anchor`). What a writer left
without a seal when it died was never acknowledged: the next one takes it away and says so in a record.

Refused is whatever would leave a journal that never verifies again: to seal with another key than the one in force, to make a
new journal where the key of one stands, and to go on behind records that this process has seen.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

from commonpool.journal import segment
from commonpool.journal.error import JournalDamaged, JournalMissing, JournalUnavailable, KeyNotInForce, NoteDamaged
from commonpool.journal.note import Checkpoint, Note, Signer, Verifier
from commonpool.journal.record import START, Entry, Record, encoded, line_hash
from commonpool.journal.segment import RECORDS, Header, Seal, is_seal
from commonpool.journal.tree import Frontier

OPENED, KEY, RECOVERED = "journal.opened", "journal.key", "journal.recovered"
OWN = "commonpool"  # the actor of what a journal says of itself
AGAIN_SECONDS = 0.05


@dataclass
class _Tail:
    """Where the journal ends: the file, its length in bytes, the hash of the last record, and the tree."""

    path: Path
    length: int
    previous: bytes
    frontier: Frontier
    checkpoint: str = ""
    dropped: int = 0  # bytes that no seal covered


@dataclass(frozen=True)
class _Part:
    """What one commit adds to a segment: at its end, or all of a new one, whose `place` is 0."""

    path: Path
    place: int
    content: bytes


class Journal:
    """A journal that this process may append to."""

    def __init__(self, folder: Path, key: Path) -> None:
        """`folder` holds what anybody may read, `key` is the private key's file. Raises `JournalError`."""
        self.folder, self._key = folder, key
        self.origin = segment.header_of(segment.path_of(folder, 0)).origin
        self._tail: _Tail | None = None
        self._seen = 0  # records that this process knows to be durable
        self._mutex = threading.Lock()
        with _locked(folder):
            self._finish_rotation()
            self._signer = Signer.from_pem(self.origin, _read(key))

    @classmethod
    def open(cls, folder: Path, key: Path, name: str) -> Self:
        """The journal there, made when there is none. Raises `JournalError`, `JournalMissing` when there was one."""
        try:
            if not segment.path_of(folder, 0).exists():
                _refuse_remains(folder, key)
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                with _locked(folder):
                    if not segment.path_of(folder, 0).exists():
                        _create(folder, key, name)
        except OSError as error:
            raise JournalUnavailable(f"no journal can be made in {folder}: {error.strerror}") from error
        return cls(folder, key)

    @property
    def verifier(self) -> Verifier:
        """The public part of the key that seals now."""
        return self._signer.verifier

    def append(self, entries: Sequence[Entry], *, grace: float = 0.0) -> list[Record]:
        """Make records durable, all of them or none; tries for `grace` seconds. Raises `JournalUnavailable`."""
        deadline = time.monotonic() + grace
        while True:
            try:
                return self._append(entries)
            except JournalUnavailable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(AGAIN_SECONDS)

    def rotate(self) -> Verifier:
        """Seal with a new key from now on; the old one vouches for it in a record, and seals nothing after that."""
        successor = Signer.generate(self.origin)
        with self._held():
            tail = self._current()
            retired = self._signer.verifier.identity.hex()
            # The new key is safe before the record that names it: a crash in between leaves the old one in force.
            _write(self._next, successor.pem, mode=0o600)
            self._commit(tail, [Entry(KEY, OWN, {"vkey": successor.verifier.text, "retires": retired})])
            self._succeed(successor)
        return successor.verifier

    @property
    def _next(self) -> Path:
        return _next(self._key)

    def _succeed(self, successor: Signer) -> None:
        path = self.folder / "keys"
        known = [key.text for key in self._keys()]
        if successor.verifier.text not in known:
            _write(path, "".join(f"{one}\n" for one in (*known, successor.verifier.text)).encode())
        self._next.replace(self._key)
        sync_folder(self._key.parent)
        self._signer = successor

    def _finish_rotation(self) -> None:
        """A rotation that was cut short: complete when the record of the new key is sealed, else it never was.

        A journal that was just made has its first key in the same way, so that none is ever without its key.
        """
        if not self._next.exists():
            return
        successor = Signer.from_pem(self.origin, _read(self._next))
        newest = max(0, segment.first_of(segment.segments(self.folder)[-1]) - RECORDS)
        named = f'"vkey":"{successor.verifier.text}"'.encode()
        marks = [f'"kind":"{kind}"'.encode() for kind in (OPENED, KEY)]
        lines = segment.record_lines(self.folder, newest)
        if any(named in line and any(mark in line for mark in marks) for line in lines):
            self._succeed(successor)
        else:
            self._next.unlink()

    def checkpoint(self) -> str:
        """The newest signed checkpoint."""
        with self._held():
            return self._current().checkpoint

    def _append(self, entries: Sequence[Entry]) -> list[Record]:
        try:
            with self._held():
                tail = self._current()
                recovered = [Entry(RECOVERED, OWN, {"bytesWithoutSeal": tail.dropped})] if tail.dropped else []
                tail.dropped = 0
                found = self._commit(tail, [*recovered, *entries])
                return found[len(recovered) :]
        except OSError as error:
            raise JournalUnavailable(f"the journal in {self.folder} cannot be written: {error.strerror}") from error

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with self._mutex, _locked(self.folder):
            self._finish_rotation()  # of somebody who died: the key that this process knows may count no more
            yield

    def _current(self) -> _Tail:
        """Where the journal ends now, whoever wrote last."""
        last = segment.segments(self.folder)[-1]
        if self._tail is None or last != self._tail.path or last.stat().st_size != self._tail.length:
            self._tail = self._read_tail(last)
        return self._tail

    def _read_tail(self, path: Path) -> _Tail:
        """Raises `JournalDamaged` for an end before what this process has seen; then nothing is touched."""
        known = self._tail
        if known is None or known.path != path or path.stat().st_size < known.length:
            header = segment.header_of(path)
            if header.origin != self.origin:  # another journal was put in its place
                self.origin, self._seen = header.origin, 0
            known = _Tail(path, len(header.line()), header.previous, header.frontier)
        keys = self._keys()
        tail = _followed(known, keys)
        if tail.frontier.size < self._seen:
            raise JournalDamaged(
                f"{self.folder} ends with record {tail.frontier.size - 1}, and this process has seen record {self._seen - 1}: "
                "its end was cut off, or an older copy was put in its place"
            )
        signer = Signer.from_pem(self.origin, _read(self._key))  # whoever wrote here may have changed it
        if signer.verifier != keys[-1]:
            raise KeyNotInForce(
                f"the private key {self._key} is {signer.verifier.identity.hex()}, and the journal in {self.folder} is sealed by "
                f"{keys[-1].identity.hex()}: key and journal are of different times, and what is sealed now would never verify"
            )
        self._signer, self._seen = signer, tail.frontier.size
        if tail.dropped:
            with path.open("r+b") as file:
                file.truncate(tail.length)
                os.fsync(file.fileno())
        return tail

    def _keys(self) -> list[Verifier]:
        """Of the journal, the one in force last. Raises `JournalDamaged` when there is none."""
        path = self.folder / "keys"
        found = [Verifier.parse(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not found:
            raise JournalDamaged(f"{path} is empty: it says which keys sealed, one a line")
        return found

    def _commit(self, tail: _Tail, entries: Sequence[Entry]) -> list[Record]:
        found: list[Record] = []
        parts: list[_Part] = []
        self._tail = None  # whatever fails half-way is read anew, and what has no seal then is taken away
        place = 0
        while place < len(entries):
            room = RECORDS - tail.frontier.size % RECORDS
            group = entries[place : place + room]
            header = b""
            if tail.frontier.size and room == RECORDS:
                tail.path = segment.path_of(self.folder, tail.frontier.size)
                header = Header(self.origin, tail.frontier.size, tail.previous, tail.frontier).line()
                tail.length = 0
            lines, leaves, frontier = _chained(group, tail)
            sealed = segment.seal_line(self._signer, self.origin, frontier, leaves)
            content = header + b"".join(line + b"\n" for line in lines) + sealed
            parts.append(_Part(tail.path, tail.length, content))
            tail.length += len(content)
            tail.previous, tail.frontier = leaves[-1], frontier
            tail.checkpoint = orjson.loads(sealed)["seal"]
            found += [Record.parse(line) for line in lines]
            place += len(group)
        _write_parts(parts)
        self._tail, self._seen = tail, tail.frontier.size
        return found


def origin(name: str, signer: Signer) -> str:
    """The name of a new journal: the pool's, and a part of its first key, so that no two are called the same."""
    return f"commonpool/{name}/{signer.verifier.public.hex()[:8]}"


def _next(key: Path) -> Path:
    """Where a private key lies until the record that names it is sealed."""
    return key.with_name(f"{key.name}.next")


def _refuse_remains(folder: Path, key: Path) -> None:
    """Raises `JournalMissing` where a journal was: one that is made over it would take its key, and nobody could go on with it."""
    remains = next(iter(segment.segments(folder)), key)
    if remains.exists() and not segment.path_of(folder, 0).exists():  # which somebody else may have made just now
        raise JournalMissing(f"there is no beginning of a journal in {folder}, but {remains} is there")


def _create(folder: Path, key: Path, name: str) -> None:
    """Make a journal; its key is at `_next` until whoever opens it sees that it is whole."""
    made = Signer.generate(name)
    signer = Signer(origin(name, made), made.key)
    _write(_next(key), signer.pem, mode=0o600)
    _write(folder / "keys", f"{signer.verifier.text}\n".encode())
    segment.folder_of(folder).mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder)
    tail = _Tail(segment.path_of(folder, 0), 0, START, Frontier())
    lines, leaves, frontier = _chained([Entry(OPENED, OWN, {"vkey": signer.verifier.text})], tail)
    content = Header(signer.name, 0, START, Frontier()).line() + lines[0] + b"\n"
    _write(tail.path, content + segment.seal_line(signer, signer.name, frontier, leaves), mode=0o600)


def _chained(entries: Sequence[Entry], tail: _Tail) -> tuple[list[bytes], list[bytes], Frontier]:
    """Lines and hashes of records after the tail, and the tree with them."""
    lines, leaves, frontier, previous = [], [], tail.frontier.copy(), tail.previous
    for entry in entries:
        line = encoded(entry, frontier.size, previous)
        previous = line_hash(line)
        frontier.add(previous)
        lines.append(line)
        leaves.append(previous)
    return lines, leaves, frontier


def _followed(tail: _Tail, keys: Sequence[Verifier]) -> _Tail:
    """The tail after everything sealed that stands behind it. Raises `JournalDamaged` when its last seal is not ours.

    That one covers all records before it, so it is the only one to be checked before something is added: a signature costs
    more than a hundred hashes.
    """
    with tail.path.open("rb") as file:
        file.seek(tail.length)
        content = file.read()
    length, frontier, previous, seal = tail.length, tail.frontier.copy(), tail.previous, b""
    end = length
    group: list[bytes] = []
    for line in content.split(b"\n")[:-1]:  # what follows the last newline was cut short
        end += len(line) + 1
        if not is_seal(line):
            group.append(line_hash(line))
            continue
        for leaf in group:
            frontier.add(leaf)
        previous, length, seal = group[-1] if group else previous, end, line
        group = []
    note = _checked(seal, frontier, keys, tail.path) if seal else tail.checkpoint
    return _Tail(tail.path, length, previous, frontier, note, len(content) - (length - tail.length))


def _checked(line: bytes, frontier: Frontier, keys: Sequence[Verifier], path: Path) -> str:
    try:
        seal = Seal.of(orjson.loads(line))
        note = Note.parse(seal.note)
        checkpoint = Checkpoint.parse(note.text)
    except (ValueError, KeyError, TypeError, NoteDamaged) as error:
        raise JournalDamaged(f"{path}: a seal cannot be read: {error}") from error
    if (checkpoint.size, checkpoint.root) != (frontier.size, frontier.root()):
        raise JournalDamaged(f"{path}: the records before {frontier.size} are not those that were sealed")
    if not any(note.signed_by(key) for key in keys):
        raise JournalDamaged(f"{path}: the seal at {frontier.size} is by none of this journal's keys")
    return seal.note


def _write_parts(parts: Sequence[_Part]) -> None:
    """Write what one commit adds to segments, all of it or nothing, and wait for the disk.

    New segments lie beside their places until everything is on the disk: the parts before them would stand there sealed, and
    be written again, when there is no room for the rest.
    """
    scratches: list[Path] = []
    try:
        for part in parts:
            if not part.place:
                scratches.append(_scratch(part.path))
                _write_new(scratches[-1], part.content, 0o600)
        for part in parts:
            if part.place:
                _append_durably(part)
    except OSError:
        for scratch in scratches:
            scratch.unlink(missing_ok=True)
        raise
    for scratch, part in zip(scratches, (one for one in parts if not one.place), strict=True):
        scratch.replace(part.path)
        sync_folder(part.path.parent)


def _append_durably(part: _Part) -> None:
    """Write at the end of a segment; on failure nothing stays behind that anybody could take for written."""
    descriptor = os.open(part.path, os.O_RDWR)
    try:
        written = 0
        while written < len(part.content):
            written += os.pwrite(descriptor, part.content[written:], part.place + written)
        os.fdatasync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, part.place)
        raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / segment.LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put a whole file in its place."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = _scratch(path)
    _write_new(scratch, content, mode)
    scratch.replace(path)
    sync_folder(path.parent)


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, those that were just made there among them."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise JournalUnavailable(f"the journal's key {path} cannot be read: {error.strerror}") from error
