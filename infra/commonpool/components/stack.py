"""What every program of ours starts from: the estate, and the part of it that this stack is about.

`commonpool:estate` is the estate's folder, relative to the project. The embedded engine passes the names of what did not
change as `commonpool:unchanged`; under the Pulumi CLI nobody does, and everything is evaluated.
"""

from pathlib import Path

import pulumi

from commonpool.components.unit import shard
from commonpool.model import EstateRefused, load_estate

_config = pulumi.Config("commonpool")
_folder = Path(pulumi.get_root_directory()) / (_config.get("estate") or "examples/estate")

try:
    estate = load_estate(_folder)
except EstateRefused as refused:
    raise pulumi.RunError("\n".join(line for problem in refused.problems for line in problem.lines())) from None

departments = shard(
    estate,
    {
        "commonpool:departments": _config.get_object("departments"),
        "commonpool:departmentLabels": _config.get_object("departmentLabels"),
    },
)
unchanged = frozenset(_config.get_object("unchanged") or ())
