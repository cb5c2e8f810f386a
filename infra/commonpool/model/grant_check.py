"""What must hold of the compute and the storage that a namespace is given, whoever it belongs to. Pure but for positions."""

from collections.abc import Sequence

from commonpool.model.base import Resources
from commonpool.model.department import FlavorResources, TierStorage
from commonpool.model.document import Location
from commonpool.model.quantity import Quantity
from commonpool.model.subject import Found, Subject, nearest

LEAST = Resources(cpu=Quantity.parse("1m"), memory=Quantity.parse("1Mi"))  # of every container, in every namespace


def check_granted(
    subject: Subject, where: Location, resources: Sequence[FlavorResources], storage: Sequence[TierStorage], level: int
) -> Found:
    """Every problem of what is listed under `resources` and `storage` at `where`; `level` is what protection runs there (1 to 5)."""
    yield from _resources(subject, (*where, "resources"), resources, level)
    yield from _storage(subject, (*where, "storage"), storage)


def _resources(subject: Subject, where: Location, resources: Sequence[FlavorResources], level: int) -> Found:
    flavors = {flavor.name: flavor for flavor in subject.estate.pool.spec.compute.flavors}
    seen: set[str] = set()
    for index, item in enumerate(resources):
        place = (*where, index, "flavor")
        flavor = flavors.get(item.flavor)
        if flavor is None:
            yield subject.problem(
                place, f"there is no flavor {item.flavor!r}", "flavor-unknown", nearest(item.flavor, list(flavors))
            )
        elif flavor.trust < level:
            trusted = [name for name, other in flavors.items() if other.trust >= level]
            most = max(other.trust for other in flavors.values())
            more = f"write protectionLevel: {most} or less, or ask the pool's operators for machines that are trusted further"
            yield subject.problem(
                place,
                f"flavor {item.flavor!r} is trusted up to level {flavor.trust}; the namespace has level {level}",
                "flavor-trust",
                nearest(item.flavor, trusted) if trusted else more,
            )
        if item.flavor in seen:
            yield subject.problem(place, f"flavor {item.flavor!r} is listed twice", "name-duplicate", "add the two up")
        seen.add(item.flavor)
        for word, promised in (("guaranteed", item.guaranteed), ("burst", item.burst)):
            if promised:
                yield from _enough(subject, (*where, index, word, "memory"), promised.memory)


def _storage(subject: Subject, where: Location, storage: Sequence[TierStorage]) -> Found:
    tiers = [tier.name for tier in subject.estate.pool.spec.storage.tiers]
    yield from subject.twice(where, (one.tier for one in storage), "tier", "tier")
    for index, one in enumerate(storage):
        yield from _enough(subject, (*where, index, "capacity"), one.capacity)
        if one.tier not in tiers:
            yield subject.problem(
                (*where, index, "tier"), f"there is no tier {one.tier!r}", "tier-unknown", nearest(one.tier, tiers)
            )


def _enough(subject: Subject, where: Location, amount: Quantity) -> Found:
    """A number without its suffix means bytes, and with `m` thousandths of one, in which nothing can be kept."""
    if amount < LEAST.memory:
        text = str(amount)
        words = f"{text} is an amount of bytes, and nothing has room in less than {LEAST.memory}"
        likely = f"{text.rstrip('mk')}{'Mi' if text.endswith('m') else 'Gi'}"
        yield subject.problem(where, words, "amount-too-small", f"write {likely}, or whichever suffix is meant")
