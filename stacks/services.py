"""The shared services: a fenced namespace for each, its workload, and the way through the proxy for those who declared it."""

import pulumi
from commonpool.components import service
from commonpool.components.resource import Group
from commonpool.components.stack import read_estate, stand_ins, unchanged

estate, known, played = read_estate(), unchanged(), stand_ins()

for shared in estate.services:
    if shared.name not in known:
        Group("SharedService", shared.name, service.objects(estate, shared, stand_ins=played))

pulumi.export("services", {shared.name: shared.namespace_name for shared in estate.services})
