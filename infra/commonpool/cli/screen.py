"""The one screen at the end of `up`, and the tables of `status` and `ledger`. Pure."""

from typing import TYPE_CHECKING

from commonpool.cli.output import Output, count, own_name, table
from commonpool.ledger import Amount, Ledger, Live
from commonpool.ledger.ledger import machines_of
from commonpool.ledger.table import bar

if TYPE_CHECKING:
    from commonpool.model import Estate


def screen(estate: "Estate", live: Live, output: Output) -> str:
    """Sites, machines, capacity, departments with the four numbers, and what to try next."""
    ledger = Ledger.of(estate, live)
    parts = [
        output.paint(f"{estate.pool.spec.display_name} ({estate.pool.name})", "bold"),
        sites(estate, live),
        capacity(ledger),
        departments(estate, ledger),
        "Try next:\n" + table(["", ""], _next(estate), left=2).lstrip("\n"),
    ]
    return "\n\n".join(parts)


def _next(estate: "Estate") -> list[list[str]]:
    command = own_name()
    name = estate.departments[0].name if estate.departments else "NAME"
    return [
        [f"  {command} status", "what stands, what drifted, what is about to expire"],
        [f"  {command} department explain {name}", "why it was admitted, with the numbers"],
        [f"  {command} ledger --html ledger.html", "the same numbers as a page"],
    ]


def sites(estate: "Estate", live: Live) -> str:
    """One line for each server room."""
    rows = []
    for site in estate.pool.spec.compute.sites:
        machines = machines_of(estate, site=site.name)
        simulated = sum(machine.name in live.simulated for machine in machines)
        standing = sum(machine.name in live.allocatable for machine in machines)
        others = sum(machine.site == site.name for machine in estate.machines) - len(machines)
        words = f"{standing} of {len(machines)} nodes stand" + (f", {simulated} simulated" if simulated else "")
        rows.append([site.name, site.display_name, words, f"{others} in other roles" if others else ""])
    return table(["site", "", "machines", ""], rows, left=4)


def capacity(ledger: Ledger) -> str:
    """One line for each flavor: how much is promised of what may be."""
    rows = [
        [row.name, str(row.machines), _pair(row.promised), _pair(row.capacity), bar(row.promised, row.capacity)]
        for row in (*ledger.flavors, ledger.pool)
    ]
    rows[-1][0] = "all"
    return table(["flavor", "nodes", "promised", "may be promised", ""], rows)


def departments(estate: "Estate", ledger: Ledger, rows_of: str = "departments") -> str:
    """The four numbers of each department (or namespace): cores / memory."""
    rows = [
        [row.name, _pair(row.ceiling), _pair(row.promised), _pair(row.requested), _pair(row.used)]
        for row in getattr(ledger, rows_of)
    ]
    return table([rows_of[:-1], "ceiling", "promised", "requested", "used"], rows)


def empty(word: str, how: str) -> str:
    """What a list says that has nothing to list."""
    return f"{count(0, word)}; {how}"


def _pair(amount: Amount | None) -> str:
    return "-" if amount is None else f"{amount.cpu.human()} / {amount.memory.human('B')}"
