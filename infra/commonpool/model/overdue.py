"""What is late in the estate: answers, corrections, milestones, tickets; each with who hears of it now. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from commonpool.model.base import Contact
from commonpool.model.estate import Estate
from commonpool.model.working_day import working_days_between


@dataclass(frozen=True)
class Late:
    """One thing that is late."""

    kind: str  # request, correction, milestone, ticket
    name: str
    department: str
    due: date
    working_days: int
    with_: str  # who hears of it now

    def words(self) -> str:
        """The thing as a sentence."""
        told = f"; now with the {self.with_}" if self.with_ else ""
        return f"{self.kind} {self.name}: {self.department} is {self.working_days} working days late since {self.due}{told}"


def late(estate: Estate) -> Iterator[Late]:
    """Everything that is late today."""
    for request in estate.requests:
        clock = estate.request_clock(request)
        if clock.state == "overdue":
            provider = estate.provider_of(request) or ""
            yield Late("request", request.name, provider, clock.due.day, clock.late, clock.escalated)
    for correction in estate.corrections:
        clock, dataset = estate.correction_clock(correction), estate.dataset(correction.spec.dataset)
        if clock.state == "overdue":
            provider = dataset.spec.provider if dataset else ""
            yield Late("correction", correction.name, provider, clock.due.day, clock.late, clock.escalated)
    for progress in estate.progress:
        for system in progress.spec.systems:
            for one in system.milestones:
                name = f"{system.name}/{one.name}"
                yield from _task(estate, "milestone", name, progress.name, one.due, one.done, one.responsible)
        for ticket in progress.spec.rectifications:
            name, answers = ticket.number, ticket.responsible
            yield from _task(estate, "ticket", name, progress.name, ticket.due, ticket.closed, answers)


def _task(
    estate: Estate, kind: str, name: str, department: str, due: str, done: str | None, responsible: Contact
) -> Iterator[Late]:
    last = date.fromisoformat(due)
    days = working_days_between(last, estate.day, estate.holidays)
    if done is None and days:
        steps = sorted(estate.pool.spec.sharing.escalation, key=lambda one: one.after)
        passed = [one.to for one in steps if days >= one.after]
        # The first step of a promise is who gave it.
        yield Late(kind, name, department, last, days, passed[-1] if len(passed) > 1 else responsible.role)


def overdue(estate: Estate) -> list[str]:
    """One sentence for each."""
    return [one.words() for one in late(estate)]
