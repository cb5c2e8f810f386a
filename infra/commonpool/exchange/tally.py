"""How often callers were refused today: whoever is refused over and over does not fill the journal, which everybody's calls need."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

# Of one caller at one service in a day, one by one; a program that is set up wrongly is understood by then.
RECORDED = 64
_ACCOUNT = "system:serviceaccount:"


@dataclass
class Tally:
    """The refusals of one day, by caller and service."""

    day: date
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, subject: str, service: str, day: date) -> int:
        """Count one more; its number in the day, or 0 for one that needs no record of its own.

        After the first ones those are recorded whose number is a power of two, so that the records always tell at least
        half of how often it was tried, without anything that would have to be written later.
        """
        if day != self.day:
            self.day = day
            self.refusals.clear()
        caller = _caller(subject)
        self.refusals[caller, service] += 1
        number = self.refusals[caller, service]
        return number if number <= RECORDED or number & (number - 1) == 0 else 0


def _caller(subject: str) -> str:
    """The namespace of an account: whoever has one may make accounts without end, and delete them, but no namespaces."""
    return subject.rpartition(":")[0] if subject.startswith(_ACCOUNT) else subject
