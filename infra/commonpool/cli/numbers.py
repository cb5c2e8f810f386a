"""`commonpool ledger`: the four numbers as table, bars, JSON or page."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.ledger import Live
    from commonpool.ledger.ledger import Row


def show(target: Target, output: Output, *, html: Path | None, live: bool | None) -> int:
    """Print or write it. Live numbers when the cluster runs, or when they are asked for."""
    from commonpool.ledger import Ledger
    from commonpool.ledger.table import to_html, to_json

    estate = target.load()
    with output.working("asking the cluster what is requested and used"):
        ledger = Ledger.of(estate, live_numbers(target, live))
    title = f"{estate.pool.spec.display_name} ({estate.pool.name})"
    if html is not None:
        html.write_text(to_html(ledger, estate), encoding="utf-8")
        output.say(f"wrote {html}")
        return 0
    if output.structured:
        output.document("Ledger", **to_json(ledger))
        return 0
    output.data(output.title(title))
    groups = [("pool", (ledger.pool,)), ("flavor", ledger.flavors), ("department", ledger.departments)]
    tables = [_table(heading, rows) for heading, rows in (*groups, ("namespace", ledger.namespaces))]
    bars = all(output.fits(*one) for one in tables)  # they only repeat two of the numbers
    for headings, lines in tables:
        shown = [line if bars else line[:-1] for line in (headings, *lines)]
        heading = headings[0]
        text = output.table(shown[0], shown[1:]) if lines else f"no {heading} yet"
        output.data(text if heading == "pool" else f"\n{text}")
    meaning = "; bars: promised of capacity, then requested of ceiling" if bars else ""
    asked = "" if ledger.live else "; no cluster was asked, so nothing is known of requested and used"
    output.words(f"\ncores / memory{meaning}{asked}; {ledger.pool.price:,.0f} {ledger.currency} a month promised")
    for one in ledger.settlements:
        output.words(f"{one.words}, in {ledger.currency} a month")
    return 0


def _table(heading: str, rows: "Iterable[Row]") -> tuple[list[str], list[list[str]]]:
    """Headings and lines; what may be promised has a meaning for the pool and its flavors only."""
    from commonpool.ledger.table import HEADINGS, cells

    kept = [index for index in range(len(HEADINGS)) if index != 1 or heading in ("pool", "flavor")]
    headings = [heading, *(HEADINGS[index] for index in kept[1:])]
    return headings, [[cells(row)[index] for index in kept] for row in rows]


def live_numbers(target: Target, wanted: bool | None) -> "Live | None":
    """What the cluster says; None when it does not run, unless `wanted` insists, and when `wanted` is False."""
    if wanted is False:
        return None
    if wanted is None and target.embedded:
        from commonpool.embedded import EmbeddedPool

        if not EmbeddedPool(target.pool).ready():
            return None
    try:
        return asyncio.run(_ask(target))
    except CommandFailed:
        if wanted:
            raise
        return None


async def _ask(target: Target) -> "Live":
    from commonpool.engine import Cluster
    from commonpool.engine.live import read_live

    async with await Cluster.connect(target.credentials()) as cluster:
        return await read_live(cluster)
