"""The pool itself: machines, hardware classes, storage tiers, roles, admission policies, the service proxy."""

import pulumi
from commonpool.components import pool
from commonpool.components.resource import Group, paced
from commonpool.components.stack import read_estate, stand_ins, unchanged

estate = read_estate()
simulate = pulumi.Config("commonpool").get_bool("simulatedMachines") is not False


async def main() -> dict[str, object]:
    """Register the pool's objects unless nothing of them changed; export what others refer to."""
    if estate.pool.name not in unchanged():
        bodies = pool.objects(estate, simulate=simulate, loopback=bool(stand_ins()))
        await paced([Group("Pool", estate.pool.name, bodies)])
    return {
        "pool": estate.pool.name,
        "flavors": [flavor.name for flavor in estate.pool.spec.compute.flavors],
        "tiers": [tier.name for tier in estate.pool.spec.storage.tiers],
    }


pulumi.run(main)
