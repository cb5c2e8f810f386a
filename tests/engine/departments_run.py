"""Applies the departments of an estate as one stack, and says after each resource how many are done.

A process of its own, so that a test can kill it. Arguments: kubeconfig, estate folder, stack, and optionally
`key=value` of configuration as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from commonpool.components.unit import units
from commonpool.engine import Cluster, Event, Options, Program, Result, kubeconfig, up
from commonpool.model import load_estate

PROJECT = Path(__file__).resolve().parents[2]


def program_of(estate_folder: Path, stack: str, config: dict[str, Any] | None = None) -> Program:
    """The departments' program under any stack name."""
    estate = load_estate(estate_folder)
    given = {"commonpool:estate": str(estate_folder), "commonpool:program": "departments", **(config or {})}
    return Program("commonpool", stack, PROJECT, given, units=units(estate, "departments", given))


async def run(kubeconfig_path: Path, program: Program) -> Result:
    """One `up`, which says on standard output how far it is."""

    def observe(event: Event) -> None:
        if event.kind == "resource":
            print(event.done, flush=True)

    async with await Cluster.connect(kubeconfig.load(kubeconfig_path)) as cluster:
        return await up(program, cluster, observer=observe, options=Options(reason="a test"))


if __name__ == "__main__":
    result = asyncio.run(run(Path(sys.argv[1]), program_of(Path(sys.argv[2]), sys.argv[3])))
    print(json.dumps({"counts": result.counts, "problems": [str(problem) for problem in result.problems]}))
