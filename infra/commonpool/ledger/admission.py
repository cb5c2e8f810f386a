"""Whether a department's guaranteed promises fit, and what would fit when they do not. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from commonpool.ledger.amount import Amount
from commonpool.ledger.ledger import Live, capacity_of, grants, grants_of
from commonpool.model import Department, Estate, Flavor, Problem

WHO = "the department (less), or the pool's operators (more machines, other over-commit)"


@dataclass(frozen=True)
class Check:
    """One flavor that a department asks for: what is there, what others hold, what it wants."""

    flavor: str
    capacity: Amount
    others: Amount
    wanted: Amount

    @property
    def room(self) -> Amount:
        """What is left for the department."""
        return (self.capacity - self.others).clipped()

    @property
    def fits(self) -> bool:
        """Whether the promise can be kept."""
        return self.wanted.fits(self.room)


@dataclass(frozen=True)
class Alternative:
    """What the department may guarantee itself instead of what it asks of one flavor, and on which one."""

    instead_of: str
    flavor: str
    guaranteed: Amount
    text: str


@dataclass(frozen=True)
class Decision:
    """Admitted or not, with the numbers, the reasons, and what would fit instead."""

    department: str
    admitted: bool
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class _Sums:
    """What may be promised and what is, by flavor: the same for every department, so it is added up once."""

    capacity: Mapping[str, Amount]
    promised: Mapping[str, Amount]

    @classmethod
    def of(cls, estate: Estate, live: Live | None) -> Self:
        flavors = estate.pool.spec.compute.flavors
        held: dict[str, list[Amount]] = {flavor.name: [] for flavor in flavors}
        for grant in grants(estate):
            held.setdefault(grant.flavor, []).append(grant.guaranteed)
        capacity = {flavor.name: capacity_of(estate, flavor, live) for flavor in flavors}
        return cls(capacity, {flavor: Amount.total(amounts) for flavor, amounts in held.items()})


def admit(estate: Estate, department: Department, live: Live | None = None) -> Decision:
    """Decide on a department as if it came last: what all others hold is taken first. `live` counts what stands."""
    return next(admit_each(estate, [department], live))


def admit_each(estate: Estate, departments: Iterable[Department], live: Live | None = None) -> Iterator[Decision]:
    """The same for one department after the other."""
    sums = _Sums.of(estate, live)
    return (_decide(estate, department, sums) for department in departments)


def _decide(estate: Estate, department: Department, sums: _Sums) -> Decision:
    checks = tuple(
        _check(estate, department, flavor, sums)
        for flavor in estate.pool.spec.compute.flavors
        if _asks_of(estate, department, flavor)
    )
    failing = [check for check in checks if not check.fits]
    reasons = tuple(_reason(estate, check) for check in checks)
    alternatives = tuple(found for check in failing for found in _alternatives(estate, department, check, sums))
    return Decision(department.name, not failing, checks, reasons, alternatives)


def problems(estate: Estate) -> list[Problem]:
    """Every promise that does not fit beside those of the departments before it, with its place."""
    found: list[Problem] = []
    served = [grant for grant in grants(estate) if grant.namespace.startswith("service-")]
    standing = [one for one in estate.departments if one.standing(estate.day) != "reclaimed"]
    standing.sort(key=lambda one: _seniority(estate, one))
    asked: dict[str, list[tuple[Department, int, int, Amount]]] = defaultdict(list)
    for department in standing:
        for name, index, position, amount in _asks(estate, department):
            asked[name].append((department, index, position, amount))
    for flavor in estate.pool.spec.compute.flavors:
        capacity = capacity_of(estate, flavor)
        taken = Amount.total(grant.guaranteed for grant in served if grant.flavor == flavor.name)
        for department, index, position, amount in asked[flavor.name]:
            room = (capacity - taken).clipped()
            if amount.fits(room):
                taken = taken + amount
                continue
            where = estate.locate(
                f"department/{department.name}", "spec", "namespaces", index, "resources", position, "guaranteed"
            )
            message = f"{department.name} asks for {amount} of {flavor.name}, but only {room} of {capacity} are not promised yet"
            found.append(Problem(*where, message, "capacity-exceeded", WHO, _fix(amount, room)))
    return found


def _seniority(estate: Estate, department: Department) -> tuple[bool, str, str]:
    """Who came first keeps what is promised: what is only proposed comes last, then by the first day and the filing."""
    proposed = not estate.sources[f"department/{department.name}"].is_relative_to(estate.root)
    return proposed, department.spec.term.start, department.spec.filing.number


def _asks(estate: Estate, department: Department) -> Iterator[tuple[str, int, int, Amount]]:
    """The flavor, the places of the namespace and of the resource in it, and how much."""
    for index, namespace in enumerate(department.spec.namespaces):
        for position, item in enumerate(estate.resources(department, namespace)):
            yield item.flavor, index, position, Amount.of(item.guaranteed)


def _asks_of(estate: Estate, department: Department, flavor: Flavor) -> list[Amount]:
    return [amount for name, _, _, amount in _asks(estate, department) if name == flavor.name]


def _check(estate: Estate, department: Department, flavor: Flavor, sums: _Sums) -> Check:
    listed = estate.department(department.name)
    held = grants_of(estate, listed) if listed else ()
    own = Amount.total(grant.guaranteed for grant in held if grant.flavor == flavor.name)
    others = sums.promised[flavor.name] - own
    wanted = Amount.total(_asks_of(estate, department, flavor))
    return Check(flavor.name, sums.capacity[flavor.name], others, wanted)


def _reason(estate: Estate, check: Check) -> str:
    flavor = estate.pool.flavor(check.flavor)
    factor = estate.pool.over_commit(flavor) if flavor else None
    words = f" (over-commit {factor.cpu} for CPU, {factor.memory} for memory)" if factor else ""
    verdict = "fits" if check.fits else "does not fit"
    return (
        f"{check.flavor}: {check.wanted} {verdict}; capacity {check.capacity}{words}, "
        f"{check.others} promised to others, {check.room} left"
    )


def _alternatives(estate: Estate, department: Department, check: Check, sums: _Sums) -> Iterable[Alternative]:
    own, nothing = check.flavor, Amount.zero()
    if check.room.cpu and check.room.memory:
        smaller = _smaller(check.wanted, check.room)
        text = f"guaranteed {smaller} of {own}, the rest as burst (preemptible, not counted)"
        yield Alternative(own, own, smaller, text)
    else:
        yield Alternative(own, own, nothing, f"burst instead of guaranteed on {own} (preemptible, not counted)")
    level = max(
        namespace.protection_level
        for namespace in department.spec.namespaces
        if any(item.flavor == own for item in namespace.resources)
    )
    for flavor in estate.pool.spec.compute.flavors:
        if flavor.name == own or flavor.trust < level:
            continue
        other = _check(estate, department, flavor, sums)
        if (check.wanted + other.wanted).fits(other.room):
            words = f" beside the {other.wanted} there" if _asks_of(estate, department, flavor) else ""
            text = f"the same on {flavor.name}{words}, which is trusted up to level {flavor.trust}"
            yield Alternative(own, flavor.name, check.wanted, text)


def _smaller(wanted: Amount, room: Amount) -> Amount:
    return Amount(min(wanted.cpu, room.cpu), min(wanted.memory, room.memory))


def _fix(amount: Amount, room: Amount) -> str:
    smaller = _smaller(amount, room)
    if not smaller.cpu or not smaller.memory:
        return "ask for burst, or for another flavor (commonpool department explain shows which have room)"
    return f'write guaranteed: {{cpu: "{smaller.cpu}", memory: {smaller.memory}}} and ask for the rest as burst'
