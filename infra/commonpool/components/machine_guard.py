"""What a machine may say of itself and of the pods on it: what it is trusted with hangs on it. Pure.

A machine's credential lies on the machine. Kubernetes lets it say much (its labels, its pods' addresses, pods of its own); the
rules here are for the day on which one is stolen.
"""

from collections.abc import Iterator

from commonpool.components import admission
from commonpool.components.rendering import PREFIX, SITE, Body
from commonpool.model import Pool
from commonpool.model.address import NEVER

_USER = "system:node:"
LARGEST_EVENT = 16 << 10  # characters; a kubelet's have some hundreds
LARGEST_NODE = 128 << 10  # characters; a kubelet names fifty images, and with all the rest it is some 20,000
KUBELET_PORT = 10250
_NO_KUBELET = "!('system:nodes' in request.userInfo.groups)"
_ADDRESSES = "object.?status.?addresses.orValue([])"
_MACHINE = ("a-machine", "'system:nodes' in request.userInfo.groups")


def objects(pool: Pool) -> list[Body]:
    """What it is, the pods that it makes of itself, and what it says of those that it was given (CVE-2025-5187 is of this class)."""
    return [*_itself(pool), *_made_there(pool), *_said_of_pods(pool), *_said_of_claims(pool), *_events(pool)]


def _itself(pool: Pool) -> list[Body]:
    rule = admission.requests_for([""], ["nodes", "nodes/status"], ["CREATE", "UPDATE"], ["v1"])
    _, trusted = admission.not_trusted(pool)
    kubelet = ("a-kubelet-or-not-the-platform", f"'system:nodes' in request.userInfo.groups || ({trusted})")
    checks = [*_marks(), _opening(), *_by_kubelets(), *_reached(pool)]
    return admission.validating(pool, "nodes", admission.anywhere(rule), checks, conditions=[kubelet])


def _marks() -> list[admission.Check]:
    return [
        admission.Check(
            f"{_kept('labels', admission.reserved('key'))} && {_kept('annotations', admission.reserved('key'))}",
            f"labels and annotations {PREFIX}/ of a machine are the platform's: they follow from the inventory",
        ),
        admission.Check(
            f"oldObject == null || !has(oldObject.metadata.labels) || !('{SITE}' in oldObject.metadata.labels)"
            f" || {_kept('labels', 'key == ' + repr('topology.kubernetes.io/zone'))}",
            "a machine's zone is its site; it follows from the inventory",
        ),
    ]


def _opening() -> admission.Check:
    old, new = "oldObject.spec.taints", "object.spec.taints"
    kept = f"has({new}) && {new}.exists(other, other.key == t.key && other.effect == t.effect)"
    return admission.Check(
        f"oldObject == null || ((!has({old}) || {old}.all(t, !t.key.startsWith('{PREFIX}/') || ({kept})))"
        f" && ({_NO_KUBELET} || !has(oldObject.spec.unschedulable) || !oldObject.spec.unschedulable"
        " || (has(object.spec.unschedulable) && object.spec.unschedulable)))",
        f"a machine does not open itself: taints {PREFIX}/ and the cordon are taken away by the platform",
    )


def _by_kubelets() -> Iterator[admission.Check]:
    """What the platform and people may change, and a machine may not."""
    name = "object.metadata.labels[?'kubernetes.io/hostname'].orValue(object.metadata.name)"
    yield admission.Check(
        f"{_NO_KUBELET} || !has(object.metadata.labels) || {name} == object.metadata.name"
        f" || {_kept('labels', 'key == ' + repr('kubernetes.io/hostname'))}",
        "a machine bears its own name: by kubernetes.io/hostname another one's disks find the pods that use them",
    )
    kept = "object.metadata.?finalizers == oldObject.metadata.?finalizers"
    yield admission.Check(
        f"{_NO_KUBELET} || (oldObject == null ? !has(object.metadata.finalizers) : {kept})",
        "a machine does not keep itself from being let go; leave metadata.finalizers",
    )
    for field in ("podCIDR", "podCIDRs"):
        here, there = f"object.spec.{field}", f"oldObject.spec.{field}"
        yield admission.Check(
            f"{_NO_KUBELET} || !has({here}) || (oldObject != null && has({there}) && {there} == {here})",
            "a machine does not choose the addresses of its pods; the control plane gives it a range",
        )


def _reached(pool: Pool) -> Iterator[admission.Check]:
    """Where others go for a machine: the API server with its own certificate (logs, exec), and the traffic of its pods."""
    inner = [one.cidr for one in pool.spec.network.ranges if one.purpose in ("pods", "services")]
    blocks = [*(block for blocks in NEVER.values() for block in blocks if "ffff" not in block), *inner]
    refused = " || ".join(f"cidr('{block}').containsIP(one.address)" for block in blocks)
    addresses = (
        f"{_ADDRESSES}.all(one, !(one.type in ['InternalIP', 'ExternalIP']) || (isIP(one.address) && !({refused})))"
    )
    port = "object.?status.?daemonEndpoints.?kubeletEndpoint.?Port.orValue(0)"
    yield admission.Check(
        f"{_NO_KUBELET} || ({addresses} && {port} in [0, {KUBELET_PORT}])",
        f"a machine is at an address of machines, and its kubelet at port {KUBELET_PORT}: the API server goes there, with its"
        " own certificate",
    )
    yield admission.Check(
        f"{_NO_KUBELET} || {admission.SIZE} <= {LARGEST_NODE}",
        f"what a machine says of itself has at most {LARGEST_NODE} characters in all; everybody who looks at machines reads it",
    )


def _made_there(pool: Pool) -> list[Body]:
    """A kubelet may make pods of its own (mirror pods), with any label, by which name resolution and the proxy are found.

    Kubernetes lets it do so anywhere, and as many as it likes where no quota counts them. Here it is the system's namespace.
    """
    dns = pool.spec.network.dns
    rule = admission.requests_for([""], ["pods"], ["CREATE"], ["v1"])
    labels = "object.metadata.labels"
    worn = " && ".join(f"{labels}[?'{key}'].orValue('') == '{value}'" for key, value in dns.pod_labels.items())
    check = admission.Check(
        f"request.namespace == '{dns.namespace}' && !(has({labels}) && {worn})",
        f"a machine makes pods of its own in {dns.namespace} only, and none that answers for the platform",
    )
    return admission.validating(pool, "nodes", admission.anywhere(rule), [check], conditions=[_MACHINE], part="pods")


def _said_of_pods(pool: Pool) -> list[Body]:
    """A kubelet says how its pods do, and where they are. It does not keep them from ending, and names nobody else's address."""
    rule = admission.requests_for([""], ["pods/status"], ["UPDATE"], ["v1"])
    kept = [f"object.metadata.?{word} == oldObject.metadata.?{word}" for word in ("annotations", "finalizers")]
    checks = [
        admission.Check(
            " && ".join(kept), "a machine says how its pods do, and changes neither annotations nor finalizers"
        ),
        admission.Check(
            " && ".join(_given(kind, said) for kind, said in _STATUSES.items()),
            "a machine gives its pods no more than they ask for; quotas count what it says that it gave",
        ),
    ]
    ranges = pool.spec.network.ranges
    if any(one.purpose == "pods" for one in ranges):  # else pods may well have addresses beside the machines'
        # Loopback and the like no Service can lead to: for one such pod the endpoints of all the others would not be written.
        blocks = [
            *(one.cidr for one in ranges if one.purpose != "pods"),
            "127.0.0.0/8",
            "169.254.0.0/16",
            "::1/128",
            "fe80::/10",
        ]
        others = " || ".join(f"cidr('{block}').containsIP(one.ip)" for block in blocks)
        free = f"object.status.podIPs.all(one, isIP(one.ip) && !({others}))"
        checks.append(
            admission.Check(
                f"!has(object.status.podIPs) || object.spec.?hostNetwork.orValue(false) || {free}",
                "a machine's pods have no addresses of machines, storage or services; by such a one traffic would go there",
            )
        )
    return admission.validating(pool, "nodes", admission.anywhere(rule), checks, conditions=[_MACHINE], part="said")


_STATUSES = {"containers": "containerStatuses", "initContainers": "initContainerStatuses"}
_GIVEN = {"allocatedResources": "requests", "resources.?requests": "requests", "resources.?limits": "limits"}


def _given(kind: str, said: str) -> str:
    """CEL: whether no container was given more than its spec asks for; while it is made smaller, than it had before."""
    former = f"oldObject.status.?{said}.orValue([]).exists(o, o.name == s.name && %s)"
    checks = [_no_more(f"s.?{part}", f"c.?resources.?{asked}", f"o.?{part}", former) for part, asked in _GIVEN.items()]
    each = f"object.spec.?{kind}.orValue([]).all(c, c.name != s.name || ({' && '.join(checks)}))"
    return f"object.status.?{said}.orValue([]).all(s, {each})"


def _said_of_claims(pool: Pool) -> list[Body]:
    """Of a claim, a quota counts what a machine says that was allocated, where that is more than what was asked for."""
    rule = admission.requests_for([""], ["persistentvolumeclaims/status"], ["UPDATE"], ["v1"])
    said = "status.?allocatedResources"
    check = admission.Check(
        _no_more(f"object.{said}", "object.spec.?resources.?requests", f"oldObject.{said}", "%s"),
        "a machine gives a claim no more than it asks for; quotas count what it says that it gave",
    )
    return admission.validating(pool, "nodes", admission.anywhere(rule), [check], conditions=[_MACHINE], part="claims")


def _no_more(said: str, asked: str, before: str, former: str) -> str:
    """CEL: whether no amount is larger than what was asked for, or than `before`, which is looked for as `former` says."""
    given, wanted, had = (f"{amounts}.orValue({{}})" for amounts in (said, asked, before))
    within = [
        f"word in {most} && !quantity({given}[word]).isGreaterThan(quantity({most}[word]))" for most in (wanted, had)
    ]
    # A kubelet says of processor and memory what it finds, asked for or not.
    unasked = f"(word in ['cpu', 'memory'] && !(word in {wanted}))"
    return f"{given}.all(word, {unasked} || {within[0]} || {former % within[1]})"


def _events(pool: Pool) -> list[Body]:
    """A kubelet may write events anywhere, and over anybody's; by what they say, people look for what went wrong."""
    rule = admission.requests_for([""], ["events"], ["CREATE", "UPDATE"], ["v1"])
    name = f"request.userInfo.username.substring({len(_USER)})"

    def own(event: str) -> str:
        by = f"[dyn({event}).?source.?host.orValue(''), dyn({event}).?reportingInstance.orValue('')]"
        own = f"by == {name} || by == 'kube-proxy-' + {name}"
        return f"{by}.exists(by, {own}) && {by}.all(by, by == '' || {own})"

    checks = [
        admission.Check(
            f"{own('object')} && (oldObject == null || {own('oldObject')})",
            "a machine's events bear its own name, and it changes nobody else's",
        ),
        admission.Check(
            f"{admission.SIZE} <= {LARGEST_EVENT}", f"an event of a machine has at most {LARGEST_EVENT} characters"
        ),
    ]
    return admission.validating(pool, "nodes", admission.anywhere(rule), checks, conditions=[_MACHINE], part="events")


def _kept(field: str, condition: str) -> str:
    """CEL: whether no key that meets the condition was added, changed or taken away."""
    new, old = f"object.metadata.{field}", f"oldObject.metadata.{field}"
    had = f"(oldObject != null && has({old}))"
    added = f"(!has({new}) || {new}.all(key, !({condition}) || ({had} && {old}[?key].orValue('') == {new}[key])))"
    taken = f"(!{had} || {old}.all(key, !({condition}) || (has({new}) && key in {new})))"
    return f"{added} && {taken}"
