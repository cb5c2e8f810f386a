"""`commonpool ledger`: the four numbers as table, bars, JSON or page."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.ledger import Live


def show(target: Target, output: Output, *, html: Path | None, live: bool | None) -> int:
    """Print or write it. Live numbers when the cluster runs, or when they are asked for."""
    from commonpool.ledger import Ledger
    from commonpool.ledger.table import HEADINGS, cells, to_html, to_json

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
    for heading, rows in (*groups, ("namespace", ledger.namespaces)):
        with_capacity = heading in ("pool", "flavor")
        kept = [index for index in range(len(HEADINGS)) if index != 1 or with_capacity]
        headings = [heading, *(HEADINGS[index] for index in kept[1:])]
        lines = [[cells(row)[index] for index in kept] for row in rows]
        output.data(
            ("" if heading == "pool" else "\n") + (output.table(headings, lines) if lines else f"no {heading} yet")
        )
    asked = "" if ledger.live else "; no cluster was asked, so nothing is known of requested and used"
    output.data(
        f"\ncores / memory; bars: promised of capacity, then requested of ceiling{asked}; "
        f"{ledger.pool.price:,.0f} {ledger.currency} a month promised"
    )
    for one in ledger.settlements:
        output.data(f"{one.words}, in {ledger.currency} a month")
    return 0


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
