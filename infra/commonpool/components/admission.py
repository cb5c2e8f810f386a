"""Admission policies as objects: CEL inside the API server, no webhook to keep alive, closed when they cannot be evaluated. Pure.

Each policy is one rule of `commonpool policy list`, with one binding that says what happens to what it refuses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from commonpool.components.rendering import FLAVOR, PREFIX, Body, body
from commonpool.model import Pool
from commonpool.model.pool import AdmissionRule

ADMISSION = "admissionregistration.k8s.io/v1"
SYSTEM_NAMESPACE = "commonpool-system"
ENGINE, PREVIEW = "engine", "preview"  # service accounts of the platform, in its own namespace
OURS: Body = {"matchExpressions": [{"key": FLAVOR, "operator": "Exists"}]}  # selects the namespaces of this pool
# What each rule refuses, in a line.
RULES: dict[AdmissionRule, str] = {
    "bindings": "roles of a namespace bound to everybody, to pipelines, to accounts of others, or by another role than the pool's",
    "claims": "volumes of no tier, which nobody counts, copied from another namespace, or bound by a mark of the controllers",
    "endpoint-addresses": "traffic led to anything but the pool's machines",
    "endpoint-writers": "routes, backends and endpoints by anybody but the platform",
    "engine": "writes of the preview's account, and of the engine's beyond the pool's own namespaces",
    "kinds": "quotas, limits, network policies, roles, tokens and bindings of pods by anybody but the platform, and such as go with another object",
    "namespaces": "namespaces of the pool, their labels and owners by anybody but the platform; any by a person; another owner's",
    "nodes": "what a machine says of itself: flavor, trust, site, name, that it is open; pods of its own; of others more than how they do or asked for; events in other names",
    "owned": "changes of what the platform wrote, its marks on what it did not write, and objects that are too large or of too many owners",
    "placement": "pods on machines of a flavor that is not granted, on a chosen node, or on one that is not open",
    "pods": "pods with devices and volumes that nobody counts, that keep others away, that hold on, that choose what confines them, or whose tokens live long; larger sets and autoscalers than controllers bear",
    "registries": "images from elsewhere, of any container and of volumes",
    "services": "Services that lead out of the pool, take the platform's addresses or have more ports than machines bear",
    "sharing": "datasets written by anybody but the platform, or kept from sharing without law, article and last day",
    "tokens": "tokens of accounts that never end",
}
_RESERVED = (f"{PREFIX}/", "applyset.kubernetes.io/")
CHANGES = ("CREATE", "UPDATE", "DELETE")
# What stood before a rule did, or before less was granted, still ends: Kubernetes takes finalizers away and gives orphans to
# others by updates too. So what an object asks for is looked at when it asks, and not at every word about it.
NEW_OR_CHANGED = ("new-or-changed", "oldObject == null || object.spec != oldObject.spec")
SIZE = "size('%s'.format([dyn(object)]))"  # CEL: characters of an object in all, by the text that CEL makes of it
BYTES = "size(bytes('%s'.format([dyn(object)])))"  # a character takes up to four of these in the store
_ACTIONS = {"deny": ["Deny", "Audit"], "warn": ["Warn", "Audit"], "audit": ["Audit"]}
# Kubernetes' own: the controllers of kube-system delete what a namespace held, renew what belongs to others, and so on.
CONTROLLERS = ("system:apiserver", "system:kube-controller-manager", "system:kube-scheduler")


def name_of(word: AdmissionRule, part: str = "") -> str:
    """The name of a rule's policy and of its binding; some rules have a further one for a part of the namespaces."""
    return f"commonpool-{word}" + (f".{part}" if part else "")


def rule_of(policy: str) -> str:
    """The rule that a policy of ours carries out."""
    return policy.removeprefix("commonpool-").partition(".")[0]


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


def inside(
    *rules: Body, key: str = FLAVOR, among: Sequence[str] = (), others: Sequence[str] = (), lacking: str = ""
) -> Body:
    """Constraints for what lies in the namespaces of this pool; of these, where a label is `among` some or any `others`.

    Of those without the label `lacking`. What lies in no namespace is meant as well.
    """
    wanted: list[Body] = [{"key": key, "operator": "In", "values": list(among)}] if among else []
    wanted += [{"key": key, "operator": "NotIn", "values": list(others)}] if others else []
    wanted += [{"key": lacking, "operator": "DoesNotExist"}] if lacking else []
    return anywhere(*rules) | {"namespaceSelector": {"matchExpressions": [*OURS["matchExpressions"], *wanted]}}


def outside(*rules: Body) -> Body:
    """Constraints for what lies in any other namespace, and for what lies in none."""
    return anywhere(*rules) | {"namespaceSelector": {"matchExpressions": [{"key": FLAVOR, "operator": "DoesNotExist"}]}}


def named(namespace: str, *rules: Body) -> Body:
    """Constraints for what lies in one namespace, whether it is of this pool's departments or of the platform."""
    name = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]}
    return anywhere(*rules) | {"namespaceSelector": {"matchExpressions": [name]}}


@dataclass(frozen=True)
class Check:
    """What must hold, in CEL, and what is said when it does not; `words` is CEL for a better message.

    `settled` is CEL that sees neither the namespace nor variables and is true only where `expression` is.
    """

    expression: str
    message: str
    settled: str = ""
    words: str = ""

    @property
    def body(self) -> Body:
        """As a policy's validation."""
        said = {"messageExpression": self.words} if self.words else {}
        return {"expression": self.expression, "message": self.message, "reason": "Forbidden", **said}

    @property
    def early(self) -> str:
        """What a policy's condition can ask; empty where it cannot."""
        blind = any(word in self.expression for word in ("namespaceObject", "variables."))
        return self.settled or ("" if blind else self.expression)


def validating(
    pool: Pool,
    word: AdmissionRule,
    constraints: Body,
    checks: Sequence[Check],
    *,
    conditions: Sequence[tuple[str, str]] = (),
    variables: Sequence[Body] = (),
    part: str = "",
) -> list[Body]:
    """The policy and its binding; `conditions` are (name, CEL) and say whom and what the rule is about."""
    spec: Body = {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": [one.body for one in checks]}
    found = _early_end(checks, conditions)
    if found:
        spec["matchConditions"] = found
    if variables:
        spec["variables"] = list(variables)
    name = name_of(word, part)
    binding = {"policyName": name, "validationActions": _ACTIONS[action_of(pool, word)]}
    return [
        body(ADMISSION, "ValidatingAdmissionPolicy", name, pool, spec=spec),
        body(ADMISSION, "ValidatingAdmissionPolicyBinding", name, pool, spec=binding),
    ]


def _early_end(checks: Sequence[Check], conditions: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """The conditions of a policy: where it can be told there, that there is something to refuse.

    The API server turns object, old object, request and namespace into CEL's values once for the conditions, and three
    times more for validations, messages and notes when they hold (1.36). So what is in order ends at the conditions, and
    validations only say what is wrong. One condition, not several: of several, one that is false hides that another
    could not be evaluated.
    """
    if not all(one.early for one in checks):
        return [{"name": name, "expression": expression} for name, expression in conditions]
    refused = "!(" + " && ".join(f"({one.early})" for one in checks) + ")"
    about = [f"({expression})" for _, expression in conditions]
    return [{"name": "something-to-refuse", "expression": " && ".join([*about, refused])}]


def mutating(
    pool: Pool,
    name: str,
    constraints: Body,
    patch: str,
    *,
    conditions: Sequence[tuple[str, str]] = (),
    variables: Sequence[Body] = (),
) -> list[Body]:
    """A mutating policy and its binding; `patch` is CEL for a list of JSONPatch.

    One patch, not several: for each the API server writes the object as JSON and reads it again.
    """
    spec: Body = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": constraints,
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
    }
    if conditions:
        spec["matchConditions"] = [{"name": word, "expression": expression} for word, expression in conditions]
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


def reserved(words: str) -> str:
    """CEL: whether a variable, the key of a label or an annotation, is one of the platform's."""
    return "(" + " || ".join(f"{words}.startsWith('{prefix}')" for prefix in _RESERVED) + ")"


def not_trusted(pool: Pool) -> tuple[str, str]:
    """The condition of rules that are about everybody but the platform and Kubernetes itself."""
    return ("not-the-platform", f"!{by_platform(pool)} && !{by_controllers()}")
