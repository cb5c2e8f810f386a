"""Working days: what the law counts when it says days. Holidays are data (`holidays.yaml`), with their source.

The day on which a period begins is not counted (Civil Code, article 201); a period of ten working days from a Monday without
holidays ends on the Monday after next.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from pathlib import Path

from pydantic import Field

from commonpool.model.base import Date, Declared, Text
from commonpool.model.document import read

_SATURDAY = 5


class Holiday(Declared):
    """Days off in a row."""

    first: Date = Field(description="First day off.")
    last: Date = Field(description="Last day off.")
    name: Text = Field(description="What is celebrated.")


class Year(Declared):
    """One announced year."""

    source: Text = Field(description="The announcement.")
    off: list[Holiday] = Field(description="Days off, weekends between them included.")
    working: list[Date] = Field(default=[], description="Saturdays and Sundays that are worked (调休).")


class Holidays(Declared):
    """Announced years; `holidays.yaml` of an estate adds to those that come with the product."""

    years: dict[str, Year] = Field(description="By year.")

    @cached_property
    def _off(self) -> frozenset[date]:
        found: set[date] = set()
        for year in self.years.values():
            for holiday in year.off:
                day, last = date.fromisoformat(holiday.first), date.fromisoformat(holiday.last)
                found |= {day + timedelta(number) for number in range((last - day).days + 1)}
        return frozenset(found)

    @cached_property
    def _working(self) -> frozenset[date]:
        return frozenset(date.fromisoformat(day) for year in self.years.values() for day in year.working)

    def is_working(self, day: date) -> bool:
        """Whether offices work on a day."""
        return day in self._working or (day.weekday() < _SATURDAY and day not in self._off)

    def knows(self, day: date) -> bool:
        """Whether the year of a day has been announced to us."""
        return str(day.year) in self.years

    def with_(self, more: "Holidays | None") -> "Holidays":
        """These and further years; the further ones win."""
        return Holidays(years={**self.years, **more.years}) if more else self


@dataclass(frozen=True)
class Deadline:
    """The last day of a period; provisional when it reaches into a year whose holidays are not known."""

    day: date
    provisional: bool

    def words(self) -> str:
        """The day, and whether it may still move."""
        return f"{self.day}{' (provisional: the holidays of that year are not known)' if self.provisional else ''}"


def deadline(start: date, working_days: int, holidays: Holidays) -> Deadline:
    """The day that is so many working days after a start."""
    day, known = start, True
    while working_days > 0:
        day += timedelta(1)
        known = known and holidays.knows(day)
        working_days -= holidays.is_working(day)
    return Deadline(day, not known)


def working_days_between(start: date, end: date, holidays: Holidays) -> int:
    """How many working days lie after a start, up to and with an end; 0 when it is not later."""
    return sum(holidays.is_working(start + timedelta(number)) for number in range(1, (end - start).days + 1))


@lru_cache(maxsize=1)
def announced() -> Holidays:
    """The years that come with the product."""
    path = Path(__file__).with_name("holidays.yaml")
    return Holidays.model_validate(read(path, path.name).values)
