"""Refusals of a day: the first ones each with a record, later ones by powers of two, of every caller by itself."""

from datetime import date, timedelta

from commonpool.exchange.tally import RECORDED, Tally

DAY = date(2026, 11, 26)


def test_a_flood_of_refused_calls_leaves_few_records_that_tell_of_it() -> None:
    tally = Tally(DAY)
    numbers = [tally.take("a", "people", DAY) for _ in range(100_000)]
    told = [number for number in numbers if number]
    assert told[:RECORDED] == list(range(1, RECORDED + 1))
    assert told[RECORDED:] == [128 << power for power in range(10)]
    assert 2 * told[-1] > len(numbers), "more than half of them are told"


def test_accounts_made_one_after_another_are_one_caller() -> None:
    tally = Tally(DAY)
    numbers = [tally.take(f"system:serviceaccount:d1-main:a{at}", "people", DAY) for at in range(1000)]
    assert len([number for number in numbers if number]) == RECORDED + 3
    assert tally.take("system:serviceaccount:d1-other:a1", "people", DAY) == 1
    systems = [f"spiffe://pool/department/d1/system/{name}" for name in "ab"]
    assert [tally.take(one, "people", DAY) for one in systems] == [1, 1], "systems stand in the manifest"


def test_every_caller_every_service_and_every_day_is_counted_by_itself() -> None:
    tally = Tally(DAY)
    for _ in range(RECORDED + 1):
        last = tally.take("a", "people", DAY)
    assert last == 0
    assert [tally.take("b", "people", DAY), tally.take("a", "permits", DAY), tally.take("a", "people", DAY + timedelta(1))] == [1, 1, 1]  # fmt: skip
