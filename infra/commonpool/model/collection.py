"""Who collects which element of the data dictionary, so that nobody asks people again for what an office has already.

Source: Decree 809, which forbids repeated collection of what sharing can supply. Told, never refused: today's forms are
older than the rule, and the milestones of `Progress` are where they end.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from commonpool.model.dataset import Dataset
from commonpool.model.estate import Estate


@dataclass(frozen=True)
class Holder:
    """A dataset that holds an element, collected or not."""

    element: str
    department: str
    dataset: str
    item: str
    collected: bool


def holders(datasets: Iterable[Dataset]) -> Mapping[str, list[Holder]]:
    """Who holds which element; those who collect it first."""
    found: dict[str, list[Holder]] = {}
    for dataset in datasets:
        for item in dataset.spec.items:
            if item.element is not None:
                one = Holder(item.element, dataset.spec.provider, dataset.name, item.name, item.origin == "collected")
                found.setdefault(item.element, []).append(one)
    return {element: sorted(some, key=lambda one: not one.collected) for element, some in found.items()}


def repeated(estate: Estate) -> Iterator[str]:
    """A sentence for each element that several departments collect."""
    for element, some in sorted(holders(estate.datasets).items()):
        collecting = {one.department: one for one in reversed(some) if one.collected}
        if len(collecting) < 2:
            continue
        entry = estate.dictionary.elements.get(element) if estate.dictionary else None
        title = f"{element} {entry.title}" if entry else element
        lead = entry.lead if entry and entry.lead in collecting else None
        words = ", ".join(
            f"{one.department} ({one.dataset}: {one.item})"
            for one in sorted(collecting.values(), key=lambda o: (o.department != lead, o.department))
        )
        yield f"{title} is collected by {len(collecting)} departments: {words}; repeated collection is forbidden, so all but {lead or 'one'} take it from there"


def held_elsewhere(estate: Estate, elements: Iterable[str], department: str) -> Iterator[Holder]:
    """Who holds elements already that a department wants to collect; the first holder of each."""
    known = holders(estate.datasets)
    for element in elements:
        other = next((one for one in known.get(element, ()) if one.department != department), None)
        if other is not None:
            yield other
