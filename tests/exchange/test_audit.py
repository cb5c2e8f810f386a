"""Whether an exchange rests on what both sides signed, and on what was in force when it was made."""

from pathlib import Path

import agreements
import estates
import pytest
from commonpool.exchange.audit import unsigned
from commonpool.journal import Record
from commonpool.model import Estate, load_estate

TERM = {"start": "2026-01-10", "end": "2026-10-31"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Signed on the 1st of February, for the time from January to October."""
    root = estates.write(tmp_path / "estate", 2)
    agreements.give_keys(root, "d0", "d1")
    estates.add_service(root, "people", endpoint={"protocol": "HTTP"}, backends=[{"name": "old", "machines": ["ha-registry-1"], "port": 8080}])  # fmt: skip
    agreements.agree(root, "people-for-d1", service="people", evidence="digest", term=TERM)
    return root


def told(estate: Estate, at: str, **change: str) -> str:
    """What is wrong with an exchange at a moment."""
    rests_on = {"provider": "d0", "consumer": "d1", "agreement": "people-for-d1", "text": estate.texts["people-for-d1"]}
    asked = Record(7, b"", at, "exchange.asked", "d1", rests_on | change)
    _, finding = unsigned(estate, [asked], Path("journal"))
    return finding.message if finding else ""


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-01-31T15:00:00Z", "lacks the signature of d0 and d1"),
        ("2026-02-01T00:00:00Z", ""),
        ("2026-10-31T15:59:59Z", ""),
        ("2026-10-31T16:00:01Z", ""),  # a call that was let in before midnight in China
        ("2026-11-01T16:00:01Z", "ended on 2026-10-31"),
    ],
)
def test_an_exchange_before_both_signed_or_after_the_end_is_named(root: Path, at: str, words: str) -> None:
    found = told(load_estate(root), at)
    assert words in found if words else found == ""


def test_an_exchange_under_an_agreement_that_a_side_had_ended_or_suspended_is_named(root: Path) -> None:
    """What the department signed is what counts, whatever the operator went on to serve."""
    agreements.say(root, "people-for-d1", "d1", "suspend", at="2026-03-02T01:00:00Z")
    agreements.say(root, "people-for-d1", "d1", "resume", at="2026-03-09T01:00:00Z")
    agreements.say(root, "people-for-d1", "d0", "terminate", at="2026-05-04T01:00:00Z")
    estate = load_estate(root)
    for day, words in (
        ("2026-03-02", ""),  # until a run takes it away
        ("2026-03-04", "was suspended by d1 on 2026-03-02"),
        ("2026-03-09", ""),
        ("2026-05-04", ""),
        ("2026-05-05", "was terminated by d0 on 2026-05-04"),
    ):
        found = told(estate, f"{day}T02:00:00Z")
        assert words in found if words else found == "", day


def test_a_record_that_says_no_text_rests_on_none(root: Path) -> None:
    assert "signed no agreement people-for-d1 of the text " in told(load_estate(root), "2026-03-01T00:00:00Z", text="")
