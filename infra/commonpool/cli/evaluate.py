"""`commonpool evaluate`: recompute the evaluation from journals and the estate; print it, write it, propose its effect."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli import decisions, evidence
from commonpool.cli.failure import OK, CommandFailed
from commonpool.cli.output import Output, count
from commonpool.cli.target import Target

SHORT = 5  # letters of a heading where there is no room for it: as wide as the points below it

if TYPE_CHECKING:
    from commonpool.evaluation import Evaluation, Period, Source
    from commonpool.journal import Record
    from commonpool.journal.note import Verifier


def run(
    target: Target,
    output: Output,
    *,
    journals: Sequence[Path],
    keys: Sequence[str],
    first: str,
    last: str,
    write: Path | None,
) -> int:
    """Verify the journals, evaluate, print; with `write` also a folder with JSON, page, PDF, patch and pull request."""
    from commonpool.cli.journal import verifiers
    from commonpool.evaluation import Formula, evaluate, propose
    from commonpool.model.today import today

    period = _period(first, last)
    if period.last >= today():
        output.say(
            f"  warning: {period.last} has not ended; what is due until then, and not done yet, counts as not done"
        )
    # Clocks and standings are read as of the last day, whenever this is computed.
    estate = target.load().as_of(period.last)
    with output.working("verifying the journals"):
        found = _sources(list(journals) or [evidence.existing(None, target)], period, verifiers(keys))
    if not keys:
        output.say(
            "  the keys came with the journals: they are whole, not proven to be the pool's; name its own with --key"
        )
    sources = [source for source, _ in found]
    with output.working("evaluating"):
        result = evaluate(
            estate, _records(found), period, formula=Formula.load(), sources=sources, catalogue=decisions.digest(estate)
        )
    if write is not None:
        proposal = propose(estate, result)
        _write(write, result, {"proposal.patch": proposal.patch, "pull-request.md": proposal.body})
        output.say(f"wrote {write}: evaluation.json, .html and .pdf, proposal.patch and pull-request.md")
    _print(result, output)
    return OK


def _period(first: str, last: str) -> "Period":
    from commonpool.evaluation import Period

    try:
        found = Period(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError as error:
        raise CommandFailed(f"--from, --to: {error}", code="usage", next_step="write days as 2026-01-31") from error
    if found.first > found.last:
        raise CommandFailed(f"--from {first} is after --to {last}", code="usage")
    return found


def _sources(folders: Sequence[Path], period: "Period", keys: "Sequence[Verifier]") -> "list[tuple[Source, Path]]":
    """Each journal with its folder, by name, however they were listed. Raises `CommandFailed` for one that is there twice."""
    found = sorted(((_source(folder, period, keys), folder) for folder in folders), key=lambda pair: pair[0].origin)
    for (one, folder), (other, again) in pairwise(found):
        if one.origin == other.origin:
            raise CommandFailed(
                f"{folder} and {again} are both the journal {one.origin}, and its records would count twice",
                code="usage",
                next_step="name each journal once",
            )
    return found


def _source(folder: Path, period: "Period", keys: "Sequence[Verifier]") -> "Source":
    """The journal up to the period's end. Raises `CommandFailed` when it does not verify, or by none of the keys."""
    from commonpool.evaluation import Source
    from commonpool.journal import segment
    from commonpool.journal.query import records
    from commonpool.journal.tree import EMPTY
    from commonpool.journal.verification import short, verify
    from commonpool.model.today import day_of

    # To the last record of the period, not to the first one after it: while a clock runs ahead, such stand in its midst.
    size = max((one.sequence + 1 for one in records(folder) if day_of(one.at) <= period.last), default=0)
    origin = segment.header_of(segment.path_of(folder, 0)).origin
    own = [key for key in keys if key.name == origin]
    if keys and not own:
        raise CommandFailed(
            f"none of the keys that were named is of the journal {origin} in {folder}",
            code="key_unknown",
            next_step="name the public key of each journal with --key, as its pool gave it to you",
        )
    verdict = verify(folder, own, sizes=(size,))
    if not verdict.good:
        raise CommandFailed(
            f"{folder} does not verify: {verdict.finding}",
            code="journal_damaged",
            next_step="evaluate from a copy that does; a department has the one that was exported to it",
        )
    return Source(verdict.origin, size, short(verdict.roots[size] if size else EMPTY))


def _records(found: "Sequence[tuple[Source, Path]]") -> "Iterator[Record]":
    from commonpool.evaluation.facts import KINDS
    from commonpool.journal.query import records

    for source, folder in found:
        for record in records(folder, kinds=KINDS):
            if record.sequence >= source.size:
                break
            yield record


def _write(folder: Path, result: "Evaluation", texts: dict[str, str]) -> None:
    from commonpool.evaluation.report import to_html, to_pdf

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_bytes(result.encoded())
    (folder / "evaluation.html").write_text(to_html(result), encoding="utf-8")
    (folder / "evaluation.pdf").write_bytes(to_pdf(result))
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _print(result: "Evaluation", output: Output) -> None:
    from commonpool.evaluation.score import shown

    if output.structured:
        output.document("Evaluation", **result.to_json())
        return
    output.data(output.title(f"{result.title}, {result.period.first} to {result.period.last}"))
    indicators = result.formula.indicators
    rows = []
    for line in result.lines:
        shares = [line.facts.shares[one.name] for one in indicators]
        points = [shown(share.points) or "-" if share.judged else "-" for share in shares]
        quota = f"{line.effect.quota_percent:+d} %" if line.effect.quota_percent else "as it is"
        rows.append([line.facts.department, shown(line.score) or "-", *points, quota, f"{line.funds:,.0f}"])
    names = [one.name for one in indicators]
    headings, meant = ["department", "score", *names, "quota", "funds"], ""
    if not output.fits(headings, rows):
        short = [name if len(name) <= SHORT else f"{name[: SHORT - 1]}." for name in names]
        headings[2:-2], meant = short, f"{', '.join(names)}; "
    output.data(output.table(headings, rows))
    output.words(f"\n{meant}formula {result.formula.version}; - takes no part; funds a month in {result.currency}")


def observe(target: Target, output: Output) -> int:
    """Record what departments are promised and what their pods ask for, one record for each: evaluations count these."""
    from commonpool.cli.journal import whoever
    from commonpool.cli.numbers import live_numbers
    from commonpool.journal import Entry
    from commonpool.ledger import Ledger

    estate = target.load()
    with output.working("asking the cluster what is requested and used"):
        ledger = Ledger.of(estate, live_numbers(target, wanted=True))
    entries = [
        Entry(
            "usage.seen",
            whoever(),
            {
                "department": row.name,
                "promised": row.promised.to_json(),
                "requested": row.requested.to_json(),
                **({"used": row.used.to_json()} if row.used is not None else {}),
            },
        )
        for row in ledger.departments
        if row.requested is not None
    ]
    if entries:
        evidence.opened(target, estate.pool.name).append(entries, grace=evidence.GRACE_SECONDS)
    output.data(f"recorded what {count(len(entries), 'department')} {'uses' if len(entries) == 1 else 'use'} now")
    return OK
