"""What a department's people can and cannot do, asked of the real API server with their own credentials."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from commonpool.components import department, service
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, kubeconfig
from commonpool.engine.answer import holds
from commonpool.engine.error import EngineError
from commonpool.model import Estate

Person = Callable[[str], Callable[[Any], Any]]
OnCluster = Callable[[Any], Any]
FLAVOR = "commonpool.dev/flavor"
IMAGE = "registry.jiangnan.example/water/forecast:1"
SECURE = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(namespace: str, *, name: str = "", image: str = IMAGE, cpu: str = "100m", **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image,
        "securityContext": SECURE,
        "resources": {"requests": {"cpu": cpu, "memory": "128Mi"}, "limits": {"memory": "128Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name or f"p{uuid.uuid4().hex[:8]}", "namespace": namespace},
        "spec": {"containers": [container], **spec},
    }


def deployment(namespace: str, name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    template = pod(namespace, **spec)["spec"]
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template},
        },
    }


async def pods_of(cluster: Cluster, namespace: str, name: str, count: int) -> list[dict[str, Any]]:
    """The pods of a Deployment once that many are bound."""
    for _ in range(120):
        found, _ = await cluster.list_objects("v1", "Pod", namespace=namespace, selector=f"app={name}")
        if sum("nodeName" in one["spec"] for one in found) >= count:
            return found
        await asyncio.sleep(0.25)
    raise AssertionError(f"{len(found)} pods, not all bound: {json.dumps([one['status'] for one in found])[:2000]}")


async def refused(work: Any) -> str:
    with pytest.raises(EngineError) as error:
        await work
    return str(error.value)


@pytest.mark.parametrize(
    ("namespace", "flavor"), [("water-bureau-flood", "performance"), ("water-bureau-flood-test", "legacy")]
)
def test_a_developer_deploys_and_the_scheduler_binds_to_nodes_of_the_flavor(
    person: Person, on_cluster: OnCluster, sample: Estate, namespace: str, flavor: str
) -> None:
    name = f"d{uuid.uuid4().hex[:6]}"

    async def deploy(cluster: Cluster) -> list[dict[str, Any]]:
        await cluster.apply(deployment(namespace, name, 3))
        return await pods_of(cluster, namespace, name, 3)

    async def flavors(cluster: Cluster) -> dict[str, str]:
        nodes, _ = await cluster.list_objects("v1", "Node")
        return {node["metadata"]["name"]: node["metadata"]["labels"][FLAVOR] for node in nodes}

    bound = person("water-developers")(deploy)
    by_name = on_cluster(flavors)
    assert {by_name[one["spec"]["nodeName"]] for one in bound} == {flavor}
    machines = {machine.name: machine for machine in sample.machines}
    assert all(machines[one["spec"]["nodeName"]].facts.role == "node" for one in bound)


def test_a_chosen_flavor_that_is_granted_is_used_and_its_quota_counts(person: Person, on_cluster: OnCluster) -> None:
    name = f"d{uuid.uuid4().hex[:6]}"
    namespace = "water-bureau-flood"

    async def used(cluster: Cluster) -> str:
        quota = await cluster.read("v1", "ResourceQuota", namespace, "burst-performance")
        assert quota is not None
        return str(quota["status"]["used"]["requests.cpu"])

    before = on_cluster(used)

    async def deploy(cluster: Cluster) -> list[dict[str, Any]]:
        await cluster.apply(deployment(namespace, name, 1, cpu="2", priorityClassName="flavor-performance-burst"))
        return await pods_of(cluster, namespace, name, 1)

    bound = person("water-admins")(deploy)[0]
    assert bound["spec"]["nodeSelector"] == {FLAVOR: "performance"}
    assert (before, on_cluster(used)) == ("0", "2")


def test_quota_refuses_one_cpu_too_many(person: Person) -> None:
    """Pods take all that is guaranteed, then one more core is asked for."""
    namespace = "water-bureau-flood-test"  # 6 cores of legacy are guaranteed

    async def fill(cluster: Cluster) -> str:
        quota = await cluster.read("v1", "ResourceQuota", namespace, "guaranteed-legacy")
        assert quota is not None
        hard, used = (_cores(quota["status"][word]["requests.cpu"]) for word in ("hard", "used"))
        left = hard - used
        await cluster.create(pod(namespace, cpu=f"{left}m"))
        return await refused(cluster.create(pod(namespace, cpu="1")))

    words = person("water-developers")(fill)
    assert "exceeded quota: guaranteed-legacy" in words
    assert "requested: requests.cpu=1" in words


def _cores(text: str) -> int:
    """Millicores."""
    return int(text[:-1]) if text.endswith("m") else 1000 * int(text)


def test_another_departments_namespace_is_invisible(person: Person, sample: Estate) -> None:
    others = [full for one in sample.departments if one.name != "water-bureau" for full, _ in one.namespaces()]
    kinds = [("v1", "Pod"), ("v1", "Secret"), ("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("v1", "ResourceQuota")]

    async def look(cluster: Cluster) -> list[str]:
        found = [await refused(cluster.list_objects("v1", "Namespace"))]
        for namespace in [*others, "kube-system", "commonpool-system", "default"]:
            found.append(await refused(cluster.read("v1", "Namespace", "", namespace)))
            found += [await refused(cluster.list_objects(*kind, namespace=namespace)) for kind in kinds]
        return found

    for group in ("water-admins", "water-developers", "water-viewers"):
        answers = person(group)(look)
        assert len(answers) > 100
        assert all("forbidden" in words for words in answers), [w for w in answers if "forbidden" not in w][:3]


ALLOWED = {
    "admins": {"write workloads": True, "read secrets": True, "exec": True, "read quota": True, "read routes": True},
    "developers": {
        "write workloads": True,
        "read secrets": False,
        "exec": True,
        "read quota": True,
        "read routes": True,
    },
    "viewers": {
        "write workloads": False,
        "read secrets": False,
        "exec": False,
        "read quota": True,
        "read routes": True,
    },
}
ASKED: dict[str, list[tuple[str, str, str]]] = {
    "write workloads": [("create", "apps", "deployments"), ("delete", "", "pods"), ("create", "", "configmaps")],
    "read secrets": [("get", "", "secrets"), ("list", "", "secrets")],
    "exec": [("create", "", "pods/exec"), ("create", "", "pods/portforward")],
    "read quota": [("get", "", "resourcequotas"), ("list", "networking.k8s.io", "networkpolicies")],
    "read routes": [("get", "gateway.networking.k8s.io", "httproutes"), ("list", "gateway.envoyproxy.io", "backends")],
}
NEVER = [
    *[(verb, "", resource) for resource in ("resourcequotas", "limitranges", "namespaces", "nodes", "persistentvolumes")
      for verb in ("create", "update", "patch", "delete", "deletecollection")],
    *[(verb, "rbac.authorization.k8s.io", resource) for resource in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
      for verb in ("create", "update", "patch", "delete", "bind", "escalate")],
    *[(verb, "networking.k8s.io", "networkpolicies") for verb in ("create", "update", "patch", "delete", "deletecollection")],
    ("impersonate", "", "users"), ("impersonate", "", "groups"), ("create", "", "serviceaccounts/token"),
    ("create", "", "endpoints"), ("create", "discovery.k8s.io", "endpointslices"), ("get", "", "nodes/proxy"),
    ("update", "", "resourcequotas/status"), ("update", "", "namespaces/finalize"), ("create", "", "pods/binding"),
    ("approve", "certificates.k8s.io", "signers"), ("create", "certificates.k8s.io", "certificatesigningrequests"),
    ("create", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("create", "apiextensions.k8s.io", "customresourcedefinitions"), ("get", "storage.k8s.io", "storageclasses"),
    ("*", "*", "*"),
]  # fmt: skip


@pytest.mark.parametrize("role", ALLOWED)
def test_roles_allow_what_they_say_and_nothing_of_the_pools(person: Person, role: str) -> None:
    async def may(cluster: Cluster, verb: str, group: str, resource: str) -> bool:
        name, _, subresource = resource.partition("/")
        asked = {
            "namespace": "water-bureau-flood", "verb": verb, "group": group, "resource": name, "subresource": subresource,
        }  # fmt: skip
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": asked}}  # fmt: skip
        answer = await cluster.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        return bool(answer["status"]["allowed"])

    async def ask(cluster: Cluster) -> tuple[dict[str, bool], list[tuple[str, str, str]]]:
        async def every(wanted: Iterable[tuple[str, str, str]]) -> list[bool]:
            return list(await asyncio.gather(*(may(cluster, *one) for one in wanted)))

        answers = {}
        for word, wanted in ASKED.items():
            found = await every(wanted)
            assert len(set(found)) == 1, (word, found)
            answers[word] = found[0]
        return answers, [one for one, allowed in zip(NEVER, await every(NEVER), strict=True) if allowed]

    answers, never = person(f"water-{role}")(ask)
    assert answers == ALLOWED[role]
    assert never == []


def test_the_fence_stands_as_declared(on_cluster: OnCluster, sample: Estate) -> None:
    """Every object of every department and service, network policies and quotas among them, holds what was rendered."""
    bodies = [body for one in sample.departments for body in department.objects(sample, one)]
    bodies += [body for one in sample.services for body in service.objects(sample, one)]

    async def compare(cluster: Cluster) -> list[str]:
        async def one(body: dict[str, Any]) -> str:
            metadata = body["metadata"]
            live = await cluster.read(body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"])
            name = f"{body['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
            return "" if live is not None and holds(live, body) else name

        return [name for name in await asyncio.gather(*(one(body) for body in bodies)) if name]

    assert on_cluster(compare) == []


def test_every_namespace_is_closed_in_both_directions_and_open_to_names_and_what_it_declares(
    on_cluster: OnCluster, sample: Estate
) -> None:
    async def policies(cluster: Cluster) -> list[dict[str, Any]]:
        return (await cluster.list_objects("networking.k8s.io/v1", "NetworkPolicy"))[0]

    found: dict[str, dict[str, Any]] = {}
    for policy in on_cluster(policies):
        found.setdefault(policy["metadata"]["namespace"], {})[policy["metadata"]["name"]] = policy["spec"]
    for one in sample.departments:
        for full, spec in one.namespaces():
            own: dict[str, Any] = {"podSelector": {}}
            closed = found[full]["closed"]
            assert sorted(closed["policyTypes"]) == ["Egress", "Ingress"]
            assert closed["podSelector"] == {}
            assert closed["ingress"] == [{"from": [own]}]
            names, inside = closed["egress"]
            assert {port["port"] for port in names["ports"]} == {53}
            assert inside == {"to": [own]}
            expected = {"closed"}
            expected |= {f"egress-{item.name}" for item in spec.egress} | {f"consume-{name}" for name in spec.consumes}
            assert set(found[full]) == expected


REFUSALS = {
    "a foreign registry": (pod("x", image="docker.io/library/nginx"), "registry that this namespace is granted"),
    "a registry whose name only starts alike": (
        pod("x", image="registry.jiangnan.example.evil.test/nginx"), "registry that this namespace is granted"),
    "an init container from elsewhere": (
        pod("x", initContainers=[{"name": "i", "image": "quay.io/a/b", "securityContext": SECURE}]), "registry"),
    "a node of its own choice": (pod("x", nodeName="rs-01"), "nodeName is chosen by the scheduler"),
    "a flavor that is not granted": (pod("x", priorityClassName="flavor-secure"), "granted"),
    "burst of a flavor that is not granted": (pod("x", priorityClassName="flavor-legacy-burst"), "granted"),
    "a system priority": (pod("x", priorityClassName="system-cluster-critical"), "granted"),
    "the selector of another flavor": (pod("x", nodeSelector={FLAVOR: "secure"}), "must be the flavor"),
    "the host's network": (pod("x", hostNetwork=True), "PodSecurity"),
    "the host's processes": (pod("x", hostPID=True), "PodSecurity"),
    "a path of the host": (pod("x", volumes=[{"name": "h", "hostPath": {"path": "/"}}]), "PodSecurity"),
    "no quota left for so much": (pod("x", cpu="999"), "exceeded quota"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_a_pod_is_refused_that_wants(person: Person, what: str) -> None:
    body, words = REFUSALS[what]
    body["metadata"]["namespace"] = "water-bureau-flood"
    for group in ("water-admins", "water-developers"):
        assert words in person(group)(lambda cluster: refused(cluster.create(body)))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"type": "NodePort", "ports": [{"port": 80}]}, "ClusterIP"),
        ({"type": "LoadBalancer", "ports": [{"port": 80}]}, "ClusterIP"),
        ({"type": "ExternalName", "externalName": "localhost"}, "ClusterIP"),
        ({"ports": [{"port": 80}], "externalIPs": ["10.0.0.1"]}, "CVE-2020-8554"),
    ],
    ids=["NodePort", "LoadBalancer", "ExternalName", "externalIPs"],
)
def test_a_service_is_refused_that_reaches_out(person: Person, spec: dict[str, Any], words: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "water-bureau-flood"},
        "spec": spec,
    }
    assert words in person("water-admins")(lambda cluster: refused(cluster.create(body)))


def test_an_ephemeral_container_from_a_foreign_registry_is_refused(person: Person) -> None:
    namespace = "water-bureau-flood"
    body = pod(namespace)
    place = f"/api/v1/namespaces/{namespace}/pods/{body['metadata']['name']}/ephemeralcontainers"

    def patch(image: str) -> dict[str, Any]:
        return {"spec": {"ephemeralContainers": [{"name": "debug", "image": image, "securityContext": SECURE}]}}

    kind = "application/strategic-merge-patch+json"

    async def attach(cluster: Cluster) -> str:
        await cluster.create(body)
        words = await refused(cluster.request("PATCH", place, patch("docker.io/library/busybox"), kind))
        await cluster.request("PATCH", place, patch("registry.jiangnan.example/tools/debug:1"), kind)
        return words

    assert "registry that this namespace is granted" in person("water-developers")(attach)


def test_pods_get_no_token_unless_they_ask(person: Person) -> None:
    async def create(cluster: Cluster) -> dict[str, Any]:
        return await cluster.create(pod("water-bureau-flood"))

    assert not [
        volume for volume in person("water-developers")(create)["spec"].get("volumes", []) if "projected" in volume
    ]


def test_the_platforms_own_people_read_everything_but_secrets_and_write_nothing(person: Person, sample: Estate) -> None:
    async def look(cluster: Cluster) -> tuple[int, list[str]]:
        nodes, _ = await cluster.list_objects("v1", "Node")
        await cluster.list_objects("v1", "Pod", namespace="water-bureau-flood")
        denied = [
            await refused(cluster.list_objects("v1", "Secret", namespace="water-bureau-flood")),
            await refused(cluster.create(pod("water-bureau-flood"))),
        ]
        return len(nodes), denied

    for group in (
        *sample.pool.spec.security.identity.groups.operators,
        *sample.pool.spec.security.identity.groups.auditors,
    ):
        count, denied = person(group)(look)
        assert count >= 38
        assert all("forbidden" in words for words in denied)


def test_nobody_without_credentials_gets_in(embedded_pool: EmbeddedPool) -> None:
    import ssl
    import urllib.error
    import urllib.request

    server = kubeconfig.load(embedded_pool.kubeconfig).server
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for path in ("/api", "/api/v1/namespaces", "/version", "/metrics", "/openapi/v2", "/debug/pprof/"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(server + path, context=context, timeout=10)
        assert error.value.code == 401
    with urllib.request.urlopen(server + "/livez", context=context, timeout=10) as answer:
        assert answer.status == 200
