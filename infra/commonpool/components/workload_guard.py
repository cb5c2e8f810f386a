"""What a department's pods, Services and claims must not be, beyond what Pod Security refuses. Pure.

The rules hold for pods by whatever made them: a Deployment that wants one of these things gets no pods.
"""

import ipaddress

from commonpool.components import admission, names
from commonpool.components.rendering import EVERY_REGISTRY, GRANTED_REGISTRIES, Body
from commonpool.model import Pool

TOKEN_SECONDS = 86_400  # the longest life of a token that a pod may ask for
_STATIC_BAND = 256  # service addresses at the start of a range that Kubernetes leaves to explicit choice, at most


def objects(pool: Pool) -> list[Body]:
    """Images, tokens, Services, claims."""
    return [*_images(pool), *_tokens(pool), *_services(pool), *_claims(pool)]


def _images(pool: Pool) -> list[Body]:
    """Two policies: namespaces that are granted every registry of the pool are told by a label, and need no look at theirs."""
    rule = admission.requests_for([""], ["pods", "pods/ephemeralcontainers"], ["CREATE", "UPDATE"], ["v1"])
    narrowed = f"namespaceObject.metadata.annotations['{GRANTED_REGISTRIES}'].split(',')"
    of_pool = repr([str(registry) for registry in pool.spec.security.registries])
    whole = admission.inside(rule, key=GRANTED_REGISTRIES, among=[EVERY_REGISTRY])
    others = admission.inside(rule, key=GRANTED_REGISTRIES, others=[EVERY_REGISTRY])
    return [
        *admission.validating(pool, "registries", others, [_from(narrowed)]),
        *admission.validating(pool, "registries", whole, [_from(of_pool)], part=EVERY_REGISTRY),
    ]


def _from(registries: str) -> admission.Check:
    """Every image, of any container and of volumes, is inside one of these, a CEL list of names."""

    def inside(image: str) -> str:
        return f"{registries}.exists(registry, {image}.startsWith(registry + '/'))"

    lists = [f"object.spec.containers.all(c, {inside('c.image')})"]
    lists += [
        f"(!has(object.spec.{kind}) || object.spec.{kind}.all(c, {inside('c.image')}))"
        for kind in ("initContainers", "ephemeralContainers")
    ]
    volume = f"!has(v.image) || !has(v.image.reference) || {inside('v.image.reference')}"
    lists.append(f"(!has(object.spec.volumes) || object.spec.volumes.all(v, {volume}))")
    return admission.Check(
        " && ".join(lists),
        "every image must come from a registry that this namespace is granted; the pool lists them under spec.security.registries",
    )


def _tokens(pool: Pool) -> list[Body]:
    """A token that never ends, in a Secret, or one that outlives whoever could take it away."""
    kept = "dyn(object).type != 'kubernetes.io/service-account-token'"
    sources = (
        "v.projected.sources.filter(s, has(s.serviceAccountToken) && has(s.serviceAccountToken.expirationSeconds))"
    )
    short = (
        "!has(dyn(object).spec.volumes) || dyn(object).spec.volumes.filter(v, has(v.projected) && has(v.projected.sources))"
        f".all(v, {sources}.all(s, s.serviceAccountToken.expirationSeconds <= {TOKEN_SECONDS}))"
    )
    return admission.validating(
        pool,
        "tokens",
        admission.inside(
            admission.requests_for([""], ["secrets"], ["CREATE", "UPDATE"], ["v1"]),
            admission.requests_for([""], ["pods"], ["CREATE"], ["v1"]),
        ),
        [
            admission.Check(
                f"request.resource.resource != 'secrets' || !has(dyn(object).type) || {kept}",
                "a token in a Secret never ends; pods get theirs by a projected volume, programs by `kubectl create token`",
            ),
            admission.Check(
                f"request.resource.resource != 'pods' || ({short})",
                f"tokens of pods live at most {TOKEN_SECONDS} seconds; Kubernetes renews them",
            ),
        ],
        conditions=[
            (
                "may-hold-one",
                "request.resource.resource == 'secrets' || (has(dyn(object).spec.volumes)"
                " && dyn(object).spec.volumes.exists(v, has(v.projected)))",
            )
        ],
    )


def _services(pool: Pool) -> list[Body]:
    # The names of shared services lead to the proxy and nowhere else, and nobody else's Service takes one of them.
    name = f"(object.metadata.name.startsWith('{names.PREFIX}') && has(object.spec.externalName) && object.spec.externalName == '{names.PROXY}')"
    checks = [
        admission.Check(
            f"!has(object.spec.type) || object.spec.type == 'ClusterIP' || {name}",
            "only Services of type ClusterIP; what others should reach is declared as a SharedService",
        ),
        admission.Check(
            f"!object.metadata.name.startsWith('{names.PREFIX}') || {name}",
            f"Services whose name begins with {names.PREFIX} are the DNS names of shared services; take another name",
        ),
        admission.Check(
            "!has(object.spec.externalIPs) || size(object.spec.externalIPs) == 0",
            "externalIPs take over other people's addresses (CVE-2020-8554)",
        ),
        admission.Check(
            "!has(object.spec.loadBalancerIP) && !has(object.spec.loadBalancerClass)"
            f" && (!has(object.spec.externalName) || {name})",
            "loadBalancerIP, loadBalancerClass and externalName lead out of the pool; leave them out",
        ),
    ]
    bands = [_reserved_addresses(one.cidr) for one in pool.spec.network.ranges if one.purpose == "services"]
    if bands:
        within = " || ".join(f"cidr('{band}').containsIP(address)" for band in bands)
        checks.append(
            admission.Check(
                # A dry run is shown the first address of the range, whatever it asked for.
                f"(has(request.dryRun) && request.dryRun) || !has(object.spec.clusterIPs) || object.spec.clusterIPs.all(address, !isIP(address) || !({within}))",
                f"addresses of {', '.join(bands)} are the platform's, name resolution among them; leave clusterIP out",
            )
        )
    rule = admission.requests_for([""], ["services", "services/status"], ["CREATE", "UPDATE"], ["v1"])
    checks.append(
        admission.Check(
            "!has(object.status) || !has(object.status.loadBalancer) || !has(object.status.loadBalancer.ingress)"
            " || size(object.status.loadBalancer.ingress) == 0",
            "an address in a Service's status takes over other people's traffic (CVE-2020-8554)",
        )
    )
    return admission.validating(pool, "services", admission.inside(rule), checks)


def _reserved_addresses(cidr: str) -> str:
    """The part of a service range that Kubernetes gives to nobody who did not ask for it (KEP-3070), while others are free."""
    network = ipaddress.ip_network(cidr)
    size = min(max(16, network.num_addresses // 16), _STATIC_BAND)
    return str(ipaddress.ip_network(f"{network.network_address}/{network.max_prefixlen - (size.bit_length() - 1)}"))


def _claims(pool: Pool) -> list[Body]:
    tiers = [tier.name for tier in pool.spec.storage.tiers]
    named = f"has(object.spec.storageClassName) && object.spec.storageClassName in {tiers!r}"
    return admission.validating(
        pool,
        "claims",
        admission.inside(admission.requests_for([""], ["persistentvolumeclaims"], ["CREATE", "UPDATE"], ["v1"])),
        [
            admission.Check(
                named, f"a claim names one of the pool's tiers as its class: {', '.join(tiers)}; others are not counted"
            ),
            admission.Check(
                "!has(object.spec.dataSourceRef) || !has(object.spec.dataSourceRef.namespace)",
                "a claim does not copy what another namespace holds",
            ),
        ],
        conditions=[("new-or-changed", "oldObject == null || object.spec != oldObject.spec")],
    )
