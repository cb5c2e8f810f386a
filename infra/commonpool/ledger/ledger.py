"""Capacity and promises: the four numbers of everything. Pure; what stands in the cluster is given as data.

*Ceiling* is what quota allows, *promised* what is guaranteed, *requested* what pods ask for, *used* what they use.
A guaranteed promise never exceeds capacity times the stated over-commit; burst is preemptible and may.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from commonpool.ledger.amount import Amount
from commonpool.ledger.settlement import Settlement, settlements
from commonpool.model import Department, Estate, Flavor, FlavorResources, Machine

HOURS_PER_MONTH = 730  # 365 days of 24 hours over twelve months


@dataclass(frozen=True)
class Live:
    """What a cluster reports: allocatable by machine, requested and used by namespace; used is None without metrics."""

    allocatable: Mapping[str, Amount] = field(default_factory=dict)
    requested: Mapping[str, Amount] = field(default_factory=dict)
    used: Mapping[str, Amount] | None = None
    simulated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """The numbers of one thing. `capacity` is what may be promised (after over-commit); None where it has no meaning.

    `price` is that of what is promised; of a department after what it pays and gets under agreements.
    """

    scope: str
    name: str
    flavor: str
    capacity: Amount | None
    ceiling: Amount
    promised: Amount
    requested: Amount | None = None
    used: Amount | None = None
    machines: int = 0
    price: Decimal = Decimal(0)

    @property
    def room(self) -> Amount | None:
        """What may still be promised."""
        return self.capacity - self.promised if self.capacity else None


@dataclass(frozen=True)
class Grant:
    """What one namespace gets of one flavor."""

    department: str
    namespace: str
    flavor: str
    guaranteed: Amount
    burst: Amount


@dataclass(frozen=True)
class Ledger:
    """All rows of one estate."""

    pool: Row
    sites: tuple[Row, ...]
    flavors: tuple[Row, ...]
    departments: tuple[Row, ...]
    namespaces: tuple[Row, ...]
    settlements: tuple[Settlement, ...]
    currency: str
    live: bool

    @classmethod
    def of(cls, estate: Estate, live: Live | None = None) -> "Ledger":
        """Add up an estate, with live numbers where they are given."""
        entries = list(grants(estate))
        flavors = tuple(_flavor_row(estate, flavor, entries, live) for flavor in estate.pool.spec.compute.flavors)
        namespaces = tuple(
            _group(estate, "namespace", name, items, live) for name, items in _by(entries, "namespace").items()
        )
        departments = tuple(
            _group(estate, "department", name, items, live) for name, items in _by(entries, "department").items()
        )
        settled = tuple(settlements(estate, {row.name: row.price for row in namespaces}))
        departments = tuple(
            replace(row, price=row.price + sum((one.of(row.name) for one in settled), Decimal(0)))
            for row in departments
        )
        whole = _group(estate, "pool", estate.pool.name, entries, live)
        capacity = Amount.total(row.capacity for row in flavors if row.capacity)
        count = sum(row.machines for row in flavors)
        pool = Row(
            "pool",
            whole.name,
            "",
            capacity,
            whole.ceiling,
            whole.promised,
            whole.requested,
            whole.used,
            count,
            whole.price,
        )
        sites = tuple(_site_row(estate, site.name, live) for site in estate.pool.spec.compute.sites)
        return cls(pool, sites, flavors, departments, namespaces, settled, estate.pool.spec.currency, live is not None)

    def rows(self) -> tuple[Row, ...]:
        """Everything, from the whole to the parts."""
        return (self.pool, *self.sites, *self.flavors, *self.departments, *self.namespaces)


def grants(estate: Estate) -> Iterable[Grant]:
    """Every promise of the estate: those of departments, and those of shared services under their department."""
    for department in estate.departments:
        yield from grants_of(estate, department)
    for service in estate.services:
        yield from _grants(service.spec.offered_by, service.namespace_name, service.spec.namespace.resources)


def grants_of(estate: Estate, department: Department) -> Iterable[Grant]:
    """Every promise to one department's own namespaces."""
    reclaimed = department.standing(estate.day) == "reclaimed"
    for full_name, namespace in department.namespaces():
        yield from _grants(department.name, full_name, estate.resources(department, namespace), reclaimed=reclaimed)


def _grants(
    department: str, namespace: str, resources: list[FlavorResources], *, reclaimed: bool = False
) -> Iterable[Grant]:
    for item in resources:
        guaranteed = Amount.zero() if reclaimed else Amount.of(item.guaranteed)
        yield Grant(department, namespace, item.flavor, guaranteed, Amount.of(item.burst))


def capacity_of(estate: Estate, flavor: Flavor, live: Live | None = None) -> Amount:
    """What may be promised of a flavor: its machines less the system's share, times the over-commit."""
    factor = estate.pool.over_commit(flavor)
    physical = Amount.total(machine_capacity(estate, machine, live) for machine in machines_of(estate, flavor.name))
    return physical.times(factor.cpu, factor.memory)


def machines_of(estate: Estate, flavor: str = "", site: str = "") -> list[Machine]:
    """The machines that carry pods, of a flavor and a site where one is named."""
    return [
        machine
        for machine in estate.machines
        if machine.facts.role == "node" and flavor in ("", machine.facts.flavor) and site in ("", machine.site)
    ]


def machine_capacity(estate: Estate, machine: Machine, live: Live | None = None) -> Amount:
    """What one machine offers: as declared, without what the system keeps, or less where it says itself that it has less.

    More than the inventory knows of is not believed: whoever holds a machine's credential could offer what there is not.
    """
    declared = Amount(machine.facts.cpu, machine.facts.memory) - Amount.of(estate.pool.spec.compute.system_reserved)
    found = live.allocatable.get(machine.name) if live else None  # a kubelet has taken away what the system keeps
    return (declared.smaller(found) if found else declared).clipped()


def price_of(flavor: Flavor, amount: Amount) -> Decimal:
    """What an amount costs in a month, in the pool's currency."""
    gib = Decimal(amount.memory.bytes) / 2**30
    hourly = amount.cpu.cores * Decimal(flavor.price.cpu_hour) + gib * Decimal(flavor.price.memory_gi_b_hour)
    return hourly * HOURS_PER_MONTH


def _by(entries: list[Grant], word: str) -> dict[str, list[Grant]]:
    found: dict[str, list[Grant]] = {}
    for grant in entries:
        found.setdefault(getattr(grant, word), []).append(grant)
    return found


def _flavor_row(estate: Estate, flavor: Flavor, entries: list[Grant], live: Live | None) -> Row:
    own = [grant for grant in entries if grant.flavor == flavor.name]
    promised = Amount.total(grant.guaranteed for grant in own)
    ceiling = promised + Amount.total(grant.burst for grant in own)
    count = len(machines_of(estate, flavor.name))
    return Row(
        "flavor",
        flavor.name,
        flavor.name,
        capacity_of(estate, flavor, live),
        ceiling,
        promised,
        machines=count,
        price=price_of(flavor, promised),
    )


def _site_row(estate: Estate, site: str, live: Live | None) -> Row:
    capacity = Amount.zero()
    for flavor in estate.pool.spec.compute.flavors:
        factor = estate.pool.over_commit(flavor)
        physical = Amount.total(
            machine_capacity(estate, machine, live) for machine in machines_of(estate, flavor.name, site)
        )
        capacity = capacity + physical.times(factor.cpu, factor.memory)
    return Row("site", site, "", capacity, Amount.zero(), Amount.zero(), machines=len(machines_of(estate, site=site)))


def _group(estate: Estate, scope: str, name: str, entries: list[Grant], live: Live | None) -> Row:
    promised = Amount.total(grant.guaranteed for grant in entries)
    ceiling = promised + Amount.total(grant.burst for grant in entries)
    namespaces = {grant.namespace for grant in entries}
    flavors = {flavor.name: flavor for flavor in estate.pool.spec.compute.flavors}
    price = sum(
        (price_of(flavors[grant.flavor], grant.guaranteed) for grant in entries if grant.flavor in flavors), Decimal(0)
    )
    requested = used = None
    if live:
        requested = Amount.total(live.requested.get(namespace, Amount.zero()) for namespace in namespaces)
        if live.used is not None:
            used = Amount.total(live.used.get(namespace, Amount.zero()) for namespace in namespaces)
    names = ",".join(dict.fromkeys(grant.flavor for grant in entries)) if scope == "namespace" else ""
    return Row(scope, name, names, None, ceiling, promised, requested, used, price=price)
