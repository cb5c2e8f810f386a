"""Who may say where traffic goes: the platform alone, and only to addresses of the pool's machines (CVE-2021-25740). Pure.

Roles give departments none of these kinds; these policies hold whatever roles somebody adds, and for the platform too.
"""

from commonpool.components import admission, envoy_gateway
from commonpool.components.envoy_gateway import fleet
from commonpool.components.envoy_gateway.exchange import SOCKET
from commonpool.components.rendering import Body
from commonpool.model import Pool
from commonpool.model.address import NEVER, allowed

LOOPBACK = "the loopback range"
_GATEWAY_KINDS = [
    "backendtlspolicies", "gatewayclasses", "gateways", "grpcroutes", "httproutes", "listenersets", "referencegrants",
    "tcproutes", "tlsroutes", "udproutes",
]  # fmt: skip
# What services' policies and filters say in their spec, by kind; the pool's own say more.
WORDS_OF_SERVICES = {
    "envoyextensionpolicies": ["extProc", "targetRefs"],
    "securitypolicies": ["authorization", "mergeType", "targetRefs"],
    "httproutefilters": ["directResponse"],
}
# Kubernetes' own controllers write the endpoints of pods; Envoy Gateway writes statuses, which are not matched here.
_CONTROLLERS = (
    "system:apiserver",
    "system:kube-controller-manager",
    "system:serviceaccount:kube-system:endpointslice-controller",
    "system:serviceaccount:kube-system:endpoint-controller",
)


def objects(pool: Pool, *, loopback: bool, exchange: str | None = None) -> list[Body]:
    """The two policies; `loopback` allows backends there, `exchange` (host:port or unix:PATH) one there, wherever it is."""
    if pool.spec.network.proxy is None:
        return []
    return [*_writers(pool), *_addresses(pool, _checks(pool, loopback=loopback, exchange=exchange))]


def guarded_kinds() -> dict[str, list[str]]:
    """By API group, the kinds by which traffic is led; the platform alone writes them."""
    return {"gateway.networking.k8s.io": _GATEWAY_KINDS, **fleet.guarded_kinds()}


def _writers(pool: Pool) -> list[Body]:
    rules = [
        _rule([""], ["endpoints"]),
        _rule(["discovery.k8s.io"], ["endpointslices"]),
        *(_rule([group], kinds) for group, kinds in guarded_kinds().items()),
    ]
    check = admission.Check(
        f"{admission.by_platform(pool)}"
        f" || (request.userInfo.username in {list(_CONTROLLERS)!r} && request.resource.group in ['', 'discovery.k8s.io'])"
        # A controller marks a class as in use and lets go of it, and the garbage collector ends a deletion that waits for it;
        # where any of them leads stands in the spec.
        f" || (request.resource.group in {sorted(guarded_kinds())!r} && request.operation == 'UPDATE'"
        f" && (request.resource.resource == 'gatewayclasses' || {admission.by_controllers()})"
        " && object.spec == oldObject.spec)",
        "only the platform says where traffic goes; declare a SharedService with its backends",
    )
    return admission.validating(pool, "endpoint-writers", admission.anywhere(*rules), [check])


def _addresses(pool: Pool, checks: list[admission.Check]) -> list[Body]:
    """Of our namespaces' Backends, and of the EndpointSlices in them that no controller keeps."""
    places = [_rule([envoy_gateway.GROUP], ["backends"]), _rule(["discovery.k8s.io"], ["endpointslices"])]
    kept_by_others = f"request.userInfo.username in {list(_CONTROLLERS)!r}"
    return admission.validating(
        pool,
        "endpoint-addresses",
        admission.inside(*places),
        checks,
        conditions=[("not-a-controllers", f"!({kept_by_others})")],
        variables=_variables(pool),
    )


def _variables(pool: Pool) -> list[Body]:
    """What an object leads to: addresses, and the names that it may lead to besides."""
    of_backend = "has(object.spec) && has(object.spec.endpoints) ? object.spec.endpoints.filter(e, has(e.ip)).map(e, e.ip.address)"
    of_slice = (
        "has(object.endpoints) && object.endpoints != null ? object.endpoints.map(e, e.addresses)"
        ".filter(l, true).map(l, l[0])"
    )
    proxy = pool.spec.network.proxy
    domains = [peer.domain for peer in proxy.peers] if proxy else []
    names = [proxy.traces.host] if proxy and proxy.traces else []
    return [
        {
            "name": "addresses",
            "expression": f"request.resource.resource == 'backends' ? ({of_backend} : []) : ({of_slice} : [])",
        },
        {"name": "domains", "expression": f"{domains!r}" if domains else "['.']"},
        {"name": "names", "expression": f"{names!r}" if names else "['.']"},
    ]


def _checks(pool: Pool, *, loopback: bool, exchange: str | None) -> list[admission.Check]:
    never = [
        block
        for words, blocks in NEVER.items()
        for block in blocks
        if not (loopback and words == LOOPBACK) and "ffff" not in block  # CEL takes no disguised address for one anyway
    ]
    homes = allowed(pool.spec.network.ranges) + (list(NEVER[LOOPBACK]) if loopback else [])
    refused = " || ".join(f"cidr('{block}').containsIP(a)" for block in never)
    inside = " || ".join(f"cidr('{block}').containsIP(a)" for block in homes) or "false"
    socket = exchange.removeprefix(SOCKET) if exchange and exchange.startswith(SOCKET) else ""
    passed = f"a == '{exchange.rpartition(':')[0].strip('[]')}' || " if exchange and not socket else ""
    own = f"(!has(e.unix) || e.unix.path == {socket!r})" if socket else "!has(e.unix)"
    return [
        admission.Check(
            f"variables.addresses.all(a, {passed}isIP(a) && !({refused}) && ({inside}))",
            "backends stand at addresses of the machines' and storage ranges of pool.yaml",
            words="'backends stand at addresses of the machines\\' and storage ranges of pool.yaml, not at '"
            " + variables.addresses.join(', ')",
        ),
        admission.Check(
            "request.resource.resource == 'backends' || !has(object.endpoints) || object.endpoints == null"
            " || object.endpoints.all(e, size(e.addresses) == 1)",
            "endpoints have one address each; only the first one of several would be looked at",
        ),
        admission.Check(
            "!has(object.spec) || !has(object.spec.endpoints)"
            f" || object.spec.endpoints.all(e, {own} && (!has(e.fqdn) || e.fqdn.hostname in variables.names"
            " || variables.domains.exists(d, e.fqdn.hostname.endsWith('.' + d))))",
            "a Backend names a peer pool's service or an address; other names could be pointed elsewhere later",
        ),
        admission.Check(
            "!has(object.spec) || !has(object.spec.type) || object.spec.type == 'Endpoints'",
            "a Backend has fixed endpoints; a dynamic one goes wherever a caller says",
        ),
    ]


def _rule(groups: list[str], resources: list[str]) -> Body:
    return admission.requests_for(groups, resources, ["CREATE", "UPDATE"])
