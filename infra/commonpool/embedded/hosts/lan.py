"""A LAN of test hosts: in a network namespace of its own, where its addresses collide with nobody's, or on this machine."""

import contextlib
import ctypes
import hashlib
import ipaddress
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil

from commonpool.embedded.hosts.base import base
from commonpool.embedded.hosts.error import HostFailed
from commonpool.embedded.hosts.host import Host, Shape, attempt, release, remove, run

NETWORK = "10.77.0.0/16"
GATEWAY = "10.77.0.1"
# What makes a host, by the package of Debian that has it; the last ones build what a node needs.
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "nft": "nftables",
    "gcc": "gcc libc6-dev libseccomp-dev",
    "pkg-config": "pkg-config",
}
# inotify instances of one user: hosts share this kernel and its root, and systemd, containerd and kubelet of each take some
# twenty. Without one, containerd serves no pods. The kernel's default is 128.
WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHERS_NEEDED = 2048
_NEW_NETWORK = 0x40000000


class Lan:
    """A bridge; each host is plugged into it. `apart` puts the bridge into a namespace of its own."""

    def __init__(self, folder: Path, network: str = NETWORK, *, apart: bool = True, keep: bool = False) -> None:
        """What an earlier run left in this folder is removed first; with `keep` the hosts' disks and the key stay."""
        self.folder, self.network, self.apart = folder, ipaddress.ip_network(network), apart
        self.prefix = _prefix(folder)
        self.hosts: dict[str, Host] = {}
        self.booted = datetime.now(UTC)
        self._number = 9
        self.clean(keep=keep)
        taken = {one.address for addresses in psutil.net_if_addrs().values() for one in addresses}
        if not apart and self.gateway in taken:
            raise HostFailed(f"{self.gateway} is in use: the test hosts of another pool stand on this machine")
        folder.mkdir(parents=True, exist_ok=True)
        if apart:
            run("ip", "netns", "add", self.prefix)
            self._ip("link set lo up")
        bridge = f"{self.prefix}-br"
        for words in (
            f"link add {bridge} type bridge", f"addr add {self.gateway}/{self.network.prefixlen} dev {bridge}",
            f"link set {bridge} up",
        ):  # fmt: skip
            self._ip(words)
        if not self.key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))

    @property
    def gateway(self) -> str:
        """The address of whoever is on the LAN from here."""
        return str(self.network[1])

    @property
    def key(self) -> Path:
        """The operator's private key."""
        return self.folder / "operator"

    def add(self, shapes: Mapping[str, Shape]) -> None:
        """Make and boot hosts, all at once; one whose disk was kept goes on with it."""
        if int(WATCHERS.read_text()) < WATCHERS_NEEDED:
            WATCHERS.write_text(str(WATCHERS_NEEDED))
        for suite, fetched in {(shape.suite, shape.fetched) for shape in shapes.values()}:
            base(suite, fetched)
        made = []
        self.booted = datetime.now(UTC).replace(microsecond=0)
        for name, shape in shapes.items():
            self._number += 1
            number = self._number
            host = Host(name, str(self.network[number]), self.folder / "hosts" / name, f"{self.prefix}-{number}")
            self.hosts[name] = host
            self._plug(host, number)
            made.append((host, shape))
        public = self.key.with_suffix(".pub").read_text(encoding="utf-8")
        for host, shape in made:
            root = base(shape.suite, shape.fetched)
            host.kept = host.stands_on(root)
            if host.kept:
                host.mount(root)
            else:
                remove(host.folder, host.namespace)
                host.make(root, shape, public)
            host.start()
        for host, _ in made:
            host.await_ssh(self.entered)

    def boot_again(self, host: Host) -> None:
        """Start a host that went down, with its disk as it was."""
        host.kill()
        release(host.folder, host.namespace)
        host.mount(Path((host.folder / "made").read_text(encoding="utf-8")))
        host.start()

    def remove(self, name: str) -> None:
        """Pull one host out and forget it."""
        host = self.hosts.pop(name)
        host.stop()
        run("ip", "netns", "delete", host.namespace)

    def _plug(self, host: Host, number: int) -> None:
        run("ip", "netns", "add", host.namespace)
        plug = f"{self.prefix}-{number}"
        self._ip(f"link add {plug} type veth peer name host0 netns {host.namespace}")
        self._ip(f"link set {plug} master {self.prefix}-br up")
        for words in (
            "link set lo up", f"addr add {host.address}/{self.network.prefixlen} dev host0", "link set host0 up",
            f"route add default via {self.gateway}",
        ):  # fmt: skip
            run("ip", "-n", host.namespace, *words.split())

    def _ip(self, words: str) -> None:
        run("ip", *(["-n", self.prefix] if self.apart else []), *words.split())

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and what it starts, on the LAN."""
        if not self.apart:
            yield
            return
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

    def halt(self) -> None:
        """Shut every host down and take the LAN away; the hosts' disks stay."""
        try:
            with ThreadPoolExecutor() as workers:
                list(workers.map(Host.halt, self.hosts.values()))
        finally:
            self.clean(keep=True)

    def clean(self, *, keep: bool = False) -> None:
        """As `clear`."""
        clear(self.folder, keep=keep)


def clear(folder: Path, *, keep: bool = False) -> None:
    """Remove every host and namespace of a LAN's folder, whoever made them; with `keep` not the hosts' disks."""
    prefix = _prefix(folder)
    spaces = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip()]
    own = [name for name in spaces if name == prefix or name.startswith(f"{prefix}-")]
    folders = list((folder / "hosts").iterdir()) if (folder / "hosts").is_dir() else []
    with ThreadPoolExecutor() as workers:
        for path in folders:
            known = (path / "namespace").read_text() if (path / "namespace").exists() else "-"
            workers.submit(release if keep else remove, path, known)
    for name in own:
        attempt("ip", "netns", "delete", name)
    links = [line.split()[0].partition("@")[0] for line in run("ip", "-br", "link").splitlines()]
    for name in links:
        if name.startswith(f"{prefix}-"):
            attempt("ip", "link", "delete", name)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(folder: Path) -> str:
    """What everything of a LAN outside of its folder is called."""
    return f"cp{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


def why_not() -> str | None:
    """Why test hosts cannot be made here, or None."""
    if os.geteuid() != 0:
        return "test hosts need root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        packages = dict.fromkeys(PROGRAMS[name] for name in missing)
        return f"test hosts need {', '.join(missing)} (Debian: {', '.join(packages)})"
    given = attempt("unshare", "--net", "--mount", "true")
    return None if given else "test hosts need namespaces, and this machine gives none"
