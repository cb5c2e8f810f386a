"""Everything that belongs to the pool itself and not to one namespace. Pure."""

from commonpool.components import (
    catalogue,
    compute,
    endpoint_guard,
    fairness,
    gateway,
    machine_guard,
    network,
    ownership_guard,
    placement,
    roles,
    storage,
    workload_guard,
)
from commonpool.components.envoy_gateway import fleet
from commonpool.components.rendering import Body
from commonpool.model import Estate


def objects(estate: Estate, *, simulate: bool, loopback: bool = False) -> list[Body]:
    """Machines, priority classes, storage, roles, admission policies, the catalogue's kind, and the service proxy.

    `loopback` lets backends stand there, which the embedded pool needs for what stands in for machines.
    """
    pool = estate.pool
    return [
        *placement.node_taints(pool),
        *compute.priority_classes(pool),
        *compute.nodes(pool, estate.machines, simulate=simulate),
        *storage.storage_classes(pool),
        *storage.persistent_volumes(pool),
        *roles.cluster_roles(pool),
        *roles.platform_bindings(pool),
        *roles.platform_accounts(pool),
        *fairness.objects(pool),
        *placement.objects(pool),
        *workload_guard.objects(pool),
        *ownership_guard.objects(pool),
        *machine_guard.objects(pool),
        *catalogue.definition(pool),
        *endpoint_guard.objects(pool, loopback=loopback, exchange=estate.exchange),
        *fleet.objects(pool),
        *gateway.shared(pool),
        *network.proxy(pool),
    ]
