"""Who may do what, written out verb by verb: no wildcard, no right to escalate, bind or impersonate. Pure."""

from commonpool.components.admission import ADMISSION, ENGINE, PREVIEW, SYSTEM_NAMESPACE
from commonpool.components.endpoint_guard import guarded_kinds
from commonpool.components.rendering import PREFIX, Body, body
from commonpool.model import Pool

_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete", "deletecollection"]
ROLES = {"admin": "commonpool-admin", "developer": "commonpool-developer", "viewer": "commonpool-viewer"}
RBAC = "rbac.authorization.k8s.io/v1"

_WORKLOADS: list[Body] = [
    {"apiGroups": [""], "resources": ["pods", "services", "configmaps", "persistentvolumeclaims"]},
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets", "replicasets"]},
    {"apiGroups": ["apps"], "resources": ["deployments/scale", "statefulsets/scale"]},
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"]},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"]},
]
_LOOK: list[Body] = [
    {"apiGroups": [""], "resources": ["pods/log", "pods/status", "events", "endpoints", "serviceaccounts"]},
    {"apiGroups": [""], "resources": ["resourcequotas", "limitranges", "namespaces"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"]},
    # What `kubectl get all`, `rollout history` and `top` ask for; of the first a department has none, and is told so.
    {"apiGroups": [""], "resources": ["replicationcontrollers"]},
    {"apiGroups": ["apps"], "resources": ["controllerrevisions"]},
    {"apiGroups": ["metrics.k8s.io"], "resources": ["pods"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"]},
    {"apiGroups": [RBAC.split("/")[0]], "resources": ["roles", "rolebindings"]},
    # What leads to a service, and what the proxy says of it, in the service's own namespace.
    *({"apiGroups": [group], "resources": kinds} for group, kinds in guarded_kinds().items()),
]
_ENTER: Body = {
    "apiGroups": [""],
    "resources": ["pods/exec", "pods/portforward", "pods/attach"],
    "verbs": ["create", "get"],
}
_EPHEMERAL: Body = {"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["get", "patch", "update"]}
_EVICT: Body = {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}


def cluster_roles(pool: Pool) -> list[Body]:
    """What admins, developers and viewers of a department may do in its namespaces; auditors read, but no Secrets.

    None of them may touch quotas, limits, network policies, roles or the namespace itself: those are the pool's.
    """
    read = [rule | {"verbs": _READ} for rule in (*_WORKLOADS, *_LOOK)]
    write = [rule | {"verbs": _WRITE} for rule in _WORKLOADS]
    admin = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": [*_READ, *_WRITE]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": _WRITE},
    ]
    developer = [*read, *write, _ENTER, _EPHEMERAL, _EVICT]
    inventory = [
        {"apiGroups": [""], "resources": ["nodes", "persistentvolumes"], "verbs": _READ},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": _READ},
        {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": _READ},
        {
            "apiGroups": [ADMISSION.split("/")[0]],
            "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
            "verbs": _READ,
        },
        {"apiGroups": [RBAC.split("/")[0]], "resources": ["clusterroles", "clusterrolebindings"], "verbs": _READ},
    ]
    rules = {
        "commonpool-admin": [*developer, *admin],
        "commonpool-developer": developer,
        "commonpool-viewer": read,
        "commonpool-auditor": [*read, *inventory],
    }
    return [body(RBAC, "ClusterRole", name, pool, rules=found) for name, found in rules.items()]


def platform_bindings(pool: Pool) -> list[Body]:
    """Operators and auditors may look at everything but Secrets; changes go through the estate."""
    identity = pool.spec.security.identity
    groups = [*identity.groups.operators, *identity.groups.auditors]
    role = {"apiGroup": RBAC.split("/")[0], "kind": "ClusterRole", "name": "commonpool-auditor"}
    return [body(RBAC, "ClusterRoleBinding", "commonpool-auditor", pool, roleRef=role, subjects=subjects(pool, groups))]


def subjects(pool: Pool, groups: list[str]) -> list[Body]:
    """Groups of the identity provider as RBAC subjects, with the prefix that keeps them apart from Kubernetes' own."""
    prefix = pool.spec.security.identity.groups_prefix
    return [{"apiGroup": RBAC.split("/")[0], "kind": "Group", "name": f"{prefix}{group}"} for group in groups]


_KEEP = [*_READ, "create", "update", "patch", "delete"]


def platform_accounts(pool: Pool) -> list[Body]:
    """The accounts by which the platform writes after its beginning, and tries out; neither is an administrator.

    What they may not do: change these roles or the admission rules, read a department's Secrets, enter its pods. Rights
    alone cannot tell a trial from a write, nor one namespace from another; the rule `engine` does.
    """
    group = RBAC.split("/")[0]
    accounts = [{"kind": "ServiceAccount", "name": name, "namespace": SYSTEM_NAMESPACE} for name in (ENGINE, PREVIEW)]
    writers = [*accounts, *subjects(pool, pool.spec.security.identity.groups.pipelines)]
    kept = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": _KEEP},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": _KEEP},
    ]
    found = [
        body("v1", "ServiceAccount", name, pool, namespace=SYSTEM_NAMESPACE, automountServiceAccountToken=False)
        for name in (ENGINE, PREVIEW)
    ]
    wide = {"apiGroup": group, "kind": "ClusterRole", "name": "commonpool-engine"}
    own = {"apiGroup": group, "kind": "Role", "name": "engine"}
    return [
        *found,
        body(RBAC, "ClusterRole", "commonpool-engine", pool, rules=_engine_rules()),
        body(RBAC, "ClusterRoleBinding", "commonpool-engine", pool, roleRef=wide, subjects=writers),
        body(RBAC, "Role", "engine", pool, namespace=SYSTEM_NAMESPACE, rules=kept),
        body(RBAC, "RoleBinding", "engine", pool, namespace=SYSTEM_NAMESPACE, roleRef=own, subjects=writers),
    ]


# Of the kinds by which traffic is led, those that services have no part in.
_OF_POOL = frozenset({"envoyproxies", "gatewayclasses", "listenersets", "referencegrants", "udproutes"})


def _engine_rules() -> list[Body]:
    """What services and departments are made of, and nothing that only the pool's own stack writes."""
    group = RBAC.split("/")[0]
    made = {
        "": ["namespaces", "resourcequotas", "limitranges", "serviceaccounts", "configmaps", "services"],
        "apps": ["deployments"],
        "networking.k8s.io": ["networkpolicies"],
        "discovery.k8s.io": ["endpointslices"],
        group: ["rolebindings"],
        PREFIX: ["datasets"],
    }
    for one, kinds in guarded_kinds().items():
        made[one] = [kind for kind in kinds if kind not in _OF_POOL]
    seen = {
        "": ["pods", "events", "persistentvolumeclaims", "endpoints", "nodes", "persistentvolumes"],
        "scheduling.k8s.io": ["priorityclasses"],
        "storage.k8s.io": ["storageclasses"],
        "apps": ["replicasets"],
        "apiextensions.k8s.io": ["customresourcedefinitions"],
        "metrics.k8s.io": ["pods"],
        ADMISSION.split("/")[0]: [
            "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations", "validatingwebhookconfigurations",
        ],
        group: ["clusterroles", "clusterrolebindings", "roles"],
    }  # fmt: skip
    # Not a right to bind at large: these three, and nothing else, can be given to a department's groups.
    bind = {
        "apiGroups": [group],
        "resources": ["clusterroles"],
        "resourceNames": sorted(ROLES.values()),
        "verbs": ["bind"],
    }
    return [
        *({"apiGroups": [one], "resources": kinds, "verbs": _KEEP} for one, kinds in made.items()),
        *({"apiGroups": [one], "resources": kinds, "verbs": _READ} for one, kinds in seen.items()),
        bind,
    ]
