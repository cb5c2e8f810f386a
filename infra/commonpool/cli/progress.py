"""`commonpool progress list|report`: milestones by department and old system, what is late, and the month's report."""

import calendar
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from commonpool.cli.correction import state
from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.model import Estate
    from commonpool.model.overdue import Late


@dataclass(frozen=True)
class Score:
    """One old system: how many milestones, how far, to which effect."""

    department: str
    system: str
    done: int
    total: int
    percent: int
    next_due: str
    late: int
    effect: str


def scores(estate: "Estate") -> list[Score]:
    """By department and system."""
    found = []
    for progress in estate.progress:
        for system in progress.spec.systems:
            stones = system.milestones
            open_ones = sorted(one.due for one in stones if one.done is None)
            effects = [one.effect for one in stones if one.effect]
            found.append(
                Score(
                    progress.name,
                    system.name,
                    sum(one.done is not None for one in stones),
                    len(stones),
                    sum(100 if one.done else one.percent for one in stones) // len(stones),
                    open_ones[0] if open_ones else "",
                    sum(date.fromisoformat(due) < estate.day for due in open_ones),
                    effects[-1] if effects else "",
                )
            )
    return found


def list_progress(target: Target, output: Output) -> int:
    """The scoreboard, then what is late and who hears of it."""
    from commonpool.model.overdue import late

    estate = target.load()
    found, behind = scores(estate), list(late(estate))
    if output.structured:
        output.document("Progress", systems=[asdict(one) for one in found], late=[_late(one) for one in behind])
        return 0
    if not found:
        output.data("0 milestones; a manifest in progress/ makes the first")
    else:
        headings = ["department", "system", "done", "progress", "next", "effect"]
        rows = [
            [
                one.department,
                one.system,
                f"{one.done} of {one.total}",
                f"{one.percent} %",
                one.next_due or "-",
                one.effect,
            ]
            for one in found
        ]
        output.data(output.table(headings, rows, left=2))
    for one in behind:
        output.data(f"! {one.words()}")
    return 0


def _late(one: "Late") -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "department": one.department,
        "due": one.due.isoformat(),
        "workingDays": one.working_days,
        "with": one.with_,
    }


def report(target: Target, month: str, output: Output) -> int:
    """The month in Markdown: what was done, what is late, tickets, requests and corrections."""
    from commonpool.model.overdue import late

    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise CommandFailed(f"{month!r} is not a month", code="usage", next_step="write it as 2026-11") from None
    last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
    from dataclasses import replace

    estate = target.load()
    estate = replace(estate, day=min(last, estate.day))

    def inside(day: str | None) -> bool:
        return day is not None and first.isoformat() <= day <= last.isoformat()

    lines = [f"# {estate.pool.spec.display_name}: {month}", "", f"As of {estate.day}.", "", "## Done", ""]
    lines += _done(estate, inside) or ["Nothing."]
    lines += ["", "## Late", ""]
    lines += [f"- {one.words()}" for one in late(estate)] or ["Nothing."]
    lines += [
        "",
        "## Where systems stand",
        "",
        "| department | system | done | progress | effect |",
        "|---|---|---:|---:|---|",
    ]
    lines += [
        f"| {one.department} | {one.system} | {one.done} of {one.total} | {one.percent} % | {one.effect} |"
        for one in scores(estate)
    ]
    lines += ["", "## Requests and corrections", ""]
    lines += _answers(estate, inside) or ["None."]
    output.data("\n".join(lines))
    return 0


def _done(estate: "Estate", inside: Any) -> list[str]:  # noqa: ANN401
    found = []
    for progress in estate.progress:
        for system in progress.spec.systems:
            for one in system.milestones:
                if inside(one.done):
                    effect = f": {one.effect}" if one.effect else ""
                    found.append(
                        f"- {progress.name}, {system.title}: {one.title} on {one.done} (due {one.due}){effect}"
                    )
        for ticket in progress.spec.rectifications:
            if inside(ticket.closed):
                found.append(
                    f"- {progress.name}, ticket {ticket.number} closed on {ticket.closed}: {ticket.result or ''}"
                )
            elif inside(ticket.opened):
                found.append(f"- {progress.name}, ticket {ticket.number} opened, due {ticket.due}: {ticket.problem}")
    return found


def _answers(estate: "Estate", inside: Any) -> list[str]:  # noqa: ANN401
    found = []
    for request in estate.requests:
        decision = request.spec.decision
        if inside(request.spec.submitted) or (decision and inside(decision.day)):
            outcome = decision.outcome if decision else "open"
            found.append(
                f"- request {request.name} to {estate.provider_of(request)}: {outcome}, {estate.request_clock(request).words()}"
            )
    for correction in estate.corrections:
        outcome_of = correction.spec.outcome
        if inside(correction.spec.submitted) or (outcome_of and inside(outcome_of.day)):
            found.append(
                f"- correction {correction.name} of {correction.spec.dataset}: {state(correction)}, {estate.correction_clock(correction).words()}"
            )
    return found
