"""Every file of `cases/`: an estate goes in, numbers and refusals come out."""

from pathlib import Path
from typing import Any

import pytest
import small_estate
import yaml
from commonpool.ledger import Ledger, admit, problems

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))


def shown(amount: Any) -> str:
    return f"{amount.cpu} / {amount.memory}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path) -> None:
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    estate = small_estate.build(tmp_path, case)
    expected = case["expect"]
    rows = {(row.scope, row.name): row for row in Ledger.of(estate).rows()}
    for name, numbers in expected.get("rows", {}).items():
        scope, _, own = name.partition(" ")
        row = rows[(scope, own or estate.pool.name)]
        found = {word: shown(getattr(row, word)) for word in numbers if word != "price"}
        if "price" in numbers:
            found["price"] = f"{row.price:.2f}"
        assert found == numbers, name
    assert [problem.message for problem in problems(estate)] == expected.get("refused", [])
    for name, wanted in expected.get("admission", {}).items():
        department = estate.department(name)
        assert department is not None
        decision = admit(estate, department)
        assert {
            "admitted": decision.admitted,
            "reasons": list(decision.reasons),
            "alternatives": [one.text for one in decision.alternatives],
        } == wanted


def test_there_are_cases() -> None:
    assert len(CASES) >= 8
