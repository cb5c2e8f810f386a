"""The catalogue and the shared services: a fenced namespace for each, its workload, and the way through the proxy for those who declared it."""

import pulumi
from commonpool.components import catalogue, service
from commonpool.components.resource import Group
from commonpool.components.stack import moved_weights, read_estate, stand_ins, unchanged

estate, known, played, weights = read_estate(), unchanged(), stand_ins(), moved_weights()

for name, datasets in catalogue.providers(estate).items():
    if name not in known:
        Group("Catalogue", name, catalogue.objects(estate.pool, datasets))

for shared in estate.services:
    if shared.name not in known:
        bodies = service.objects(estate, shared, stand_ins=played, weights=weights.get(shared.name))
        Group("SharedService", shared.name, bodies)

pulumi.export("services", {shared.name: shared.namespace_name for shared in estate.services})
