"""Everything that belongs to the pool itself and not to one namespace. Pure."""

from commonpool.components import compute, security, storage
from commonpool.components.rendering import Body
from commonpool.model import Estate


def objects(estate: Estate, *, simulate: bool) -> list[Body]:
    """Machines, priority classes, storage, roles and admission policies."""
    pool = estate.pool
    return [
        *security.node_taints(pool),
        *compute.priority_classes(pool),
        *compute.nodes(pool, estate.machines, simulate=simulate),
        *storage.storage_classes(pool),
        *storage.persistent_volumes(pool),
        *security.cluster_roles(pool),
        *security.platform_bindings(pool),
        *security.placement(pool),
        *security.validations(pool),
    ]
