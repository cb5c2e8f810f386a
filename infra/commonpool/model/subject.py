"""The manifest that a rule looks at: makes problems with its positions and with who may change it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from commonpool.model.document import Location
from commonpool.model.estate import KIND_OF, Estate
from commonpool.model.problem import Problem
from commonpool.model.violation import WHO

Found = Iterator[Problem]


@dataclass(frozen=True)
class Subject:
    """One manifest of an estate; `key` is "pool" or "<word>/<name>", for instance "department/water"."""

    estate: Estate
    key: str

    def problem(self, where: Location, message: str, rule: str, fix: str = "") -> Problem:
        """A problem at one of its values."""
        who = WHO[KIND_OF[self.key.split("/")[0]]]
        return Problem(*self.estate.locate(self.key, *where), message, rule, who, fix)

    def twice(self, where: Location, names: Iterable[str], word: str, field: str = "name") -> Iterator[Problem]:
        """What stands in the list at `where` more than once; `field` is where an element has its name, empty where it is one.

        Of two objects of one name neither would be written, and whoever is applied in the same run would wait.
        """
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                place = (*where, index, *([field] if field else []))
                fix = "choose another name" if field else "take one of the two out"
                yield self.problem(place, f"{word} {name!r} is declared twice", "name-duplicate", fix)
            seen.add(name)


def nearest(name: str, known: Iterable[str]) -> str:
    """The edit that names something which exists."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"write {near[0]}"
    if len(names) == 1:
        return f"write {names[0]}"
    return f"write one of {', '.join(names[:10])}" if names else "declare it first"
