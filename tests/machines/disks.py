"""Disks of test hosts: files behind loop devices, plugged into a host under a name."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from commonpool.embedded.hosts import Lan, run

SIZE = 256 << 20


@contextlib.contextmanager
def plugged(lan: Lan, host: str, device: str, file: Path, label: str = "") -> Iterator[None]:
    """A disk of 256 MiB, empty, or with a file system of this label that somebody left."""
    with file.open("wb") as made:
        made.truncate(SIZE)
    if label:
        run("mkfs.ext4", "-q", "-L", label, str(file))
    here = run("losetup", "--find", "--show", str(file)).strip()
    try:
        number = Path(f"/sys/block/{Path(here).name}/dev").read_text(encoding="utf-8").strip().replace(":", " ")
        lan.ssh(host, f"mknod {device} b {number}")
        yield
    finally:
        run("losetup", "--detach", here)
