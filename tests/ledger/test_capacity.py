"""What machines say of themselves against what the inventory declares: the ledger counts the smaller."""

from pathlib import Path

import pytest
import small_estate
from commonpool.ledger import Amount, Ledger, Live
from commonpool.model import Quantity

CASE = {
    "machines": {"standard": {"count": 1, "cpu": "16", "memory": "64Gi"}},
    "overCommit": {"cpu": "1.0", "memory": "1.0"},
    "systemReserved": {"cpu": "1", "memory": "4Gi"},
    "departments": {"alpha": {"one": [{"flavor": "standard", "guaranteed": {"cpu": "1", "memory": "1Gi"}}]}},
}


@pytest.mark.parametrize(
    ("cpu", "memory", "counted"),
    [
        ("10000", "99Ti", ("15", "60Gi")),
        ("15", "58Gi", ("15", "58Gi")),
        ("8", "99Ti", ("8", "60Gi")),
        ("0", "0", ("0", "0")),
    ],
)
def test_a_machine_that_claims_to_be_larger_is_not_believed(
    tmp_path: Path, cpu: str, memory: str, counted: tuple[str, str]
) -> None:
    estate = small_estate.build(tmp_path, CASE)
    [machine] = estate.machines
    said = Live(allocatable={machine.name: Amount(Quantity.parse(cpu), Quantity.parse(memory))})
    capacity = Ledger.of(estate, said).pool.capacity
    assert capacity == Amount(*map(Quantity.parse, counted))
