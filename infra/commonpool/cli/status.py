"""`commonpool status`: what stands, what drifted, what is about to expire. Changes nothing."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from commonpool.cli.output import Format, Output, escaped
from commonpool.cli.report import place
from commonpool.cli.screen import capacity, sites
from commonpool.cli.target import Target, programs

if TYPE_CHECKING:
    from commonpool.embedded import EmbeddedStatus
    from commonpool.engine import Cluster, Result
    from commonpool.ledger import Live
    from commonpool.model import Estate

SOON_DAYS = 60
_ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")


def show(target: Target, output: Output) -> int:
    """Print it; exit code 0 also when something drifted: status is a question, not a check."""
    estate = target.load()
    with output.working("comparing what stands with what was applied"):
        live, results, runs = asyncio.run(_look(target, estate))
    pool = _embedded(target)
    expiring = expiries(estate, estate.day) + _certificates(pool)
    troubles = pool.troubles if pool else []
    if output.structured:
        told = [{"what": words, "next": step} for words, step in troubles]
        output.document("Status", **_document(estate, live, results, runs, expiring), troubles=told)
        return 0
    from commonpool.ledger import Ledger

    output.data(output.title(f"{estate.pool.spec.display_name} ({estate.pool.name})"))
    for words, step in troubles:
        output.words(
            f"- {escaped(words)}; {escaped(step)}" if output.format is Format.MARKDOWN else f"  ! {words}; {step}"
        )
    output.data(sites(estate, live, output) + "\n\n" + capacity(Ledger.of(estate, live), output) + "\n")
    rows = [_stack_row(result, runs[result.stack]) for result in results]
    output.data(output.table(["stack", "objects", "drifted", "last run (UTC)"], rows) + "\n")
    drifted = [change for result in results for change in result.changes]
    damage = [words for result in results for words in result.damage]
    for words in damage:
        output.words(f"- {escaped(words)}" if output.format is Format.MARKDOWN else f"  ! {words}")
    for change in drifted:
        output.words(
            f"- `{place(change)}`: {change.reason}"
            if output.format is Format.MARKDOWN
            else f"  ~ {place(change)}: {change.reason}"
        )
    if damage:
        output.data(
            f"\n`{target.command('up')}` rebuilds what is remembered from what stands, and mends what drifted\n"
        )
    elif drifted:
        output.data(f"\n`{target.command('up')}` mends what drifted\n")
    if expiring:
        output.data(output.table(["expires", "days", "what"], [[day, str(left), what] for day, left, what in expiring]))
    else:
        output.data(f"nothing expires within {SOON_DAYS} days")
    return 0


def expiries(estate: "Estate", today: date) -> list[tuple[str, int, str]]:
    """Reviews and ends of terms within the next days, the nearest first; past ones have negative days. Pure."""
    found = []
    for department in estate.departments:
        for word, day in (("review of", department.spec.term.review), ("end of", department.spec.term.end)):
            left = (date.fromisoformat(day) - today).days
            if left <= SOON_DAYS:
                found.append((day, left, f"{word} {department.name} ({department.spec.term.on_expiry})"))
    return sorted(found)


def _embedded(target: Target) -> "EmbeddedStatus | None":
    if not target.embedded:
        return None
    from commonpool.embedded import EmbeddedPool

    return EmbeddedPool(target.pool).status()


def _certificates(pool: "EmbeddedStatus | None") -> list[tuple[str, int, str]]:
    moment = pool.certificates_expire if pool else None
    if moment is None or (moment - datetime.now(UTC)).days > SOON_DAYS:
        return []
    return [
        (
            moment.date().isoformat(),
            (moment - datetime.now(UTC)).days,
            "certificates of the embedded pool (renewed by its next start)",
        )
    ]


async def _look(target: Target, estate: "Estate") -> "tuple[Live, list[Result], dict[str, str]]":
    from commonpool import engine
    from commonpool.engine import state as states
    from commonpool.engine.live import read_live

    async with await engine.Cluster.connect(target.credentials()) as cluster:
        results, runs = await drift(target, estate, cluster), {}
        for program in programs(target, estate):
            last = (await states.load(cluster, program.project, program.stack)).last_run
            runs[program.stack] = last.get("finished") or (f"{last['started']} (did not finish)" if last else "never")
        return await read_live(cluster), results, runs


async def drift(target: Target, estate: "Estate", cluster: "Cluster") -> "list[Result]":
    """How every stack drifted from what was applied; what a cut-over moves is no drift."""
    from commonpool import engine

    results = []
    for program in programs(target, estate):
        results.append(await without_moves(target, estate, cluster, await engine.refresh(program, cluster)))
    return results


async def without_moves(target: Target, estate: "Estate", cluster: "Cluster", found: "Result") -> "Result":
    """Without the routes that differ from what was applied by nothing but the weights that a cut-over has reached."""
    from commonpool import engine
    from commonpool.proxy.store import shares

    if found.stack != "services" or not found.changes:
        return found
    weights = await shares(cluster, estate.services)
    routes = {one.urn: one.unit for one in found.changes if one.kind in _ROUTES and one.unit in weights}
    if not routes:
        return found
    [program] = (one for one in programs(target, estate, weights) if one.stack == found.stack)
    would = await engine.preview(program, cluster, options=engine.Options(targets=tuple(set(routes.values()))))
    mended = {one.urn for one in would.changes if one.operation not in (engine.Operation.SAME, engine.Operation.READ)}
    mended |= {one.urn for one in would.problems}
    kept = tuple(one for one in found.changes if one.urn not in routes or one.urn in mended)
    return replace(found, changes=kept, unchanged=found.unchanged + len(found.changes) - len(kept))


def _stack_row(result: "Result", last: str) -> list[str]:
    return [
        result.stack,
        str(result.unchanged + len(result.changes)),
        str(len(result.changes)),
        last[:19].replace("T", " "),
    ]


def _document(
    estate: "Estate", live: "Live", results: "list[Result]", runs: dict[str, str], expiring: list[tuple[str, int, str]]
) -> dict[str, Any]:
    return {
        "pool": estate.pool.name,
        "nodes": {"ready": len(live.allocatable), "simulated": len(live.simulated)},
        "stacks": [
            {
                "stack": result.stack,
                "objects": result.unchanged + len(result.changes),
                "lastRun": runs[result.stack],
                "damage": list(result.damage),
                "drifted": [
                    {"kind": change.kind, "namespace": change.namespace, "name": change.name, "reason": change.reason}
                    for change in result.changes
                ],
            }
            for result in results
        ],
        "expiring": [{"date": day, "days": left, "what": what} for day, left, what in expiring],
    }
