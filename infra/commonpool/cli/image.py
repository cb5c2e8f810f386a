"""`commonpool machine image`: container images onto nodes from files, where there is no registry or none that answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output, count
from commonpool.cli.survey import Progress, access_of, chosen, machines_folder
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.machines import MachineRun
    from commonpool.model import Pool


def image(
    target: Target, archives: Sequence[Path], names: Sequence[str], output: Output, access: tuple[Path | None, bool]
) -> int:
    """0 when every machine has every image; without names, on every machine that has joined."""
    from commonpool.machines.images import bring, names_in

    estate = target.load()
    images = [name for path in archives for name in names_in(path)]
    _refuse_foreign(images, estate.pool)
    machines = chosen(estate, names)
    if not names:
        machines = [one for one in machines if one.facts.role == "node" and (one.facts.joined or one.facts.trial)]
    if not machines:
        raise CommandFailed("no machine has joined for real, so none can take an image", code="machine_unknown")
    way = access_of(output, access[0], ask_become_pass=access[1])
    progress = Progress(output, len(machines))
    with output.working(f"bringing {count(len(images), 'image')} to {count(len(machines), 'machine')}"):
        runs = bring(machines, archives, machines_folder(estate), way, progress.take)
    if output.structured:
        items = [
            {"name": run.name, "state": _state(run), "step": run.step, "words": run.words, "images": images}
            for run in runs.values()
        ]
        output.document("MachineImageList", items=items)
    else:
        rows = [[run.name, _state(run), run.words or ", ".join(images)] for run in runs.values()]
        output.data(output.table(["machine", "state", ""], rows, left=3))
    return 1 if any(run.failed for run in runs.values()) else 0


def _state(run: "MachineRun") -> str:
    return "failed" if run.failed else "brought" if run.changed else "unchanged"


def _refuse_foreign(images: Sequence[str], pool: "Pool") -> None:
    """Pods may only name the pool's registries, so an image of another name would lie there unused."""
    known = pool.spec.security.registries
    for name in images:
        if not any(name.startswith(f"{registry}/") for registry in known):
            raise CommandFailed(
                f"{name} is not of a registry of this pool ({', '.join(known)}), so no pod could use it",
                code="registry_unknown",
                next_step="name the image by one of them, or add the registry to spec.security.registries",
            )
