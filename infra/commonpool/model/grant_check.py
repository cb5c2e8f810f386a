"""What must hold of the compute and the storage that a namespace is given, whoever it belongs to. Pure but for positions."""

from collections.abc import Sequence

from commonpool.model.department import FlavorResources, TierStorage
from commonpool.model.document import Location
from commonpool.model.subject import Found, Subject, nearest


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
            yield subject.problem(
                place,
                f"flavor {item.flavor!r} is trusted up to level {flavor.trust}; the namespace has level {level}",
                "flavor-trust",
                nearest(item.flavor, trusted),
            )
        if item.flavor in seen:
            yield subject.problem(place, f"flavor {item.flavor!r} is listed twice", "name-duplicate", "add the two up")
        seen.add(item.flavor)


def _storage(subject: Subject, where: Location, storage: Sequence[TierStorage]) -> Found:
    tiers = [tier.name for tier in subject.estate.pool.spec.storage.tiers]
    yield from subject.twice(where, (one.tier for one in storage), "tier", "tier")
    for index, one in enumerate(storage):
        if one.tier not in tiers:
            yield subject.problem(
                (*where, index, "tier"), f"there is no tier {one.tier!r}", "tier-unknown", nearest(one.tier, tiers)
            )
