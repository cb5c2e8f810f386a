"""Whether a department's guaranteed promises fit, and what would fit when they do not. Pure."""

from dataclasses import dataclass

from commonpool.ledger.amount import Amount
from commonpool.ledger.ledger import capacity_of, grants
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
class Decision:
    """Admitted or not, with the numbers, the reasons, and what would fit instead."""

    department: str
    admitted: bool
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    alternatives: tuple[str, ...]


def admit(estate: Estate, department: Department) -> Decision:
    """Decide on a department as if it came last: what all others hold is taken first."""
    checks = tuple(
        _check(estate, department, flavor) for flavor in estate.pool.spec.compute.flavors if _wants(department, flavor)
    )
    failing = [check for check in checks if not check.fits]
    reasons = tuple(_reason(estate, check) for check in checks)
    alternatives = tuple(text for check in failing for text in _alternatives(estate, check, checks))
    return Decision(department.name, not failing, checks, reasons, alternatives)


def problems(estate: Estate) -> list[Problem]:
    """Every department whose promises do not fit beside those of the others before it (by filing number), with its place."""
    found: list[Problem] = []
    for flavor in estate.pool.spec.compute.flavors:
        capacity = capacity_of(estate, flavor)
        taken = Amount.total(
            grant.guaranteed
            for grant in grants(estate)
            if grant.flavor == flavor.name and grant.namespace.startswith("service-")
        )
        for department in sorted(estate.departments, key=lambda one: one.spec.filing.number):
            if department.standing(estate.day) == "reclaimed":
                continue
            for index, position, amount in _asks(department, flavor):
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


def _asks(department: Department, flavor: Flavor) -> list[tuple[int, int, Amount]]:
    return [
        (index, position, Amount.of(item.guaranteed))
        for index, namespace in enumerate(department.spec.namespaces)
        for position, item in enumerate(namespace.resources)
        if item.flavor == flavor.name
    ]


def _wants(department: Department, flavor: Flavor) -> bool:
    return bool(_asks(department, flavor))


def _check(estate: Estate, department: Department, flavor: Flavor) -> Check:
    own = {full_name for full_name, _ in department.namespaces()}
    others = Amount.total(
        grant.guaranteed for grant in grants(estate) if grant.flavor == flavor.name and grant.namespace not in own
    )
    wanted = Amount.total(amount for _, _, amount in _asks(department, flavor))
    return Check(flavor.name, capacity_of(estate, flavor), others, wanted)


def _reason(estate: Estate, check: Check) -> str:
    flavor = estate.pool.flavor(check.flavor)
    factor = estate.pool.over_commit(flavor) if flavor else None
    words = f" (over-commit {factor.cpu} for CPU, {factor.memory} for memory)" if factor else ""
    verdict = "fits" if check.fits else "does not fit"
    return (
        f"{check.flavor}: {check.wanted} {verdict}; capacity {check.capacity}{words}, "
        f"{check.others} promised to others, {check.room} left"
    )


def _alternatives(estate: Estate, check: Check, checks: tuple[Check, ...]) -> list[str]:
    found = []
    if check.room.cpu and check.room.memory:
        found.append(
            f"guaranteed {_smaller(check.wanted, check.room)} of {check.flavor}, the rest as burst (preemptible, not counted)"
        )
    else:
        found.append(f"burst instead of guaranteed on {check.flavor} (preemptible, not counted)")
    for flavor in estate.pool.spec.compute.flavors:
        if flavor.name != check.flavor:
            taken = Amount.total(grant.guaranteed for grant in grants(estate) if grant.flavor == flavor.name)
            if check.wanted.fits((capacity_of(estate, flavor) - taken).clipped()):
                found.append(f"the same on {flavor.name}, which is trusted up to level {flavor.trust}")
    return found


def _smaller(wanted: Amount, room: Amount) -> Amount:
    return Amount(min(wanted.cpu, room.cpu), min(wanted.memory, room.memory))


def _fix(amount: Amount, room: Amount) -> str:
    smaller = _smaller(amount, room)
    if not smaller.cpu or not smaller.memory:
        return "ask for burst, or for another flavor (commonpool department explain shows which have room)"
    return f'write guaranteed: {{cpu: "{smaller.cpu}", memory: {smaller.memory}}} and ask for the rest as burst'
