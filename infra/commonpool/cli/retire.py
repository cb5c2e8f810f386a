"""`commonpool machine retire`: who is affected, before anything; then move, undo, forget."""

import asyncio
from collections.abc import Sequence
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


def retire(
    target: Target, names: Sequence[str], output: Output, access: tuple[Path | None, bool], *, preview: bool, yes: bool
) -> int:
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
    if preview or not output.structured:
        _show(found, output)
    if preview:
        return 0
    if not yes:
        _confirm([one.name for one in machines], output)
    progress = Progress(output, len(machines))
    way = access_of(output, access[0], ask_become_pass=access[1])

    async def work() -> "dict[str, MachineRun]":
        async with await Cluster.connect(credentials) as cluster:
            return await leaving.retire(cluster, machines, machines_folder(estate), way, progress.take)

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
        output.say(f"{run.name} is closed and empty, but not undone: {run.step}: {run.words}")
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
        [one.machine, count(len(one.pods), "pod"), ", ".join(one.departments) or "-", ", ".join(one.volumes) or "-"]
        for one in found
    ]
    output.data(output.table(["machine", "moves", "departments", "volumes in use"], rows, left=4))


def _confirm(names: Sequence[str], output: Output) -> None:
    """The name of a single machine is typed; of several, their number."""
    wanted = names[0] if len(names) == 1 else str(len(names))
    if not output.interactive:
        raise CommandFailed(
            "nobody can be asked whether these machines may go",
            code="declined",
            next_step="look with --preview, then add --yes",
        )
    if answered(f"type {wanted} to let {'it' if len(names) == 1 else 'them'} go: ", output) != wanted:
        raise CommandFailed("not confirmed; nothing was changed", code="declined")
