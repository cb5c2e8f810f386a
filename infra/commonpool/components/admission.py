"""Admission policies as objects: CEL inside the API server, no webhook to keep alive, closed when they cannot be evaluated. Pure.

Each policy is one rule of `commonpool policy list`, with one binding that says what happens to what it refuses.
"""

from collections.abc import Sequence

from commonpool.components.rendering import FLAVOR, Body, body
from commonpool.model import Pool
from commonpool.model.pool import AdmissionRule

ADMISSION = "admissionregistration.k8s.io/v1"
SYSTEM_NAMESPACE = "commonpool-system"
ENGINE, PREVIEW = "engine", "preview"  # service accounts of the platform, in its own namespace
OURS: Body = {"matchExpressions": [{"key": FLAVOR, "operator": "Exists"}]}  # selects the namespaces of this pool
# What each rule refuses, in a line.
RULES: dict[AdmissionRule, str] = {
    "bindings": "roles of a namespace bound to everybody, to accounts of others, or by another role than the pool's",
    "claims": "volumes of no tier, which nobody counts, or copied from another namespace",
    "endpoint-addresses": "traffic led to anything but the pool's machines",
    "endpoint-writers": "routes, backends and endpoints by anybody but the platform",
    "engine": "writes of the preview's account, and of the engine's beyond the pool's own namespaces",
    "kinds": "quotas, limits, network policies, roles, tokens and bindings of pods by anybody but the platform",
    "namespaces": "namespaces of the pool, their labels and owners by anybody but the platform; any by a person",
    "nodes": "what a machine says of itself: flavor, trust, site, that it is open",
    "owned": "changes of what the platform wrote, and its marks on what it did not write",
    "placement": "pods on machines of a flavor that is not granted, on a chosen node, or on one that is not open",
    "registries": "images from elsewhere, of any container and of volumes",
    "services": "Services that lead out of the pool or take the platform's addresses",
    "sharing": "datasets written by anybody but the platform, or kept from sharing without law, article and last day",
    "tokens": "tokens of accounts that never end, or live longer than a day",
}
CHANGES = ("CREATE", "UPDATE", "DELETE")
_ACTIONS = {"deny": ["Deny", "Audit"], "warn": ["Warn", "Audit"], "audit": ["Audit"]}
# Kubernetes' own: the controllers of kube-system delete what a namespace held, renew what belongs to others, and so on.
CONTROLLERS = ("system:apiserver", "system:kube-controller-manager", "system:kube-scheduler")


def name_of(word: AdmissionRule) -> str:
    """The name of a rule's policy and of its binding."""
    return f"commonpool-{word}"


def action_of(pool: Pool, word: AdmissionRule) -> str:
    """What happens to what a rule refuses: deny where nothing is said."""
    return pool.spec.security.admission_policies.get(word, "deny")


def requests_for(
    groups: Sequence[str], resources: Sequence[str], operations: Sequence[str], versions: Sequence[str] = ("*",)
) -> Body:
    """The requests that a policy is about, as one of its `resourceRules`."""
    return {
        "apiGroups": list(groups),
        "apiVersions": list(versions),
        "resources": list(resources),
        "operations": list(operations),
        "scope": "*",
    }


def anywhere(*rules: Body) -> Body:
    """Constraints for the whole cluster; other versions of a kind are matched as well."""
    return {"resourceRules": list(rules), "matchPolicy": "Equivalent"}


def inside(*rules: Body) -> Body:
    """Constraints for what lies in the namespaces of this pool."""
    return anywhere(*rules) | {"namespaceSelector": OURS}


def check(expression: str, message: str) -> Body:
    """One validation."""
    return {"expression": expression, "message": message, "reason": "Forbidden"}


def validating(
    pool: Pool,
    word: AdmissionRule,
    constraints: Body,
    checks: Sequence[Body],
    *,
    conditions: Sequence[tuple[str, str]] = (),
    variables: Sequence[Body] = (),
) -> list[Body]:
    """The policy and its binding; `conditions` are (name, CEL) and decide cheaply whether anything is looked at."""
    spec: Body = {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": list(checks)}
    if conditions:
        spec["matchConditions"] = [{"name": name, "expression": expression} for name, expression in conditions]
    if variables:
        spec["variables"] = list(variables)
    name = name_of(word)
    binding = {"policyName": name, "validationActions": _ACTIONS[action_of(pool, word)]}
    return [
        body(ADMISSION, "ValidatingAdmissionPolicy", name, pool, spec=spec),
        body(ADMISSION, "ValidatingAdmissionPolicyBinding", name, pool, spec=binding),
    ]


def mutating(
    pool: Pool,
    name: str,
    constraints: Body,
    patches: Sequence[str],
    *,
    conditions: Sequence[tuple[str, str]],
    variables: Sequence[Body] = (),
) -> list[Body]:
    """A mutating policy and its binding; `patches` are CEL for lists of JSONPatch."""
    spec: Body = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": constraints,
        "matchConditions": [{"name": word, "expression": expression} for word, expression in conditions],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}} for patch in patches],
    }
    if variables:
        spec["variables"] = list(variables)
    return [
        body(ADMISSION, "MutatingAdmissionPolicy", name, pool, spec=spec),
        body(ADMISSION, "MutatingAdmissionPolicyBinding", name, pool, spec={"policyName": name}),
    ]


def platform_groups(pool: Pool) -> list[str]:
    """Groups that write for the platform: administrators and pipelines."""
    identity = pool.spec.security.identity
    return ["system:masters", *(f"{identity.groups_prefix}{group}" for group in identity.groups.pipelines)]


def platform_users() -> list[str]:
    """Service accounts that write for the platform, or try out what it would write."""
    return [f"system:serviceaccount:{SYSTEM_NAMESPACE}:{name}" for name in (ENGINE, PREVIEW)]


def by_platform(pool: Pool) -> str:
    """CEL: whether the request is the platform's."""
    return (
        f"(request.userInfo.username in {platform_users()!r}"
        f" || request.userInfo.groups.exists(group, group in {platform_groups(pool)!r}))"
    )


def by_controllers() -> str:
    """CEL: whether the request is by Kubernetes' own components."""
    return (
        f"(request.userInfo.username in {list(CONTROLLERS)!r}"
        " || 'system:serviceaccounts:kube-system' in request.userInfo.groups)"
    )


def not_trusted(pool: Pool) -> tuple[str, str]:
    """The condition of rules that are about everybody but the platform and Kubernetes itself."""
    return ("not-the-platform", f"!{by_platform(pool)} && !{by_controllers()}")
