"""What undoing an onboarding takes away, by the role's own words at places below a folder."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "playbooks" / "roles" / "retire" / "files" / "undo.sh"
PODS = "var/lib/kubelet/pods/1/volumes/kubernetes.io~local-volume/ledger"


class Machine:
    """A machine in a folder: what its programs are called with is noted, and changes nothing."""

    def __init__(self, root: Path) -> None:
        self.root, self.programs = root, root / "programs"
        self.programs.mkdir(parents=True)
        for name in ("systemctl", "nft", "ip", "umount"):
            self.program(name, f'echo "{name} $*" >>{root}/called')
        for place in (
            "etc/systemd/system",
            "var/lib/commonpool/containerd",
            PODS,
            "run/netns",
            "opt/commonpool-1/bin",
            "proc",
        ):
            (root / place).mkdir(parents=True)
        (root / PODS / "line").write_text("since 2012", encoding="utf-8")
        (root / "run/netns/cni-1").touch()
        (root / "proc/mounts").write_text("", encoding="utf-8")

    def program(self, name: str, words: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
        (self.programs / name).chmod(0o755)

    def brought(self, *names: str) -> None:
        (self.root / "etc/commonpool").mkdir()
        for name in names:
            (self.root / "etc/commonpool" / name).touch()

    def undo(self) -> str:
        text = SCRIPT.read_text(encoding="utf-8")
        for place in ("/etc/", "/var/lib/", "/run/", "/opt/", "/proc/"):
            text = text.replace(place, f"{self.root}{place}")
        text = f"PATH={self.programs}:$PATH\n{text}"
        return subprocess.run(["sh", "-c", text, "sh", "keep"], capture_output=True, text=True).stdout.strip()

    @property
    def called(self) -> str:
        return (self.root / "called").read_text(encoding="utf-8") if (self.root / "called").exists() else ""

    def stands(self, place: str) -> bool:
        return (self.root / place).exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def test_a_backend_that_is_a_node_of_another_cluster_stays_one(machine: Machine) -> None:
    machine.brought("asset")
    (machine.root / "proc/mounts").write_text(f"/dev/sda1 {machine.root}/{PODS} ext4 rw 0 0\n", encoding="utf-8")
    assert machine.undo() == "changed"
    assert not machine.stands("etc/commonpool")
    assert machine.stands(f"{PODS}/line")
    assert machine.stands("run/netns/cni-1")
    assert not [line for line in machine.called.splitlines() if line.startswith(("umount", "nft"))]


def test_an_undoing_that_is_cut_short_goes_on_to_its_end(machine: Machine) -> None:
    machine.brought("kubelet.yaml")
    for unit in ("kubelet", "containerd"):
        (machine.root / f"etc/systemd/system/commonpool-{unit}.service").touch()
    machine.program("nft", f'kill -9 $PPID; echo "nft $*" >>{machine.root}/called')
    assert machine.undo() == ""
    assert machine.stands("etc/commonpool"), "by which the next run finds what there is to undo"
    machine.program("nft", f'echo "nft $*" >>{machine.root}/called')
    machine.program("find", "kill -9 $PPID")
    assert machine.undo() == ""
    (machine.programs / "find").unlink()
    assert machine.undo() == "changed"
    assert "nft delete table ip kube-proxy" in machine.called
    assert not [place for place in ("etc/commonpool", "opt/commonpool-1", "var/lib/kubelet/pods", "var/lib/commonpool/containerd") if machine.stands(place)]  # fmt: skip
