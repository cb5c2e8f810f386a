"""A test host: a real machine in miniature. systemd as process 1, sshd, a network namespace and a root file system of its own.

The folder of a host has a fixed place, and everything outside of it carries the LAN's prefix; so what a killed run left
is found and removed by the next one.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from commonpool.embedded.hosts.error import HostFailed

START_SECONDS = 120.0
CGROUPS = Path("/sys/fs/cgroup")
# Kept outside of the overlay: containerd's snapshots are overlays too, and those do not lie on one another.
APART = ("var/lib/commonpool", "var/lib/kubelet")


# A kubelet makes control groups, and nspawn mounts the old hierarchies read-only.
_WRITABLE = "for place in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,rw,bind $place; done 2>/dev/null"


@dataclass(frozen=True)
class Shape:
    """What makes a host unlike the others: files by path (executable ones start with `#!`), and commands at boot."""

    suite: str = "bookworm"
    fetched: tuple[str, ...] = ()  # packages that apt can install there
    files: dict[str, str] = field(default_factory=dict)
    at_boot: tuple[str, ...] = ()
    sudo: str = "commonpool ALL=(ALL) NOPASSWD: ALL\n"


@dataclass
class Host:
    """One host on the LAN."""

    name: str
    address: str
    folder: Path
    namespace: str
    process: "subprocess.Popen[bytes] | None" = None
    kept: bool = False  # whether its disk is one of an earlier run

    @property
    def root(self) -> Path:
        """Its root file system, as seen from here."""
        return self.folder / "root"

    def make(self, base: Path, shape: Shape, authorized_key: str) -> None:
        """Lay out its file system."""
        self.folder.mkdir(parents=True)
        (self.folder / "namespace").write_text(self.namespace, encoding="utf-8")
        for part in ("upper", "work", "root", *APART):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self.mount(base)
        for part in APART:
            (self.root / part).mkdir(parents=True, exist_ok=True)
        boot = "\n".join(("#!/bin/sh", _WRITABLE, *shape.at_boot, ""))
        unit = "[Unit]\nBefore=ssh.service\n[Service]\nType=oneshot\nExecStart=/usr/local/sbin/shape\n"
        files = {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n{self.address} {self.name}\n",
            "etc/sudoers.d/commonpool": shape.sudo,
            "home/commonpool/.ssh/authorized_keys": authorized_key,
            "usr/local/sbin/shape": boot,
            "etc/systemd/system/shape.service": unit,
            "etc/ssh/sshd_config.d/test.conf": "UseDNS no\nPrintMotd no\n",
        } | shape.files
        for path, content in files.items():
            target = self.root / path.removeprefix("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
            if content.startswith("#!"):
                target.chmod(0o755)
        wants = self.root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "shape.service").symlink_to("/etc/systemd/system/shape.service")
        run("chroot", str(self.root), "chown", "-R", "commonpool:commonpool", "/home/commonpool")
        run("chroot", str(self.root), "ssh-keygen", "-A", "-q")
        for kind in ("rsa", "ecdsa"):
            (self.root / f"etc/ssh/ssh_host_{kind}_key").unlink(missing_ok=True)

        (self.folder / "made").write_text(str(base), encoding="utf-8")

    def stands_on(self, base: Path) -> bool:
        """Whether its disk is there, complete, and lies over this file system."""
        marker = self.folder / "made"
        return marker.exists() and marker.read_text(encoding="utf-8") == str(base)

    def mount(self, base: Path) -> None:
        """Lay its own changes over the common file system."""
        options = f"lowerdir={base},upperdir={self.folder}/upper,workdir={self.folder}/work"
        run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))

    def start(self) -> None:
        """Boot it; returns at once, `await_ssh` waits."""
        binds = [word for part in APART for word in ("--bind", f"{self.folder / part}:/{part}")]
        command = [
            "systemd-nspawn", "--quiet", "--boot", "--keep-unit", "--register=no", f"--directory={self.root}",
            f"--machine={self.name}", f"--network-namespace-path=/run/netns/{self.namespace}", "--capability=all",
            "--system-call-filter=add_key keyctl bpf perf_event_open open_by_handle_at", "--bind=/dev/kmsg", "--bind=/dev/fuse",
            "--resolv-conf=off", "--link-journal=no", "--console=pipe", *binds,
        ]  # fmt: skip
        environment = os.environ | {
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1" if _unified() else "0",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
            "SYSTEMD_NSPAWN_LOCK": "0",
        }
        with (self.folder / "console.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                preexec_fn=lambda: _apart(self.namespace),
            )  # fmt: skip

    def await_ssh(self, inside: Callable[[], "contextlib.AbstractContextManager[None]"]) -> None:
        """Until sshd greets; `inside` enters the LAN."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with inside(), contextlib.suppress(OSError), socket.create_connection((self.address, 22), 1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
            if time.monotonic() > deadline or (self.process and self.process.poll() is not None):
                raise HostFailed(f"{self.name} does not answer:\n{self.console()}")
            time.sleep(0.1)

    def console(self) -> str:
        """The end of what it printed while booting."""
        return (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def kill(self) -> None:
        """As when somebody pulls the plug."""
        if self.process is not None:
            with contextlib.suppress(psutil.Error):  # it may have ended by itself
                for child in psutil.Process(self.process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        child.kill()
            self.process.kill()
            self.process.wait()
            self.process = None

    def halt(self, seconds: float = 5.0) -> None:
        """Shut it down in good order; its disk stays."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.kill()
        release(self.folder, self.namespace)

    def host_key(self) -> tuple[str, str]:
        """Kind and key, as it shows them."""
        kind, key, *_ = (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8").split()
        return kind, key

    def stop(self) -> None:
        """End it without ceremony: nothing of it is kept."""
        self.kill()
        remove(self.folder, self.namespace)


def remove(folder: Path, namespace: str) -> None:
    """End and remove a host of which only its folder is known; also half-made ones."""
    release(folder, namespace)
    shutil.rmtree(folder, ignore_errors=True)


def release(folder: Path, namespace: str) -> None:
    """End what runs of a host, and give back what the kernel holds for it; its files stay."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if words and "systemd-nspawn" in words[0] and f"--directory={folder / 'root'}" in words:
                for child in process.children(recursive=True):
                    child.kill()
                process.kill()
                process.wait(10)
    for mount in sorted(_mounts_below(folder), reverse=True):
        attempt("umount", "--lazy", mount)
    for hierarchy in _hierarchies():
        _remove_group(hierarchy / namespace)


def _mounts_below(folder: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        place = line.split()[4]
        if place.startswith(f"{folder}/"):
            yield place


def _unified() -> bool:
    return (CGROUPS / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    """Where control groups are made: one place with cgroup v2, with v1 one for each controller. Tried with v1."""
    if _unified():
        return [CGROUPS]
    return [path for path in sorted(CGROUPS.iterdir()) if path.is_dir() and (path / "cgroup.procs").exists()]


def _apart(group: str) -> None:
    """Into a control group of its own in every hierarchy, so that the host's systemd sees only its own."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    for hierarchy in _hierarchies():
        own = hierarchy / group
        own.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / name).exists():
                (own / name).write_text((hierarchy / name).read_text())
        (own / "cgroup.procs").write_text(str(os.getpid()))


def _remove_group(group: Path) -> None:
    """A control group and those below it; what still runs in them is ended."""
    if not group.is_dir():
        return
    for path, _, _ in os.walk(group, topdown=False):
        deadline = time.monotonic() + 10
        while Path(path).is_dir() and time.monotonic() < deadline:
            for pid in (Path(path) / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.rmdir(path)
                break
            time.sleep(0.05)


def run(*command: str) -> str:
    """Run a command; its words and its complaint are in the error."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise HostFailed(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def attempt(*command: str) -> bool:
    """Run a command that may fail, for instance because what it removes is gone."""
    return subprocess.run(command, capture_output=True).returncode == 0
