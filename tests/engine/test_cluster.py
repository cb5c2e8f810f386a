"""The client against a real API server: applies, conflicts, kinds that appear, watches, waiting, outages."""

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.embedded.certificate import Authority
from commonpool.engine.cluster import Cluster
from commonpool.engine.diff import field_changes, immutable_refusal
from commonpool.engine.error import CredentialRefused, FieldConflict, NotReady, Refused, Stale, UnknownKind, Unreachable
from commonpool.engine.event import Event
from commonpool.engine.kubeconfig import Credentials, load
from commonpool.engine.managed_fields import applied_entries, applied_fields
from commonpool.engine.readiness import wait_gone, wait_ready
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@pytest.fixture(scope="module")
def embedded_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPool]:
    """A control plane of its own, so that it may be shaken."""
    pool = EmbeddedPool("client-tests", tmp_path_factory.mktemp("pools"))
    pool.start()
    yield pool
    pool.reset()


@asynccontextmanager
async def connected(pool: EmbeddedPool, **options: Any) -> AsyncIterator[tuple[Cluster, str]]:
    """A client, and a namespace of the test's own."""
    async with await Cluster.connect(load(pool.kubeconfig), **options) as cluster:
        namespace = f"t-{uuid.uuid4().hex[:8]}"
        await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        yield cluster, namespace
        await cluster.delete("v1", "Namespace", "", namespace)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run one scenario."""
    asyncio.run(test)


def config_map(namespace: str, name: str = "a", **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def deployment(namespace: str, image: str = "web:1", **pod: Any) -> dict[str, Any]:
    """A Deployment of one pod."""
    labels = {"app": "web"}
    spec = {"containers": [{"name": "web", "image": image}], **pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def simulated_node() -> dict[str, Any]:
    """A node on which pods run in name only."""
    room = {
        f"commonpool.dev/capacity-{name}": size
        for name, size in (("cpu", "8"), ("memory", "32Gi"), ("pods", "110"), ("ephemeral-storage", "100Gi"))
    }
    metadata = {"name": "old-1", "annotations": {"kwok.x-k8s.io/node": "fake", **room}}
    metadata["labels"] = {"commonpool.dev/simulated": "true", "kubernetes.io/hostname": "old-1"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def test_an_apply_that_changes_nothing_writes_nothing(embedded_pool: EmbeddedPool) -> None:
    """The same resourceVersion comes back."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            first = await cluster.apply(config_map(namespace, k="1"))
            second = await cluster.apply(config_map(namespace, k="1"))
            assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]

    run(scenario())


def test_a_dry_run_shows_the_change_and_makes_none(embedded_pool: EmbeddedPool) -> None:
    """What the server would do, field by field."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            before = await cluster.apply(config_map(namespace, k="1"))
            after = await cluster.apply(config_map(namespace, k="2"), dry_run=True)
            assert [change.path for change in field_changes(before, after)] == ["data.k"]
            assert await cluster.read("v1", "ConfigMap", namespace, "a") == before

    run(scenario())


def test_a_field_that_somebody_else_owns_is_a_conflict_with_their_name(embedded_pool: EmbeddedPool) -> None:
    """Never forced over unless told."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            await cluster.apply(config_map(namespace, k="theirs"), field_manager="autoscaler")
            with pytest.raises(FieldConflict) as caught:
                await cluster.apply(config_map(namespace, k="ours"))
            assert caught.value.conflicts == (("autoscaler", ".data.k"),)
            forced = await cluster.apply(config_map(namespace, k="ours"), force=True)
            assert forced["data"] == {"k": "ours"}

    run(scenario())


def test_a_misspelt_field_is_refused_in_a_dry_run(embedded_pool: EmbeddedPool) -> None:
    """Strict validation: silently dropped fields are the worst ones."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            body = deployment(namespace, restartPolicie="Always")
            with pytest.raises(Refused, match="restartPolicie"):
                await cluster.apply(body, dry_run=True)

    run(scenario())


def test_a_field_that_cannot_change_in_place_is_recognised(embedded_pool: EmbeddedPool) -> None:
    """So that a preview can say `replace`."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            await cluster.apply(deployment(namespace))
            changed = deployment(namespace)
            changed["spec"]["selector"] = {"matchLabels": {"app": "other"}}
            changed["spec"]["template"]["metadata"] = {"labels": {"app": "other"}}
            with pytest.raises(Refused) as caught:
                await cluster.apply(changed, dry_run=True, force=True)
            assert immutable_refusal(caught.value)

    run(scenario())


def test_two_writers_of_one_version_are_told_apart(embedded_pool: EmbeddedPool) -> None:
    """The second one is stale; what the first wrote stands."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            made = await cluster.create(config_map(namespace, k="0"))
            with pytest.raises(Refused) as caught:
                await cluster.create(config_map(namespace, k="0"))
            assert caught.value.reason == "AlreadyExists"
            await cluster.replace({**made, "apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "1"}})
            with pytest.raises(Stale):
                await cluster.replace({**made, "apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "2"}})

    run(scenario())


def test_a_delete_spares_the_successor_of_the_same_name(embedded_pool: EmbeddedPool) -> None:
    """The uid is the identity."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            first = await cluster.apply(config_map(namespace))
            assert await cluster.delete("v1", "ConfigMap", namespace, "a", uid=first["metadata"]["uid"])
            second = await cluster.apply(config_map(namespace))
            assert not await cluster.delete("v1", "ConfigMap", namespace, "a", uid=first["metadata"]["uid"])
            found = await cluster.read("v1", "ConfigMap", namespace, "a")
            assert found
            assert found["metadata"]["uid"] == second["metadata"]["uid"]

    run(scenario())


def test_metadata_lists_carry_owned_fields_and_no_content(embedded_pool: EmbeddedPool, monkeypatch: Any) -> None:
    """Drift is found from them; several pages are one list."""
    monkeypatch.setattr("commonpool.engine.cluster.PAGE", 3)

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            await asyncio.gather(*(cluster.apply(config_map(namespace, f"c{n}", k="v")) for n in range(10)))
            items, version = await cluster.list_objects("v1", "ConfigMap", namespace=namespace, metadata_only=True)
            ours = [item for item in items if item["metadata"]["name"].startswith("c")]
            assert {item["metadata"]["name"] for item in ours} >= {f"c{n}" for n in range(10)}
            assert not any("data" in item for item in ours)
            assert ours[0]["metadata"]["managedFields"]
            assert version

    run(scenario())


def widget_definition() -> dict[str, Any]:
    """A CustomResourceDefinition of its own group."""
    group = f"g{uuid.uuid4().hex[:8]}.example.org"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def test_what_is_owned_has_one_digest_in_an_answer_and_in_a_list(embedded_pool: EmbeddedPool) -> None:
    """Whatever the server's text escapes or puts in its own order: names of fields, elements named by keys, by value."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            definition = widget_definition()
            group = definition["spec"]["group"]
            await cluster.apply(definition)
            ports = [{"name": f"p{port}", "port": port, "protocol": "TCP"} for port in (80, 443, 9, 1000)]
            metadata = {"name": "w", "namespace": namespace, "finalizers": ["b.example.org/x", "a.example.org/y"]}
            widget = {
                "apiVersion": f"{group}/v1",
                "kind": "Widget",
                "metadata": metadata,
                "spec": {"a<b": {"键": 1, "a b": "&"}, "Z": 1, "a": 2, "é": 3, "e": 4},
            }
            service = {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "s", "namespace": namespace},
                "spec": {"ports": ports},
            }
            everything: list[dict[str, Any]] = [widget, service, config_map(namespace, "plain", k="v")]
            for sent in everything:
                live = await cluster.apply(sent)
                items, _ = await cluster.list_objects(
                    sent["apiVersion"], sent["kind"], namespace=namespace, metadata_only=True
                )
                [listed] = [one for one in items if one["metadata"]["name"] == sent["metadata"]["name"]]
                assert applied_fields(live) == applied_entries(listed["metadata"]["managedFields"])
                assert list(applied_fields(live)) == ["commonpool"]
            await cluster.merge_patch(f"{group}/v1", "Widget", namespace, "w", {"metadata": {"finalizers": None}})

    run(scenario())


def test_a_kind_that_this_run_defined_can_be_used_at_once(embedded_pool: EmbeddedPool) -> None:
    """Without a pause in the program, by many at a time."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            definition = widget_definition()
            kind = (f"{definition['spec']['group']}/v1", "Widget")
            with pytest.raises(UnknownKind, match="serves no kind Widget"):
                await cluster.kind(*kind)
            live = await cluster.apply(definition)
            key = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", definition["metadata"]["name"])
            await wait_ready(cluster, key, live, timeout=30, observer=lambda _: None)
            bodies = [
                {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": f"w{n}", "namespace": namespace}}
                for n in range(8)
            ]
            made = await asyncio.gather(*map(cluster.apply, bodies))
            assert len(made) == 8
            await cluster.delete(*key)

    run(scenario())


def test_an_unknown_kind_names_the_group_that_has_it(embedded_pool: EmbeddedPool) -> None:
    """The commonest slip is the version."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, _):
            with pytest.raises(UnknownKind, match="served are batch/v1 CronJob"):
                await cluster.kind("batch/v1beta1", "CronJob")

    run(scenario())


def test_a_watch_goes_on_over_a_version_that_the_server_has_forgotten(embedded_pool: EmbeddedPool) -> None:
    """Everything is listed anew; nothing that stands is missed."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            await cluster.apply(config_map(namespace, k="1"))
            changes = cluster.watch(
                "v1", "ConfigMap", namespace=namespace, field_selector="metadata.name=a", version="1"
            )
            async with asyncio.timeout(30), aclosing(changes):
                assert (await anext(changes))[1]["data"] == {"k": "1"}
                await cluster.apply(config_map(namespace, k="2"))
                kind, found = await anext(changes)
                assert (kind, found["data"]) == ("MODIFIED", {"k": "2"})
                await cluster.delete("v1", "ConfigMap", namespace, "a")
                assert (await anext(changes))[0] == "DELETED"

    run(scenario())


def test_a_deployment_and_its_service_become_ready_on_simulated_nodes(embedded_pool: EmbeddedPool) -> None:
    """Pods run, endpoints appear."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            await cluster.apply(simulated_node())
            service = {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": namespace},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
            }
            bodies = (service, deployment(namespace))
            live = [await cluster.apply(body) for body in bodies]
            ready = await asyncio.gather(
                *(
                    wait_ready(
                        cluster,
                        (body["apiVersion"], body["kind"], namespace, "web"),
                        found,
                        timeout=60,
                        observer=lambda _: None,
                    )
                    for body, found in zip(bodies, live, strict=True)
                )
            )
            assert ready[1]["status"]["availableReplicas"] == 1

    run(scenario())


def test_what_never_becomes_ready_tells_why_and_stays_applied(embedded_pool: EmbeddedPool) -> None:
    """The pods' own words, and the command that shows more."""

    async def scenario() -> None:
        events: list[Event] = []
        async with connected(embedded_pool) as (cluster, namespace):
            body = deployment(namespace, nodeSelector={"no": "such-node"})
            live = await cluster.apply(body)
            with pytest.raises(NotReady) as caught:
                await wait_ready(
                    cluster, ("apps/v1", "Deployment", namespace, "web"), live, timeout=4, observer=events.append
                )
            words = str(caught.value)
            assert "Unschedulable" in words
            assert f"kubectl describe deployment.apps web -n {namespace}" in words
            assert await cluster.read("apps/v1", "Deployment", namespace, "web")
            assert {event.kind for event in events} == {"wait"}

    run(scenario())


def test_a_namespace_is_waited_for_until_it_is_gone(embedded_pool: EmbeddedPool) -> None:
    """And what holds it is named when it stays."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            held = config_map(namespace)
            held["metadata"]["finalizers"] = ["example.org/hold"]
            await cluster.apply(held)
            found = await cluster.read("v1", "Namespace", "", namespace)
            assert found
            key = ("v1", "Namespace", "", namespace)
            await cluster.delete(*key)
            while "example.org/hold" not in str(await cluster.read(*key)):  # Kubernetes says so in its own time
                await asyncio.sleep(0.2)
            with pytest.raises(NotReady, match=r"example\.org/hold"):
                await wait_gone(cluster, key, found["metadata"]["uid"], timeout=3)
            await cluster.merge_patch("v1", "ConfigMap", namespace, "a", {"metadata": {"finalizers": None}})
            await wait_gone(cluster, key, found["metadata"]["uid"], timeout=60)

    run(scenario())


def test_a_certificate_of_another_authority_is_refused_by_name(embedded_pool: EmbeddedPool, tmp_path: Path) -> None:
    """A man in the middle, or the wrong file: nothing is sent."""
    stranger = Authority(tmp_path, "ca").pair.certificate.read_bytes()
    known = load(embedded_pool.kubeconfig)

    async def scenario() -> None:
        credentials = Credentials(server=known.server, origin="x", ca=stranger, ca_origin="/etc/other-ca.crt")
        async with await Cluster.connect(credentials, patience=20) as cluster:
            with pytest.raises(Unreachable, match=r"/etc/other-ca\.crt"):
                await cluster.version()

    run(scenario())


def component(pool: EmbeddedPool, name: str) -> psutil.Process:
    """The running process of one component."""
    return psutil.Process(next(found.pid for found in pool.status().components if found.name == name))


def test_an_api_server_that_dies_mid_way_is_waited_for_and_nothing_is_lost_or_doubled(
    embedded_pool: EmbeddedPool,
) -> None:
    """It is killed while a hundred objects are applied and ten created."""

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            applies = [cluster.apply(config_map(namespace, f"a{n}", k="v")) for n in range(100)]
            creates = [cluster.create(config_map(namespace, f"c{n}", k="v")) for n in range(10)]
            work = asyncio.gather(*applies, *creates)
            await asyncio.sleep(0)
            component(embedded_pool, "kube-apiserver").kill()
            assert len(await work) == 110
            items, _ = await cluster.list_objects("v1", "ConfigMap", namespace=namespace, metadata_only=True)
            ours = [item for item in items if item["metadata"]["name"] != "kube-root-ca.crt"]
            assert len(ours) == 110

    run(scenario())


def test_a_store_that_stands_still_is_a_clear_error_and_no_success(embedded_pool: EmbeddedPool) -> None:
    """etcd is stopped, then continued: what was not acknowledged is not claimed."""

    async def scenario() -> None:
        async with connected(embedded_pool, patience=6.0) as (cluster, namespace):
            store = component(embedded_pool, "etcd")
            store.suspend()
            try:
                with pytest.raises((Unreachable, Refused)):
                    await cluster.apply(config_map(namespace, "late", k="v"))
            finally:
                store.resume()
            await _answers_again(cluster, namespace)

    run(scenario())


async def _answers_again(cluster: Cluster, namespace: str) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unreachable, Refused):
                await cluster.apply(config_map(namespace, "late", k="v"))
                return


def expired_certificate(authority: Authority) -> tuple[bytes, bytes]:
    """A client certificate of the pool's own authority that ended an hour ago, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.load_pem_x509_certificate(authority.pair.certificate.read_bytes()).subject
    signer = serialization.load_pem_private_key(authority.pair.key.read_bytes(), None)
    assert isinstance(signer, rsa.RSAPrivateKey)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "late")]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=2))
        .not_valid_after(now - datetime.timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def test_an_expired_client_certificate_is_named_with_its_end(embedded_pool: EmbeddedPool) -> None:
    """The request fails closed, and the person learns which file to renew."""
    known = load(embedded_pool.kubeconfig)
    certificate, key = expired_certificate(Authority(embedded_pool.layout.pki, "ca"))
    late = replace(known, client_certificate=certificate, client_key=key, origin="/home/late/config (context pool)")

    async def scenario() -> None:
        async with await Cluster.connect(late, patience=20) as cluster:
            with pytest.raises(CredentialRefused, match=r"/home/late/config \(context pool\), which is valid until 20"):
                await cluster.list_objects("v1", "ConfigMap")

    run(scenario())


def test_a_right_that_is_missing_is_refused_in_the_servers_own_words(
    embedded_pool: EmbeddedPool, tmp_path: Path
) -> None:
    """At once, naming user and resource; reading a 403 as absence would create things twice."""
    path = embedded_pool.issue_kubeconfig("visitor", ("guests",), tmp_path / "kubeconfig")

    async def scenario() -> None:
        async with await Cluster.connect(load(path), patience=20) as cluster:
            with pytest.raises(Refused, match='User "visitor" cannot get resource "secrets"'):
                await cluster.read("v1", "Secret", "default", "any")

    run(scenario())


def test_a_policy_that_this_run_changed_is_heeded_before_it_refuses(embedded_pool: EmbeddedPool) -> None:
    """The API server goes on by the policy of before for about a second; what still refuses after that, refuses."""

    def policy(name: str, expression: str) -> dict[str, Any]:
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
        spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": spec,
        }

    async def scenario() -> None:
        async with connected(embedded_pool) as (cluster, namespace):
            inside = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
            binding = {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": namespace},
                "spec": {
                    "policyName": namespace,
                    "validationActions": ["Deny"],
                    "matchResources": {"namespaceSelector": inside},
                },
            }
            none, all_but_one = "false", "object.metadata.name != 'refused'"
            await cluster.apply(policy(namespace, none))
            await cluster.apply(binding)
            with pytest.raises(Refused):
                for number in range(100):
                    await cluster.apply(config_map(namespace, f"early-{number}"))
                    await asyncio.sleep(0.1)
            await cluster.apply(policy(namespace, all_but_one))
            await cluster.apply(config_map(namespace))
            with pytest.raises(Refused, match="ValidatingAdmissionPolicy"):
                await cluster.apply(config_map(namespace, "refused"))
            for kind in (binding["kind"], "ValidatingAdmissionPolicy"):
                await cluster.delete("admissionregistration.k8s.io/v1", str(kind), "", namespace)

    run(scenario())
