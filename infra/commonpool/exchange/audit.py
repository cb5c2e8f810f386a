"""Whether exchanges rest on what departments signed: an operator who makes up an agreement leaves its digest in every record. Pure."""

from collections.abc import Iterable
from pathlib import Path

from commonpool.components.agreement import openssh
from commonpool.journal import Record
from commonpool.journal.report import Finding
from commonpool.model import Estate

KINDS = ("exchange.asked", "exchange.answered", "drop.offered")


def unsigned(estate: Estate, records: Iterable[Record], journal: Path) -> tuple[int, Finding | None]:
    """How many exchanges rest on agreements that both departments' keys signed, and the first that does not."""
    signed: dict[str, tuple[str, tuple[str, ...]]] = {}
    for agreement in estate.agreements:
        if {one.department for one in estate.signatures(agreement)} == set(agreement.parties):
            signed[agreement.name] = (estate.texts[agreement.name], agreement.parties)
    good = 0
    for record in records:
        if record.kind == "exchange.answered":
            strangers = set(record.data.get("openTo", ())) - _keys(estate, record)
            if strangers:
                words = f"its bodies are open to a key that neither department declares: {sorted(strangers)[0][:60]}"
                return good, Finding(record.sequence, "unsigned", words, journal, 0)
            continue
        name = str(record.data.get("agreement", ""))
        text, parties = signed.get(name, ("", ()))
        said = (record.data.get("provider"), record.data.get("consumer"))
        if not text or record.data.get("text", text) != text or said != parties:
            words = (
                f"the keys of {said[0]} and {said[1]} signed no agreement {name} of the text {record.data.get('text')}"
            )
            return good, Finding(record.sequence, "unsigned", words, journal, 0)
        good += 1
    return good, None


def _keys(estate: Estate, record: Record) -> set[str]:
    """Every key that the two departments ever declared, as age takes them."""
    parties = (estate.department(str(record.data.get(side))) for side in ("provider", "consumer"))
    return {openssh(key.public) for one in parties if one for key in one.spec.keys}
