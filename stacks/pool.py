"""The pool itself: machines, hardware classes, storage tiers, roles, admission policies, the service proxy."""

import pulumi
from commonpool.components import pool
from commonpool.components.resource import Group
from commonpool.components.stack import read_estate, stand_ins, unchanged

estate = read_estate()
simulate = pulumi.Config("commonpool").get_bool("simulatedMachines") is not False

if estate.pool.name not in unchanged():
    Group("Pool", estate.pool.name, pool.objects(estate, simulate=simulate, loopback=bool(stand_ins())))

pulumi.export("pool", estate.pool.name)
pulumi.export("flavors", [flavor.name for flavor in estate.pool.spec.compute.flavors])
pulumi.export("tiers", [tier.name for tier in estate.pool.spec.storage.tiers])
