"""What is the platform's stays as the platform wrote it, whoever asks by whichever verb, and whatever roles they were given. Pure.

Roles give departments none of this. These rules hold when a role was given by mistake, and they ask what an object is by
its kind, by its namespace and by both its states, never by a mark alone that the request itself could take away.
"""

from commonpool.components import admission
from commonpool.components.admission import SYSTEM_NAMESPACE
from commonpool.components.catalogue import NAMESPACE as CATALOGUE
from commonpool.components.endpoint_guard import WORDS_OF_SERVICES, guarded_kinds
from commonpool.components.envoy_gateway.fleet import ENDINGS
from commonpool.components.rendering import (
    DEPARTMENT,
    FLAVOR,
    GRANTED_REGISTRIES,
    POD_SECURITY,
    PREFIX,
    PROXY_NAMESPACE,
    SERVICE,
    Body,
)
from commonpool.components.roles import ROLES
from commonpool.model import Pool

_MANAGED = "'app.kubernetes.io/managed-by'"
_MADE = (
    "pods",
    "persistentvolumeclaims",
    "jobs",
    "replicasets",
    "controllerrevisions",
)  # by controllers, from templates
_POOLS_MEMORY = (
    "commonpool.commonpool.pool"  # the Secret in which the engine keeps it, and the first words of its parts
)
_OUR_MEMORY = "commonpool.commonpool."  # of all stacks of this project; what others run here has another one
# Kubernetes sets these itself on what a department makes, and takes them away again: of a pod only while a Job controls it.
_OF_CLAIMS, _OF_JOBS = "kubernetes.io/pvc-protection", "batch.kubernetes.io/job-tracking"
_OF_SERVICES = ["apps", "discovery.k8s.io", *guarded_kinds()]  # API groups
# Bytes of an object of any other kind than these two, which Kubernetes bounds itself (1 MiB). Some 20 times what a large
# pod takes; counts times sizes is what a department can put into the store, and a full store stops everybody.
LARGEST = 128 << 10
# The garbage collector asks the API server for each owner in turn, and everybody's objects wait for it: 60 objects of 800 owners
# each kept it busy for two minutes.
MOST_OWNERS = 4
_BOUNDED_BY_KUBERNETES = ("configmaps", "secrets")
_A_NAMESPACE = "(request.resource.group == '' && request.resource.resource == 'namespaces')"
# Kinds that departments make beside the platform in the same namespaces; of the others there is nothing of their own.
_SHARED_KINDS = {
    "": ["configmaps", "services", "serviceaccounts", "resourcequotas", "limitranges"],
    "apps": ["deployments"],
    "networking.k8s.io": ["networkpolicies"],
    "rbac.authorization.k8s.io": ["rolebindings"],
}
_FENCES = frozenset({"resourcequotas", "limitranges", "networkpolicies", "rolebindings"})
_DEFAULT_ACCOUNT = (  # Kubernetes makes it before the platform writes into it, and keeps it when the platform takes that back
    "(request.resource.resource == 'serviceaccounts' && request.operation == 'UPDATE' && object.metadata.name == 'default')"
)
_SCALED = "has(request.subResource) && request.subResource == 'scale'"
_KINDS = {
    "": ["resourcequotas", "resourcequotas/status", "limitranges", "serviceaccounts/token", "bindings", "pods/binding"],
    "networking.k8s.io": ["networkpolicies", "ingresses"],
    "rbac.authorization.k8s.io": ["roles", "rolebindings"],
}


def objects(pool: Pool) -> list[Body]:
    """Namespaces, kinds that are the platform's, single objects that are, bindings, the engine."""
    return [*_namespaces(pool), *_kinds(pool), *_owned(pool), *_bindings(pool), *_engine(pool)]


def _marked(state: str) -> str:
    """CEL: whether a state of an object carries any mark of ours."""
    labels = f"{state}.metadata.labels"
    return (
        f"({state} != null && has({labels}) && ({labels}[?{_MANAGED}].orValue('') == 'commonpool'"
        f" || {labels}.exists(key, {admission.reserved('key')})))"
    )


def _namespaces(pool: Pool) -> list[Body]:
    """Also of namespaces that are not ours: nobody makes them ours, and nobody from the identity provider writes any."""
    prefix = pool.spec.security.identity.username_prefix
    rule = admission.requests_for(
        [""], ["namespaces", "namespaces/status", "namespaces/finalize"], admission.CHANGES, ["v1"]
    )
    checks = [
        admission.Check(
            f"!{_marked('object')} && !{_marked('oldObject')}",
            "namespaces of the pool, their labels and owners are declared in a manifest and written by the platform alone",
        ),
        admission.Check(
            f"!request.userInfo.username.startsWith('{prefix}')",
            "namespaces are asked for in a department's manifest; no person writes one",
        ),
    ]
    found = admission.validating(
        pool, "namespaces", admission.anywhere(rule), checks, conditions=[admission.not_trusted(pool)]
    )
    return [*found, *_owners(pool)]


def _owners(pool: Pool) -> list[Body]:
    """Not even the platform gives a department's namespace to another one, with the Secrets that are in it (GHSA-8vhc-hwhc-cpj4)."""
    rule = admission.requests_for([""], ["namespaces"], ["UPDATE"], ["v1"])
    labels = "metadata.labels"
    owned = f"has(oldObject.{labels}) && '{DEPARTMENT}' in oldObject.{labels} && !('{SERVICE}' in oldObject.{labels})"
    kept = f"has(object.{labels}) && object.{labels}[?'{DEPARTMENT}'].orValue('') == oldObject.{labels}['{DEPARTMENT}']"
    served = [
        f"(has({state}.{labels}) ? {state}.{labels}[?'{SERVICE}'].orValue('') : '')"
        for state in ("object", "oldObject")
    ]
    checks = [
        admission.Check(
            f"!({owned}) || ({kept})",
            "a namespace stays its department's, for what lies in it is: give the other department's another name, or delete"
            " this one first",
        ),
        admission.Check(
            f"{served[0]} == {served[1]}",
            "a namespace stays the service's that it was made for, or a department's own; delete this one first",
        ),
    ]
    return admission.validating(pool, "namespaces", admission.anywhere(rule), checks, part="owner")


def _kinds(pool: Pool) -> list[Body]:
    """Kinds of which a department has none of its own; the kubelet asks for its own pods' tokens."""
    rules = [admission.requests_for([group], kinds, admission.CHANGES) for group, kinds in _KINDS.items()]
    tokens = "has(request.subResource) && request.subResource == 'token' && 'system:nodes' in request.userInfo.groups"
    checks = [
        admission.Check(
            tokens,
            "quotas, limits, network policies, ingresses, roles, role bindings, tokens and the placing of pods are the"
            " platform's; they follow from the department's manifest",
        )
    ]
    found = admission.validating(
        pool, "kinds", admission.inside(*rules), checks, conditions=[admission.not_trusted(pool)]
    )
    return [*found, *_fences(pool)]


def _fences(pool: Pool) -> list[Body]:
    """Not even the platform takes over a fence that belongs to something: whoever deletes its owner has it swept away."""
    rules = [
        admission.requests_for([group], [kind for kind in kinds if kind in _FENCES], ["CREATE", "UPDATE"])
        for group, kinds in _SHARED_KINDS.items()
        if not _FENCES.isdisjoint(kinds)
    ]
    check = admission.Check(
        f"!{_marked('object')} || size(object.metadata.?ownerReferences.orValue([])) == 0",
        "what fences a namespace belongs to nothing, for it would go when its owner does; take its metadata.ownerReferences out,"
        " or delete it, before it is adopted",
    )
    others = ("not-by-controllers", f"!{admission.by_controllers()}")
    return admission.validating(pool, "kinds", admission.inside(*rules), [check], conditions=[others], part="owners")


def _owned(pool: Pool) -> list[Body]:
    """Of every kind, single objects that carry our mark, and the mark itself."""
    rules = [
        admission.requests_for(["*"], ["*"], admission.CHANGES),
        admission.requests_for(["apps"], ["deployments/scale", "statefulsets/scale", "deployments/status"], ["UPDATE"]),
        # By containers that are added to a pod it grows as by any other change of it.
        admission.requests_for([""], ["pods/ephemeralcontainers"], ["UPDATE"]),
        # By a status an object can be given an owner that does not exist, and then it is swept away.
        admission.requests_for([""], ["services/status", "persistentvolumes/status"], ["UPDATE"]),
        admission.requests_for(
            ["flowcontrol.apiserver.k8s.io"], ["flowschemas/status", "prioritylevelconfigurations/status"], ["UPDATE"]
        ),
    ]
    served = f"namespaceObject.metadata.labels[?'{SERVICE}'].orValue('')"
    annotated = "object.metadata.annotations"
    copied = f"{admission.by_controllers()} && request.resource.resource in ['replicasets', 'controllerrevisions']"  # from their owner
    checks = [
        admission.Check(
            f"!{_marked('oldObject')}",
            "this object is written by the platform from a manifest; change the manifest, and it follows",
        ),
        admission.Check(
            f"object == null || !{_marked('object')}",
            f"the labels {PREFIX}/, applyset.kubernetes.io/ and app.kubernetes.io/managed-by: commonpool are the platform's",
        ),
        admission.Check(
            f"object == null || !has({annotated}) || !{annotated}.exists(key, {admission.reserved('key')}) || ({copied})",
            f"the annotations {PREFIX}/ and applyset.kubernetes.io/ are the platform's",
        ),
        admission.Check(
            _ends(),
            "a finalizer that nobody takes away keeps a namespace from ending; leave metadata.finalizers to Kubernetes",
        ),
        admission.Check(
            _counted_by_its_job(),
            f"a pod that bears {_OF_JOBS} stays its Job's: nobody else would take that away; leave its ownerReferences",
        ),
        admission.Check(
            _of_few_owners(),
            f"an object has at most {MOST_OWNERS} ownerReferences: what looks for owners that are gone looks for everybody's in turn",
        ),
        admission.Check(
            f"!({_SCALED}) || object.metadata.name != {served}",
            "how many of a shared service run stands in its manifest",
            settled=f"!({_SCALED})",
        ),
        admission.Check(
            _of_a_size(),
            f"an object has at most {LARGEST} bytes in all; what is larger goes into ConfigMaps, volumes or images",
        ),
    ]
    elsewhere = ("not-a-machine", "request.resource.resource != 'nodes'")  # their labels have a rule of their own
    in_use = "request.resource.resource == 'gatewayclasses' && request.operation == 'UPDATE' && object.spec == oldObject.spec"
    # What controllers make of a department's templates is the department's word, and so is how many an autoscaler wants.
    made = f"request.operation == 'CREATE' && request.resource.resource in {list(_MADE)!r}"
    for_others = f"!({admission.by_controllers()} && !({made}) && !({_SCALED}))"
    trusted = ("neither-the-platform-nor-kubernetes-itself", f"!{admission.by_platform(pool)} && {for_others}")
    conditions = [elsewhere, trusted, ("not-a-class-in-use", f"!({in_use})")]
    # Kinds of the whole cluster lie in no namespace, and no selector leaves them out: what of them is ours is guarded too.
    return admission.validating(pool, "owned", admission.inside(*rules), checks, conditions=conditions)


def _ends() -> str:
    """CEL: whether a department's object gets no finalizer but Kubernetes' own; other namespaces' accounts may have theirs."""
    new, old = "object.metadata.finalizers", "oldObject.metadata.finalizers"
    groups = "request.userInfo.groups"
    inside = f"'system:serviceaccounts:kube-system' in {groups} || ('system:serviceaccounts:' + request.namespace) in {groups}"
    others = f"'system:serviceaccounts' in {groups} && !({inside})"
    controlled = (
        "object.metadata.?ownerReferences.orValue([]).exists(o, o.kind == 'Job' && o.?controller.orValue(false))"
    )
    of_job = f"request.resource.resource == 'pods' && {admission.by_controllers()} && {controlled}"
    own = [
        f"(request.resource.resource == 'persistentvolumeclaims' && f == '{_OF_CLAIMS}')",
        f"(f == '{_OF_JOBS}' && {of_job})",
    ]
    known = " || ".join(
        ["f in ['foregroundDeletion', 'orphan']", *own, f"(oldObject != null && has({old}) && f in {old})"]
    )
    return f"object == null || !has({new}) || request.namespace == '' || ({others}) || {new}.all(f, {known})"


def _of_a_size() -> str:
    """CEL: whether an object in a namespace is no larger than it may be."""
    kinds = f"request.resource.resource in {list(_BOUNDED_BY_KUBERNETES)!r}"
    return f"object == null || request.namespace == '' || {kinds} || {admission.BYTES} <= {LARGEST}"


def _of_few_owners() -> str:
    """CEL: whether an object in a namespace is given no more owners than it may have."""
    few = f"size(object.metadata.?ownerReferences.orValue([])) <= {MOST_OWNERS}"
    kept = "oldObject != null && object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences"
    return f"object == null || request.namespace == '' || {few} || ({kept})"


def _counted_by_its_job() -> str:
    """CEL: whether a pod that the controller of Jobs still counts keeps its owner; of any other's that controller lets the mark stand."""
    counted = f"request.resource.resource == 'pods' && oldObject != null && '{_OF_JOBS}' in oldObject.metadata.?finalizers.orValue([])"
    kept = "object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences"
    return f"object == null || !({counted}) || {admission.by_controllers()} || ({kept})"


def _bindings(pool: Pool) -> list[Body]:
    """Not even the platform gives a namespace to all the world, to a pipeline, to another's accounts, or by another role than ours."""
    rule = admission.requests_for(["rbac.authorization.k8s.io"], ["rolebindings"], ["CREATE", "UPDATE"])
    subjects, prefix = "object.subjects", pool.spec.security.identity.groups_prefix
    named = f"s.kind == 'Group' && s.name.startsWith('{prefix}')"
    pipelines = admission.platform_groups(pool)[1:]
    checks = [
        admission.Check(
            f"object.roleRef.kind == 'ClusterRole' && object.roleRef.name in {sorted(ROLES.values())!r}",
            f"in a department's namespace only {', '.join(sorted(ROLES.values()))} are bound",
        ),
        admission.Check(
            f"!has({subjects}) || {subjects}.all(s, s.kind == 'ServiceAccount'"
            f" ? has(s.namespace) && s.namespace == object.metadata.namespace : {named} && !(s.name in {pipelines!r}))",
            "a binding names groups of the identity provider and accounts of its own namespace, no group of Kubernetes itself"
            " and no pipeline's",
        ),
    ]
    reader = f"{named} || s.kind == 'Group' && s.name.startsWith('system:serviceaccounts:')"
    readers = admission.Check(
        f"object.roleRef.kind == 'ClusterRole' && object.roleRef.name == '{CATALOGUE}'"
        f" && (!has({subjects}) || {subjects}.all(s, {reader}))",
        "the catalogue is read by groups of the identity provider and by the accounts of namespaces, not by all the world",
    )
    return [
        *admission.validating(pool, "bindings", admission.inside(rule), checks),
        *admission.validating(pool, "bindings", admission.named(CATALOGUE, rule), [readers], part="catalogue"),
    ]


def _engine(pool: Pool) -> list[Body]:
    """The platform's own credentials, for the day on which one is stolen: they write where the pool is, or try only."""
    engine, preview = admission.platform_users()
    groups = [group for group in admission.platform_groups(pool) if group != "system:masters"]
    checks = [
        admission.Check(
            f"request.userInfo.username != '{preview}' || (has(request.dryRun) && request.dryRun)",
            "this credential previews: it tries, and writes nothing",
        ),
        admission.Check(
            f"!{_A_NAMESPACE} || {_unheld()}",
            "this credential gives a namespace neither owners nor finalizers: by these it would be swept away, or never end",
        ),
        admission.Check(
            f"!{_A_NAMESPACE} || ((oldObject == null || {_marked('oldObject')}) && ({_fenced(pool)}))",
            "this credential writes namespaces of the pool, fenced as the pool declares, and no other",
        ),
        admission.Check(
            "request.resource.resource != 'envoypatchpolicies' || object == null || object.spec.jsonPatches.all(one,"
            f" one.name.startsWith(request.namespace + '/') && one.operation.op == 'add' && one.operation.path in {list(ENDINGS)!r})",
            "this credential patches how connections of the own namespace end, and nothing else that the proxy knows",
        ),
        # Code there would run with what the proxy has: everybody's calls, and its own key. By other words of a policy callers would
        # be who somebody else says, and the proxy would ask for keys wherever it is told.
        admission.Check(
            " && ".join(
                f"(request.resource.resource != '{kind}' || object == null || object.spec.all(word, word in {words!r}))"
                for kind, words in WORDS_OF_SERVICES.items()
            ),
            "this credential leads calls through the exchange, says until when they pass and what the proxy answers itself; it puts"
            " no code into the proxy, and nothing by which callers are known",
        ),
    ]
    elsewhere = admission.Check(
        f"request.namespace == '' || {_A_NAMESPACE} || {_place()}",
        "this credential writes what services and departments are made of into the namespaces of the pool, and into no other",
    )
    # Whoever makes pods somewhere reads the Secrets there.
    departments = admission.Check(
        "false", "this credential starts workloads and leads traffic of shared services, and nothing of a department"
    )
    mine = (
        "the-engine",
        f"(request.userInfo.username in {[engine, preview]!r} || request.userInfo.groups.exists(group, group in {groups!r}))"
        " && !('system:masters' in request.userInfo.groups)",
    )
    own = admission.Check(
        f"({_DEFAULT_ACCOUNT} || ((oldObject == null || {_marked('oldObject')}) && (object == null || {_marked('object')})))"
        f" && {_unheld()}",
        "this credential writes what bears the platform's marks, and nothing that a department or its programs made there;"
        " an administrator takes that over with --adopt",
    )
    shared = [admission.requests_for([group], kinds, admission.CHANGES) for group, kinds in _SHARED_KINDS.items()]
    operations = [*admission.CHANGES, "CONNECT"]
    every, led = (admission.requests_for(found, ["*/*"], operations) for found in (["*"], _OF_SERVICES))
    # Where a request goes is asked by selectors: what the API server compares before it turns objects into CEL's values
    # costs next to nothing, and nearly all that is written passes here.
    return [
        *admission.validating(pool, "engine", admission.anywhere(every), checks, conditions=[mine]),
        *admission.validating(
            pool, "engine", admission.outside(every), [elsewhere], conditions=[mine], part="elsewhere"
        ),
        *admission.validating(
            pool, "engine", admission.inside(led, lacking=SERVICE), [departments], conditions=[mine], part="departments"
        ),
        *admission.validating(pool, "engine", admission.inside(*shared), [own], conditions=[mine], part="marks"),
    ]


def _unheld() -> str:
    """CEL: whether an object gets no finalizer and no owner that it does not have already."""
    kept = [
        f"(!has(object.metadata.{word}) || (oldObject != null && object.metadata.?{word} == oldObject.metadata.?{word}))"
        for word in ("finalizers", "ownerReferences")
    ]
    return f"(object == null || ({' && '.join(kept)}))"


def _place() -> str:
    """CEL: whether this kind is written into a namespace that is not of the pool: few are, into the platform's own.

    What the pool's stack remembers is no pipeline's, and what other people's programs do: an administrator's next run would
    take from it what to delete.
    """
    name = "(object != null ? object.metadata.name : request.name)"
    others = (
        f"{name}.startsWith('{_OUR_MEMORY}') && {name} != '{_POOLS_MEMORY}' && !{name}.startsWith('{_POOLS_MEMORY}.')"
    )
    readers = f"object == null || object.roleRef.name == '{CATALOGUE}'"
    places = [
        (SYSTEM_NAMESPACE, ["leases", "secrets"], others),
        (SYSTEM_NAMESPACE, ["configmaps"], f"{name}.startsWith('cut-over.')"),
        (PROXY_NAMESPACE, ["networkpolicies"], "true"),
        (CATALOGUE, ["datasets"], "true"),
        (CATALOGUE, ["rolebindings"], readers),
    ]
    found = [
        f"request.namespace == '{place}' && request.resource.resource in {kinds!r} && ({what})"
        for place, kinds, what in places
    ]
    return " || ".join(f"({one})" for one in found)


def _fenced(pool: Pool) -> str:
    """CEL: whether a namespace that is written is ours, and promises no more than the pool does."""
    labels, notes = "object.metadata.labels", "object.metadata.annotations"
    level = {"enforce": pool.spec.security.pod_security, "enforce-version": "latest"}
    held = [f"{labels}[?'{POD_SECURITY}/{word}'].orValue('') == '{value}'" for word, value in level.items()]
    registries = repr([str(registry) for registry in pool.spec.security.registries])
    inside = f"{registries}.exists(whole, one == whole || one.startsWith(whole + '/'))"
    granted = f"{notes}[?'{GRANTED_REGISTRIES}'].orValue('').split(',').all(one, {inside})"
    parts = [f"has({labels})", f"'{FLAVOR}' in {labels}", _marked("object"), *held, f"has({notes})", granted]
    return f"object == null || ({' && '.join(parts)})"
