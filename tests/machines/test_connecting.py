"""How ssh is told to know a machine; seen by a program in its place, so that no machine is needed."""

import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from commonpool.machines import Access, survey
from commonpool.machines.host_keys import scan
from commonpool.model import Machine
from commonpool.model.cache import Cache
from commonpool.model.inventory import read_inventory

SSH = shutil.which("ssh") or "ssh"
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJ3UbCj7ZLUoXVb8AsQZD9cVbxUH7bRpOZ3VbqVQFCN0"
STAND_IN = f"""#!{sys.executable}
import json, pathlib, subprocess, sys
told = subprocess.run([{SSH!r}, "-F", "/dev/null", "-G", *sys.argv[1:]], capture_output=True, text=True).stdout
effective = dict(line.split(" ", 1) for line in told.splitlines() if " " in line)
with open(pathlib.Path(__file__).with_name("log"), "a") as log:
    log.write(json.dumps(effective) + chr(10))
if "-N" in sys.argv:
    place = pathlib.Path(effective["userknownhostsfile"].strip(chr(34)))
    place.write_text(effective["hostkeyalias"] + " ssh-ed25519 {KEY}" + chr(10))
    sys.exit(255)
print("== system\\nID=" + effective["user"] + "\\n== end")
"""
Told = Callable[[], dict[str, dict[str, str]]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What ssh would have done, by the name that it knows the machine by."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(STAND_IN, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{sys.exec_prefix}/bin:/usr/bin:/bin")

    def read() -> dict[str, dict[str, str]]:
        lines = program.with_name("log").read_text(encoding="utf-8").splitlines()
        return {one["hostkeyalias"]: one for one in map(json.loads, lines) if "hostkeyalias" in one}

    return read


def room(folder: Path, variables: dict[str, object], *names: str) -> list[Machine]:
    """The machines of one server room, whose inventory sets these variables for all of them."""
    facts = {"commonpool_flavor": "standard", "commonpool_cpu": "2", "commonpool_memory": "4Gi"}
    folder.mkdir()
    place = folder / "hosts.yml"
    hosts = {name: {"ansible_host": f"{name}.example"} for name in names}
    place.write_text(yaml.safe_dump({"all": {"vars": {**facts, **variables}, "hosts": hosts}}), encoding="utf-8")
    machines, problems = read_inventory(place, str(place), folder.name, Cache(folder / "cache"))
    assert not problems
    return machines


def test_no_inventory_and_no_setting_takes_the_pinned_key_away(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -J bastion.example"
    machines = room(
        tmp_path / "old room", {"ansible_host_key_checking": False, "ansible_ssh_common_args": loose}, "a", "b"
    )
    (tmp_path / "old room" / "host_vars").mkdir()
    (tmp_path / "old room" / "host_vars" / "b.yml").write_text(
        "ansible_ssh_args: -o StrictHostKeyChecking=no\nansible_connection: paramiko\n", encoding="utf-8"
    )
    monkeypatch.setenv("ANSIBLE_SSH_HOST_KEY_CHECKING", "False")
    assert not [one.failure for one in survey(machines, tmp_path / "kept", Access(), lambda _: None) if one.failure]
    for name in ("a", "b"):
        assert told()[name]["stricthostkeychecking"] in ("true", "yes")
        assert told()[name]["userknownhostsfile"].strip('"') == str(tmp_path / "old room" / "known_hosts")
        assert told()[name]["globalknownhostsfile"] == "/dev/null"
        assert told()[name]["proxyjump"] == "bastion.example", "what is no key of theirs is theirs"
    assert told()["a"]["controlpath"] != told()["b"]["controlpath"]


def test_what_one_room_sets_for_all_its_machines_holds_for_no_others(told: Told, tmp_path: Path) -> None:
    machines = [
        *room(tmp_path / "first", {"ansible_user": "alice", "ansible_port": 2222}, "a"),
        *room(tmp_path / "second", {"ansible_user": "bob"}, "b"),
    ]
    found = survey(machines, tmp_path / "kept", Access(), lambda _: None)
    assert [(one.machine.name, one.failure) for one in found] == [("a", ""), ("b", "")]
    assert [(told()[name]["user"], told()[name]["port"]) for name in ("a", "b")] == [("alice", "2222"), ("bob", "22")]


def test_a_run_leaves_the_signals_of_its_process_alone(told: Told, tmp_path: Path) -> None:
    """Else whoever is asked afterwards could neither break off nor be ended."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    survey(room(tmp_path / "room", {}, "a"), tmp_path / "kept", Access(), lambda _: None)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_who_asked_and_is_gone_leaves_no_run_behind(told: Told, tmp_path: Path) -> None:
    """A signal in the middle of a run, whatever it raises, ends what the run began, and is not waited for to its end."""

    class Gone(BaseException):
        """As a program ends itself on SIGTERM."""

    def leave(*_: object) -> None:
        raise Gone

    machines = room(tmp_path / "room", {}, "a")
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\nsleep 300\n", encoding="utf-8")
    before = signal.signal(signal.SIGALRM, leave)
    try:
        signal.alarm(8)
        began = time.monotonic()
        with pytest.raises(Gone):
            survey(machines, tmp_path / "kept", Access(), lambda _: None)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 50, "a survey would have waited for a minute"


def test_a_key_is_asked_for_on_the_way_by_which_the_machine_is_reached(told: Told, tmp_path: Path) -> None:
    machines = room(tmp_path / "room", {"ansible_ssh_common_args": "-J bastion.example", "ansible_port": "2222"}, "a")
    assert scan(machines)["a"].line == f"a ssh-ed25519 {KEY}"
    assert (told()["a"]["proxyjump"], told()["a"]["port"]) == ("bastion.example", "2222")
    assert told()["a"]["hostname"] == "a.example"


def test_a_machine_with_another_system_is_not_remembered_by_its_former_one(told: Told, tmp_path: Path) -> None:
    """Else for a day the package manager of the former one is asked there."""
    kept, remembered = tmp_path / "kept", tmp_path / "kept" / "facts" / "s0_a"
    remembered.parent.mkdir(parents=True)
    for user, stays in (("debian", True), ("debian", True), ("rocky", False)):
        remembered.touch()
        survey(
            room(tmp_path / f"{user}-{len(list(tmp_path.iterdir()))}", {"ansible_user": user}, "a"),
            kept,
            Access(),
            lambda _: None,
        )
        assert remembered.exists() is stays
