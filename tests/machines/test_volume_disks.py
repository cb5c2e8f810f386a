"""Whose a disk is, by the role's own words on a disk of this machine: nothing is taken for empty or for ours that is somebody's."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROLES = Path(__file__).resolve().parents[2] / "playbooks" / "roles"
SIZE = 64 << 20


@dataclass(frozen=True)
class Place:
    """Where the machine's /etc/commonpool is, and the disks that are plugged in."""

    etc: Path
    disks: tuple[str, str]

    def script(self, name: str, *words: str) -> str:
        text = (ROLES / name).read_text(encoding="utf-8").replace("/etc/commonpool", str(self.etc))
        command = ["sh", "-c", text, "sh", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def look(self, path: Path, device: str) -> str:
        return self.script("storage_export/files/look.sh", "old", str(path), device)

    def make(self, path: Path, device: str) -> None:
        self.script("storage_export/files/make.sh", "old", str(path), device, "new")
        (self.etc / "disks").mkdir()
        own = subprocess.check_output(["blkid", "-p", "-o", "value", "-s", "UUID", "-s", "TYPE", device], text=True)
        (self.etc / "disks" / "old").write_text(own, encoding="utf-8")  # as its unit does when it is mounted first


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    programs = ("losetup", "blkid", "wipefs", "mkfs.ext4", "lsblk")
    missing = [name for name in programs if shutil.which(name) is None]
    if os.geteuid() or missing:
        pytest.skip(f"disks need root and {', '.join(missing) or 'nothing else'}")
    disks = []
    for name in ("first", "second"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(SIZE)
        disks.append(subprocess.check_output(["losetup", "--find", "--show", file.name], text=True).strip())
    try:
        yield Place(tmp_path / "etc", (disks[0], disks[1]))
    finally:
        subprocess.run(["losetup", "--detach", *disks], check=True)


def write(device: str, at: int, words: bytes = b"INFORMIX") -> None:
    with open(device, "r+b") as disk:
        disk.seek(at)
        disk.write(words)


@pytest.mark.parametrize("at", [512, (SIZE // 64 * 40) + 100])
def test_a_raw_disk_of_a_database_is_not_taken_for_empty(place: Place, tmp_path: Path, at: int) -> None:
    disk = place.disks[0]
    assert place.look(tmp_path / "srv", disk) == "new"
    write(disk, at)
    assert place.look(tmp_path / "srv", disk) == f"data {disk} bears no file system, but is not blank"


def test_another_disk_than_the_one_that_was_taken_is_not_ours(place: Place, tmp_path: Path) -> None:
    first, second = place.disks
    place.make(tmp_path / "srv", first)
    assert place.look(tmp_path / "srv", first) == "ours"
    subprocess.run(["mkfs.ext4", "-q", second], check=True)
    refused = f"moved it was taken as {tmp_path / 'srv'} {first}, and {tmp_path / 'srv'} {second} is another: declare that by another name"
    assert place.look(tmp_path / "srv", second) == refused
    assert place.look(tmp_path / "elsewhere", first).startswith("moved ")
    assert place.look(tmp_path / "srv", "").startswith("moved ")
    (place.etc / "volumes" / "old").write_text(f"{tmp_path / 'srv'}\n{second}\n", encoding="utf-8")
    assert place.look(tmp_path / "srv", first) == "ours", "the kernel changed the names of the two"
