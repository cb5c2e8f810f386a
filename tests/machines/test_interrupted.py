"""What breaks off in the middle: machines that go wrong in every way at once; and disks that bear data."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from commonpool.embedded.hosts import GATEWAY, Host, Lan, Shape, run
from commonpool.engine import Cluster, kubeconfig
from commonpool.machines import Access, Event, Survey, survey
from commonpool.machines import run as machine_run
from commonpool.machines.onboard import ControlPlane, Joined, onboard
from commonpool.model import load_estate
from room import Room

pytestmark = pytest.mark.timeout(1500)
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


BROKEN = {
    "whole": "",
    "drops": "systemctl --force --force poweroff",
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
    look, note = "Look at what serves here", "Say on the machine whose asset it is"
    assert {name: (one.state, one.step) for name, one in found.items()} == {
        "whole": ("joined", ""),
        "gone": ("refused", ""),
        "drops": ("failed", look),
        "hangs": ("failed", look),
        "freezes": ("failed", look),
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
    mended = dict.fromkeys(("drops", "hangs", "freezes", "full", "guarded"), "joined")
    assert {name: one.state for name, one in again.items()} == {
        **mended,
        "whole": "unchanged",
        "gone": "refused",
        "moved": "failed",
    }
    assert not spied
    assert [path for path, text in broken.texts() if "ESTABLISH SSH CONNECTION" in text], "Ansible told all it can"
    assert not [path for path, text in broken.texts() if CANARY in text]


DISK = {"name": "old-disk", "tier": "fast", "capacity": "200Mi", "installed": "2011-03-01",
        "local": {"machine": "old", "path": "/srv/disk", "device": "/dev/old-disk"}}  # fmt: skip


@pytest.fixture
def storage(room: Room) -> Iterator[Room]:
    """A machine that offers a disk, which bears a file system that somebody left."""
    file = room.folder / "disk"
    with file.open("wb") as made:
        made.truncate(256 << 20)
    run("mkfs.ext4", "-q", "-L", "accounts", str(file))
    device = run("losetup", "--find", "--show", str(file)).strip()
    number = Path(f"/sys/block/{Path(device).name}/dev").read_text(encoding="utf-8").strip().replace(":", " ")
    room.lan.add({"old": Shape()})
    try:
        room.lan.ssh("old", f"mknod /dev/old-disk b {number}")
        room.declare({"old": {"commonpool_role": "storage"}})
        room.volumes(DISK)
        assert room.machine("trust", "old", "--yes").code == 0
        yield room
    finally:
        room.lan.remove("old")
        room.volumes()
        run("losetup", "--detach", device)


def test_a_disk_with_data_is_erased_only_by_name_and_then_offered_and_wiped_at_the_end(storage: Room) -> None:
    answer = storage.machine("onboard", "old", "--yes", "-o", "json", timeout=500)  # packages come over the network
    assert (answer.code, answer.items()["old"]["state"]) == (1, "failed")
    assert "old-disk: /dev/old-disk holds ext4 accounts" in answer.items()["old"]["words"]
    answer = storage.machine("onboard", "old", "--yes", "--erase", "old-disk", "-o", "json")
    assert answer.code == 0, answer.output + answer.talk
    assert "/dev/old-disk /srv/disk ext4" in storage.lan.ssh("old", "cat /proc/mounts")
    storage.lan.ssh("old", "echo kept > /srv/disk/note")
    again = storage.machine("onboard", "old", "--yes", "--erase", "old-disk", "-o", "json").items()["old"]
    assert (again["state"], again["changed"]) == ("unchanged", []), "erased once"
    assert storage.lan.ssh("old", "cat /srv/disk/note").strip() == "kept"
    answer = storage.machine("retire", "old", "--yes", "--wipe")
    assert answer.code == 0, answer.output + answer.talk
    assert storage.lan.ssh("old", "wipefs /dev/old-disk; grep old-disk /proc/mounts; true").strip() == ""
