"""Two bare hosts become nodes of a real pool: pods run on them, reach one another, and are kept from one another."""

import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import disks
import pytest
from commonpool.components.storage import persistent_volume, storage_classes
from commonpool.embedded import EmbeddedPool
from commonpool.embedded.hosts import GATEWAY, Lan, Shape
from commonpool.embedded.node_archive import node_archive
from commonpool.model import load_estate
from room import INSIDE, Room, pod

pytestmark = pytest.mark.timeout(1500)  # bringing in is minutes on a machine that does other things too
HOSTS = ("one", "two")


def until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def room(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A pool that listens on the LAN, and two hosts that were brought in."""
    made = Room(lan, tmp_path_factory.mktemp("onboard"))
    lan.add({"one": Shape(), "two": Shape(suite="trixie")})  # Debian 12 and 13
    made.declare({name: INSIDE for name in HOSTS})
    assert made.command("embedded", "start", "--listen", GATEWAY, timeout=580).code == 0
    try:
        assert made.machine("trust", *HOSTS, "--yes").code == 0
        answer = made.machine("onboard", *HOSTS, "--yes", timeout=580)
        assert answer.code == 0, f"{answer.output}\n{answer.talk}\n{_journal(made)}"
        made.bring_probe(*HOSTS)
        yield made
    finally:
        made.command("embedded", "reset", "--yes")
        for name in HOSTS:
            lan.remove(name)


def _journal(room: Room) -> str:
    return room.lan.ssh("one", "journalctl -o cat --no-pager -u commonpool-kubelet | tail -n 15")


def nodes(room: Room) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in room.kubectl("get", "nodes", "-o", "json").json["items"]}


@pytest.fixture(scope="module")
def pods(room: Room) -> Room:
    """A server on one host and a client on the other, in namespaces of two departments."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name in ("water", "health"):
        room.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        until(lambda name=name: room.kubectl("get", "serviceaccount", "default", "-n", name).code == 0, "account")  # type: ignore[misc]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server", "namespace": "water"},
               "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}}  # fmt: skip
    room.apply(
        pod("server", "water", "one", "serve", "from-water"), service, pod("client", "health", "two", "serve", "x")
    )
    for name, namespace in (("server", "water"), ("client", "health")):
        answer = room.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=110s")
        assert answer.code == 0, room.kubectl("describe", "pod", name, "-n", namespace).output[-2000:]
    return room


def ask(room: Room, target: str) -> str:
    return room.kubectl("exec", "-n", "health", "client", "--", "/probe", "ask", target).output


def test_both_hosts_are_ready_nodes_with_the_declared_labels_and_open(room: Room) -> None:
    found = nodes(room)
    assert set(found) == set(HOSTS)
    for name, node in found.items():
        ready = next(one for one in node["status"]["conditions"] if one["type"] == "Ready")
        assert ready["status"] == "True", name
        assert node["metadata"]["labels"]["commonpool.dev/flavor"] == "standard"
        assert node["metadata"]["labels"]["commonpool.dev/trust"] == "3"
        assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "test-room"
        assert not node["spec"].get("taints")
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3"


def test_running_it_again_changes_nothing(room: Room) -> None:
    answer = room.machine("onboard", *HOSTS, "--yes", "-o", "json")
    assert answer.code == 0
    assert {name: (item["state"], item["changed"]) for name, item in answer.items().items()} == {
        name: ("unchanged", []) for name in HOSTS
    }


def test_a_preview_of_what_stands_shows_no_change(room: Room) -> None:
    answer = room.machine("onboard", "one", "--preview", "-o", "json")
    assert (answer.code, answer.items()["one"]["changed"]) == (0, [])


def test_no_bootstrap_credential_is_left_anywhere(room: Room) -> None:
    secrets = room.kubectl("get", "secrets", "-n", "kube-system", "-o", "json").json["items"]
    assert not [one for one in secrets if one["type"] == "bootstrap.kubernetes.io/token"]
    for name in HOSTS:
        assert room.lan.ssh(name, "ls /etc/commonpool/bootstrap.kubeconfig 2>/dev/null; true").strip() == ""
    token = re.compile(r"\b[0-9a-f]{6}\.[0-9a-f]{16}\b")
    assert not [path for path, text in room.texts() if token.search(text) and "/runs/" in str(path)]


def test_a_nodes_credential_is_good_for_that_node_only(room: Room, tmp_path: Path) -> None:
    place = room.node_kubeconfig("one", tmp_path)
    for words in (
        ("patch", "node", "two", "-p", '{"metadata":{"labels":{"a":"b"}}}'),
        ("patch", "node", "one", "-p", '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"x"}]}}'),
        ("delete", "node", "two"),
        ("get", "secrets", "-A"),
        ("create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", "--user=system:node:one"),
    ):  # fmt: skip
        answer = room.kubectl(*words, kubeconfig=place)
        assert answer.code != 0, words
        assert "forbidden" in answer.talk.lower(), answer.talk


def test_a_machine_that_is_not_declared_joined_is_refused_with_the_edit(room: Room) -> None:
    room.declare({"one": INSIDE, "two": {**INSIDE, "commonpool_joined": False}})
    try:
        answer = room.machine("onboard", "two", "--yes", "-o", "json")
        assert answer.code == 1
        assert answer.items()["two"]["words"] == "the inventory has it simulated; set commonpool_joined: true for two"
    finally:
        room.declare({name: INSIDE for name in HOSTS})


def test_a_node_that_is_deleted_and_registers_anew_gives_addresses_of_its_new_block(room: Room) -> None:
    """Its old block is given to others, and its settings for pods stood already."""

    def block() -> str:
        return str(nodes(room).get("two", {}).get("spec", {}).get("podCIDR", ""))

    before = block()
    assert room.kubectl("delete", "node", "two").code == 0
    room.lan.ssh("two", "systemctl restart commonpool-kubelet")
    until(block, "two is registered anew")
    assert block() != before
    until(lambda: block() in room.lan.ssh("two", "cat /etc/commonpool/cni/*.conflist"), "its pods' addresses follow")
    assert room.machine("onboard", "two", "--yes").code == 0, "its labels come back"


def test_a_pod_reaches_another_host_by_address_by_service_and_by_name(pods: Room) -> None:
    address = pods.kubectl("get", "pod", "server", "-n", "water", "-o", "jsonpath={.status.podIP}").output
    assert ask(pods, f"{address}:8080") == "from-water"
    service = pods.kubectl("get", "service", "server", "-n", "water", "-o", "jsonpath={.spec.clusterIP}").output
    until(lambda: ask(pods, f"{service}:80") == "from-water", "the service's address answers")
    until(lambda: ask(pods, "server.water.svc.cluster.local:80") == "from-water", "the name answers")


def test_a_closed_namespace_is_closed_and_a_declared_opening_is_open(pods: Room) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    closed = {**policy, "metadata": {"name": "closed", "namespace": "water"},
              "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}  # fmt: skip
    opening = {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "health"}}}],
               "ports": [{"port": 8080, "protocol": "TCP"}]}  # fmt: skip
    opened = {**policy, "metadata": {"name": "opened", "namespace": "water"},
              "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"], "ingress": [opening]}}  # fmt: skip
    address = pods.kubectl("get", "pod", "server", "-n", "water", "-o", "jsonpath={.status.podIP}").output
    assert ask(pods, f"{address}:8080") == "from-water"
    pods.apply(closed)
    until(lambda: ask(pods, f"{address}:8080") == "", "packets are dropped")
    pods.apply(opened)
    until(lambda: ask(pods, f"{address}:8080") == "from-water", "the opening is open")
    pods.kubectl("delete", "networkpolicy", "-n", "water", "--all")
    until(lambda: ask(pods, f"{address}:8080") == "from-water", "open without policies")


def test_a_machine_that_gives_its_pod_anothers_address_lets_nobody_in(pods: Room, tmp_path: Path) -> None:
    """Elsewhere whoever has that address would pass as the pod."""
    pods.apply(pod("friend", "water", "two", "serve", "x"), pod("stranger", "health", "one", "serve", "x"))
    for name, namespace in (("friend", "water"), ("stranger", "health")):
        answer = pods.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=110s")
        assert answer.code == 0, answer.talk

    def address(name: str, namespace: str) -> str:
        return f"{pods.kubectl('get', 'pod', name, '-n', namespace, '-o', 'jsonpath={.status.podIP}').output}"

    friend, stranger = address("friend", "water"), address("stranger", "health")
    own = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]}
    pods.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": own,
                "metadata": {"name": "own", "namespace": "water"}})  # fmt: skip

    def let_in(who: str) -> bool:
        table = pods.lan.ssh("one", "nft list table inet commonpool-policy")
        return re.search(rf"\b{re.escape(who)}\b", table) is not None

    until(lambda: let_in(friend), "the own namespace is let in")
    pods.lan.ssh("two", "systemctl stop commonpool-kubelet")
    try:
        lie = pods.kubectl("get", "pod", "friend", "-n", "water", "-o", "json").json
        lie["status"] |= {"podIP": stranger, "podIPs": [{"ip": stranger}]}
        words = ("replace", "--raw", "/api/v1/namespaces/water/pods/friend/status", "-f", "-")
        answer = pods.kubectl(*words, given=json.dumps(lie), kubeconfig=pods.node_kubeconfig("two", tmp_path))
        assert answer.code == 0, answer.talk
        until(lambda: not let_in(friend), "the machines have heard it")
        assert not let_in(stranger)
    finally:
        pods.lan.ssh("two", "systemctl start commonpool-kubelet")
        pods.kubectl("delete", "networkpolicy", "-n", "water", "own")
        pods.kubectl("delete", "pod", "-n", "water", "friend", "--wait=false")
        pods.kubectl("delete", "pod", "-n", "health", "stranger", "--wait=false")


def doctor(room: Room) -> tuple[str, str]:
    findings = room.command("doctor", "-o", "json").json["findings"]
    return next((one["state"], one["words"]) for one in findings if one["check"] == "network")


def test_the_doctor_tells_whether_policies_are_enforced_by_trying(pods: Room) -> None:
    state, words = doctor(pods)
    assert (state, "a closed one is not" in words) == ("well", True), words
    for name in HOSTS:
        pods.lan.ssh(name, "systemctl stop commonpool-network && nft delete table inet commonpool-policy")
    try:
        state, words = doctor(pods)
        assert (state, "nothing enforces them" in words) == ("ill", True), words
    finally:
        for name in HOSTS:
            pods.lan.ssh(name, "systemctl start commonpool-network")
    left = pods.kubectl("get", "namespaces", "-o", "json").json["items"]
    ending = {one["metadata"]["name"] for one in left if one["status"]["phase"] == "Terminating"}
    assert {one["metadata"]["name"] for one in left if "doctor" in one["metadata"]["name"]} <= ending


FOLDER = {"name": "one-folder", "tier": "fast", "capacity": "1Gi", "local": {"machine": "one", "path": "/srv/old"},
          "installed": "2012-05-01"}  # fmt: skip
DISK = {"name": "one-disk", "tier": "fast", "capacity": "200Mi", "installed": "2011-03-01",
        "local": {"machine": "one", "path": "/srv/disk", "device": "/dev/one-disk"}}  # fmt: skip


@pytest.fixture(scope="module")
def disk(room: Room) -> Iterator[Room]:
    """An empty disk in a host that has joined."""
    with disks.plugged(room.lan, "one", "/dev/one-disk", room.folder / "one-disk"):
        yield room


def test_what_bears_data_is_not_touched_until_its_volume_is_named(disk: Room) -> None:
    room = disk
    room.lan.ssh("one", "mkdir -p /srv/old && echo since-2012 > /srv/old/ledger")
    room.volumes(FOLDER, DISK)
    answer = room.machine("onboard", "one", "--yes", "-o", "json")
    found = answer.items()["one"]
    assert (answer.code, found["state"], found["step"]) == (1, "failed", "Refuse what bears data and was not named")
    assert "one-folder: /srv/old is not empty" in found["words"]
    assert "ready" in room.command("machine", "list").output, "what stood before stands"
    unknown = room.machine("onboard", "one", "--yes", "--with-data", "one-foldr")
    assert "declares no volume 'one-foldr' on a machine of the inventory" in unknown.talk
    answer = room.machine("onboard", "one", "--yes", "--with-data", "one-folder", "-o", "json")
    assert answer.code == 0, answer.output + answer.talk
    assert room.lan.ssh("one", "cat /srv/old/ledger").strip() == "since-2012"
    again = room.machine("onboard", "one", "--yes", "-o", "json").items()["one"]
    assert (again["state"], again["changed"]) == ("unchanged", [])


@pytest.mark.parametrize(("volume", "place"), [("one-folder", "/srv/old"), ("one-disk", "/srv/disk")])
def test_a_volume_on_an_old_disk_keeps_its_data_when_a_pod_moves(
    disk: Room, pods: Room, volume: str, place: str
) -> None:
    estate = load_estate(pods.estate)
    declared = next(one for one in estate.pool.spec.storage.volumes if one.name == volume)
    pods.apply(*storage_classes(estate.pool), persistent_volume(estate.pool, declared))
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": f"on-{volume}", "namespace": "water"},
             "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"], "volumeName": volume,
                      "resources": {"requests": {"storage": str(declared.capacity)}}}}  # fmt: skip
    pods.apply(claim)

    def ran(name: str, *words: str) -> str:
        body = pod(name, "water", "", *words)
        body["spec"].pop("nodeName")  # the scheduler finds the machine by the volume
        body["spec"] |= {
            "restartPolicy": "Never",
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": f"on-{volume}"}}],
        }
        body["spec"]["securityContext"]["fsGroup"] = 65532
        body["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        pods.apply(body)
        answer = pods.kubectl(
            "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "-n", "water", "--timeout=110s"
        )
        assert answer.code == 0, pods.kubectl("describe", "pod", name, "-n", "water").output[-2000:]
        said = pods.kubectl("logs", name, "-n", "water").output
        assert pods.kubectl("get", "pod", name, "-n", "water", "-o", "jsonpath={.spec.nodeName}").output == "one"
        pods.kubectl("delete", "pod", name, "-n", "water")
        return said

    ran("writer", "write", "/data/note", "kept")
    assert ran("reader", "read", "/data/note") == "kept"
    assert pods.lan.ssh("one", f"cat {place}/note") == "kept"
    shown = pods.command("machine", "volumes", "-o", "json").items()[volume]
    assert (shown["state"], shown["claim"]) == ("bound", f"water/on-{volume}")
    assert shown["place"] == f"one:{(declared.local and declared.local.device) or place}"
    assert shown["years"] >= 14


def backend_at(address: str) -> list[dict[str, Any]]:
    """What the proxy has of a service that stands on a machine as it always did."""
    labels = {"commonpool.dev/service": "old-register", "commonpool.dev/department": "health-bureau"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "service-old-register", "labels": labels}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {"name": "old-register-old", "namespace": "service-old-register", "labels": labels},
         "ports": [{"port": 5432}], "endpoints": [{"addresses": [address]}]},
    ]  # fmt: skip


def test_retiring_tells_who_is_affected_and_leaves_nothing_behind_and_no_key_that_works(
    pods: Room, tmp_path: Path
) -> None:
    label = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "water", "labels": {"commonpool.dev/department": "water"}},
    }
    assert pods.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=json.dumps(label)).code == 0
    pods.apply(*backend_at(pods.lan.hosts["one"].address))
    seen = pods.machine("retire", "one", "--preview", "-o", "json").items()["one"]
    assert "water/server" in seen["pods"]
    assert seen["departments"] == ["health-bureau", "water"]
    assert seen["services"] == ["old-register"]
    assert seen["volumes"] == ["one-disk", "one-folder"]
    assert pods.machine("retire", "one").code == 1, "nobody could be asked"
    held = pods.machine("retire", "one", "--yes")
    assert "one holds one-disk, one-folder" in held.talk, "a disk that holds a bound volume does not go"
    assert "one" in nodes(pods)
    pods.kubectl("delete", "persistentvolumeclaim", "on-one-folder", "on-one-disk", "-n", "water")
    copied = pods.node_kubeconfig("one", tmp_path)
    assert pods.kubectl("get", "node", "one", kubeconfig=copied).code == 0
    answer = pods.machine("retire", "one", "--yes", "--wipe", "--reason", "no warranty", "-o", "json", timeout=580)
    assert answer.code == 0, answer.output + answer.talk
    assert set(nodes(pods)) == {"two"}
    left = "ls -d /etc/commonpool /opt/commonpool-* /etc/systemd/system/commonpool-* /var/lib/kubelet/* /var/lib/commonpool/* 2>/dev/null; true"
    assert pods.lan.ssh("one", left).strip() == ""
    assert (
        pods.lan.ssh(
            "one", 'ps -e -o comm= | grep -E "^(containerd|kubelet|kube-proxy|pool-network|probe)"; true'
        ).strip()
        == ""
    )
    assert "10.128." not in pods.lan.ssh("one", "ip route")
    assert pods.lan.ssh("one", "ls -A /srv/old; wipefs /dev/one-disk").strip() == "", "wiped on request"
    for words in (
        ("create", "-f", "-"),
        ("patch", "node", "two", "--subresource=status", "-p", "{}"),
        ("delete", "node", "two"),
        ("get", "pods", "-A"),
        ("get", "networkpolicies", "-A"),
        ("get", "secrets", "-A"),
    ):
        own = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}}
        refused = pods.kubectl(*words, given=json.dumps(own), kubeconfig=copied)
        assert refused.code != 0, words
        assert "forbidden" in refused.talk.lower() or "was let go" in refused.talk, refused.talk
    assert "was let go" in pods.kubectl("create", "-f", "-", given=json.dumps(own), kubeconfig=copied).talk
    assert asset_of(pods, "one") == ("closed", "no warranty", True)
    assert asset_of(pods, "two") == ("open", "", False)


def asset_of(room: Room, name: str) -> tuple[str, str, bool]:
    body = room.kubectl("get", "configmap", f"asset-{name}", "-n", "commonpool-system", "-o", "json").json
    kept = json.loads(body["data"]["asset.json"])
    return kept["state"], kept["reason"], kept["wiped"]


def test_a_reset_shows_what_it_would_undo_and_then_undoes_the_onboarding(pods: Room) -> None:
    pods.kubectl("delete", "namespace", "health", "--wait=true")
    planned = pods.machine("reset", "two", "--preview", "-o", "json").items()["two"]
    assert planned["state"] == "would be undone"
    assert "/etc/commonpool" in planned["words"]
    assert set(nodes(pods)) == {"two"}, "a preview changes nothing"
    answer = pods.machine("reset", "two", "--yes", "-o", "json")
    assert (answer.code, answer.items()["two"]["state"]) == (0, "undone"), answer.output + answer.talk
    assert nodes(pods) == {}
    assert (
        pods.lan.ssh("two", "ls -d /etc/commonpool /opt/commonpool-* /var/lib/kubelet/* 2>/dev/null; true").strip()
        == ""
    )
    again = pods.machine("reset", "two", "--yes", "-o", "json").items()["two"]
    assert again["state"] == "nothing to undo"
    assert asset_of(pods, "two")[:2] == ("closed", "reset")


OWN_NETWORK = {"cniVersion": "1.0.0", "name": "own", "plugins": [{"type": "ptp", "ipam": {
    "type": "host-local", "ranges": [[{"subnet": "10.200.7.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}  # fmt: skip


def test_a_machine_joins_a_named_cluster_and_takes_part_in_its_own_network(room: Room, tmp_path: Path) -> None:
    """The cluster is named by a kubeconfig, so it is an organisation's: its CNI, here laid down by hand, makes the network."""
    room.declare({name: INSIDE for name in ("one", "two")})
    assert room.machine("trust", "two", "--yes").code == 0
    root = room.lan.hosts["two"].root
    for folder in ("opt/cni/bin", "etc/cni/net.d"):
        (root / folder).mkdir(parents=True)
    with tarfile.open(node_archive().path) as archive:
        for member in archive:
            if "/cni/" in member.name:
                member.name = Path(member.name).name
                archive.extract(member, root / "opt/cni/bin", filter="tar")
    (root / "etc/cni/net.d/10-own.conflist").write_text(json.dumps(OWN_NETWORK), encoding="utf-8")
    named = room.kubectl("config", "view", "--raw", "-o", "json").json
    named["clusters"][0]["cluster"]["server"] = EmbeddedPool("default", room.folder / "data").node_server
    (tmp_path / "kubeconfig").write_text(json.dumps(named), encoding="utf-8")
    answer = room.machine("onboard", "two", "--yes", "--kubeconfig", str(tmp_path / "kubeconfig"), timeout=580)
    assert answer.code == 0, answer.output + answer.talk
    node = nodes(room)["two"]
    assert not node["spec"].get("taints")
    pause = next(
        name for one in node["status"]["images"] for name in one["names"] if name.startswith("commonpool.local/pause:")
    )
    body = pod("guest", "default", "two")
    body["spec"]["containers"][0] |= {"image": pause, "args": []}
    room.apply(body)
    answer = room.kubectl("wait", "--for=condition=Ready", "pod/guest", "--timeout=110s")
    assert answer.code == 0, room.kubectl("describe", "pod", "guest").output[-2000:]
    given = room.kubectl("get", "pod", "guest", "-o", "jsonpath={.status.podIP}").output
    assert given.startswith("10.200.7."), "by the cluster's network, not by the embedded pool's"
    assert room.lan.ssh("two", "ls /etc/systemd/system/commonpool-network.service 2>/dev/null; true").strip() == ""
