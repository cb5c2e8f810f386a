"""The Multi-Tenancy Benchmark's checks against the real API server: attempts of our catalogue, by everybody of a department."""

import re

import pytest
from benchmarks.listing import Item, checked_table, existing_tests, items

from escapes.ground import Ground, attack

ITEMS = items("mtb")


def test_all_nineteen_are_answered() -> None:
    assert len(ITEMS) == len({item.number for item in ITEMS}) == 19
    assert [item.number for item in ITEMS if item.word == "test" and item.asked not in existing_tests()] == []
    checked_table("mtb", ITEMS)


@pytest.mark.parametrize("item", [one for one in ITEMS if one.word == "attack"], ids=str)
def test_a_department_does_none_of_it(ground: Ground, item: Item) -> None:
    words = re.compile(item.asked.get("words", ""))
    attempts = [one for one in ground.attempts(item.asked["group"]) if words.search(one.words)]
    assert attempts
    for person in ("admin", "developer", "account"):
        assert attack(ground.people[person], attempts).survived == []
