"""Machines as Nodes, and the PriorityClasses by which pods say which hardware and which promise they run on. Pure."""

from commonpool.components.rendering import FLAVOR, PREFIX, SIMULATED, SITE, Body, body, priority_class
from commonpool.model import Machine, Pool

GUARANTEED_PRIORITY = 10_000
BURST_PRIORITY = -10  # below the default of 0: whatever else the cluster runs goes first


def priority_classes(pool: Pool) -> list[Body]:
    """Two for each flavor: guaranteed pods preempt burst pods, burst pods preempt nobody."""
    found = []
    for flavor in pool.spec.compute.flavors:
        for burst in (False, True):
            found.append(
                body(
                    "scheduling.k8s.io/v1",
                    "PriorityClass",
                    priority_class(flavor.name, burst=burst),
                    pool,
                    value=BURST_PRIORITY if burst else GUARANTEED_PRIORITY,
                    preemptionPolicy="Never" if burst else "PreemptLowerPriority",
                    description=f"{'Preemptible' if burst else 'Guaranteed'} pods on {flavor.name} ({flavor.description})",
                )
            )
    return found


def nodes(pool: Pool, machines: tuple[Machine, ...], *, simulate: bool) -> list[Body]:
    """A patch of labels for each joined machine; the others as simulated Nodes, when that is wanted.

    Those that test hosts play are neither: they may be absent, and get their labels when they join.

    Taints of dedicated flavors are set by admission (see `placement.node_taints`): the list is shared with the node
    controllers, and a declared one would fight with theirs.
    """
    chosen = [machine for machine in machines if machine.facts.role == "node" and not machine.facts.trial]
    return [node(pool, machine) for machine in chosen if machine.facts.joined or simulate]


def node(pool: Pool, machine: Machine) -> Body:
    """The labels of one machine, and for a simulated one what KWOK needs to play it."""
    flavor = pool.flavor(machine.facts.flavor)
    found = body("v1", "Node", machine.name, pool)
    found["metadata"]["labels"] |= {
        FLAVOR: machine.facts.flavor,
        SITE: machine.site,
        f"{PREFIX}/trust": str(flavor.trust if flavor else 1),
        "topology.kubernetes.io/zone": machine.site,
    }
    if not machine.facts.joined:
        facts = machine.facts
        found["metadata"]["labels"] |= {
            SIMULATED: "true",
            "kubernetes.io/hostname": machine.name,
            "kubernetes.io/os": "linux",
        }
        found["metadata"]["annotations"] = {
            "kwok.x-k8s.io/node": "fake",
            f"{PREFIX}/capacity-cpu": str(facts.cpu),
            f"{PREFIX}/capacity-memory": str(facts.memory),
            f"{PREFIX}/capacity-pods": str(facts.pods),
            f"{PREFIX}/capacity-ephemeral-storage": str(facts.disk),
        }
    return found
