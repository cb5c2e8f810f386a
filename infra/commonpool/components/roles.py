"""Who may do what, written out verb by verb: no wildcard, no right to escalate, bind or impersonate. Pure."""

from commonpool.components.admission import ADMISSION
from commonpool.components.rendering import Body, body
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
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"]},
    {"apiGroups": [RBAC.split("/")[0]], "resources": ["roles", "rolebindings"]},
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
