"""A LAN of test hosts, in a network namespace of its own: its addresses collide with nobody's."""

import contextlib
import ctypes
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from base import base
from host import Host, Shape, remove, run

GATEWAY = "10.77.0.1"
_NEW_NETWORK = 0x40000000


class Lan:
    """One namespace with a bridge; each host is plugged into it."""

    def __init__(self, folder: Path) -> None:
        """What an earlier run left in this folder is removed first."""
        self.folder = folder
        self.prefix = f"cp{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"
        self.hosts: dict[str, Host] = {}
        self._number = 9
        self.clean()
        folder.mkdir(parents=True)
        run("ip", "netns", "add", self.prefix)
        for words in (
            "link set lo up", "link add br0 type bridge", f"addr add {GATEWAY}/16 dev br0", "link set br0 up",
        ):  # fmt: skip
            self._ip(words)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))

    @property
    def key(self) -> Path:
        """The operator's private key."""
        return self.folder / "operator"

    def add(self, shapes: Mapping[str, Shape]) -> None:
        """Make and boot hosts, all at once."""
        for suite in {shape.suite for shape in shapes.values()}:
            base(suite)
        made = []
        for name, shape in shapes.items():
            self._number += 1
            number = self._number
            host = Host(name, f"10.77.0.{number}", self.folder / "hosts" / name, f"{self.prefix}-{number}")
            self.hosts[name] = host
            self._plug(host, number)
            made.append((host, shape))
        public = self.key.with_suffix(".pub").read_text(encoding="utf-8")
        for host, shape in made:
            host.make(base(shape.suite), shape, public)
            host.start()
        for host, _ in made:
            host.await_ssh(self.entered)

    def remove(self, name: str) -> None:
        """Pull one host out and forget it."""
        host = self.hosts.pop(name)
        host.stop()
        run("ip", "netns", "delete", host.namespace)

    def _plug(self, host: Host, number: int) -> None:
        run("ip", "netns", "add", host.namespace)
        self._ip(f"link add p{number} type veth peer name host0 netns {host.namespace}")
        self._ip(f"link set p{number} master br0 up")
        for words in (
            "link set lo up", f"addr add {host.address}/16 dev host0", "link set host0 up",
            f"route add default via {GATEWAY}",
        ):  # fmt: skip
            run("ip", "-n", host.namespace, *words.split())

    def _ip(self, words: str) -> None:
        run("ip", "-n", self.prefix, *words.split())

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and what it starts, on the LAN."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(path: str) -> None:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(descriptor, _NEW_NETWORK):
                    raise OSError(ctypes.get_errno(), "setns", path)
            finally:
                os.close(descriptor)

        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        enter(f"/run/netns/{self.prefix}")
        try:
            yield
        finally:
            libc.setns(before, _NEW_NETWORK)
            os.close(before)

    def ssh(self, name: str, command: str) -> str:
        """What a command prints on a host, as root."""
        options = ["-i", str(self.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        words = ["ssh", "-q", *options, f"commonpool@{self.hosts[name].address}", f"sudo sh -c '{command}'"]
        with self.entered():
            return run(*words)

    def clean(self) -> None:
        """Remove every host and namespace of this folder, whoever made them."""
        spaces = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip()]
        own = [name for name in spaces if name == self.prefix or name.startswith(f"{self.prefix}-")]
        folders = list((self.folder / "hosts").iterdir()) if (self.folder / "hosts").is_dir() else []
        numbers = {path.name: path for path in folders}
        with ThreadPoolExecutor() as workers:
            for path in numbers.values():
                known = (path / "namespace").read_text() if (path / "namespace").exists() else "-"
                workers.submit(remove, path, known)
        for name in own:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)


def why_not() -> str | None:
    """Why test hosts cannot be made here, or None."""
    if os.geteuid() != 0:
        return "test hosts need root"
    for program in ("mmdebstrap", "systemd-nspawn", "ip", "ssh", "nft"):
        if not any(os.access(Path(folder) / program, os.X_OK) for folder in os.environ["PATH"].split(":")):
            return (
                f"test hosts need {program} (Debian: mmdebstrap, systemd-container, iproute2, openssh-client, nftables)"
            )
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True)
    return None if probe.returncode == 0 else "test hosts need namespaces, and this machine gives none"
