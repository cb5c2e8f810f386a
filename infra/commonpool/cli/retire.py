"""`commonpool machine retire` and `reset`: who is affected, before anything; then move, cut off, undo, close the record."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.consent import answered
from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output, count
from commonpool.cli.survey import Progress, access_of, chosen, machines_folder
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.machines import MachineRun
    from commonpool.machines.leaving import Affected


@dataclass(frozen=True)
class Farewell:
    """The options of `retire` and `reset`."""

    private_key: Path | None
    ask_become_pass: bool
    preview: bool = False
    yes: bool = False
    wipe: bool = False
    reason: str = "retired"
    past_budgets: bool = False


def retire(target: Target, names: Sequence[str], output: Output, wishes: Farewell) -> int:
    """0 when every machine is gone; 1 when one could not be undone, and then its node stays, closed."""
    from commonpool.engine import Cluster
    from commonpool.machines import leaving

    estate = target.load()
    machines = chosen(estate, names)
    credentials = target.credentials()

    async def look() -> "list[Affected]":
        async with await Cluster.connect(credentials) as cluster:
            return await leaving.affected(cluster, machines)

    found = asyncio.run(look())
    if wishes.preview or not output.structured:
        _show(found, output)
    if wishes.preview:
        return 0
    if not wishes.yes:
        _confirm(
            [one.name for one in machines],
            output,
            "let {} go, and wipe what were its volumes" if wishes.wipe else "let {} go",
        )
    progress = Progress(output, len(machines))
    way = access_of(output, wishes.private_key, ask_become_pass=wishes.ask_become_pass)

    async def work() -> "dict[str, MachineRun]":
        async with await Cluster.connect(credentials) as cluster:
            return await leaving.retire(
                cluster,
                machines,
                machines_folder(estate),
                way,
                progress.take,
                reason=wishes.reason,
                wipe=wishes.wipe,
                past_budgets=wishes.past_budgets,
            )

    with output.working("closing the machines"):
        runs = asyncio.run(work())
    failed = [run for run in runs.values() if run.failed]
    if output.structured:
        items = [
            {
                **one.to_json(),
                "state": "failed" if runs[one.machine].failed else "gone",
                "words": runs[one.machine].words,
            }
            for one in found
        ]
        output.document("MachineRetirementList", items=items)
    for run in failed:
        output.say(f"{run.name} is cut off and empty, but not undone: {run.step}: {run.words}")
    output.say(
        f"{count(len(runs) - len(failed), 'machine')} gone; take them out of the inventory, or set commonpool_role: retire"
    )
    return 1 if failed else 0


def _show(found: "Sequence[Affected]", output: Output) -> None:
    if output.structured:
        items = [one.to_json() for one in found]
        output.document("MachineAffectedList", items=items)
        return
    rows = [
        [
            one.machine,
            count(len(one.pods), "pod"),
            *(", ".join(names) or "-" for names in (one.departments, one.services, one.volumes)),
        ]
        for one in found
    ]
    output.data(output.table(["machine", "moves", "departments", "services", "volumes in use"], rows, left=5))


def reset(target: Target, names: Sequence[str], output: Output, wishes: Farewell) -> int:
    """Show what would be undone (check mode), ask, undo; 1 when one could not be."""
    from commonpool.engine import Cluster
    from commonpool.machines import leaving

    estate = target.load()
    machines = chosen(estate, names)
    credentials = target.credentials()
    way = access_of(output, wishes.private_key, ask_become_pass=wishes.ask_become_pass)
    progress, folder = Progress(output, len(machines)), machines_folder(estate)
    if not wishes.yes:
        with output.working("looking at what there is to undo"):
            planned = asyncio.run(leaving.undo(machines, folder, way, progress.take, check=True))
        _tell(planned, output, "would be undone")
        if wishes.preview:
            return 1 if any(run.failed for run in planned.values()) else 0
        _confirm([one.name for one in machines], output, "undo the onboarding of {}")

    async def work() -> "dict[str, MachineRun]":
        async with await Cluster.connect(credentials) as cluster:
            return await leaving.reset(cluster, machines, folder, way, progress.take)

    with output.working("cutting the machines off"):
        runs = asyncio.run(work())
    _tell(runs, output, "undone")
    return 1 if any(run.failed for run in runs.values()) else 0


def _tell(runs: "dict[str, MachineRun]", output: Output, done: str) -> None:
    rows = [
        [run.name, "failed" if run.failed else done if run.changed else "nothing to undo", run.words or _places(run)]
        for run in runs.values()
    ]
    if output.structured:
        items = [{"name": name, "state": state, "words": words} for name, state, words in rows]
        output.document("MachineResetList", items=items)
    else:
        output.data(output.table(["machine", "state", ""], rows, left=3))


def _places(run: "MachineRun") -> str:
    return str(run.results.get("Say what would be undone", {}).get("msg", ""))


def _confirm(names: Sequence[str], output: Output, doing: str) -> None:
    """The name of a single machine is typed; of several, their number."""
    wanted = names[0] if len(names) == 1 else str(len(names))
    if not output.interactive:
        raise CommandFailed(
            "nobody can be asked whether this may be done to these machines",
            code="declined",
            next_step="look with --preview, then add --yes",
        )
    if answered(f"type {wanted} to {doing.format('it' if len(names) == 1 else 'them')}: ", output) != wanted:
        raise CommandFailed("not confirmed; nothing was changed", code="declined")
