"""What holds of every ledger, tried on estates that Hypothesis makes up."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import small_estate
from commonpool.ledger import Alternative, Amount, Ledger, admit, problems
from commonpool.model import Department, Estate, FlavorResources
from commonpool.model.base import Resources
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


def taken(department: Department, offer: Alternative) -> Department:
    """The department as it would be if it took the offer."""
    namespaces = list(department.spec.namespaces)
    asked = [any(item.flavor == offer.instead_of for item in one.resources) for one in namespaces]
    for index, one in enumerate(namespaces):
        items = [item for item in one.resources if item.flavor != offer.instead_of]
        if index == asked.index(True) and offer.guaranteed.cpu:
            there = [item for item in items if item.flavor == offer.flavor]
            amount = Amount.total([offer.guaranteed, *(Amount.of(item.guaranteed) for item in there)])
            promise = Resources(cpu=amount.cpu, memory=amount.memory)
            items = [item for item in items if item.flavor != offer.flavor]
            items.append(FlavorResources(flavor=offer.flavor, guaranteed=promise))
        namespaces[index] = one.model_copy(update={"resources": items})
    return department.model_copy(update={"spec": department.spec.model_copy(update={"namespaces": namespaces})})


def with_department(estate: Estate, department: Department) -> Estate:
    others = [one for one in estate.departments if one.name != department.name]
    return replace(estate, departments=tuple(sorted([*others, department], key=lambda one: one.name)))


@given(CASE)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_offered_instead_is_admitted_and_trusted(case: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        estate = small_estate.build(Path(folder), case)
    for department in estate.departments:
        before = admit(estate, department)
        assert before.admitted or before.alternatives, "a refusal says what would fit"
        level = max(one.protection_level for one in department.spec.namespaces)
        for offer in before.alternatives:
            changed = taken(department, offer)
            fits = {check.flavor: check.fits for check in admit(with_department(estate, changed), changed).checks}
            expected = {check.flavor for check in before.checks if check.fits}
            assert fits.get(offer.flavor, not offer.guaranteed.cpu), offer
            assert all(fits.get(name, True) for name in expected), offer
            flavor = estate.pool.flavor(offer.flavor)
            assert flavor is not None
            assert offer.flavor == offer.instead_of or flavor.trust >= level
