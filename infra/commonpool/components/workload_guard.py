"""What a department's pods, Services and claims must not be, beyond what Pod Security refuses. Pure.

The rules hold for pods by whatever made them: a Deployment that wants one of these things gets no pods.
"""

import ipaddress

from commonpool.components import admission, names
from commonpool.components.rendering import EVERY_REGISTRY, GRANTED_REGISTRIES, Body
from commonpool.model import Pool
from commonpool.model.service import MOST_REPLICAS

TOKEN_SECONDS = 86_400  # the longest life of a token that a pod may ask for
# As long as a burst pod may hold a machine that a guaranteed one waits for, and any pod one that is let go.
GRACE_SECONDS = 600
COUNTED = (
    "cpu",
    "memory",
    "ephemeral-storage",
)  # the last by one quota of the namespace; what else there is nobody counts
# As Pod Security has them where it is restricted, without drivers of one's own choice; its baseline lets a pod mount any share.
_VOLUMES = (
    "configMap",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
# By these a controller is told that a claim is bound already, of which class it is, and where.
_CONTROLLERS_WORDS = (
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.alpha.kubernetes.io/",
    "volume.beta.kubernetes.io/",
)
# The controller of StatefulSets makes all pods of a set in its memory before it asks for one of them, whatever a quota lets it
# have: 300,000 small ones took 2 GB, and the largest number that the API takes ends it, and the scheduler beside it, for
# everybody. As many as a shared service may have.
LARGEST_SET = MOST_REPLICAS
# An autoscaler's controller asks the API server for each metric in turn, everybody's with the same few hands.
MOST_METRICS = 10
MOST_PORTS = 50  # of a Service; every machine of the pool keeps a rule for each port of each pod behind it
_UNCONFINED = (
    "what confines a pod is its machine's own (seccompProfile and appArmorProfile: RuntimeDefault); leave out localhostProfile,"
    " of which some confine nothing, and seLinuxOptions, whose level may be another department's"
)
_STATIC_BAND = 256  # service addresses at the start of a range that Kubernetes leaves to explicit choice, at most


def objects(pool: Pool) -> list[Body]:
    """Images, pods, tokens, Services, claims."""
    return [
        *_images(pool),
        *_pods(pool),
        *_sets(pool),
        *_autoscalers(pool),
        *_tokens(pool),
        *_services(pool),
        *_claims(pool),
    ]


def _images(pool: Pool) -> list[Body]:
    """Two policies: namespaces that are granted every registry of the pool are told by a label, and need no look at theirs."""
    rule = admission.requests_for([""], ["pods", "pods/ephemeralcontainers"], ["CREATE", "UPDATE"], ["v1"])
    narrowed = f"namespaceObject.metadata.annotations['{GRANTED_REGISTRIES}'].split(',')"
    of_pool = repr([str(registry) for registry in pool.spec.security.registries])
    whole = admission.inside(rule, key=GRANTED_REGISTRIES, among=[EVERY_REGISTRY])
    others = admission.inside(rule, key=GRANTED_REGISTRIES, others=[EVERY_REGISTRY])
    changed = [admission.NEW_OR_CHANGED]
    return [
        *admission.validating(pool, "registries", others, [_from(narrowed)], conditions=changed),
        *admission.validating(pool, "registries", whole, [_from(of_pool)], conditions=changed, part=EVERY_REGISTRY),
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


def _pods(pool: Pool) -> list[Body]:
    """What a pod can do to those who share its machine, or its flavor, and no quota counts."""
    volumes = "object.spec.volumes"
    sources = f"!has({volumes}) || {volumes}.filter(v, has(v.projected) && has(v.projected.sources))"
    aged = "!has(s.serviceAccountToken) || !has(s.serviceAccountToken.expirationSeconds)"
    young = f"{aged} || s.serviceAccountToken.expirationSeconds <= {TOKEN_SECONDS}"
    grace = "object.spec.terminationGracePeriodSeconds"
    checks = [
        admission.Check(
            f"{sources}.all(v, v.projected.sources.all(s, {young}))",
            f"tokens of pods live at most {TOKEN_SECONDS} seconds; Kubernetes renews them",
        ),
        admission.Check(
            f"!has({volumes}) || {volumes}.all(v, {' || '.join(f'has(v.{word})' for word in _VOLUMES)})",
            f"volumes are {', '.join(_VOLUMES)}; a share, a driver's or a machine's folder would be whoever's it names: claim one"
            " of a tier (persistentVolumeClaim, ephemeral)",
        ),
        admission.Check(
            _counted(),
            f"only {', '.join(COUNTED)} are counted here; a pod asks for no other resources, devices or resource claims",
        ),
        admission.Check(
            _among_its_own(),
            "affinity is to pods of the own namespace; by another's a pod could keep others off a machine, or come near them",
        ),
        admission.Check(
            f"(!has({grace}) || {grace} <= {GRACE_SECONDS}) && {_probes_end()}",
            f"terminationGracePeriodSeconds, a probe's too, is at most {GRACE_SECONDS}: for so long others wait for the machine",
        ),
        admission.Check(
            "(!has(object.spec.hostUsers) || object.spec.hostUsers) && (!has(object.spec.os) || object.spec.os.name == 'linux')",
            "hostUsers: false and os: windows loosen what Pod Security asks of a pod; leave them out",
        ),
        admission.Check(
            f"{_confined('object.spec.?securityContext')} && {_each_container(_confined('c.?securityContext'))}",
            _UNCONFINED,
        ),
    ]
    new = admission.requests_for([""], ["pods"], ["CREATE"], ["v1"])
    return [*admission.validating(pool, "pods", admission.inside(new), checks), *_added(pool), *_endings(pool)]


def _confined(context: str) -> str:
    """CEL: whether a security context chooses no profile that lies on the machine, and no label of SELinux. Pod Security lets both pass."""
    kept = [f"{context}.?{word}.?type.orValue('') != 'Localhost'" for word in ("seccompProfile", "appArmorProfile")]
    return f"({' && '.join(kept)} && !{context}.?seLinuxOptions.hasValue())"


def _added(pool: Pool) -> list[Body]:
    """Containers that are added to a pod that runs are confined as the others are."""
    rule = admission.requests_for([""], ["pods/ephemeralcontainers"], ["UPDATE"], ["v1"])
    confined = f"object.spec.?ephemeralContainers.orValue([]).all(c, {_confined('c.?securityContext')})"
    checks, changed = [admission.Check(confined, _UNCONFINED)], [admission.NEW_OR_CHANGED]
    return admission.validating(pool, "pods", admission.inside(rule), checks, conditions=changed, part="added")


def _sets(pool: Pool) -> list[Body]:
    """By whichever way a set is told its number, an autoscaler's too."""
    rules = [
        admission.requests_for(["apps"], ["statefulsets"], ["CREATE", "UPDATE"]),
        admission.requests_for(["apps"], ["statefulsets/scale"], ["UPDATE"]),
    ]
    check = admission.Check(
        f"object.spec.?replicas.orValue(0) <= {LARGEST_SET}",
        f"a StatefulSet has at most {LARGEST_SET} replicas: its controller, which works for everybody, makes all of them at once in"
        " its memory; take several sets, or a Deployment",
    )
    changed = [admission.NEW_OR_CHANGED]
    return admission.validating(pool, "pods", admission.inside(*rules), [check], conditions=changed, part="sets")


def _autoscalers(pool: Pool) -> list[Body]:
    """In version 2, to which requests of version 1 are turned, where metrics lie in an annotation."""
    rule = admission.requests_for(["autoscaling"], ["horizontalpodautoscalers"], ["CREATE", "UPDATE"], ["v2"])
    check = admission.Check(
        f"size(object.spec.?metrics.orValue([])) <= {MOST_METRICS}",
        f"an autoscaler looks at {MOST_METRICS} metrics at most: its controller asks for each in turn, and everybody's wait",
    )
    changed = [admission.NEW_OR_CHANGED]
    return admission.validating(pool, "pods", admission.inside(rule), [check], conditions=changed, part="autoscalers")


def _endings(pool: Pool) -> list[Body]:
    """Who deletes or evicts a pod may say how long that takes, whatever the pod says; and later nobody shortens it unasked."""
    rules = [
        admission.requests_for([""], ["pods"], ["DELETE"], ["v1"]),
        admission.requests_for([""], ["pods/eviction"], ["CREATE"]),
    ]
    options, evicting = "request.options", "dyn(object).deleteOptions"

    def said(of: str, holds: str) -> str:
        return f"(!has({of}.gracePeriodSeconds) || {of}.gracePeriodSeconds {holds})"

    def either(holds: str, besides: str) -> str:
        given = f"{said(options, holds)}{besides}"
        return f"request.operation == 'DELETE' ? {given} : !has({evicting}) || {said(evicting, holds)}"

    # Gone from the API server at once, a pod counts no more, and its containers run on for as long as its spec lets them.
    ended = "oldObject.status.?phase.orValue('') in ['Succeeded', 'Failed']"
    nowhere = f" || !has(oldObject.spec.nodeName) || oldObject.spec.nodeName == '' || {ended}"
    accounts = "'system:serviceaccounts' in request.userInfo.groups"
    components = f"request.userInfo.username.startsWith('system:') && !({accounts})"
    checks = [
        admission.Check(
            either(f"<= {GRACE_SECONDS}", ""),
            f"a pod is given at most {GRACE_SECONDS} seconds to end: for so long others wait for the machine",
        ),
        admission.Check(
            f"({components}) || {admission.by_platform(pool)} || {admission.by_controllers()} || ({either('> 0', nowhere)})",
            "a pod on a machine is given a second to end at least (--now, not --force): let go without, it would run on"
            " there and count no more; of a machine that is gone the pool's operators let pods go",
        ),
    ]
    return admission.validating(pool, "pods", admission.inside(*rules), checks, part="endings")


def _counted() -> str:
    """CEL: whether a pod asks for nothing that no quota counts; the API server has made requests of all such limits."""

    def of(holder: str) -> str:
        requests = f"{holder}.resources.requests"
        return f"(!has({holder}.resources) || !has({requests}) || {requests}.all(word, word in {list(COUNTED)!r}))"

    return f"{_each_container(of('c'))} && {of('object.spec')} && !has(object.spec.resourceClaims)"


def _each_container(holds: str) -> str:
    """CEL: whether something holds of each container `c`, those of the start too."""
    return f"object.spec.containers.all(c, {holds}) && (!has(object.spec.initContainers) || object.spec.initContainers.all(c, {holds}))"


def _probes_end() -> str:
    """CEL: whether no probe gives its container longer to end than a pod may; a kubelet waits for that one instead."""
    probes = [
        f"c.?{word}.?terminationGracePeriodSeconds.orValue(0) <= {GRACE_SECONDS}"
        for word in ("livenessProbe", "startupProbe")
    ]
    return _each_container(" && ".join(probes))


def _among_its_own() -> str:
    """CEL: whether no term of a pod's affinity names other namespaces."""
    found = []
    for kind in ("podAffinity", "podAntiAffinity"):
        for word, term in (
            ("requiredDuringSchedulingIgnoredDuringExecution", "t"),
            ("preferredDuringSchedulingIgnoredDuringExecution", "t.podAffinityTerm"),
        ):
            terms = f"object.spec.affinity.{kind}.{word}"
            own = f"(!has({term}.namespaces) || {term}.namespaces.all(n, n == request.namespace)) && !has({term}.namespaceSelector)"
            found.append(f"(!has(object.spec.affinity.{kind}) || !has({terms}) || {terms}.all(t, {own}))")
    return f"!has(object.spec.affinity) || ({' && '.join(found)})"


def _tokens(pool: Pool) -> list[Body]:
    """A token in a Secret outlives whoever could take it away."""
    check = admission.Check(
        "!has(object.type) || object.type != 'kubernetes.io/service-account-token'",
        "a token in a Secret never ends; pods get theirs by a projected volume (serviceAccountToken), which Kubernetes renews",
    )
    secrets = admission.requests_for([""], ["secrets"], ["CREATE"], ["v1"])  # which never get another type
    return admission.validating(pool, "tokens", admission.inside(secrets), [check])


def _services(pool: Pool) -> list[Body]:
    # The names of shared services lead to the proxy and nowhere else, and nobody else's Service takes one of them.
    name = (
        f"(object.metadata.name.startsWith('{names.PREFIX}') && object.spec.?type.orValue('') == 'ExternalName'"
        f" && object.spec.?externalName.orValue('') == '{names.PROXY}')"
    )
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
        admission.Check(
            f"size(object.spec.?ports.orValue([])) <= {MOST_PORTS}",
            f"a Service has at most {MOST_PORTS} ports: every machine keeps a rule for each of them and each pod behind it",
        ),
    ]
    bands = [_reserved_addresses(one.cidr) for one in pool.spec.network.ranges if one.purpose == "services"]
    if bands:
        within = " || ".join(f"cidr('{band}').containsIP(address)" for band in bands)
        checks.append(
            admission.Check(
                # A dry run is shown the first address of the range, whatever it asked for.
                f"(has(request.dryRun) && request.dryRun) || !has(object.spec.clusterIPs) || object.spec.clusterIPs.all(address, address == 'None' || (isIP(address) && !({within})))",
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
    # Also one that stood before the namespace was the pool's goes, when whoever gave it an address lets go of it.
    changed = (
        "new-or-changed",
        "oldObject == null || object.spec != oldObject.spec || object.?status != oldObject.?status",
    )
    return admission.validating(pool, "services", admission.inside(rule), checks, conditions=[changed])


def _reserved_addresses(cidr: str) -> str:
    """The part of a service range that Kubernetes gives to nobody who did not ask for it (KEP-3070), while others are free."""
    network = ipaddress.ip_network(cidr)
    size = min(max(16, network.num_addresses // 16), _STATIC_BAND)
    return str(ipaddress.ip_network(f"{network.network_address}/{network.max_prefixlen - (size.bit_length() - 1)}"))


def _claims(pool: Pool) -> list[Body]:
    """Of a tier, counted, from nowhere else; `marks` is about what binds a claim besides its spec, whatever made the claim."""
    tiers = [tier.name for tier in pool.spec.storage.tiers]
    named = f"has(object.spec.storageClassName) && object.spec.storageClassName in {tiers!r}"
    claims = admission.requests_for([""], ["persistentvolumeclaims"], ["CREATE", "UPDATE"], ["v1"])
    checks = [
        admission.Check(
            named, f"a claim names one of the pool's tiers as its class: {', '.join(tiers)}; others are not counted"
        ),
        admission.Check(
            "!has(object.spec.dataSourceRef) || !has(object.spec.dataSourceRef.namespace)",
            "a claim does not copy what another namespace holds",
        ),
        admission.Check(
            "!has(object.spec.volumeAttributesClassName) || object.spec.volumeAttributesClassName == ''",
            "a claim is as fast as its tier; volumeAttributesClassName is not counted, leave it out",
        ),
    ]
    theirs = " || ".join(f"key.startsWith('{word}')" for word in _CONTROLLERS_WORDS)
    marks, before = "object.metadata.annotations", "oldObject.metadata.annotations"
    kept = f"oldObject != null && has({before}) && {before}[?key].orValue('') == {marks}[key]"
    bound = admission.Check(
        f"!has({marks}) || {marks}.all(key, !({theirs}) || ({kept}))",
        f"annotations {', '.join(_CONTROLLERS_WORDS)} are what controllers say of a claim; leave them out, class and volume"
        " stand in its spec",
    )
    said = ("not-by-controllers", f"request.operation == 'CREATE' || !{admission.by_controllers()}")
    return [
        *admission.validating(pool, "claims", admission.inside(claims), checks, conditions=[admission.NEW_OR_CHANGED]),
        *admission.validating(pool, "claims", admission.inside(claims), [bound], conditions=[said], part="marks"),
    ]
