"""What holds of every ledger, tried on estates that Hypothesis makes up."""

import tempfile
from pathlib import Path
from typing import Any

import small_estate
from commonpool.ledger import Amount, Ledger, admit, problems
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FLAVORS = ("legacy", "standard", "performance")
CORES = st.integers(1, 40).map(str)
MEMORY = st.integers(1, 128).map(lambda number: f"{number}Gi")
RESOURCES = st.fixed_dictionaries({"cpu": CORES, "memory": MEMORY})
GRANT = st.fixed_dictionaries(
    {"flavor": st.sampled_from(FLAVORS), "guaranteed": RESOURCES}, optional={"burst": RESOURCES}
)
GRANTS = st.lists(GRANT, min_size=1, max_size=3, unique_by=lambda grant: str(grant["flavor"]))
MACHINES = st.fixed_dictionaries({"count": st.integers(0, 4), "cpu": CORES, "memory": MEMORY})
FACTORS = st.sampled_from(["1.0", "1.5", "0.75", "3"])
CASE = st.fixed_dictionaries(
    {
        "machines": st.fixed_dictionaries({flavor: MACHINES for flavor in FLAVORS}),
        "overCommit": st.fixed_dictionaries({"cpu": FACTORS, "memory": FACTORS}),
        "systemReserved": st.sampled_from([{"cpu": "500m", "memory": "1Gi"}, {"cpu": "2", "memory": "3Gi"}]),
        "departments": st.dictionaries(
            st.sampled_from(["alpha", "beta", "gamma"]),
            st.dictionaries(st.sampled_from(["one", "two"]), GRANTS, min_size=1, max_size=2),
            min_size=1,
            max_size=3,
        ),
    }
)


@given(CASE)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_sums_agree_and_what_is_admitted_fits(case: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        estate = small_estate.build(Path(folder), case)
        ledger = Ledger.of(estate)
        found = problems(estate)
        decisions = [admit(estate, department) for department in estate.departments]
    for rows in (ledger.flavors, ledger.departments, ledger.namespaces):
        assert Amount.total(row.promised for row in rows) == ledger.pool.promised
        assert Amount.total(row.ceiling for row in rows) == ledger.pool.ceiling
    assert all(row.promised.fits(row.ceiling) for row in ledger.rows() if row.scope != "site")
    assert Amount.total(row.capacity for row in ledger.sites if row.capacity) == ledger.pool.capacity
    fits = all(row.promised.fits(row.capacity) for row in ledger.flavors if row.capacity)
    assert fits == (not found), "a run is refused exactly when a flavor is promised beyond its capacity"
    assert fits == all(decision.admitted for decision in decisions)
