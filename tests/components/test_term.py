"""What the end of a term does: nothing, no new pods, or no promise either. Pure."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import estates
import pytest
from commonpool.components import department
from commonpool.components.unit import units
from commonpool.ledger import Ledger
from commonpool.model import Estate, load_estate

BEFORE, WITHIN, LAST, AFTER = date(2025, 12, 31), date(2026, 6, 1), date(2028, 1, 1), date(2028, 1, 2)


def estate_of(folder: Path, on_expiry: str, day: date) -> Estate:
    estates.write(folder, 1)
    path = folder / "departments" / "d0.yaml"
    text = path.read_text(encoding="utf-8").replace('end: "2028-01-01"', f'end: "2028-01-01", onExpiry: {on_expiry}')
    path.write_text(text, encoding="utf-8")
    return replace(load_estate(folder), day=day)


def quota(estate: Estate, name: str, key: str) -> str:
    bodies = department.objects(estate, estate.departments[0])
    return next(
        str(body["spec"]["hard"][key])
        for body in bodies
        if body["kind"] == "ResourceQuota" and body["metadata"]["name"] == name
    )


@pytest.mark.parametrize(
    ("on_expiry", "day", "pods", "cpu", "promised"),
    [
        ("notify", BEFORE, "0", "40m", "40m"),
        ("notify", AFTER, "100", "40m", "40m"),
        ("freeze", WITHIN, "100", "40m", "40m"),
        ("freeze", LAST, "100", "40m", "40m"),
        ("freeze", AFTER, "0", "40m", "40m"),
        ("reclaim", LAST, "100", "40m", "40m"),
        ("reclaim", AFTER, "0", "0", "0"),
    ],
)
def test_a_term_acts_as_it_says(tmp_path: Path, on_expiry: str, day: date, pods: str, cpu: str, promised: str) -> None:
    estate = estate_of(tmp_path, on_expiry, day)
    assert quota(estate, "objects", "pods") == pods
    assert quota(estate, "guaranteed-performance", "requests.cpu") == cpu
    assert str(Ledger.of(estate).pool.promised.cpu) == promised


def test_the_day_after_the_last_one_evaluates_the_department_anew(tmp_path: Path) -> None:
    estate = estate_of(tmp_path, "freeze", LAST)
    same = units(replace(estate, day=WITHIN), "departments", {})
    assert units(estate, "departments", {}) == same
    assert units(replace(estate, day=AFTER), "departments", {}) != same
