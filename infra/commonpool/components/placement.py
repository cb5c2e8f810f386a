"""Where pods run: on machines of the flavor that their PriorityClass names, else on their namespace's own. Pure.

Policies set it at creation and hold it; machines of dedicated flavors carry a taint that admission sets as well. A pod that
names no class is given its namespace's own: else it would be of priority 0, and anybody's that names one would displace it.
"""

from commonpool.components import admission
from commonpool.components.compute import GUARANTEED_PRIORITY
from commonpool.components.rendering import FLAVOR, GRANTED_FLAVORS, PREFIX, Body, priority_class
from commonpool.model import Pool

_PODS = admission.requests_for([""], ["pods"], ["CREATE", "UPDATE"], ["v1"])
_NEW_PODS = admission.requests_for([""], ["pods"], ["CREATE"], ["v1"])
_DAEMON_SETS = admission.requests_for(["apps"], ["daemonsets"], ["CREATE", "UPDATE"], ["v1"])
_NODES = admission.requests_for([""], ["nodes"], ["CREATE", "UPDATE"], ["v1"])
_POD, _TEMPLATE = "object.spec", "object.spec.template.spec"


def _flavor(of: str) -> list[Body]:
    """The flavor of a pod's class, else its namespace's own, as a variable."""
    name = f"{of}.priorityClassName"
    own = f"namespaceObject.metadata.labels['{FLAVOR}']"
    named = f"{name}.endsWith('-burst') ? {name}.substring(7, size({name}) - 6) : {name}.substring(7)"
    expression = f"has({name}) && {name}.startsWith('flavor-') ? ({named}) : {own}"
    return [{"name": "flavor", "expression": expression}]


_VARIABLES = _flavor(_POD)
_SILENT = "!has(object.spec.priorityClassName) || object.spec.priorityClassName == ''"
_DAEMONS = "system:serviceaccount:kube-system:daemon-set-controller"  # its pods are everywhere, closed machines too


def objects(pool: Pool) -> list[Body]:
    """What places pods, and what holds them there."""
    return [*_placed(pool), *_held(pool)]


def _placed(pool: Pool) -> list[Body]:
    """Pods, and the DaemonSets that make them: their controller looks for machines itself, by the template alone.

    It would want a pod on every machine of the pool, of which those of other flavors never start and count all the same,
    and none on a dedicated one. What a template was led to is not its author's word: it follows when the flavor changes.
    """
    name = admission.name_of("placement")
    unsaid = f"!has({_POD}.nodeSelector) || !('{FLAVOR}' in {_POD}.nodeSelector)"
    astray = f"!has({_TEMPLATE}.nodeSelector) || {_TEMPLATE}.nodeSelector[?'{FLAVOR}'].orValue('') != variables.flavor"
    return [
        *admission.mutating(
            pool,
            name,
            admission.inside(_NEW_PODS),
            f"{_led(pool, _POD, unsaid)} + (({_SILENT}) ? [{_class()}] : [])",
            variables=_VARIABLES,
        ),
        *admission.mutating(
            pool,
            f"{name}.daemonsets",
            admission.inside(_DAEMON_SETS),
            _led(pool, _TEMPLATE, astray),
            variables=_flavor(_TEMPLATE),
        ),
    ]


def _led(pool: Pool, of: str, when: str) -> str:
    """CEL: the changes that lead pods to the machines of their flavor, and let them stay where it is dedicated."""
    root = _pointer(of)
    path = f"'{root}/nodeSelector/' + jsonpatch.escapeKey('{FLAVOR}')"
    select = (
        f"has({of}.nodeSelector)"
        f" ? [JSONPatch{{op: 'add', path: {path}, value: variables.flavor}}]"
        f" : [JSONPatch{{op: 'add', path: '{root}/nodeSelector', value: {{'{FLAVOR}': variables.flavor}}}}]"
    )
    selected = f"(({when}) ? ({select}) : [])"
    dedicated = _dedicated(pool)
    if not dedicated:
        return selected
    item = f"{{'key': '{FLAVOR}', 'operator': 'Equal', 'value': variables.flavor, 'effect': 'NoSchedule'}}"
    tolerated = f"has({of}.tolerations) && {of}.tolerations.exists(t, has(t.key) && t.key == '{FLAVOR}')"
    return f"{selected} + (!(variables.flavor in {dedicated!r}) || ({tolerated}) ? [] : {_append(of, 'tolerations', item)})"


def _class() -> str:
    """The class as the API server would have resolved it, which it does before policies come."""
    said = {"priorityClassName": f"'{priority_class('')}' + variables.flavor", "priority": f"{GUARANTEED_PRIORITY}",
            "preemptionPolicy": "'PreemptLowerPriority'"}  # fmt: skip
    return ", ".join(f"JSONPatch{{op: 'add', path: '/spec/{word}', value: {value}}}" for word, value in said.items())


def _dedicated(pool: Pool) -> list[str]:
    return [flavor.name for flavor in pool.spec.compute.flavors if flavor.dedicated]


def _pointer(of: str) -> str:
    """The JSON Pointer (RFC 6901) of a field that CEL knows by its path."""
    return of.removeprefix("object").replace(".", "/")


def _append(of: str, field: str, item: str) -> str:
    # In two operations: the API server of 1.36 panics on a list literal that holds a map or an object.
    path = f"{_pointer(of)}/{field}"
    empty = f"has({of}.{field}) ? [] : [JSONPatch{{op: 'add', path: '{path}', value: []}}]"
    return f"({empty}) + [JSONPatch{{op: 'add', path: '{path}/-', value: {item}}}]"


def _held(pool: Pool) -> list[Body]:
    """One policy for the namespaces of each flavor, so that it knows without looking which pods are where they belong."""
    names = [flavor.name for flavor in pool.spec.compute.flavors]
    found = []
    for part, constraints in {
        "": admission.inside(_PODS, others=names),
        **{name: admission.inside(_PODS, among=[name]) for name in names},
    }.items():
        changed = [admission.NEW_OR_CHANGED]
        found += admission.validating(
            pool, "placement", constraints, _checks(part), conditions=changed, variables=_VARIABLES, part=part
        )
    return found


def _checks(own: str) -> list[admission.Check]:
    """What holds of a pod in a namespace; of `own` flavor it is settled early when the pod says nothing else."""
    granted = f"namespaceObject.metadata.annotations['{GRANTED_FLAVORS}'].split(',')"
    name = "object.spec.priorityClassName"
    silent = f"({_SILENT})"
    plain = f"({_SILENT} || {name} == '{priority_class(own)}')"
    selected = f"has(object.spec.nodeSelector) && object.spec.nodeSelector[?'{FLAVOR}'].orValue('') == "
    tolerations, before = "object.spec.tolerations", "oldObject.spec.tolerations"
    tolerated = (
        "!has(object.spec.tolerations) || object.spec.tolerations.all(t, has(t.key) && t.key != ''"
        f" && (!t.key.startsWith('{PREFIX}/') || (t.key == '{FLAVOR}' && has(t.value) && t.value == "
    )
    return [
        admission.Check(
            f"{silent} || ({name}.startsWith('flavor-') && variables.flavor in {granted})",
            "priorityClassName must name a flavor that this namespace is granted (flavor-<name> or flavor-<name>-burst);"
            " the department's manifest grants flavors under spec.namespaces.resources",
            settled=plain if own else "",
        ),
        admission.Check(
            f"{selected} variables.flavor",
            f"nodeSelector {FLAVOR} must be the flavor of the pod's priority class; leave it out and it is set",
            settled=f"{plain} && {selected} '{own}'" if own else "",
        ),
        admission.Check(
            "request.operation != 'CREATE' || !has(object.spec.nodeName) || object.spec.nodeName == ''",
            "nodeName is chosen by the scheduler; leave it out",
        ),
        # A toleration without a key tolerates every taint: that of a machine that is still joining, of one that is let go.
        admission.Check(
            f"{tolerated} variables.flavor)))",
            "a toleration names its key, and none of the pool's own: what pods of a flavor tolerate is set for them",
            settled=f"{plain} && ({tolerated} '{own}'))))" if own else "",
        ),
        admission.Check(
            f"!has({tolerations}) || {tolerations}.all(t, t.key != 'node.kubernetes.io/unschedulable'"
            f" || request.userInfo.username == '{_DAEMONS}'"
            f" || (oldObject != null && has({before}) && {before}.exists(o, o == t)))",
            "a machine that is closed is being let go; nothing but a DaemonSet's pods tolerates that",
        ),
    ]


def node_taints(pool: Pool) -> list[Body]:
    """Machines of dedicated flavors carry their taint from registration on, and keep it whoever edits them."""
    dedicated = _dedicated(pool)
    if not dedicated:
        return []
    own = f"object.metadata.labels['{FLAVOR}']"
    carried = f"has(object.spec.taints) && object.spec.taints.exists(t, t.key == '{FLAVOR}')"
    item = f"{{'key': '{FLAVOR}', 'value': string({own}), 'effect': 'NoSchedule'}}"
    labelled = f"has(object.metadata.labels) && '{FLAVOR}' in object.metadata.labels && {own} in {dedicated!r}"
    return admission.mutating(
        pool,
        "commonpool-node-taints",
        admission.anywhere(_NODES),
        _append(_POD, "taints", item),
        conditions=[("dedicated", labelled), ("not-tainted-yet", f"!({carried})")],
    )
