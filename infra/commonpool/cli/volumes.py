"""`commonpool machine volumes`: what old disks and shares there are, how old, how large, and who has them."""

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from commonpool.cli.numbers import live_numbers
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.model.pool import Volume


def volumes(target: Target, output: Output) -> int:
    """A line for each declared volume; its state only when the cluster runs."""
    estate = target.load()
    declared = estate.pool.spec.storage.volumes
    live = asyncio.run(_live(target)) if declared and live_numbers(target, None) is not None else {}
    items = [_item(volume, live.get(volume.name), estate.day) for volume in declared]
    if output.structured:
        output.document("MachineVolumeList", items=items)
    elif not items:
        output.data("0 volumes; pool.yaml declares them under spec.storage.volumes")
    else:
        columns = ("name", "tier", "place", "capacity", "years", "state", "claim")
        rows = [[str(item[column]) for column in columns] for item in items]
        output.data(output.table(["volume", "tier", "place", "capacity", "years", "state", "claim"], rows, left=3))
    return 0


async def _live(target: Target) -> dict[str, dict[str, Any]]:
    from commonpool.engine import Cluster

    async with await Cluster.connect(target.credentials()) as cluster:
        found, _ = await cluster.list_objects("v1", "PersistentVolume")
    return {one["metadata"]["name"]: one for one in found}


def _item(volume: "Volume", live: Mapping[str, Any] | None, today: date) -> dict[str, Any]:
    """Pure. `years` is the age in whole years, or `-`."""
    place = f"{volume.nfs.server}:{volume.nfs.path}" if volume.nfs else ""
    place = f"{volume.local.machine}:{volume.local.device or volume.local.path}" if volume.local else place
    age = (today - date.fromisoformat(volume.installed)).days // 365 if volume.installed else None
    claim = ((live or {}).get("spec") or {}).get("claimRef") or {}
    return {
        "name": volume.name,
        "tier": volume.tier,
        "place": place,
        "capacity": volume.capacity.human("B"),
        "years": "-" if age is None else age,
        "state": ((live or {}).get("status") or {}).get("phase", "unknown").lower(),
        "claim": f"{claim['namespace']}/{claim['name']}" if claim else "-",
    }
