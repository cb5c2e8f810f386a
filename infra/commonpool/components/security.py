"""The baseline: roles written out verb by verb, and admission policies that the API server itself enforces. Pure.

Policies are CEL inside the API server (ValidatingAdmissionPolicy, MutatingAdmissionPolicy): no webhook to keep alive, and
they fail closed. They hold in every namespace that carries a default flavor, which is every namespace of ours.
"""

from commonpool.components.rendering import FLAVOR, GRANTED_FLAVORS, GRANTED_REGISTRIES, Body, body
from commonpool.model import Pool

_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete", "deletecollection"]
ROLES = {"admin": "commonpool-admin", "developer": "commonpool-developer", "viewer": "commonpool-viewer"}
ADMISSION = "admissionregistration.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io/v1"
_POLICIES = {
    "placement": "commonpool-placement",
    "registries": "commonpool-registries",
    "services": "commonpool-services",
}

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


_FLAVOR_OF_POD = (
    "has(object.spec.priorityClassName) && object.spec.priorityClassName.startsWith('flavor-')"
    " ? (object.spec.priorityClassName.endsWith('-burst')"
    " ? object.spec.priorityClassName.substring(7, size(object.spec.priorityClassName) - 6)"
    " : object.spec.priorityClassName.substring(7))"
    f" : namespaceObject.metadata.labels['{FLAVOR}']"
)
_VARIABLES = [{"name": "flavor", "expression": _FLAVOR_OF_POD}]


def placement(pool: Pool) -> list[Body]:
    """Pods go to the flavor that their PriorityClass names, else to their namespace's default flavor."""
    path = f"'/spec/nodeSelector/' + jsonpatch.escapeKey('{FLAVOR}')"
    select = (
        "has(object.spec.nodeSelector)"
        f" ? [JSONPatch{{op: 'add', path: {path}, value: variables.flavor}}]"
        f" : [JSONPatch{{op: 'add', path: '/spec/nodeSelector', value: {{'{FLAVOR}': variables.flavor}}}}]"
    )
    mutations = [{"patchType": "JSONPatch", "jsonPatch": {"expression": select}}]
    dedicated = [flavor.name for flavor in pool.spec.compute.flavors if flavor.dedicated]
    if dedicated:
        item = f"{{'key': '{FLAVOR}', 'operator': 'Equal', 'value': variables.flavor, 'effect': 'NoSchedule'}}"
        tolerate = f"!(variables.flavor in {dedicated!r}) ? [] : {_append('tolerations', item)}"
        mutations.append({"patchType": "JSONPatch", "jsonPatch": {"expression": tolerate}})
    unset = f"!has(object.spec.nodeSelector) || !('{FLAVOR}' in object.spec.nodeSelector)"
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": _match([""], ["v1"], ["pods"], ["CREATE"]),
        "matchConditions": [{"name": "not-chosen-yet", "expression": unset}],
        "variables": _VARIABLES,
        "mutations": mutations,
    }
    name = _POLICIES["placement"]
    return [
        body(ADMISSION, "MutatingAdmissionPolicy", name, pool, spec=spec),
        body(ADMISSION, "MutatingAdmissionPolicyBinding", name, pool, spec={"policyName": name}),
    ]


def _append(field: str, item: str) -> str:
    # In two operations: the API server of 1.36 panics on a list literal that holds a map or an object.
    empty = f"has(object.spec.{field}) ? [] : [JSONPatch{{op: 'add', path: '/spec/{field}', value: []}}]"
    return f"({empty}) + [JSONPatch{{op: 'add', path: '/spec/{field}/-', value: {item}}}]"


def node_taints(pool: Pool) -> list[Body]:
    """Machines of dedicated flavors carry their taint from registration on, and keep it whoever edits them."""
    dedicated = [flavor.name for flavor in pool.spec.compute.flavors if flavor.dedicated]
    if not dedicated:
        return []
    own = f"object.metadata.labels['{FLAVOR}']"
    carried = f"has(object.spec.taints) && object.spec.taints.exists(t, t.key == '{FLAVOR}')"
    item = f"{{'key': '{FLAVOR}', 'value': string({own}), 'effect': 'NoSchedule'}}"
    constraints = _match([""], ["v1"], ["nodes"], ["CREATE", "UPDATE"])
    del constraints["namespaceSelector"]
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": constraints,
        "matchConditions": [
            {
                "name": "dedicated",
                "expression": f"has(object.metadata.labels) && '{FLAVOR}' in object.metadata.labels && {own} in {dedicated!r}",
            },
            {"name": "not-tainted-yet", "expression": f"!({carried})"},
        ],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _append("taints", item)}}],
    }
    name = "commonpool-node-taints"
    return [
        body(ADMISSION, "MutatingAdmissionPolicy", name, pool, spec=spec),
        body(ADMISSION, "MutatingAdmissionPolicyBinding", name, pool, spec={"policyName": name}),
    ]


def validations(pool: Pool) -> list[Body]:
    """What a pod, its images and a Service must not be; each can stand in deny, warn or audit."""
    granted = f"namespaceObject.metadata.annotations['{GRANTED_FLAVORS}'].split(',')"
    registries = f"namespaceObject.metadata.annotations['{GRANTED_REGISTRIES}'].split(',')"
    name = "object.spec.priorityClassName"
    silent = f"!has({name}) || {name} == ''"
    policies = [
        _policy(
            pool,
            "placement",
            _match([""], ["v1"], ["pods"], ["CREATE", "UPDATE"]),
            [
                _rule(
                    f"{silent} || ({name}.startsWith('flavor-') && variables.flavor in {granted})",
                    "priorityClassName must name a flavor that this namespace is granted (flavor-<name> or flavor-<name>-burst); the department's manifest grants flavors under spec.namespaces.resources",
                ),
                _rule(
                    f"has(object.spec.nodeSelector) && object.spec.nodeSelector[?'{FLAVOR}'].orValue('') == variables.flavor",
                    f"nodeSelector {FLAVOR} must be the flavor of the pod's priority class; leave it out and it is set",
                ),
                _rule(
                    "request.operation != 'CREATE' || !has(object.spec.nodeName) || object.spec.nodeName == ''",
                    "nodeName is chosen by the scheduler; leave it out",
                ),
            ],
            _VARIABLES,
        ),
        _policy(
            pool,
            "registries",
            _match([""], ["v1"], ["pods", "pods/ephemeralcontainers"], ["CREATE", "UPDATE"]),
            [
                _rule(
                    f"variables.images.all(image, {registries}.exists(registry, image.startsWith(registry + '/')))",
                    "every image must come from a registry that this namespace is granted; the pool lists them under spec.security.registries",
                )
            ],
            [
                {
                    "name": "images",
                    "expression": "object.spec.containers.map(c, c.image)"
                    " + (has(object.spec.initContainers) ? object.spec.initContainers.map(c, c.image) : [])"
                    " + (has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers.map(c, c.image) : [])",
                }
            ],
        ),
        _policy(
            pool,
            "services",
            _match([""], ["v1"], ["services"], ["CREATE", "UPDATE"]),
            [
                _rule(
                    "!has(object.spec.type) || object.spec.type == 'ClusterIP'",
                    "only Services of type ClusterIP; what others should reach is declared as a SharedService",
                ),
                _rule(
                    "!has(object.spec.externalIPs) || size(object.spec.externalIPs) == 0",
                    "externalIPs take over other people's addresses (CVE-2020-8554)",
                ),
            ],
            [],
        ),
    ]
    bindings = [
        body(
            ADMISSION,
            "ValidatingAdmissionPolicyBinding",
            _POLICIES[word],
            pool,
            spec={"policyName": _POLICIES[word], "validationActions": [_action(pool, word)]},
        )
        for word in _POLICIES
    ]
    return [*policies, *bindings]


def _action(pool: Pool, word: str) -> str:
    return next(
        (mode for name, mode in pool.spec.security.admission_policies.items() if name == word), "deny"
    ).capitalize()


OURS: Body = {"matchExpressions": [{"key": FLAVOR, "operator": "Exists"}]}  # selects the namespaces of this pool


def requests_for(groups: list[str], versions: list[str], resources: list[str], operations: list[str]) -> Body:
    """The requests that a policy is about, as one of its `resourceRules`."""
    return {
        "apiGroups": groups,
        "apiVersions": versions,
        "resources": resources,
        "operations": operations,
        "scope": "*",
    }


def _match(groups: list[str], versions: list[str], resources: list[str], operations: list[str]) -> Body:
    rule = requests_for(groups, versions, resources, operations)
    return {"resourceRules": [rule], "namespaceSelector": OURS, "matchPolicy": "Equivalent"}


def _policy(pool: Pool, word: str, match: Body, rules: list[Body], variables: list[Body]) -> Body:
    spec: Body = {"failurePolicy": "Fail", "matchConstraints": match, "validations": rules}
    if variables:
        spec["variables"] = variables
    return body(ADMISSION, "ValidatingAdmissionPolicy", _POLICIES[word], pool, spec=spec)


def _rule(expression: str, message: str) -> Body:
    return {"expression": expression, "message": message, "reason": "Forbidden"}
