"""What happened in a period, counted for each department: from records of the journal and from what is declared. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

from commonpool.journal import Record
from commonpool.model import Estate, Quantity
from commonpool.model.clock import Clock
from commonpool.model.sharing import Sharing
from commonpool.model.today import day_of

ASKED, DENIED, REFUSED, SEEN = "exchange.asked", "exchange.denied", "exchange.refused", "usage.seen"
KINDS = (ASKED, DENIED, REFUSED, SEEN)  # of the records that count


@dataclass(frozen=True)
class Period:
    """From the first to the last day, both included."""

    first: date
    last: date

    def holds(self, at: str) -> bool:
        """Whether a record's time lies in it, by the days in China, as agreements count them."""
        return self.first <= day_of(at) <= self.last


@dataclass(frozen=True)
class Share:
    """So many of so many; `of` 0 says that there was nothing to judge."""

    part: Fraction = Fraction(0)
    of: int = 0

    @property
    def judged(self) -> bool:
        """Whether there was anything."""
        return self.of > 0

    @property
    def points(self) -> Fraction:
        """From 0 to 100."""
        return min(Fraction(100), 100 * self.part / self.of) if self.of else Fraction(0)


@dataclass
class Facts:
    """One department."""

    department: str
    shares: dict[str, Share] = field(default_factory=dict)  # by indicator
    asked: int = 0  # calls that it made under agreements
    served: int = 0  # calls that it served under agreements
    refused: int = 0  # calls of its own that were refused or denied, at least
    samples: int = 0  # times at which its use of the pool was seen
    months: dict[str, int] = field(default_factory=dict)  # calls that it served, by month


def gather(estate: Estate, records: Iterable[Record], period: Period, target_percent: int) -> dict[str, Facts]:
    """Facts by department; `records` are those of all journals, `estate` is as it stood on the last day."""
    found = {one.name: Facts(one.name) for one in estate.departments}
    used: Counter[str] = Counter()
    reserved: dict[str, list[Fraction]] = defaultdict(list)
    for record in records:
        if not period.holds(record.at):
            continue
        if record.kind == SEEN:
            part = _reservation(record)
            if part is not None:
                reserved[str(record.data["department"])].append(part)
            continue
        _count(found, record, used)
    for name, facts in found.items():
        parts = reserved.get(name, [])
        facts.samples = len(parts)
        facts.shares = {
            "sharing": _shared(estate, name),
            "use": _used(estate, name, used, period),
            "reservation": _against(parts, target_percent),
            **{key: _ratio(ends) for key, ends in _deadlines(estate, name, period).items()},
        }
    return found


def _count(found: dict[str, Facts], record: Record, used: Counter[str]) -> None:
    consumer, provider = (found.get(str(record.data.get(side, ""))) for side in ("consumer", "provider"))
    if record.kind in (DENIED, REFUSED):
        if consumer:
            consumer.refused += _refusals(record)
        return
    used[str(record.data.get("agreement", ""))] += 1
    if consumer:
        consumer.asked += 1
    if provider:
        provider.served += 1
        month = day_of(record.at).isoformat()[:7]
        provider.months[month] = provider.months.get(month, 0) + 1


def _refusals(record: Record) -> int:
    """How many a record stands for: of a caller who was refused over and over, each power of two has one alone (`tally`)."""
    times = record.data.get("times", 0)
    return times - times // 2 if isinstance(times, int) and times > 1 else 1


def _reservation(record: Record) -> Fraction | None:
    """The larger of CPU's and memory's share that was asked for of what is guaranteed."""
    try:
        promised, requested = record.data["promised"], record.data["requested"]
        pairs = [(Quantity.parse(requested[key]), Quantity.parse(promised[key])) for key in ("cpu", "memory")]
    except (KeyError, TypeError, ValueError):
        return None
    parts = [Fraction(asked.nano, kept.nano) for asked, kept in pairs if kept.nano]
    return max(parts, default=None)


def _against(parts: list[Fraction], target_percent: int) -> Share:
    """The mean of what was seen, against the target."""
    if not parts:
        return Share()
    mean = sum(parts, Fraction(0)) / len(parts)
    return Share(min(Fraction(1), mean * 100 / target_percent), 1)


def _shared(estate: Estate, name: str) -> Share:
    """What a law exempts takes no part, until the exemption ends; after that it counts as not shared."""
    terms = [one.spec.sharing for one in estate.datasets if one.spec.provider == name]
    terms += [one.spec.sharing or Sharing() for one in estate.services if one.spec.offered_by == name]
    last = estate.day.isoformat()
    judged = [one for one in terms if one.class_ != "not-shared" or (one.exemption_ends or "") < last]
    return Share(Fraction(sum(one.class_ != "not-shared" for one in judged)), len(judged))


def _used(estate: Estate, name: str, used: Counter[str], period: Period) -> Share:
    """Agreements that were in force for the whole of the period, and whose calls leave evidence."""
    mine = [
        one.name
        for one in estate.agreements
        if one.spec.consumer == name
        and estate.standings[one.name].state in ("in-force", "expired")
        and one.spec.evidence in ("digest", "body")
        and date.fromisoformat(one.spec.term.start) <= period.first
        and date.fromisoformat(one.spec.term.end) >= period.last
    ]
    return Share(Fraction(sum(bool(used[one]) for one in mine)), len(mine))


def _deadlines(estate: Estate, name: str, period: Period) -> dict[str, list[bool]]:
    """Whether each thing that was due in the period was done in time."""
    requests = [estate.request_clock(one) for one in estate.requests if estate.provider_of(one) == name]
    corrections = [
        estate.correction_clock(one)
        for one in estate.corrections
        if (dataset := estate.dataset(one.spec.dataset)) and dataset.spec.provider == name
    ]
    return {
        "answering": _kept(requests, period),
        "correction": _kept(corrections, period),
        "progress": list(_promises(estate, name, period)),
    }


def _kept(clocks: Iterable[Clock], period: Period) -> list[bool]:
    """What is open at the end of the very day on which it was due was not done in time, and is due in no other period."""
    return [one.state == "answered" for one in clocks if period.first <= one.due.day <= period.last]


def _promises(estate: Estate, name: str, period: Period) -> Iterator[bool]:
    """Milestones and tickets, by the day by which they were promised."""
    for progress in estate.progress:
        if progress.name != name:
            continue
        ends = [(one.due, one.done) for system in progress.spec.systems for one in system.milestones]
        ends += [(one.due, one.closed) for one in progress.spec.rectifications]
        for due, done in ends:
            if period.first.isoformat() <= due <= period.last.isoformat():
                yield done is not None and done <= due


def _ratio(ends: list[bool]) -> Share:
    return Share(Fraction(sum(ends)), len(ends))
