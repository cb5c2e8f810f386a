"""Whose requests wait when the API server has too many: each namespace's for themselves, the platform's for nobody. Pure.

By Kubernetes' own defaults requests are told apart by user, so a department with many accounts would have many turns. Here
a department's namespace has one turn, however many of its people and programs ask at once.
"""

from commonpool.components import admission
from commonpool.components.rendering import Body, body
from commonpool.model import Pool

FLOW_CONTROL = "flowcontrol.apiserver.k8s.io/v1"
DEPARTMENTS, PLATFORM = "commonpool-departments", "commonpool-platform"
# After what Kubernetes itself lives by (nodes, controllers, up to 900), before what it has for everybody (from 9000).
_PRECEDENCE = {PLATFORM: 2000, DEPARTMENTS: 3000}


def objects(pool: Pool) -> list[Body]:
    """The level of what departments ask in their namespaces, and who asks on which level."""
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    writers = [
        *({"kind": "Group", "group": {"name": group}} for group in admission.platform_groups(pool)[1:]),
        *(
            {"kind": "ServiceAccount", "serviceAccount": {"namespace": admission.SYSTEM_NAMESPACE, "name": name}}
            for name in (admission.ENGINE, admission.PREVIEW)
        ),
    ]
    everybody: list[Body] = [{"kind": "Group", "group": {"name": "system:authenticated"}}]
    return [
        _level(pool),
        _schema(pool, PLATFORM, "workload-high", "ByUser", [{"subjects": writers, "resourceRules": [everything | {"clusterScope": True}]}]),
        _schema(pool, DEPARTMENTS, DEPARTMENTS, "ByNamespace", [{"subjects": everybody, "resourceRules": [everything]}]),
    ]  # fmt: skip


def _level(pool: Pool) -> Body:
    """As much as Kubernetes gives to all workloads together; 8 of 128 queues for a namespace keep one from being in all."""
    queuing = {"queues": 128, "handSize": 8, "queueLengthLimit": 50}
    limited = {
        "nominalConcurrencyShares": 100,
        "lendablePercent": 50,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }
    return body(
        FLOW_CONTROL, "PriorityLevelConfiguration", DEPARTMENTS, pool, spec={"type": "Limited", "limited": limited}
    )


def _schema(pool: Pool, name: str, level: str, told_apart: str, rules: list[Body]) -> Body:
    spec = {
        "matchingPrecedence": _PRECEDENCE[name],
        "priorityLevelConfiguration": {"name": level},
        "distinguisherMethod": {"type": told_apart},
        "rules": rules,
    }
    return body(FLOW_CONTROL, "FlowSchema", name, pool, spec=spec)
