"""How many calls of today every agreement had: counted where they are proved, in the journal, so that no restart forgets them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Self

from commonpool.journal import Record, segment
from commonpool.journal.query import records
from commonpool.model.today import CHINA, day_of

ASKED = "exchange.asked"


@dataclass
class Volume:
    """The calls of one day, by agreement; a call that could not be recorded is none."""

    day: date
    calls: Counter[str] = field(default_factory=Counter)
    journal: Path | None = None  # where the calls of another day are found

    @classmethod
    def read(cls, journal: Path, day: date) -> Self:
        """From the records of that day. Raises `JournalDamaged`."""
        return cls(day, _counted(journal, day), journal)

    def take(self, agreement: str, most: int, day: date) -> bool:
        """Count one call more, unless the day has had all of them. Raises `JournalDamaged`."""
        if day != self.day:
            # A clock that is set back, or ran ahead for a while, brings a day again whose calls were had already.
            self.calls, self.day = _counted(self.journal, day) if self.journal else Counter(), day
        if self.calls[agreement] >= most:
            return False
        self.calls[agreement] += 1
        return True

    def give_back(self, agreement: str) -> None:
        """A call that was counted did not come to pass."""
        self.calls[agreement] -= 1


def _counted(journal: Path, day: date) -> Counter[str]:
    found = records(journal, _first(journal, day), kinds=(ASKED,))
    return Counter(str(one.data.get("agreement")) for one in found if day_of(one.at) == day)


def until_midnight(now: datetime) -> int:
    """Seconds until the next day of an agreement begins, at least one."""
    local = now.astimezone(CHINA)
    midnight = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), CHINA)
    return max(1, -int((local - midnight).total_seconds() // 1))


def _first(journal: Path, day: date) -> int:
    """A record before which none is of that day; looks from the end, one line of each segment."""
    for path in reversed(segment.segments(journal)):
        begins = segment.first_of(path)
        first = next(_records_of(path), None)
        if first is not None and day_of(first.at) < day:
            return begins
    return 0


def _records_of(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        file.readline()  # the header
        for line in file:
            if not segment.is_seal(line):
                yield Record.parse(line)
