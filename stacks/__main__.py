"""One project, three programs. A stack runs the program of its own name, or the one that `commonpool:program` names."""

import runpy
import sys
from pathlib import Path

import pulumi

package = str(Path(__file__).resolve().parents[1] / "infra")
if package not in sys.path:
    sys.path.append(package)  # an environment of `pulumi install` holds only what others publish

program = pulumi.Config("commonpool").get("program") or pulumi.get_stack()
place = Path(__file__).parent / f"{program}.py"
if not place.exists():
    raise pulumi.RunError(
        f"stack {pulumi.get_stack()!r} has no program; set commonpool:program to pool, services or departments"
    )
runpy.run_path(str(place), run_name="__main__")
