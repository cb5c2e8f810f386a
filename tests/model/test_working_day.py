"""Working days as offices count them, and the clocks that count by them."""

from datetime import date

import pytest
from commonpool.model.clock import SharingRules, clock
from commonpool.model.working_day import Holidays, announced, deadline, working_days_between

RULES = SharingRules()


@pytest.mark.parametrize(
    ("day", "works"),
    [
        ("2026-02-13", True),  # Friday
        ("2026-02-14", True),  # a Saturday that is worked for the Spring Festival
        ("2026-02-16", False),
        ("2026-02-23", False),  # Monday, the festival's last day
        ("2026-02-28", True),  # Saturday again
        ("2026-10-08", True),
        ("2026-10-10", True),
        ("2026-10-11", False),
    ],
)
def test_festivals_are_off_and_weekends_are_worked_for_them(day: str, works: bool) -> None:
    assert announced().is_working(date.fromisoformat(day)) is works


@pytest.mark.parametrize(
    ("start", "days", "last", "provisional"),
    [
        ("2026-11-09", 10, "2026-11-23", False),  # the day of receipt does not count
        ("2026-02-10", 10, "2026-03-02", False),  # over the Spring Festival, two Saturdays worked
        ("2026-12-24", 10, "2027-01-07", True),  # nobody announced 2027 to us
    ],
)
def test_a_deadline_skips_days_off_and_says_when_it_is_provisional(
    start: str, days: int, last: str, provisional: bool
) -> None:
    found = deadline(date.fromisoformat(start), days, announced())
    assert (found.day.isoformat(), found.provisional) == (last, provisional)


def test_an_estates_own_year_makes_the_deadline_certain() -> None:
    off = [{"first": "2027-01-01", "last": "2027-01-03", "name": "元旦"}]
    more = Holidays.model_validate({"years": {"2027": {"source": "Announced", "off": off}}})
    found = deadline(date(2026, 12, 24), 10, announced().with_(more))
    assert (found.day.isoformat(), found.provisional) == ("2027-01-08", False)


def test_working_days_between_are_those_after_the_start() -> None:
    assert working_days_between(date(2026, 11, 20), date(2026, 11, 23), announced()) == 1
    assert working_days_between(date(2026, 11, 23), date(2026, 11, 20), announced()) == 0


@pytest.mark.parametrize(
    ("day", "answered", "state", "words"),
    [
        ("2026-11-23", None, "open", "due 2026-11-23"),
        ("2026-11-24", None, "overdue", "overdue since 2026-11-23 by 1 working days, with the data steward of the provider"),
        ("2026-11-30", None, "overdue", "overdue since 2026-11-23 by 5 working days, with the data governance office of the pool"),
        ("2026-12-31", "2026-11-23", "answered", "answered in time"),
        ("2026-12-31", "2026-11-25", "answered-late", "answered 2 working days late"),
    ],
)  # fmt: skip
def test_a_clock_runs_out_escalates_step_by_step_and_stops_with_the_answer(
    day: str, answered: str | None, state: str, words: str
) -> None:
    found = clock("2026-11-09", answered, "province", RULES.answer, RULES, announced(), date.fromisoformat(day))
    assert (found.state, found.words()) == (state, words)
    assert "51号" in found.source


def test_a_level_has_a_limit_of_its_own_where_the_pool_says_so() -> None:
    limits = [{"level": "city", "workingDays": 5, "source": "City rule"}, {"workingDays": 10, "source": "Law"}]
    rules = SharingRules.model_validate({"answer": limits})
    found = [
        clock("2026-11-09", None, level, rules.answer, rules, announced(), date(2026, 11, 9))
        for level in ("city", "province")
    ]
    assert [(one.due.day.isoformat(), one.source) for one in found] == [
        ("2026-11-16", "City rule"),
        ("2026-11-23", "Law"),
    ]
