"""One day for everybody: the machine's time zone decides nothing."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from commonpool.evaluation.facts import Period
from commonpool.model import load_estate
from commonpool.model.today import day_of, today
from estates import SAMPLE


@pytest.fixture(params=["Pacific/Kiritimati", "Etc/GMT+12", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's; between the first two it is never the same day."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield str(request.param)
    monkeypatch.undo()
    time.tzset()


def test_terms_are_read_on_chinas_day_wherever_the_machine_stands(zone: str) -> None:
    before = (datetime.now(UTC) + timedelta(hours=8)).date()
    found = load_estate(SAMPLE).day
    after = today()
    assert before <= found <= after


def test_a_call_counts_for_the_day_on_which_its_agreement_holds(zone: str) -> None:
    new_year = Period(date(2027, 1, 1), date(2027, 1, 1))
    assert new_year.holds("2026-12-31T16:00:00.000000Z")
    assert not new_year.holds("2026-12-31T15:59:59.999999Z")
    assert not new_year.holds("2027-01-01T16:00:00.000000Z")
    assert day_of("2026-12-31T23:00:00.000000Z") == date(2027, 1, 1)
