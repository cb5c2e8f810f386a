"""An old machine with a disk exports it over NFS as declared: to the machines of the pool, to nobody else, and until it is let go."""

from collections.abc import Iterator

import disks
import pytest
from commonpool.components.storage import persistent_volume, storage_classes
from commonpool.embedded.hosts import GATEWAY, HostFailed, Lan, Shape
from commonpool.model import Quantity, load_estate
from room import INSIDE, Room, pod

pytestmark = pytest.mark.timeout(1500)
# Debian's; what the role installs, and a client of NFS that needs none in the kernel.
FETCHED = ("nfs-ganesha", "nfs-ganesha-vfs", "nfs-kernel-server", "libnfs-utils")
HOSTS = ("old", "near", "far")
SERVERS = 'ps -e -o comm= | grep -E "^(nfsd|ganesha.nfsd)$" || true'


@pytest.fixture(scope="module")
def room(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A pool; `old` has an empty disk, `near` has an address of the pool's machines, and `far` has not."""
    made = Room(lan, tmp_path_factory.mktemp("export"))
    lan.add(dict.fromkeys(HOSTS, Shape(fetched=FETCHED)))
    try:
        for name in ("near", "far"):
            lan.ssh(name, "apt-get install --yes --quiet libnfs-utils >/dev/null 2>&1")
        made.declare({"old": {"commonpool_role": "storage"}})
        machines(made, "old", "near")
        assert made.command("embedded", "start", "--listen", GATEWAY, timeout=580).code == 0
        with disks.plugged(lan, "old", "/dev/old-disk", made.folder / "disk"):
            yield made
    finally:
        made.command("embedded", "reset", "--yes")
        for name in HOSTS:
            lan.remove(name)


def machines(room: Room, *names: str) -> None:
    """Declare the volume, and the addresses of these hosts as those of the pool's machines."""
    blocks = [
        {"name": name, "cidr": f"{room.lan.hosts[name].address}/32", "purpose": "machines"} for name in names
    ]  # fmt: skip
    others = [one for one in room.pool["spec"]["network"]["ranges"] if one["purpose"] != "machines"]
    room.pool["spec"]["network"]["ranges"] = [*blocks, *others]
    share = {"server": room.lan.hosts["old"].address, "path": "/srv/disk", "device": "/dev/old-disk"}
    room.volumes({"name": "old-disk", "tier": "archive", "capacity": "200Mi", "accessModes": ["ReadWriteMany"],
                  "nfs": share, "installed": "2011-03-01"})  # fmt: skip


def share(room: Room, file: str = "") -> str:
    return f"nfs://{room.lan.hosts['old'].address}/srv/disk{file}?version=4"


def onboard(room: Room) -> dict[str, object]:
    answer = room.machine("onboard", "old", "--yes", "-o", "json", timeout=580)
    assert answer.code == 0, answer.output + answer.talk
    return dict(answer.items()["old"])


def refused(room: Room, name: str, command: str) -> bool:
    try:
        room.lan.ssh(name, command)
    except HostFailed:
        return True
    return False


@pytest.fixture(scope="module")
def exported(room: Room) -> Room:
    """The disk, exported by `machine onboard`."""
    assert room.machine("trust", *HOSTS, "--yes").code == 0
    preview = room.machine("onboard", "old", "--preview", "-o", "json", timeout=580)
    assert (preview.code, preview.items()["old"]["state"]) == (0, "would change"), preview.output + preview.talk
    assert room.lan.ssh("old", SERVERS) == "", "a preview changes nothing"
    assert onboard(room)["state"] == "joined"
    return room


def test_a_machine_of_the_pool_writes_and_reads_what_another_exports(exported: Room) -> None:
    exported.lan.ssh("near", f'echo since-2011 > /root/note; nfs-cp /root/note "{share(exported, "/note")}"')
    assert exported.lan.ssh("near", f'nfs-cat "{share(exported, "/note")}"') == "since-2011\n"
    assert exported.lan.ssh("old", "cat /srv/disk/note; stat -c %u /srv/disk/note") == "since-2011\n65534\n"
    assert "/dev/old-disk /srv/disk ext4" in exported.lan.ssh("old", "cat /proc/mounts")


def test_nobody_else_reads_or_writes_it_until_he_is_declared(exported: Room) -> None:
    exported.lan.ssh("far", "echo smuggled > /root/note")
    read, write = f'nfs-ls "{share(exported)}"', f'nfs-cp /root/note "{share(exported, "/smuggled")}"'
    assert exported.lan.ssh("near", read), "the same command succeeds where it may"
    assert refused(exported, "far", read)
    assert refused(exported, "far", write)
    assert exported.lan.ssh("old", "ls /srv/disk").split() == ["lost+found", "note"]
    machines(exported, "old", "near", "far")
    try:
        assert onboard(exported)["changed"] == ["Export what is declared, and nothing else"]
        exported.lan.ssh("far", read)
    finally:
        machines(exported, "old", "near")
        onboard(exported)
    assert refused(exported, "far", read), "and not any more"
    assert exported.lan.ssh("near", read)


def test_a_second_run_and_a_preview_of_what_stands_change_nothing(exported: Room) -> None:
    again = onboard(exported)
    assert (again["state"], again["changed"]) == ("unchanged", [])
    preview = exported.machine("onboard", "old", "--preview", "-o", "json")
    assert (preview.code, preview.items()["old"]["changed"]) == (0, [])
    surveyed = exported.machine("survey", "old", "-o", "json").items()["old"]
    assert surveyed["facts"]["dataServers"] == [], "the pool's own server is nobody's data"
    assert surveyed["verdict"]["role"] == "node"


def test_the_persistent_volume_names_what_is_exported(exported: Room) -> None:
    pool = load_estate(exported.estate).pool
    exported.apply(*storage_classes(pool), persistent_volume(pool, pool.spec.storage.volumes[0]))
    spec = exported.kubectl("get", "persistentvolume", "old-disk", "-o", "json").json["spec"]
    assert spec["nfs"] == {"server": exported.lan.hosts["old"].address, "path": "/srv/disk"}
    named = f"nfs://{spec['nfs']['server']}{spec['nfs']['path']}?version=4"
    *_, summary = exported.lan.ssh("near", f'nfs-ls --summary "{named}"').splitlines()
    size = int(summary.split()[2])  # "241065984 of 241078272 bytes free."
    assert Quantity.parse(spec["capacity"]["storage"]).bytes <= size <= disks.SIZE, summary
    shown = exported.command("machine", "volumes", "-o", "json").items()["old-disk"]
    assert shown["place"] == f"{spec['nfs']['server']}:/srv/disk"
    assert (shown["state"], shown["capacity"]) == ("available", "200 MiB")
    assert shown["years"] >= 15


def test_a_pod_on_another_machine_reads_what_one_wrote(exported: Room) -> None:
    room = exported
    if "nfs4" not in room.lan.ssh("near", "modprobe -q nfsv4 2>/dev/null; cat /proc/filesystems"):
        pytest.skip("the kernel has no NFS client: no nfs4 in /proc/filesystems, and no module nfsv4")
    room.declare({"old": {"commonpool_role": "storage"}, "near": INSIDE, "far": INSIDE})
    machines(room, *HOSTS)
    onboard(room)
    answer = room.machine("onboard", "near", "far", "--yes", timeout=580)
    assert answer.code == 0, answer.output + answer.talk
    room.bring_probe("near", "far")
    claim = {"storageClassName": "archive", "accessModes": ["ReadWriteMany"], "volumeName": "old-disk",
             "resources": {"requests": {"storage": "200Mi"}}}  # fmt: skip
    room.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": claim})
    for name, words in (("near", ("write", "/data/from-a-pod", "kept")), ("far", ("read", "/data/from-a-pod"))):
        body = pod(name, "default", name, *words)
        body["spec"] |= {
            "restartPolicy": "Never",
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }
        body["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        room.apply(body)
        done = "--for=jsonpath={.status.phase}=Succeeded"
        answer = room.kubectl("wait", done, f"pod/{name}", "--timeout=110s")
        assert answer.code == 0, room.kubectl("describe", "pod", name).output[-2000:]
    assert room.kubectl("logs", "far").output == "kept"
    assert room.lan.ssh("old", "cat /srv/disk/from-a-pod") == "kept"
    room.kubectl("delete", "pod/near", "pod/far", "pvc/data")


def test_what_is_declared_no_more_is_exported_no_more(exported: Room) -> None:
    read = f'nfs-ls "{share(exported)}"'
    assert exported.lan.ssh("near", read)
    exported.volumes()
    try:
        assert onboard(exported)["changed"] == ["Export what is declared, and nothing else"]
        assert refused(exported, "near", read)
        assert exported.lan.ssh("old", "ls /srv/disk/note") == "/srv/disk/note\n", "the data stay"
    finally:
        machines(exported, "old", "near")
        onboard(exported)
    assert exported.lan.ssh("near", read)


def test_a_reset_leaves_no_export_and_no_server_and_the_data(exported: Room) -> None:
    read = f'nfs-ls "{share(exported)}"'
    assert exported.lan.ssh("near", read)
    answer = exported.machine("reset", "old", "--yes", "-o", "json")
    assert (answer.code, answer.items()["old"]["state"]) == (0, "undone"), answer.output + answer.talk
    assert refused(exported, "near", read)
    left = "ls -d /etc/commonpool /etc/exports.d/commonpool.exports /etc/systemd/system/*commonpool* 2>/dev/null"
    wired = 'ls /etc/systemd/system/*.wants /etc/systemd/system/*.d | grep -E "commonpool|ganesha.service"'
    assert exported.lan.ssh("old", f"{left}; {wired}; {SERVERS}; grep /srv/disk /proc/mounts; true") == ""
    surveyed = exported.machine("survey", "old", "-o", "json").items()["old"]
    assert surveyed["facts"]["dataServers"] == []
    exported.lan.ssh("old", "mkdir -p /mnt/disk; mount /dev/old-disk /mnt/disk")
    assert exported.lan.ssh("old", "cat /mnt/disk/note; umount /mnt/disk") == "since-2011\n"
    again = exported.machine("reset", "old", "--yes", "-o", "json").items()["old"]
    assert again["state"] == "nothing to undo"


def test_a_disk_that_is_smaller_than_declared_is_refused(exported: Room) -> None:
    exported.pool["spec"]["storage"]["volumes"][0]["capacity"] = "300Mi"
    exported.volumes(*exported.pool["spec"]["storage"]["volumes"])
    answer = exported.machine("onboard", "old", "--yes", "-o", "json")
    found = answer.items()["old"]
    assert (answer.code, found["step"]) == (1, "Refuse what bears data and was not named")
    assert f"old-disk: /dev/old-disk has {disks.SIZE} bytes" in found["words"]
