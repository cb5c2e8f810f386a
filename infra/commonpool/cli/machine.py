"""`commonpool machine list`: every machine of the inventories, what it is good for, and whether it stands."""

from typing import TYPE_CHECKING

from commonpool.cli.numbers import live_numbers
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.ledger import Live
    from commonpool.model import Machine


def list_machines(target: Target, output: Output) -> int:
    """A line for each machine; its state only when the cluster runs."""
    estate = target.load()
    live = live_numbers(target, None)
    if output.structured:
        items = [
            {
                "name": one.name,
                "site": one.site,
                "address": one.address,
                **one.facts.model_dump(mode="json", by_alias=True),
                "state": state_of(one, live),
            }
            for one in estate.machines
        ]
        output.document("MachineList", items=items)
        return 0
    rows = [
        [
            one.name,
            one.site,
            one.facts.flavor,
            one.facts.role,
            state_of(one, live),
            one.facts.cpu.human(),
            one.facts.memory.human("B"),
            str(one.facts.year or "-"),
        ]
        for one in estate.machines
    ]
    output.data(output.table(["machine", "site", "flavor", "role", "state", "cores", "memory", "year"], rows, left=5))
    return 0


def state_of(machine: "Machine", live: "Live | None") -> str:
    """`ready`, `simulated`, `absent`; `not a node` for other roles, `unknown` without a cluster. Pure."""
    if machine.facts.role != "node":
        return "not a node"
    if live is None:
        return "unknown"
    if machine.name in live.simulated:
        return "simulated"
    return "ready" if machine.name in live.allocatable else "absent"
