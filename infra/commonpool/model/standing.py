"""Where an agreement stands on a day, from the signed statements of its two parties. Pure.

draft (nobody signed) → proposed (one did) → signed (both did, it has not begun) → in-force → expired; suspended while a
party's suspension is not taken back by the same party; terminated by either, for good.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from commonpool.model.agreement import Agreement
from commonpool.model.department import Department
from commonpool.model.statement import Statement, verifies
from commonpool.model.today import day_of

_ENDING = ("suspend", "terminate")
State = Literal["draft", "proposed", "signed", "in-force", "suspended", "terminated", "expired"]


@dataclass(frozen=True)
class Standing:
    """A state with the reason for it."""

    state: State
    missing: tuple[str, ...] = ()  # departments whose signature is missing
    statement: Statement | None = None  # the one that suspended or terminated it

    @property
    def in_force(self) -> bool:
        """Whether calls are admitted by it."""
        return self.state == "in-force"

    def words(self, agreement: Agreement) -> str:
        """The state as a clause: `agreement x ended on 2026-12-31`."""
        name, term = f"agreement {agreement.name}", agreement.spec.term
        if self.state in ("draft", "proposed"):
            return f"{name} lacks the signature of {' and '.join(self.missing)}"
        if self.state == "signed":
            return f"{name} begins on {term.start}"
        if self.state == "expired":
            return f"{name} ended on {term.end}"
        if self.statement is not None:
            verb = "suspended" if self.state == "suspended" else "terminated"
            return f"{name} was {verb} by {self.statement.department} on {day_of(self.statement.at)}: {self.statement.reason}"
        return f"{name} is in force until {term.end}"


def standing(agreement: Agreement, statements: Iterable[Statement], day: date) -> Standing:
    """The state; `statements` are the valid ones about this very text.

    What binds counts from the day that it names, which is the day by which its key is judged; what ends something at once.
    """
    counting = (one for one in statements if one.act in _ENDING or day_of(one.at) <= day)
    ordered = sorted(counting, key=lambda one: (one.at, one.act))
    signed = {one.department for one in ordered if one.act == "sign"}
    missing = tuple(party for party in agreement.parties if party not in signed)
    if missing:
        return Standing("proposed" if signed else "draft", missing)
    ended = next((one for one in ordered if one.act == "terminate"), None)
    if ended:
        return Standing("terminated", statement=ended)
    if day > date.fromisoformat(agreement.spec.term.end):
        return Standing("expired")
    last = {one.department: one for one in ordered if one.act in ("suspend", "resume")}
    pausing = next((one for one in last.values() if one.act == "suspend"), None)
    if pausing:
        return Standing("suspended", statement=pausing)
    return Standing("in-force" if day >= date.fromisoformat(agreement.spec.term.start) else "signed")


def fault(statement: Statement, agreement: Agreement, text: str, department: Department | None) -> tuple[str, str]:
    """(field, what is wrong) of a statement, or two empty texts; `text` is the digest of the agreement as it is."""
    if department is None or statement.department not in agreement.parties:
        return "department", f"{statement.department} is no party of agreement {agreement.name}"
    if statement.digest != text:
        return (
            "digest",
            f"the statement is about another text of {agreement.name}: {statement.digest[:19]}…, the file's is {text[:19]}…",
        )
    if statement.act != "sign" and not statement.reason:
        return "act", f"a statement that {statement.act}s gives a reason"
    key = next((one for one in department.spec.keys if one.id == statement.key), None)
    if key is None:
        return "key", f"{department.name} declares no key {statement.key!r}"
    day = day_of(statement.at).isoformat()
    if not key.counts(day):
        return "at", f"key {key.id!r} of {department.name} did not count on {day}"
    if not verifies(key.public, statement):
        return "signature", f"the signature is not by key {key.id!r} of {department.name} over this statement"
    return "", ""
