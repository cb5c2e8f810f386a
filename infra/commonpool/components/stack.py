"""What every program of ours starts from: the estate, and the part of it that this stack is about.

`commonpool:estate` is the estate's folder, relative to the project; `commonpool:exchange` (host:port or unix:PATH) is where the process
listens that filters fields and keeps evidence. The embedded engine passes the names of what did not
change as `commonpool:unchanged`; under the Pulumi CLI nobody does, and everything is evaluated. Everything is read anew
at each call: one process may run several stacks.
"""

from dataclasses import replace
from pathlib import Path

import pulumi

from commonpool.components import reading
from commonpool.components.unit import shard
from commonpool.model import Department, Estate, EstateRefused


def read_estate() -> Estate:
    """The estate of this stack; raises `RunError` with every problem and its place."""
    folder = Path(pulumi.get_root_directory()) / (pulumi.Config("commonpool").get("estate") or "examples/estate")
    try:
        return replace(reading.read(folder), exchange=pulumi.Config("commonpool").get("exchange") or None)
    except EstateRefused as refused:
        raise pulumi.RunError("\n".join(line for problem in refused.problems for line in problem.lines())) from None


def departments_of(estate: Estate) -> list[Department]:
    """The departments that this stack's configuration names or selects by label; all where it says nothing."""
    config = pulumi.Config("commonpool")
    wanted = {
        "commonpool:departments": config.get_object("departments"),
        "commonpool:departmentLabels": config.get_object("departmentLabels"),
    }
    return shard(estate, wanted)


def stand_ins() -> dict[str, str]:
    """Where machines are played on this one, "<machine>:<port>" to "<address>:<port>"; set by an embedded pool alone."""
    return dict(pulumi.Config("commonpool").get_object("standIns") or {})


def moved_weights() -> dict[str, dict[str, int]]:
    """By service the weights at which its cut-over stands; set by whoever knows the record of it, as `commonpool up` does.

    Without them the declared weights are rendered, and the API server refuses them in the name of the cut-over's own
    field manager, rather than moving traffic back.
    """
    return dict(pulumi.Config("commonpool").get_object("weights") or {})


def unchanged() -> frozenset[str]:
    """Names that need not be evaluated."""
    return frozenset(pulumi.Config("commonpool").get_object("unchanged") or ())
