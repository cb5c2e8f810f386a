"""What the survey's script prints, run here beside programs that say what those of a machine would."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from commonpool.machines import Facts, Survey, facts
from commonpool.machines.onboard import ControlPlane, address, elsewhere, refusal
from commonpool.machines.verdict import judge
from commonpool.model import Machine
from commonpool.model.inventory import MachineFacts
from test_verdict import GOOD, TODAY

SCRIPT = Path(__file__).resolve().parents[2] / "playbooks" / "roles" / "survey" / "files" / "survey.sh"
PLANE = ControlPlane("https://10.0.0.1:6443", b"ours\n", Path("-"), "-", "-", "-", "10.128.0.0/14")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder whose programs go before this machine's; none of its disks is read."""
    for name in ("lsblk", "smartctl", "sudo"):
        program(tmp_path, name, "exit 1")
    return tmp_path


def program(folder: Path, name: str, words: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def look(programs: Path, text: str = "", **environment: str) -> Facts:
    script = text or SCRIPT.read_text(encoding="utf-8")
    kept = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin", **environment}
    return facts(subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=kept).stdout, (0.0, 1.0))


def surveyed(seen: Facts, host: str = "", role: str = "node") -> Survey:
    declared = {"flavor": "standard", "cpu": "2", "memory": "4Gi", "role": role, "joined": True}
    machine = Machine("a", "room", host, MachineFacts.model_validate(declared), "hosts.yml")
    return Survey(machine, "2026-11-24", facts=seen, verdict=judge(seen, TODAY))


def test_a_database_in_a_pod_is_the_pools_and_one_beside_it_is_somebodys(programs: Path) -> None:
    """Else a node on which a department keeps a database would be no node any more when it is brought in again."""
    (programs / "proc" / "4101").mkdir(parents=True)
    (programs / "proc" / "4101" / "cgroup").write_text(
        "0::/kubepods.slice/kubepods-burstable.slice/x\n", encoding="utf-8"
    )
    program(programs, "ps", "echo ' 4101 70 postgres'; echo '41012 oracle ora_pmon_ledger'; echo '    1 root systemd'")
    text = SCRIPT.read_text(encoding="utf-8").replace("/proc/[0-9]*/cgroup", f"{programs}/proc/[0-9]*/cgroup")
    assert look(programs, text).data_servers == ["Oracle"]


def test_the_python_is_the_one_that_ansible_would_take(programs: Path) -> None:
    for name, version in (("python3", "3.6"), ("python3.13", "3.13"), ("own-python", "3.9")):
        program(programs, name, f"echo {version}")
    assert look(programs).python == "3.13"
    assert look(programs, python=str(programs / "own-python")).python == "3.9"


def test_the_address_is_the_one_by_which_it_was_reached_also_below_sudo(programs: Path) -> None:
    """Of a machine with Docker the first one in order is Docker's, which every such machine has."""
    program(programs, "ip", "echo '3: docker0 inet 172.17.0.1/16 scope global docker0'")
    seen = look(programs, f"env -u SSH_CONNECTION sh {SCRIPT}; :", SSH_CONNECTION="10.9.0.1 40022 192.168.7.20 22")
    assert seen.addresses == ["172.17.0.1/16"]
    assert address(surveyed(seen, "rs-01.example")) == "192.168.7.20"
    assert address(surveyed(seen, "10.20.2.31")) == "10.20.2.31", "the inventory's own goes first"


def test_a_node_of_another_pool_or_cluster_is_left_alone() -> None:
    other = "== pool\n/opt/commonpool-1\n    server: https://10.0.0.1:6443\n    certificate-authority-data: b3RoZXJz\n== end"
    seen = facts(other, (0.0, 1.0))
    assert seen.in_pool
    assert elsewhere(surveyed(seen), PLANE).startswith(
        "it is a node of the pool at https://10.0.0.1:6443, which is to let it go"
    )
    own = facts(other.replace("b3RoZXJz", "b3Vycwo="), (0.0, 1.0))
    assert (elsewhere(surveyed(own), PLANE), elsewhere(surveyed(GOOD), PLANE)) == ("", "")
    kubelets = facts("== kubelets\n/opt/commonpool-1/bin/node\n/usr/bin/kubelet\n== end", (0.0, 1.0)).kubelets
    assert kubelets == ["/usr/bin/kubelet"]
    assert refusal(surveyed(GOOD)) == ""
    assert refusal(surveyed(replace(GOOD, kubelets=kubelets))).startswith("it is a node already, by /usr/bin/kubelet")
