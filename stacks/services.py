"""The catalogue and the shared services: a fenced namespace for each, its workload, and the way through the proxy for those who declared it."""

from collections.abc import Iterator

import pulumi
from commonpool.components import catalogue, service
from commonpool.components.resource import Group, paced
from commonpool.components.stack import moved_weights, read_estate, stand_ins, unchanged

estate, known, played, weights = read_estate(), unchanged(), stand_ins(), moved_weights()


def groups() -> Iterator[Group]:
    """What changed, one component after the other."""
    for name, datasets in catalogue.providers(estate).items():
        if name not in known:
            yield Group("Catalogue", name, catalogue.objects(estate.pool, datasets))
    for shared in estate.services:
        if shared.name not in known:
            bodies = service.objects(estate, shared, stand_ins=played, weights=weights.get(shared.name))
            yield Group("SharedService", shared.name, bodies)


async def main() -> dict[str, object]:
    """Register what changed; export every service's namespace."""
    await paced(groups())
    return {"services": {shared.name: shared.namespace_name for shared in estate.services}}


pulumi.run(main)
