"""A fenced, quota-bound namespace: what a department's and a shared service's namespaces have in common. Pure.

The quota of a flavor is bound to its PriorityClass, so that the API server's own atomic check is the ledger: a pod that
names no class counts against the namespace's default flavor, one that names a class against that one, and classes that
the namespace is not granted have a quota of zero pods.
"""

from dataclasses import dataclass, field

from commonpool.components import network, roles
from commonpool.components.rendering import (
    EVERY_REGISTRY,
    FLAVOR,
    GRANTED_FLAVORS,
    GRANTED_REGISTRIES,
    LISTED_REGISTRIES,
    POD_SECURITY,
    PREFIX,
    Body,
    all_classes,
    body,
    priority_class,
)
from commonpool.model import FlavorResources, Pool
from commonpool.model.base import Resources
from commonpool.model.department import ContainerLimits, Groups, ObjectLimits, TierStorage
from commonpool.model.quantity import LARGEST, Quantity

_COUNTS = {
    "secrets": "count/secrets",
    "deployments": "count/deployments.apps",
    "stateful_sets": "count/statefulsets.apps",
    "jobs": "count/jobs.batch",
    "cron_jobs": "count/cronjobs.batch",
    "services": "services",
    "persistent_volume_claims": "persistentvolumeclaims",
}
# Kinds that go with Deployments and the like are bounded with them; a Deployment keeps ten ReplicaSets of its past, and as
# many ControllerRevisions each StatefulSet and each DaemonSet, unless they say to keep two thousand million.
_WITH_WORKLOADS = {
    "count/replicasets.apps": 12,
    "count/controllerrevisions.apps": 24,
    "count/daemonsets.apps": 1,
    "count/horizontalpodautoscalers.autoscaling": 1,
    "count/poddisruptionbudgets.policy": 1,
}
# What there is none of where nothing runs.
_OF_PODS = (
    "pods",
    "count/pods",
    "count/secrets",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
)
_MOST_ACCOUNTS = 100
_FINISHED = 20  # pods that are kept when they have ended, to one that runs; Jobs leave theirs until they are deleted
# Bytes of the machines' own disks that pods may reserve, to one of memory: less than even old machines have. Else one
# department reserved whole disks, and no pod of another's that asks for any would find room.
_DISK = 4
_AUTHORITIES = 1  # kube-root-ca.crt, which Kubernetes puts into every namespace


@dataclass(frozen=True)
class Fence:
    """What a namespace is given, whoever it belongs to; `labels` and `annotations` are its own, complete.

    Without `resources` nothing runs there: it holds the objects by which a service is reached, and nobody but the pool writes it.
    `notes` is how many ConfigMaps the pool puts there itself, one for each consumed service; they use up nobody's limit.
    """

    name: str
    resources: list[FlavorResources]
    storage: list[TierStorage]
    objects: ObjectLimits
    groups: Groups
    registries: list[str]
    containers: ContainerLimits = field(default_factory=ContainerLimits)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    notes: int = 0
    suspended: bool = False
    reclaimed: bool = False


def objects(pool: Pool, fence: Fence) -> list[Body]:
    """The Namespace first, then everything in it."""
    return [
        _namespace(pool, fence),
        *(_running(pool, fence) if fence.resources else _empty(pool, fence)),
        network.baseline(pool, fence.name),
    ]


def _running(pool: Pool, fence: Fence) -> list[Body]:
    return [*quotas(pool, fence), _limits(pool, fence), _service_account(pool, fence), *_bindings(pool, fence)]


def _empty(pool: Pool, fence: Fence) -> list[Body]:
    """Nothing is granted, so nothing runs: whoever may write elsewhere only looks here, and nobody else could run anything."""
    people = [group for word in roles.ROLES for group in getattr(fence.groups, word)]
    return [
        _quota(pool, fence, "objects", dict.fromkeys(_OF_PODS, "0"), None),
        binding(pool, fence.name, "viewer", roles.ROLES["viewer"], roles.subjects(pool, list(dict.fromkeys(people)))),
    ]


def _namespace(pool: Pool, fence: Fence) -> Body:
    found = body("v1", "Namespace", fence.name, pool)
    level = pool.spec.security.pod_security
    modes = {f"{POD_SECURITY}/{mode}": level for mode in ("enforce", "audit", "warn")}
    versions = {f"{POD_SECURITY}/{mode}-version": "latest" for mode in ("enforce", "audit", "warn")}
    flavor = next((item.flavor for item in fence.resources), "")
    found["metadata"]["labels"] |= fence.labels | {FLAVOR: flavor} | modes | versions
    # Said either way: one that stood before the namespace was the pool's would stay otherwise, and widen what is granted.
    found["metadata"]["labels"][GRANTED_REGISTRIES] = LISTED_REGISTRIES if fence.registries else EVERY_REGISTRY
    found["metadata"]["annotations"] = fence.annotations | {
        GRANTED_FLAVORS: ",".join(item.flavor for item in fence.resources),
        GRANTED_REGISTRIES: ",".join(fence.registries or pool.spec.security.registries),
    }
    return found


def quotas(pool: Pool, fence: Fence) -> list[Body]:
    """Guaranteed and burst for each flavor, none for every class that is not granted, and the counts."""
    every = all_classes(pool.spec.compute.flavors)
    found, granted = [], []
    for index, item in enumerate(fence.resources):
        own, burst = priority_class(item.flavor), priority_class(item.flavor, burst=True)
        scope = ("NotIn", [name for name in every if name != own]) if index == 0 else ("In", [own])
        found.append(
            _quota(pool, fence, f"guaranteed-{item.flavor}", _hard(None if fence.reclaimed else item.guaranteed), scope)
        )
        granted.append(own)
        if item.burst:
            found.append(_quota(pool, fence, f"burst-{item.flavor}", _hard(item.burst), ("In", [burst])))
            granted.append(burst)
    others = [name for name in every if name not in granted]
    if others:
        found.append(_quota(pool, fence, "not-granted", {"pods": "0"}, ("In", others)))
    found.append(_quota(pool, fence, "objects", _counts(pool, fence), None))
    return found


def _hard(amount: Resources | None) -> dict[str, str]:
    cpu, memory = (str(amount.cpu), str(amount.memory)) if amount else ("0", "0")
    return {"requests.cpu": cpu, "requests.memory": memory, "limits.memory": memory}


def _counts(pool: Pool, fence: Fence) -> dict[str, str]:
    hard = {name: str(getattr(fence.objects, word)) for word, name in _COUNTS.items()}
    workloads = fence.objects.deployments + fence.objects.stateful_sets
    hard |= {name: str(each * workloads) for name, each in _WITH_WORKLOADS.items()}
    hard |= {
        "count/configmaps": str(fence.objects.config_maps + fence.notes + _AUTHORITIES),
        "count/serviceaccounts": str(_MOST_ACCOUNTS),
        "count/pods": str((1 + _FINISHED) * fence.objects.pods),
        "pods": "0" if fence.suspended else str(fence.objects.pods),
        "requests.ephemeral-storage": str(_disk(fence)),
        "services.nodeports": "0",
        "services.loadbalancers": "0",
    }
    granted = {item.tier: item for item in fence.storage}
    for tier in pool.spec.storage.tiers:
        own = granted.get(tier.name)
        hard[f"{tier.name}.storageclass.storage.k8s.io/requests.storage"] = str(own.capacity) if own else "0"
        hard[f"{tier.name}.storageclass.storage.k8s.io/persistentvolumeclaims"] = str(own.claims) if own else "0"
    return hard


def _disk(fence: Fence) -> Quantity:
    """Quotas of a PriorityClass count none; this one is for all that the namespace is granted."""
    amounts = [amount.memory for one in fence.resources for amount in (one.guaranteed, one.burst) if amount]
    return min(sum(amounts, Quantity.zero()) * _DISK, Quantity(LARGEST))


def _quota(pool: Pool, fence: Fence, name: str, hard: dict[str, str], scope: tuple[str, list[str]] | None) -> Body:
    spec: Body = {"hard": hard}
    if scope:
        operator, values = scope
        spec["scopeSelector"] = {
            "matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]
        }
    return body("v1", "ResourceQuota", name, pool, namespace=fence.name, spec=spec)


def _limits(pool: Pool, fence: Fence) -> Body:
    containers = fence.containers
    item: Body = {
        "type": "Container",
        # A request or limit of zero counts as nothing in a quota, and a memory limit of zero is none at all.
        "min": {"cpu": "1m", "memory": "1Mi"},
        "default": {"memory": str(containers.default_memory_limit)},
        "defaultRequest": {
            "cpu": str(containers.default_request.cpu),
            "memory": str(containers.default_request.memory),
        },
    }
    if containers.maximum:
        item["max"] = {"cpu": str(containers.maximum.cpu), "memory": str(containers.maximum.memory)}
    return body("v1", "LimitRange", "containers", pool, namespace=fence.name, spec={"limits": [item]})


def _service_account(pool: Pool, fence: Fence) -> Body:
    """The default account mounts no token: a pod that speaks to the API server says so."""
    return body("v1", "ServiceAccount", "default", pool, namespace=fence.name, automountServiceAccountToken=False)


def _bindings(pool: Pool, fence: Fence) -> list[Body]:
    found = []
    for word, role in roles.ROLES.items():
        groups = list(getattr(fence.groups, word))
        if groups:
            found.append(binding(pool, fence.name, word, role, roles.subjects(pool, groups)))
    return found


def binding(pool: Pool, namespace: str, name: str, role: str, subjects: list[Body]) -> Body:
    """A RoleBinding to one of the pool's ClusterRoles."""
    reference = {"apiGroup": roles.RBAC.split("/")[0], "kind": "ClusterRole", "name": role}
    return body(roles.RBAC, "RoleBinding", name, pool, namespace=namespace, roleRef=reference, subjects=subjects)


def protection_labels(environment: str, business_class: str, level: int) -> dict[str, str]:
    """The labels by which namespaces are found, reviewed and reported."""
    return {
        f"{PREFIX}/environment": environment,
        f"{PREFIX}/business-class": business_class,
        f"{PREFIX}/protection-level": str(level),
    }
