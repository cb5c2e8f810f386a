"""The one screen at the end of `up`, and the tables of `status` and `ledger`. Pure."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from commonpool.cli.output import Output, count
from commonpool.ledger import Amount, Ledger, Live
from commonpool.ledger.ledger import machines_of
from commonpool.ledger.table import bar

if TYPE_CHECKING:
    from commonpool.model import Estate


MOST_DEPARTMENTS = 40  # more than that, and what a run did scrolls away


def screen(estate: "Estate", live: Live, output: Output, touched: Collection[str] = ()) -> str:
    """Sites, machines, capacity, departments with the four numbers; of many departments those that the run `touched`."""
    ledger = Ledger.of(estate, live)
    parts = [
        output.title(f"{estate.pool.spec.display_name} ({estate.pool.name})"),
        sites(estate, live, output),
        capacity(ledger, output),
        departments(ledger, output, touched)
        if ledger.departments
        else empty("department", "`commonpool department new NAME` makes the first"),
    ]
    return "\n\n".join(parts)


def next_commands(estate: "Estate", command: "Callable[[str], str]") -> list[tuple[str, str]]:
    """What to try when the pool stands."""
    name = estate.departments[0].name if estate.departments else "NAME"
    return [
        (command("status"), "what stands, drifted, expires"),
        (command(f"department explain {name}"), "why it was admitted"),
        (command("ledger --html ledger.html"), "the numbers as a page"),
    ]


def call(estate: "Estate", command: "Callable[[str], str]") -> str:
    """How to call the first service that answers over HTTP, by its stable name and as its first consumer."""
    from commonpool.components import gateway

    for service in estate.services:
        endpoint = service.spec.endpoint
        callers = [one for one in gateway.consumers(estate, service) if one.accounts]
        if endpoint and endpoint.protocol == "HTTP" and service.spec.notice is None and callers:
            namespace = callers[0].accounts[0][0]
            host, port = service.host(estate.pool.spec.network.domain), gateway.service_port(estate.pool, service)
            token = command(f"service credential {service.name} --caller {namespace} --curl")
            return f"{token} | curl -sSK - http://{host}:{port}/"
    return ""


def sites(estate: "Estate", live: Live, output: Output) -> str:
    """One line for each server room."""
    rows = []
    for site in estate.pool.spec.compute.sites:
        machines = machines_of(estate, site=site.name)
        simulated = sum(machine.name in live.simulated for machine in machines)
        standing = sum(machine.name in live.allocatable for machine in machines)
        others = sum(machine.site == site.name for machine in estate.machines) - len(machines)
        words = f"{standing} of {len(machines)} nodes stand" + (f", {simulated} simulated" if simulated else "")
        rows.append([site.name, site.display_name, words, f"{others} in other roles" if others else ""])
    return output.table(["site", "", "machines", ""], rows, left=4)


def capacity(ledger: Ledger, output: Output) -> str:
    """One line for each flavor: how much is promised of what may be."""
    rows = [
        [row.name, str(row.machines), _pair(row.promised), _pair(row.capacity), bar(row.promised, row.capacity)]
        for row in (*ledger.flavors, ledger.pool)
    ]
    rows[-1][0] = "all"
    return output.table(["flavor", "nodes", "promised", "may be promised", ""], rows)


def departments(ledger: Ledger, output: Output, touched: Collection[str]) -> str:
    """The four numbers of each department: cores / memory."""
    named = ledger.departments
    if len(named) > MOST_DEPARTMENTS:
        named = tuple(row for row in named if row.name in touched)[:MOST_DEPARTMENTS]
    rows = [[row.name, _pair(row.ceiling), _pair(row.promised), _pair(row.requested), _pair(row.used)] for row in named]
    table = [output.table(["department", "ceiling", "promised", "requested", "used"], rows)] if rows else []
    others = len(ledger.departments) - len(rows)
    more = (
        [f"{count(others, 'other department' if rows else 'department')}; `commonpool ledger` lists all"]
        if others
        else []
    )
    return "\n".join((*table, *more))


def empty(word: str, how: str) -> str:
    """What a list says that has nothing to list."""
    return f"{count(0, word)}; {how}"


def _pair(amount: Amount | None) -> str:
    return "-" if amount is None else f"{amount.cpu.human()} / {amount.memory.human('B')}"
