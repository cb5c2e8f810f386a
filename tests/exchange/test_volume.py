"""The calls of a day: counted from the journal, begun anew at midnight in China, and nobody's twice."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from commonpool.exchange.volume import ASKED, Volume, until_midnight
from commonpool.journal import Entry, Journal
from commonpool.journal.segment import RECORDS
from commonpool.model.today import today

DAY = date(2026, 11, 26)


def test_the_calls_of_a_day_are_those_that_its_records_prove(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal", tmp_path / "journal.key", "test")
    call = Entry(ASKED, "a pod", {"agreement": "a"})
    before = today()
    journal.append([call] * RECORDS)
    journal.append(
        [call, Entry(ASKED, "a pod", {"agreement": "b"}), Entry("exchange.refused", "a", {"agreement": "a"})]
    )
    if today() != before:
        pytest.skip("midnight in China came in between")
    assert Volume.read(tmp_path / "journal", before).calls == {"a": RECORDS + 1, "b": 1}
    for other in (before - timedelta(1), before + timedelta(1)):
        assert not Volume.read(tmp_path / "journal", other).calls


def test_a_day_has_its_calls_and_the_next_one_has_them_again() -> None:
    volume = Volume(DAY)
    assert [volume.take("a", 2, DAY) for _ in range(3)] == [True, True, False]
    assert volume.take("b", 1, DAY), "every agreement is counted by itself"
    volume.give_back("a")
    assert volume.take("a", 2, DAY), "a call that was not recorded was none"
    assert volume.take("a", 2, DAY + timedelta(1))


def test_a_clock_that_is_set_back_gives_no_calls_anew(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal", tmp_path / "journal.key", "test")
    before = today()
    journal.append([Entry(ASKED, "a pod", {"agreement": "a"})] * 2)
    if today() != before:
        pytest.skip("midnight in China came in between")
    volume = Volume.read(tmp_path / "journal", before)
    assert not volume.take("a", 2, before)
    assert volume.take("a", 2, before + timedelta(1)), "the clock ran ahead"
    assert not volume.take("a", 2, before), "and was set right"
    volume = Volume(before - timedelta(1), journal=tmp_path / "journal")
    assert not volume.take("a", 2, before), "what was recorded while it ran ahead is had, too, when that day comes"


@pytest.mark.parametrize(
    ("now", "seconds"), [("2026-11-26T15:59:59", 1), ("2026-11-26T16:00:00", 86400), ("2026-11-26T15:59:59.999", 1)]
)
def test_the_next_day_begins_at_midnight_in_china(now: str, seconds: int) -> None:
    assert until_midnight(datetime.fromisoformat(now).replace(tzinfo=UTC)) == seconds
