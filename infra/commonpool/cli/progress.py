"""`commonpool progress list|report`: milestones by department and old system, what is late, and the month's report."""

import calendar
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from commonpool.cli.correction import state
from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.model import Estate
    from commonpool.model.correction import Correction, Outcome
    from commonpool.model.overdue import Late
    from commonpool.model.request import RequestDecision, SharingRequest


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
    """The month: what was done, what is late, tickets, requests and corrections; in Markdown, or as a document."""
    from commonpool.cli import correction, request
    from commonpool.model.overdue import late

    estate, inside = _as_of(target, month)
    done, behind, systems = list(_done(estate, inside)), list(late(estate)), scores(estate)
    requests, corrections = _requests(estate, inside), _corrections(estate, inside)
    if output.structured:
        output.document(
            "ProgressReport",
            month=month,
            asOf=estate.day.isoformat(),
            done=done,
            late=[_late(one) for one in behind],
            systems=[asdict(one) for one in systems],
            requests=[request.to_json(estate, one) for one in requests],
            corrections=[correction.to_json(estate, one) for one in corrections],
        )
        return 0
    lines = [f"# {estate.pool.spec.display_name}: {month}", "", f"As of {estate.day}.", "", "## Done", ""]
    lines += [f"- {_done_words(one)}" for one in done] or ["Nothing."]
    lines += ["", "## Late", ""]
    lines += [f"- {one.words()}" for one in behind] or ["Nothing."]
    lines += ["", "## Where systems stand", ""]
    lines += _systems(systems)
    lines += ["", "## Requests and corrections", ""]
    answers = [_request_words(estate, one) for one in requests]
    answers += [_correction_words(estate, one) for one in corrections]
    lines += [f"- {words}" for words in answers] or ["None."]
    output.data("\n".join(lines))
    return 0


def _as_of(target: Target, month: str) -> "tuple[Estate, Callable[[str | None], bool]]":
    """The estate on the last day of the month, or today, and whether a day is of that month."""
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise CommandFailed(f"{month!r} is not a month", code="usage", next_step="write it as 2026-11") from None
    last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
    estate = target.load()

    def inside(day: str | None) -> bool:
        return day is not None and first.isoformat() <= day <= last.isoformat()

    return replace(estate, day=min(last, estate.day)), inside


def _done(estate: "Estate", inside: "Callable[[str | None], bool]") -> Iterator[dict[str, str]]:
    for progress in estate.progress:
        for system in progress.spec.systems:
            for one in system.milestones:
                if one.done is not None and inside(one.done):
                    about = {"department": progress.name, "system": system.title, "title": one.title}
                    yield {"kind": "milestone", **about, "day": one.done, "due": one.due, "effect": one.effect or ""}
        for ticket in progress.spec.rectifications:
            about = {"department": progress.name, "ticket": ticket.number}
            if ticket.closed is not None and inside(ticket.closed):
                yield {"kind": "ticketClosed", **about, "day": ticket.closed, "result": ticket.result or ""}
            elif inside(ticket.opened):
                opened = {"day": ticket.opened, "due": ticket.due, "problem": ticket.problem}
                yield {"kind": "ticketOpened", **about, **opened}


def _done_words(one: dict[str, str]) -> str:
    if one["kind"] == "milestone":
        effect = f": {one['effect']}" if one["effect"] else ""
        return f"{one['department']}, {one['system']}: {one['title']} on {one['day']} (due {one['due']}){effect}"
    ticket = f"{one['department']}, ticket {one['ticket']}"
    if one["kind"] == "ticketClosed":
        return f"{ticket} closed on {one['day']}: {one['result']}"
    return f"{ticket} opened, due {one['due']}: {one['problem']}"


def _systems(systems: list[Score]) -> list[str]:
    if not systems:
        return ["No milestones; a manifest in progress/ makes the first."]
    rows = [
        f"| {one.department} | {one.system} | {one.done} of {one.total} | {one.percent} % | {one.effect} |"
        for one in systems
    ]
    return ["| department | system | done | progress | effect |", "|---|---|---:|---:|---|", *rows]


def _requests(estate: "Estate", inside: "Callable[[str | None], bool]") -> "list[SharingRequest]":
    return [one for one in estate.requests if any(map(inside, (one.spec.submitted, _day(one.spec.decision))))]


def _day(answer: "RequestDecision | Outcome | None") -> str | None:
    return answer.day if answer else None


def _request_words(estate: "Estate", one: "SharingRequest") -> str:
    outcome = one.spec.decision.outcome if one.spec.decision else "open"
    return f"request {one.name} to {estate.provider_of(one)}: {outcome}, {estate.request_clock(one).words()}"


def _corrections(estate: "Estate", inside: "Callable[[str | None], bool]") -> "list[Correction]":
    return [one for one in estate.corrections if any(map(inside, (one.spec.submitted, _day(one.spec.outcome))))]


def _correction_words(estate: "Estate", one: "Correction") -> str:
    clock = estate.correction_clock(one).words()
    return f"correction {one.name} of {one.spec.dataset}: {state(one)}, {clock}"
