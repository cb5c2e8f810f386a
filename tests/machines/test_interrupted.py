"""What breaks off: the controller, killed ten times over; machines, in every way at once; disks that bear data."""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import disks
import psutil
import pytest
from commonpool.embedded.hosts import GATEWAY, Host, Lan, Shape, run
from commonpool.engine import Cluster, kubeconfig
from commonpool.machines import Access, Event, Survey, survey
from commonpool.machines import run as machine_run
from commonpool.machines.onboard import ControlPlane, Joined, onboard
from commonpool.machines.run import collection_folder
from commonpool.model import load_estate
from room import INSIDE, Room

pytestmark = pytest.mark.timeout(1500)
# Where the controller is killed, in the order of the play: at the beginning of a step, so that the machine is in it.
POINTS = (
    "Gathering Facts",
    "Look for what is missing",
    "Bring programs and images",
    "Unpack programs and images",
    "Start containerd",
    "Import images",
    "Lay down the bootstrap credential",
    "Wait for the machine's certificate",
    "Start what makes the network",
)
TOKEN = re.compile(r"\b[0-9a-f]{6}\.[0-9a-f]{16}\b")
SECONDS = 20  # for one step: long for those that are well on a busy machine, and all the time that those that hang cost
CANARY = "canary-51b9d0"


@pytest.fixture(scope="module")
def room(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A pool that listens on the LAN; hosts come with the tests."""
    made = Room(lan, tmp_path_factory.mktemp("interrupted"))
    made.declare()
    assert made.command("embedded", "start", "--listen", GATEWAY, timeout=580).code == 0
    try:
        yield made
    finally:
        made.command("embedded", "reset", "--yes")


@pytest.fixture
def hosts(room: Room) -> Iterator[Room]:
    """Two bare hosts whose keys are confirmed."""
    room.lan.add({"struck": Shape(), "spared": Shape()})
    try:
        room.declare({"struck": INSIDE, "spared": INSIDE})
        assert room.machine("trust", "struck", "spared", "--yes").code == 0
        yield room
    finally:
        for name in ("struck", "spared"):
            room.lan.remove(name)


def begun(room: Room, known: set[Path]) -> Iterator[str]:
    """The steps that Ansible began since the last call; `known` are the events that were read."""
    for path in sorted(set(room.machines.glob("runs/*/artifacts/*/job_events/*[0-9a-f].json")) - known):
        try:
            event = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # being written
            continue
        known.add(path)
        if event["event"] == "runner_on_start":
            yield event["event_data"]["task"]


def kill_at(room: Room, point: str, known: set[Path]) -> list[psutil.Process]:
    """Start to bring `struck` in and kill the command, and it alone, at this point; returns what it had started."""
    with room.started("machine", "onboard", "struck", "--yes", "--private-key", str(room.lan.key)) as process:
        while process.poll() is None:
            if point in begun(room, known):
                started = psutil.Process(process.pid).children(recursive=True)
                told = [word for child in started for word in child.cmdline() if TOKEN.search(word)]
                process.kill()
                assert not told
                return started
        raise AssertionError(f"it ended before {point}: {process.communicate()}")


def node(room: Room, name: str) -> dict[str, Any] | None:
    answer = room.kubectl("get", "node", name, "-o", "json", "--ignore-not-found")
    return dict(answer.json) if answer.output else None


def state(room: Room, name: str) -> dict[str, Any]:
    """What an onboarding leaves on a machine and in the cluster: files by content, but for the machine's own name and address.

    Not compared are the block of its pods in the CNI's settings and what the kubelet keeps of pods that it has run.
    """
    own = f"-e s/{name}/NAME/g -e s/{room.lan.hosts[name].address}/ADDRESS/g"
    files = room.lan.ssh(
        name,
        "for file in $(find /etc/commonpool /etc/kubernetes /etc/containerd /etc/cni /etc/systemd/system/commonpool-*"
        f" -type f ! -name *.conflist 2>/dev/null | sort); do echo $file $(sed {own} $file | sha256sum); done;"
        " find /etc/commonpool -name *.conflist; find /opt -type f -exec sha256sum {} + | sort -k 2;"
        " ls -A /var/lib/commonpool /var/lib/kubelet | grep -v pods_state; ls /etc/systemd/system/multi-user.target.wants;"
        " systemctl is-active commonpool-containerd commonpool-kubelet commonpool-proxy commonpool-network",
    )
    found = node(room, name)
    assert found is not None
    return {
        "files": files.splitlines(),
        "labels": {key: value for key, value in found["metadata"]["labels"].items() if value != name},
        "taints": found["spec"].get("taints"),
        "ready": next(one["status"] for one in found["status"]["conditions"] if one["type"] == "Ready"),
        "pods": found["status"]["capacity"]["pods"],
    }


def test_a_controller_killed_at_ten_points_and_run_again_comes_to_the_same_end(
    hosts: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: set[Path] = set()
    started: list[psutil.Process] = []
    for point in POINTS:
        started += kill_at(hosts, point, known)
        half = node(hosts, "struck")
        assert half is None or "commonpool.dev/joining" in {taint["key"] for taint in half["spec"]["taints"]}, point
    # The tenth: what stands there already is to change.
    hosts.declare({name: {**INSIDE, "commonpool_pods": 60} for name in ("struck", "spared")})
    started += kill_at(hosts, "Start kubelet", known)
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "4")  # as -vvvv
    answer = hosts.machine("onboard", "struck", "spared", "--yes", "-o", "json")
    assert answer.code == 0, answer.output + answer.talk
    interrupted, whole = state(hosts, "struck"), state(hosts, "spared")
    assert interrupted == whole, set(interrupted["files"]) ^ set(whole["files"])
    assert (interrupted["ready"], interrupted["pods"]) == ("True", "60")
    assert len(hosts.kubectl("get", "nodes", "-o", "name").output.split()) == 2
    again = hosts.machine("onboard", "struck", "spared", "--yes", "-o", "json").items()
    assert {name: (item["state"], item["changed"]) for name, item in again.items()} == {
        "struck": ("unchanged", []),
        "spared": ("unchanged", []),
    }
    assert not psutil.wait_procs(started, timeout=60)[1], "nothing of a killed run goes on"
    secrets = hosts.kubectl("get", "secrets", "-n", "kube-system", "-o", "json").json["items"]
    assert not [one for one in secrets if one["type"] == "bootstrap.kubernetes.io/token"]
    assert not [path for path in Path("/dev/shm").glob("commonpool-*") if TOKEN.search(texts(path))]
    assert [path for path, text in hosts.texts() if "ESTABLISH SSH CONNECTION" in text], "Ansible told all it can"
    assert not [path for path, text in hosts.texts() if TOKEN.search(text)]


def texts(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in folder.rglob("*") if path.is_file())


BROKEN = {
    "whole": "",
    "drops": "systemctl --force --force poweroff; sleep 10000",
    "hangs": "sleep 10000",
    "freezes": "kill -STOP -1",
    "full": "",
    "guarded": "",
    "moved": "",
}


@pytest.fixture
def broken(room: Room) -> Iterator[Room]:
    """Seven machines that are to stay backends, all well still, and one that is not there."""
    shapes = {name: Shape() for name in BROKEN}
    room.lan.add(shapes | {"guarded": Shape(sudo="commonpool ALL=(ALL) ALL\n")})
    try:
        run("chroot", str(room.lan.hosts["guarded"].root), "sh", "-c", f"echo commonpool:{CANARY} | chpasswd")
        room.declare(
            {name: {"commonpool_role": "backend"} for name in BROKEN} | {"gone": {"ansible_host": "10.77.9.9"}}
        )
        assert room.machine("trust", *BROKEN, "--yes").code == 0
        yield room
    finally:
        for name in BROKEN:
            room.lan.remove(name)


def break_them(room: Room) -> None:
    """What a person looks at there goes wrong in the middle of the play; a disk is full; a key is another."""
    for name, words in BROKEN.items():
        if words:
            target = room.lan.hosts[name].root / "usr/local/bin/ss"
            target.write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
            target.chmod(0o755)
    fill = (
        "mkdir -p /etc/commonpool; mount -t tmpfs -o size=64k disk /etc/commonpool; cat /dev/zero > /etc/commonpool/old"
    )
    room.lan.ssh("full", f"({fill}) 2>/dev/null; true")
    key = "/etc/ssh/ssh_host_ed25519_key"
    room.lan.ssh("moved", f'rm {key}*; ssh-keygen -q -t ed25519 -N "" -f {key}')


def mend_them(room: Room) -> None:
    """All but the key."""
    frozen = room.lan.hosts["freezes"].process
    assert frozen is not None
    for process in psutil.Process(frozen.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that ended while it was looked for
            process.resume()
    for name, words in BROKEN.items():
        if words:
            (room.lan.hosts[name].root / "usr/local/bin/ss").unlink()
    room.lan.ssh("full", "rm /etc/commonpool/old")
    host: Host = room.lan.hosts["drops"]
    room.lan.boot_again(host)
    host.await_ssh(room.lan.entered)


def bring_in(room: Room, surveys: list[Survey], password: str, spied: set[str]) -> dict[str, Joined]:
    """As the command does after its survey."""
    credentials = kubeconfig.load(room.folder / "data" / "pools" / "default" / "kubeconfig")
    plane = ControlPlane(
        credentials.server, credentials.ca, Path("-"), "-", "-", "-", "10.128.0.0/14"
    )  # for nodes only

    def look(event: Event) -> None:
        for process in psutil.process_iter(["cmdline"]) if event.state in ("ok", "changed", "failed") else ():
            spied.update(word for word in process.info["cmdline"] or () if CANARY in word)

    async def work() -> list[Joined]:
        async with await Cluster.connect(credentials) as cluster:
            pool, access = load_estate(room.estate).pool, Access(room.lan.key, password)
            return await onboard(cluster, pool, surveys, plane, room.machines, access, look)

    with room.lan.entered():
        return {one.machine.name: one for one in asyncio.run(work())}


def test_machines_that_go_wrong_in_every_way_stop_no_other_and_go_on_when_mended(
    broken: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_run, "TASK_SECONDS", SECONDS)
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "4")  # as -vvvv
    spied: set[str] = set()
    with broken.lan.entered():
        surveys = survey(
            load_estate(broken.estate).machines, broken.machines, Access(broken.lan.key, CANARY), lambda _: None
        )
    assert {one.machine.name for one in surveys if one.failure} == {"gone"}
    break_them(broken)
    found = bring_in(broken, surveys, f"{CANARY}-not", spied)
    note = "Say on the machine whose asset it is"
    assert {name: (one.state, one.step) for name, one in found.items()} == {
        "whole": ("joined", ""),
        "gone": ("refused", ""),
        "drops": ("failed", note),
        "hangs": ("failed", note),
        "freezes": ("failed", note),
        "full": ("failed", note),
        "guarded": ("failed", "Gathering Facts"),
        "moved": ("failed", "Gathering Facts"),
    }, {name: one.words for name, one in found.items()}
    for name, words in {
        "gone": "does not answer",
        "hangs": "Timed out",
        "full": "No space left",
        "guarded": "password",
        "moved": "another host key than the pinned one",
    }.items():
        assert words.lower() in found[name].words.lower(), (name, found[name].words)
    mend_them(broken)
    again = bring_in(broken, surveys, CANARY, spied)
    assert {name: again.pop(name).state for name in ("whole", "gone", "moved")} == {
        "whole": "unchanged",
        "gone": "refused",
        "moved": "failed",
    }
    for name, one in again.items():  # what had been stopped in its step may have come to its end since
        assert one.state in ("joined", "unchanged"), (name, one.words)
        assert name == "guarded" or "is an asset of" in broken.lan.ssh(name, "cat /etc/commonpool/asset")
    assert not spied
    assert [path for path, text in broken.texts() if "ESTABLISH SSH CONNECTION" in text], "Ansible told all it can"
    assert not [path for path, text in broken.texts() if CANARY in text]


DISK = {"name": "old-disk", "tier": "fast", "capacity": "200Mi", "installed": "2011-03-01",
        "local": {"machine": "old", "path": "/srv/disk", "device": "/dev/old-disk"}}  # fmt: skip


@pytest.fixture
def storage(room: Room) -> Iterator[Room]:
    """A machine that offers a disk, which bears a file system that somebody left."""
    room.lan.add({"old": Shape()})
    try:
        with disks.plugged(room.lan, "old", "/dev/old-disk", room.folder / "disk", label="accounts"):
            room.declare({"old": {"commonpool_role": "storage"}})
            room.volumes(DISK)
            assert room.machine("trust", "old", "--yes").code == 0
            yield room
    finally:
        room.lan.remove("old")
        room.volumes()


def looked(room: Room) -> str:
    """What the role sees at the disk's place."""
    script = collection_folder() / "roles/storage_export/files/look.sh"
    (room.lan.hosts["old"].root / "root/look.sh").write_bytes(script.read_bytes())
    return room.lan.ssh("old", "sh /root/look.sh old-disk /srv/disk /dev/old-disk").strip()


def test_a_disk_with_data_is_erased_only_by_name_also_over_a_cut_and_then_offered_and_wiped_at_the_end(
    storage: Room,
) -> None:
    answer = storage.machine("onboard", "old", "--yes", "-o", "json", timeout=500)
    assert (answer.code, answer.items()["old"]["state"]) == (1, "failed")
    assert "old-disk: /dev/old-disk holds ext4 accounts" in answer.items()["old"]["words"]
    maker = storage.lan.hosts["old"].root / "usr/local/sbin/mkfs.ext4"
    maker.write_text('#!/bin/sh\n/usr/sbin/mkfs.ext4 "$@"; kill -9 $PPID\n', encoding="utf-8")
    maker.chmod(0o755)
    cut = storage.machine("onboard", "old", "--yes", "--erase", "old-disk", "-o", "json").items()["old"]
    assert (cut["state"], cut["step"].partition(" on ")[0]) == ("failed", "Make a file system")
    maker.unlink()
    assert looked(storage) == "begun", "made, but nobody wrote down that it is the pool's"
    own = storage.lan.ssh("old", "blkid -o value -s UUID /dev/old-disk").strip()
    storage.lan.ssh("old", "tune2fs -f -U random /dev/old-disk")
    assert looked(storage) == "data /dev/old-disk holds ext4 old-disk", "the consent was for another one's data"
    storage.lan.ssh("old", f"tune2fs -f -U {own} /dev/old-disk")
    answer = storage.machine("onboard", "old", "--yes", "-o", "json")
    assert answer.code == 0, answer.output + answer.talk
    assert "/dev/old-disk /srv/disk ext4" in storage.lan.ssh("old", "cat /proc/mounts")
    storage.lan.ssh("old", "echo kept > /srv/disk/note")
    gone = storage.lan.ssh("old", "systemctl stop commonpool-volume-old-disk; ls -d /srv/disk 2>&1; true")
    assert "No such file" in gone, "without its disk no pod writes to the system's"
    storage.lan.ssh("old", "systemctl start commonpool-volume-old-disk")
    again = storage.machine("onboard", "old", "--yes", "--erase", "old-disk", "-o", "json").items()["old"]
    assert (again["state"], again["changed"]) == ("unchanged", []), "erased once"
    assert storage.lan.ssh("old", "cat /srv/disk/note").strip() == "kept"
    answer = storage.machine("retire", "old", "--yes", "--wipe")
    assert answer.code == 0, answer.output + answer.talk
    assert storage.lan.ssh("old", "wipefs /dev/old-disk; grep old-disk /proc/mounts; true").strip() == ""
