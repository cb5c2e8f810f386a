"""A machine's own credential says nothing about what the machine is, and no token makes another machine (T30, T31)."""

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from commonpool.embedded.certificate import Authority
from commonpool.machines.joining import Token, rights
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from escapes.attempt import APPLY, MERGE, STRATEGIC, Attempt, Body, changed
from escapes.attempts import CORE, IMAGE, OTHER, PLATFORM, SERVED, SYSTEM, container, pod, thing
from escapes.caller import Caller
from escapes.ground import Ground, attack

NODE, ANOTHER = "escape-machine", "rs-01"
NODES = f"{CORE}/nodes"
# By these labels name resolution, the proxy and a shared service are found; in the last namespaces no quota counts.
ANSWERING = {
    SYSTEM: {"k8s-app": "kube-dns"},
    "commonpool-proxy": {"gateway.envoyproxy.io/owning-gatewayclass": "commonpool"},
    PLATFORM: {},
    SERVED: {"app.kubernetes.io/name": "register"},
    "default": {},
    "kube-node-lease": {},
}
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


@pytest.fixture(scope="module")
def machine(ground: Ground) -> Iterator[Caller]:
    """A node of the pool that joined for real, and its own credential."""
    pool = ground.pool
    authority = Authority(pool.layout.pki, "ca")
    pair = authority.client(f"issued/{NODE}", f"system:node:{NODE}", ("system:nodes",), 1)
    admin = ground.administrator
    machine = Caller(NODE, admin.server, admin.authority, pair.certificate, pair.key)
    admin.send("DELETE", f"{NODES}/{NODE}")
    registered = machine.send("POST", NODES, thing("v1", "Node", NODE))
    assert registered.status == 201, registered.words
    taints = [{"key": "commonpool.dev/joining", "effect": "NoSchedule"}]
    labels = {"spec": {"taints": taints, "unschedulable": True}, "metadata": {"labels": {"commonpool.dev/flavor": "legacy", "commonpool.dev/site": "river-street",
                                      "topology.kubernetes.io/zone": "river-street"}}}  # fmt: skip
    assert admin.send("PATCH", f"{NODES}/{NODE}", labels, MERGE).status == 200
    yield machine
    admin.send("DELETE", f"{NODES}/{NODE}")


def attempts(live: Body, another: Body) -> Iterator[Attempt]:
    own, other = f"{NODES}/{NODE}", f"{NODES}/{ANOTHER}"
    for words, metadata in {
        "a better flavor": {"labels": {"commonpool.dev/flavor": "secure"}},
        "no flavor": {"labels": {"commonpool.dev/flavor": None}},
        "more trust": {"labels": {"commonpool.dev/trust": "5"}},
        "another site": {"labels": {"topology.kubernetes.io/zone": "new-campus"}},
        "another machine's name": {"labels": {"kubernetes.io/hostname": ANOTHER}},
        "a finalizer": {"finalizers": ["example.org/never"]},
        "a mark of its own": {"annotations": {"commonpool.dev/x": "y"}},
        "an owner (CVE-2025-5187)": {
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]
        },
    }.items():
        yield from changed("T30", words, own, live, {"metadata": metadata})
        yield from changed("T30", f"{words}, by the status", f"{own}/status", live, {"metadata": metadata})
    addresses = {"the API server's": "10.96.0.1", "loopback": "127.0.0.1", "a metadata service's": "169.254.169.254",
                 "a pod's": "10.128.0.9", "no address but a name": "evil.example"}  # fmt: skip
    for words, address in addresses.items():
        said = {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}
        yield from (one for one in changed("T30", f"an address that is {words}", f"{own}/status", live, said))
    port = {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 2379}}}}
    yield from changed("T30", "a kubelet at the port of the store", f"{own}/status", live, port)
    images = {"status": {"images": [{"names": ["x" * 200], "sizeBytes": 1}] * 1000}}
    yield from changed("T30", "a long story of itself", f"{own}/status", live, images)
    yield from changed("T30", "no taint", own, live, {"spec": {"taints": []}})
    yield from changed("T30", "no cordon", own, live, {"spec": {"unschedulable": False}})
    yield from changed(
        "T30", "another machine's labels", other, another, {"metadata": {"labels": {"commonpool.dev/flavor": "secure"}}}
    )
    yield from changed(
        "T30", "another machine's status", f"{other}/status", another, {"metadata": {"labels": {"a": "b"}}}
    )
    yield Attempt("T30", "another machine deleted", "DELETE", other)
    yield Attempt("T30", "itself deleted, to come back as another", "DELETE", own)
    better = thing("v1", "Node", "escape-second")
    yield Attempt("T30", "a second machine", "POST", NODES, better)
    for path in (f"{CORE}/secrets", f"{CORE}/namespaces/{OTHER}/secrets", f"{CORE}/namespaces/commonpool-system/secrets",
                 f"{CORE}/namespaces/{OTHER}/configmaps"):  # fmt: skip
        yield Attempt("T30", "what no pod of it mounts", "GET", path)
    for namespace, labels in ANSWERING.items():
        mirror = pod("mirror", namespace, nodeName=NODE, automountServiceAccountToken=False)
        owner = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": live["metadata"]["uid"], "controller": True}
        mirror["metadata"] |= {
            "annotations": {"kubernetes.io/config.mirror": "x"},
            "labels": labels,
            "ownerReferences": [owner],
        }
        yield Attempt("T30", f"a pod of its own in {namespace}", "POST", f"{CORE}/namespaces/{namespace}/pods", mirror)
    token = thing("authentication.k8s.io/v1", "TokenRequest", "pipeline", OTHER, spec={"audiences": []})
    yield Attempt(
        "T30",
        "a token of an account that has no pod there",
        "POST",
        f"{CORE}/namespaces/{OTHER}/serviceaccounts/pipeline/token",
        token,
    )


def test_a_machine_changes_neither_what_it_is_nor_another_one(ground: Ground, machine: Caller) -> None:
    live, another = ground.read(f"{NODES}/{NODE}"), ground.read(f"{NODES}/{ANOTHER}")
    assert attack(machine, attempts(live, another)).survived == []
    kept = {path: ground.read(path)["metadata"] for path in (f"{NODES}/{NODE}", f"{NODES}/{ANOTHER}")}
    assert kept[f"{NODES}/{NODE}"]["labels"] == live["metadata"]["labels"]
    assert kept[f"{NODES}/{ANOTHER}"].get("ownerReferences") is None


@pytest.fixture
def given(ground: Ground, machine: Caller) -> Iterator[str]:
    """A pod of a department that the machine was given; its path."""
    place, admin = f"{CORE}/namespaces/{OTHER}/pods", ground.administrator
    made = pod("given", OTHER, schedulerName="nobody", initContainers=[container("first")])
    assert admin.send("POST", place, made).status == 201
    target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
    assert (
        admin.send("POST", f"{place}/given/binding", thing("v1", "Binding", "given", OTHER, target=target)).status
        == 201
    )
    yield f"{place}/given"
    admin.send("DELETE", f"{place}/given?gracePeriodSeconds=0")


def test_a_machine_says_how_its_pods_do_and_nothing_else_of_them(ground: Ground, machine: Caller, given: str) -> None:
    """Neither do they stay for ever, when it is let go, nor does their Service lead to other machines or the API server."""
    live = ground.read(given)
    patches: dict[str, Body] = {
        "a finalizer": {"metadata": {"finalizers": ["example.org/never"]}},
        "a mark": {"metadata": {"annotations": {"commonpool.dev/x": "y"}}},
        "another label": {"metadata": {"labels": {"app.kubernetes.io/name": "register"}}},
        "the API server's address": {"status": {"podIP": "10.96.0.1", "podIPs": [{"ip": "10.96.0.1"}]}},
        "a machine's address": {"status": {"podIP": "10.20.1.1", "podIPs": [{"ip": "10.20.1.1"}]}},
        "an address that no Service leads to": {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}},
    }
    for word in ("containerStatuses", "initContainerStatuses"):
        larger: dict[str, Body] = {
            "more than it asks for": {"allocatedResources": {"cpu": "1k", "memory": "1Mi"}},
            "larger requests": {"resources": {"requests": {"cpu": "1m", "memory": "1Ti"}}},
            "a disk that nobody asked for": {"allocatedResources": {"ephemeral-storage": "1Ti"}},
            "a larger limit": {"resources": {"limits": {"memory": "1Ti"}}},
        }
        for words, amounts in larger.items():
            patches[f"{words} in {word}"] = {"status": {word: [said("main" if word[0] == "c" else "first", amounts)]}}
    for words, patch in patches.items():
        tried = [one for one in changed("T30", words, f"{given}/status", live, patch) if one.kind != APPLY]
        assert attack(machine, tried).survived == []
    amounts = {
        "allocatedResources": {"cpu": "1m", "memory": "1Mi"},
        "resources": live["spec"]["containers"][0]["resources"],
    }
    usual = {"status": {"containerStatuses": [said("main", amounts)]}}
    assert machine.send("PATCH", f"{given}/status", usual, STRATEGIC).status == 200
    own = {"status": {"phase": "Running", "podIP": "10.128.0.9", "podIPs": [{"ip": "10.128.0.9"}]}}
    answer = machine.send("PATCH", f"{given}/status", own, STRATEGIC)
    assert (answer.status, answer.body["status"]["podIP"]) == (200, "10.128.0.9"), answer.words


def said(container: str, amounts: Body) -> Body:
    """What a kubelet reports of a container that runs."""
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {
        "name": container,
        "image": IMAGE,
        "imageID": "x",
        "ready": True,
        "restartCount": 0,
        "state": running,
        **amounts,
    }


def test_a_machine_uses_up_no_departments_storage_by_what_it_says_of_a_claim(ground: Ground, machine: Caller) -> None:
    """Anywhere, since no department of this estate has any."""
    admin, place = ground.administrator, f"{CORE}/namespaces/default"
    asked = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    assert admin.send("POST", f"{place}/persistentvolumeclaims", thing("v1", "PersistentVolumeClaim", "claimed", "default", spec=asked)).status == 201  # fmt: skip
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "claimed"}}
    made = pod("claimed", "default", schedulerName="nobody", volumes=[volume], nodeName=NODE)
    assert admin.send("POST", f"{place}/pods", made).status == 201
    path = f"{place}/persistentvolumeclaims/claimed"
    larger, usual = ({"status": {"allocatedResources": {"storage": amount}}} for amount in ("1Ti", "1Gi"))
    refused = machine.send("PATCH", f"{path}/status", larger, MERGE)
    taken = machine.send("PATCH", f"{path}/status", usual, MERGE)
    for one in (f"{place}/pods/claimed?gracePeriodSeconds=0", path):
        admin.send("DELETE", one)
    assert (refused.status, "no more than it asks for" in refused.words) == (403, True), refused.words
    assert taken.status == 200, taken.words


def event(name: str, namespace: str, **fields: Any) -> Body:
    about = {"kind": "Pod", "namespace": namespace, "name": "x"}
    return thing("v1", "Event", name, namespace, involvedObject=about, reason="x", type="Normal", **fields)


def test_a_machine_speaks_of_itself_in_its_own_name_only(ground: Ground, machine: Caller) -> None:
    """Its events are no other's, in no namespace; by them people would look for what went wrong elsewhere."""
    admin, place = ground.administrator, f"{CORE}/namespaces/{OTHER}/events"
    known = admin.send(
        "POST", place, event("known", OTHER, message="as it was", source={"component": "x", "host": ANOTHER})
    )
    assert known.status in (201, 409), known.words
    live, own = ground.read(f"{place}/known"), {"component": "kubelet", "host": NODE}
    attempts = [
        Attempt("T30", "an event of another machine", "POST", place, event("a", OTHER, source={"host": ANOTHER}))
    ]
    attempts += [Attempt("T30", "an event of nobody", "POST", place, event("b", OTHER))]
    both = event("d", OTHER, source=own, reportingComponent="kubelet", reportingInstance=ANOTHER)
    attempts += [Attempt("T30", "an event of two machines", "POST", place, both)]
    large = event("c", OTHER, source=own, message="x" * 100_000)
    attempts += [Attempt("T30", "an event that fills the store", "POST", place, large)]
    patches: dict[str, Body] = {
        "another's event": {"message": "all is well"},
        "another's event, taken over": {"source": own},
    }
    for words, patch in patches.items():
        attempts += [one for one in changed("T30", words, f"{place}/known", live, patch) if one.kind != APPLY]
    assert attack(machine, attempts).survived == []
    assert machine.send("POST", place, event("own", OTHER, source=own)).status == 201
    for name in ("known", "own"):
        admin.send("DELETE", f"{place}/{name}")


def test_a_machine_that_forgets_itself_comes_back_as_nothing(ground: Ground, machine: Caller) -> None:
    """Somebody deleted it: it registers again, but never with what the inventory says of machines."""
    assert ground.administrator.send("DELETE", f"{NODES}/{NODE}").status == 200
    body = thing("v1", "Node", NODE)
    body["metadata"]["labels"] = {"commonpool.dev/flavor": "secure"}
    refused = machine.send("POST", NODES, body)
    assert refused.status in (403, 422), refused.words
    ranged = thing("v1", "Node", NODE, spec={"podCIDR": "10.128.0.0/24", "podCIDRs": ["10.128.0.0/24"]})
    taken = machine.send("POST", NODES, ranged)
    assert (taken.status, "does not choose the addresses" in taken.words) == (403, True), taken.words
    assert machine.send("POST", NODES, thing("v1", "Node", NODE)).status == 201


def request(name: str, groups: list[str]) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    subject += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).sign(key, hashes.SHA256())
    return base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode()


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("system:node:rs-01", ["system:nodes"]),
        ("system:node:escape-machine", ["system:masters"]),
        ("oidc:x", ["system:masters"]),
    ],
)
def test_a_joining_token_gets_nobody_a_certificate_for_another_name(
    ground: Ground, name: str, groups: list[str]
) -> None:
    """T31: the request may be made, but no controller signs it, and whatever names the masters is refused outright."""
    admin = ground.administrator
    for body in rights(network=False):
        path = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{body['metadata']['name']}?fieldManager=tests&force=true"
        assert admin.send("PATCH", path, body, "application/apply-patch+yaml").status in (200, 201)
    token = Token(NODE)
    assert admin.send("POST", f"{CORE}/namespaces/kube-system/secrets", token.secret(datetime.now(UTC))).status == 201
    bearer = Caller("joining", admin.server, admin.authority, token=f"{token.identity}.{token.word}")
    asked = f"escape-{token.identity}"
    for signer in ("kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kube-apiserver-client"):
        spec = {"request": request(name, groups), "signerName": signer, "usages": ["digital signature", "client auth"]}
        body = thing("certificates.k8s.io/v1", "CertificateSigningRequest", f"{asked}-{len(signer)}", spec=spec)
        answer = bearer.send("POST", REQUESTS, body)
        if "system:masters" in groups and signer.endswith("apiserver-client"):
            assert answer.status == 403, "CertificateSubjectRestriction"
        if answer.status == 201:
            time.sleep(1.0)  # as long as an approving controller would need
            found = ground.read(f"{REQUESTS}/{body['metadata']['name']}")
            assert not found.get("status", {}).get("certificate")
            approval = {**found, "status": {"conditions": [{"type": "Approved", "status": "True", "reason": "me"}]}}
            assert bearer.send("PUT", f"{REQUESTS}/{body['metadata']['name']}/approval", approval).status == 403
            admin.send("DELETE", f"{REQUESTS}/{body['metadata']['name']}")
    assert bearer.send("GET", f"{CORE}/namespaces/kube-system/secrets").status == 403
    admin.send("DELETE", f"{CORE}/namespaces/kube-system/secrets/{token.secret_name}")
    deadline = time.monotonic() + 10
    while bearer.send("GET", REQUESTS).status != 401:
        assert time.monotonic() < deadline, "a token that is taken back still works"
