"""Whether exchanges rest on what departments signed: an operator who makes up an agreement leaves its digest in every record. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from commonpool.components.agreement import openssh
from commonpool.journal import Record
from commonpool.journal.report import Finding
from commonpool.model import Agreement, Estate
from commonpool.model.standing import Standing, standing
from commonpool.model.today import day_of

KINDS = ("exchange.asked", "exchange.answered", "drop.offered")


def unsigned(estate: Estate, records: Iterable[Record], journal: Path) -> tuple[int, Finding | None]:
    """How many exchanges rest on agreements that both departments' keys signed and that were in force, and the first that does not."""
    audit, good = _Audit(estate), 0
    for record in records:
        answered = record.kind == "exchange.answered"
        words = audit.of_bodies(record) if answered else audit.of_exchange(record)
        if words:
            return good, Finding(record.sequence, "unsigned", words, journal, 0)
        good += not answered
    return good, None


@dataclass
class _Audit:
    """What an estate says of records; each method tells what is wrong, or nothing."""

    estate: Estate
    known: dict[tuple[str, date], Standing] = field(default_factory=dict)

    def of_exchange(self, record: Record) -> str:
        """Whether both sides signed the text that is recorded, and whether it was in force then."""
        name, text = str(record.data.get("agreement", "")), record.data.get("text")
        said = (record.data.get("provider"), record.data.get("consumer"))
        agreement = self.estate.agreement(name)
        signed = agreement and {one.department for one in self.estate.signatures(agreement)} == set(agreement.parties)
        if agreement is None or not signed or said != agreement.parties or text != self.estate.texts[name]:
            return f"the keys of {said[0]} and {said[1]} signed no agreement {name} of the text {text}"
        return self._of_time(agreement, day_of(record.at))

    def _of_time(self, agreement: Agreement, day: date) -> str:
        """What ends on a day is over after it: until then a run takes it away, and a call that had begun is recorded."""
        on_day, before = (self._standing(agreement, one) for one in (day, day - timedelta(1)))
        if on_day.in_force or before.in_force:
            return ""
        return f"it was made on {day}, and then {on_day.words(agreement)}"

    def _standing(self, agreement: Agreement, day: date) -> Standing:
        key = (agreement.name, day)
        if key not in self.known:
            said = [one for one in self.estate.said(agreement) if day_of(one.at) <= day]
            self.known[key] = standing(agreement, said, day)
        return self.known[key]

    def of_bodies(self, record: Record) -> str:
        """Whether kept bodies are open to keys of the two departments alone, of all that they ever declared."""
        parties = (self.estate.department(str(record.data.get(side))) for side in ("provider", "consumer"))
        own = {openssh(key.public) for one in parties if one for key in one.spec.keys}
        strangers = sorted(set(record.data.get("openTo", ())) - own)
        return (
            f"its bodies are open to a key that neither department declares: {strangers[0][:60]}" if strangers else ""
        )
