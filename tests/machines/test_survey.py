"""Real machines are looked at over real SSH: each gets the verdict that its shape deserves, and is left as it was."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from commonpool.embedded.hosts import Lan, Shape, run
from commonpool.machines import Access, Event, survey
from commonpool.model import load_estate
from room import Answer, Room

SMALL = "MemTotal:         1048576 kB\nMemAvailable:      524288 kB\nSwapTotal:             0 kB\n"
SLOW_CLOCK = '#!/bin/sh\nexec /bin/date -d "2 hours ago" "$@"\n'
LEDGER = "su postgres -c \"psql -c 'create table ledger as select generate_series(1, 10000) as line'\""
SHAPES = {
    "plain": Shape(),
    "newer": Shape(suite="trixie"),
    "small": Shape(files={"etc/meminfo": SMALL}, at_boot=("mount --bind /etc/meminfo /proc/meminfo",)),
    "busy": Shape(at_boot=("systemctl unmask --runtime postgresql.service", "pg_ctlcluster 15 main start", LEDGER)),
    "worn": Shape(at_boot=("mount --bind /var/lib /var/lib", "mount -o remount,ro,bind /var/lib")),
    "closed": Shape(sudo="# nobody\n"),
    "late": Shape(files={"usr/local/bin/date": SLOW_CLOCK}),
}
EXPECTED = {
    "plain": ("node", None),
    "newer": ("node", None),
    "small": ("agent-only", "memory-for-a-node"),
    "busy": ("backend", "holds-data"),
    "worn": ("retire", "disk-read-only"),
    "closed": ("agent-only", "no-root"),
    "late": ("agent-only", "clock"),
}  # fmt: skip


@pytest.fixture(scope="module")
def room(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Seven hosts, and a machine that is not there."""
    made = Room(lan, tmp_path_factory.mktemp("survey"))
    lan.add(SHAPES)
    made.declare({"gone": {"ansible_host": "10.77.9.9"}})
    yield made
    for name in SHAPES:
        lan.remove(name)


@pytest.fixture(scope="module")
def surveyed(room: Room) -> Answer:
    """One survey of the whole room, by an operator who confirmed the keys."""
    assert room.machine("trust", *SHAPES, "--yes").code == 0
    return room.machine("survey", "-o", "json")


def test_a_machine_whose_key_nobody_confirmed_is_not_spoken_to(room: Room) -> None:
    answer = room.machine("survey", "plain", "-o", "json")
    assert answer.code == 1
    assert answer.items()["plain"]["failure"] == "its host key is not pinned yet"
    assert "machine trust plain" in answer.items()["plain"]["next"]
    assert "commonpool" not in room.lan.ssh("plain", "last -w 2>/dev/null | head -1; true")


def test_keys_are_not_pinned_without_a_person(room: Room) -> None:
    answer = room.machine("trust", "plain")
    assert (answer.code, "SHA256:" in answer.output) == (1, True)
    assert "nobody can be asked" in answer.talk
    assert not (room.estate / "known_hosts").exists()


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_gets_its_verdict(surveyed: Answer, name: str) -> None:
    found = surveyed.items()[name]
    role, rule = EXPECTED[name]
    assert found["verdict"]["role"] == role, found["verdict"]
    against_node = [reason["rule"] for reason in found["verdict"]["reasons"] if "node" in reason["excludes"]]
    assert against_node == ([rule] if rule else [])


def test_a_machine_that_is_not_there_stops_no_other(surveyed: Answer) -> None:
    assert surveyed.code == 1
    gone = surveyed.items()["gone"]
    assert gone["verdict"] is None
    assert "does not answer" in gone["failure"]
    assert all(item["facts"] for name, item in surveyed.items().items() if name != "gone")


def test_the_forecast_says_until_when(surveyed: Answer) -> None:
    words = [forecast["words"] for forecast in surveyed.items()["plain"]["verdict"]["forecasts"]]
    assert any("Debian GNU/Linux 12 (bookworm) gets security updates until 2028-06-30" in one for one in words)
    assert any("cgroup v1" in one for one in words) == (surveyed.items()["plain"]["facts"]["cgroup"] == "v1")


def test_the_verdict_is_kept_with_its_evidence(surveyed: Answer, room: Room) -> None:
    saved = room.folder / "data" / "machines" / "jiangnan" / "surveys" / "busy.json"
    assert '"PostgreSQL"' in saved.read_text(encoding="utf-8")
    assert "== listening" in saved.read_text(encoding="utf-8")
    assert surveyed.items()["busy"]["facts"]["dataPlaces"] == ["/var/lib/postgresql"]
    assert (room.lan.hosts["busy"].root / "var/lib/postgresql/15/main/base").is_dir(), "and it is still there"
    assert saved.parent.stat().st_mode & 0o077 == 0


def test_a_person_overrules_and_the_rules_word_stays_visible(surveyed: Answer, room: Room) -> None:
    overrule = {"role": "node", "reason": "Runs only one small pod", "date": "2026-11-24"}
    room.declare({"small": {"commonpool_overrule": overrule}})
    try:
        verdict = room.machine("survey", "small", "-o", "json").items()["small"]["verdict"]
        assert (verdict["role"], verdict["overruled"]) == ("node", "agent-only")
        assert verdict["overrule"] == "overruled on 2026-11-24: Runs only one small pod"
    finally:
        room.declare({"gone": {"ansible_host": "10.77.9.9"}})


def test_a_survey_changes_nothing(surveyed: Answer, room: Room) -> None:
    look = "find /etc /usr /opt /home /root /srv -xdev -newer /run/shape-done -type f | head"
    room.lan.ssh("plain", "touch /run/shape-done")
    assert room.machine("survey", "plain", "-o", "json").code == 0
    assert room.lan.ssh("plain", look).strip() == ""


def test_a_changed_host_key_is_refused_and_replaced_only_by_name(surveyed: Answer, room: Room) -> None:
    room.lan.ssh(
        "late", 'rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
    )
    answer = room.machine("survey", "late", "-o", "json").items()["late"]
    assert "another host key than the pinned one" in answer["failure"]
    assert answer["verdict"]["role"] == "agent-only", "the last verdict stands"
    assert room.machine("trust", "late", "--yes").code == 0, "nothing to do: a key is pinned"
    assert "another host key" in room.machine("survey", "late", "-o", "json").items()["late"]["failure"]
    assert room.machine("trust", "--replace", "late", "--yes").code == 0
    assert room.machine("survey", "late", "-o", "json").items()["late"]["failure"] == ""


def test_a_name_that_points_to_another_machine_is_refused(surveyed: Answer, room: Room) -> None:
    stranger = {"ansible_host": room.lan.hosts["busy"].address}
    room.declare({"stranger": stranger, "plain": stranger})
    try:
        answer = room.machine("trust", "stranger", "--yes")
        assert answer.code == 1
        assert "shows the host key of busy" in answer.talk
        assert "another host key" in room.machine("survey", "plain", "-o", "json").items()["plain"]["failure"]
    finally:
        room.declare({"gone": {"ansible_host": "10.77.9.9"}})


def test_a_sudo_password_leaves_no_trace_and_a_wrong_one_is_told(room: Room) -> None:
    canary = "canary-7c21e8"
    room.lan.add({"guarded": Shape(sudo="commonpool ALL=(ALL) ALL\n")})
    try:
        run("chroot", str(room.lan.hosts["guarded"].root), "sh", "-c", f"echo commonpool:{canary} | chpasswd")
        room.declare()
        assert room.machine("trust", "guarded", "--yes").code == 0
        machine = next(one for one in load_estate(room.estate).machines if one.name == "guarded")
        spied: set[str] = set()

        def look(event: Event) -> None:
            for process in psutil.process_iter(["cmdline"]):
                spied.update(word for word in process.info["cmdline"] or () if canary in word)

        folder = room.folder / "data" / "machines" / "jiangnan"
        with room.lan.entered():
            right, wrong, without = (
                survey([machine], folder, Access(room.lan.key, password), look)[0]
                for password in (canary, f"{canary}-not", None)
            )
        assert right.facts is not None
        assert right.facts.root == "yes"
        assert wrong.failure == "sudo does not accept the password"
        assert without.facts is not None
        assert without.facts.root == "no"
        assert not spied
        assert not [path for path, text in room.texts() if canary in text]
    finally:
        room.lan.remove("guarded")
        room.declare({"gone": {"ansible_host": "10.77.9.9"}})


def test_the_page_names_rules_and_sources(surveyed: Answer, room: Room) -> None:
    page = room.folder / "machines.html"
    assert room.machine("survey", "busy", "--html", str(page)).code == 0
    text = page.read_text(encoding="utf-8")
    assert "PostgreSQL runs here and holds data" in text
    assert "[holds-data;" in text
    assert not re.search(r"<script|src=|@import", text)


def test_the_table_is_data_and_the_advice_is_talk(surveyed: Answer, room: Room) -> None:
    answer = room.machine("survey", "plain", "busy")
    assert answer.output.splitlines()[0].split()[:3] == ["machine", "site", "verdict"]
    assert "the inventory says node; set commonpool_role: backend, or overrule with a reason" in answer.talk


def test_a_killed_run_leaves_hosts_that_the_next_one_removes(lan: Lan, tmp_path: Path) -> None:
    folder = tmp_path / "lan"
    killed = os.fork()
    if killed == 0:
        Lan(folder).add({"left": Shape()})
        os.kill(os.getpid(), 9)
    os.waitpid(killed, 0)
    assert (folder / "hosts" / "left").is_dir()
    again = Lan(folder)
    assert not (folder / "hosts").exists()
    assert str(folder) not in Path("/proc/mounts").read_text(encoding="utf-8")
    again.clean()
