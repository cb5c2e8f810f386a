"""Reading a journal: records by kind and number, the newest head. Verifies nothing; `verification` does."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import orjson

from commonpool.journal import segment
from commonpool.journal.error import JournalDamaged, NoteDamaged
from commonpool.journal.record import Record
from commonpool.journal.segment import Seal, is_seal


def records(journal: Path, first: int = 0, *, kinds: Collection[str] = ()) -> Iterator[Record]:
    """Sealed records from a number on; of `kinds` only, where `exchange.` means all that begin so. Raises `JournalDamaged`."""
    return _parsed(segment.record_lines(journal, first), kinds)


def latest(journal: Path, count: int, kinds: Collection[str] = ()) -> list[Record]:
    """The last `count` of them, in their order; looks from the end. Raises `JournalDamaged`."""
    found: list[Record] = []
    for path in reversed(segment.segments(journal)):
        found = [*_parsed(segment.sealed_lines(path), kinds), *found][-count:]
        if len(found) == count:
            break
    return found


def last(journal: Path, kind: str) -> Record | None:
    """The newest sealed record of a kind. Raises `JournalDamaged`."""
    return next(iter(latest(journal, 1, (kind,))), None)


def _parsed(lines: Iterable[bytes], kinds: Collection[str]) -> Iterator[Record]:
    marks = [f'"kind":"{kind}'.encode() for kind in kinds]
    for line in lines:
        if marks and not any(mark in line for mark in marks):
            continue
        try:
            found = Record.parse(line)
        except (ValueError, KeyError, TypeError) as error:
            raise JournalDamaged(f"a record cannot be read: {line[:80]!r}") from error
        if not kinds or any(found.kind == kind or (kind[-1] == "." and found.kind.startswith(kind)) for kind in kinds):
            yield found


def newest(journal: Path) -> str:
    """The checkpoint of the last seal, as a signed note. Raises `JournalError` when there is none, or it cannot be read."""
    for path in reversed(segment.segments(journal)):
        for line in reversed(segment.lines_of(path)):
            if is_seal(line):
                return _note(line, path)
    raise NoteDamaged(f"there is no seal in {journal}")


def _note(line: bytes, path: Path) -> str:
    try:
        return Seal.of(orjson.loads(line)).note
    except (ValueError, KeyError, TypeError) as error:
        raise JournalDamaged(f"{path}: the last seal cannot be read: {error}") from error
