"""Requests, corrections and progress are checked like everything else that people declare."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import estates
import pytest
from commonpool.model import EstateRefused, load_estate, warnings

TASK = {"purpose": {"code": "t", "description": "A task"}, "basis": {"law": "A law", "article": "1"}}
ASKED = {"consumer": "d1", "service": "register", "submitted": "2026-03-02", **TASK}
FOUND = {
    "dataset": "one", "item": "a", "record": "7", "foundBy": "d1", "description": "Wrong", "submitted": "2026-03-02",
}  # fmt: skip
DONE = {"result": "rejected", "day": "2026-03-03", "by": "Office", "reason": "It is right"}
STONE = {"name": "m", "title": "M", "due": "2026-03-02", "responsible": {"role": "Office"}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    estates.write(tmp_path, 2)
    estates.add_service(tmp_path, "register")
    spec = {
        "displayName": "One", "code": "T/1", "category": "base", "classification": "T", "provider": "d0", "abstract": "T",
        "formats": ["json"], "items": [{"name": "a", "title": "A", "type": "string"}], "update": "daily",
        "published": "2026-01-01", "filing": {"number": "F-1", "budgetItem": "201"},
    }  # fmt: skip
    put(tmp_path, "datasets", "Dataset", "one", spec)
    return tmp_path


def put(root: Path, folder: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    (root / folder).mkdir(exist_ok=True)
    manifest = {"apiVersion": "commonpool.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    (root / folder / f"{name}.yaml").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_clock_that_runs_into_a_year_without_holidays_says_so_and_what_to_write(root: Path) -> None:
    put(root, "requests", "SharingRequest", "r", ASKED | {"submitted": "2026-12-25"})
    estate = replace(load_estate(root), day=date(2026, 12, 28))
    (words,) = warnings(estate)
    assert words == (
        "the holidays of 2027 are not known, so Monday to Friday are counted for request r;"
        " write the year into holidays.yaml of the estate, from 国务院办公厅关于2027年部分节假日安排的通知"
    )
    assert estate.request_clock(estate.requests[0]).words().startswith("due 2027-01-08 (provisional")
    path = root / "holidays.yaml"
    path.write_text(
        'years: {"2027": {source: a test, off: [{first: "2027-01-01", last: "2027-01-01", name: 元旦}]}}\n',
        encoding="utf-8",
    )
    estate = replace(load_estate(root), day=date(2026, 12, 28))
    assert warnings(estate) == []
    assert estate.request_clock(estate.requests[0]).words() == "due 2027-01-11"


def rules(root: Path) -> set[str]:
    try:
        load_estate(root)
    except EstateRefused as error:
        return {problem.rule for problem in error.problems}
    return set()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, set()),
        ({"dataset": "one"}, {"request-object"}),
        ({"service": None}, {"request-object"}),
        ({"consumer": "d7"}, {"department-unknown"}),
        ({"service": "registre"}, {"service-unknown"}),
        ({"collects": ["E1"]}, {"element-unknown"}),
        ({"decision": {"outcome": "granted", "day": "2026-03-03", "by": "O"}}, {"decision-incomplete"}),
        ({"decision": {"outcome": "granted", "day": "2026-03-03", "by": "O", "agreement": "x"}}, {"agreement-unknown"}),
        ({"decision": {"outcome": "refused", "day": "2026-03-03", "by": "O"}}, {"decision-incomplete"}),
        ({"decision": {"outcome": "refused", "day": "2026-03-01", "by": "O", "reason": "R"}}, {"date-order"}),
    ],
)
def test_a_request_names_what_there_is_and_ends_in_an_agreement_or_a_reason(
    root: Path, change: dict[str, Any], found: set[str]
) -> None:
    put(root, "requests", "SharingRequest", "r", ASKED | change)
    assert rules(root) == found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, set()),
        ({"item": "b"}, {"item-unknown"}),
        ({"dataset": "two"}, {"dataset-unknown"}),
        ({"outcome": DONE}, set()),
        ({"outcome": DONE | {"day": "2026-03-01"}}, {"date-order"}),
        ({"dispute": {"day": "2026-03-04", "reason": "No"}}, {"date-order"}),
        ({"outcome": DONE, "dispute": {"day": "2026-03-04", "reason": "No"}}, set()),
    ],
)
def test_a_correction_is_about_an_item_and_its_days_are_in_order(
    root: Path, change: dict[str, Any], found: set[str]
) -> None:
    put(root, "corrections", "Correction", "c", FOUND | change)
    assert rules(root) == found


def test_milestones_are_of_departments_and_what_is_done_is_done(root: Path) -> None:
    put(root, "progress", "Progress", "d0", {"systems": [{"name": "s", "title": "S", "milestones": [STONE]}]})
    assert rules(root) == set()
    half = STONE | {"done": "2026-03-01", "percent": 50}
    put(root, "progress", "Progress", "d0", {"systems": [{"name": "s", "title": "S", "milestones": [half]}]})
    put(root, "progress", "Progress", "d9", {})
    assert rules(root) == {"milestone-percent", "department-unknown"}
