"""The root file system that test hosts share: made once from a distribution's packages, kept by what it was made of."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from commonpool.embedded.hosts.error import HostFailed
from commonpool.folder import cache_folder

SUITE = "bookworm"
PACKAGES = (
    "systemd", "systemd-sysv", "openssh-server", "python3", "sudo", "iproute2", "nftables", "procps", "kmod",
    "ca-certificates", "busybox-static", "postgresql", "nfs-common",
)  # fmt: skip
# Servers are installed, but start only on a host whose shape says so.
HOOK = """chroot "$1" systemctl mask postgresql.service systemd-networkd.service systemd-resolved.service \\
  rpcbind.service rpcbind.socket nfs-client.target nfs-blkmap.service systemd-timesyncd.service getty.target console-getty.service systemd-logind.service e2scrub_reap.service
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id; touch "$1"/etc/machine-id
chroot "$1" useradd --create-home --shell /bin/bash commonpool
"""
# A host has no way to a mirror: what it may install lies there already, as apt fetched it.
ABLE = ("python3-apt",)  # by which Ansible installs packages
FETCH = "export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG; apt-get clean; apt-get --yes --quiet --download-only install "


def base(suite: str = SUITE, fetched: tuple[str, ...] = ()) -> Path:
    """The folder of a suite's root file system, made now if it never was; never written to afterwards.

    `fetched` are packages that apt can install there, with what they depend on, without a network.
    """
    recipe = "\n".join((suite, *PACKAGES, HOOK, *((*ABLE, FETCH, *fetched) if fetched else ())))
    target = cache_folder() / "hosts" / f"{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        return target
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _make(suite, fetched, target)
    return target


def _make(suite: str, fetched: tuple[str, ...], target: Path) -> None:
    scratch = target.with_name(f"making-{target.name}")
    if scratch.exists():
        shutil.rmtree(scratch)
    packages = PACKAGES + (ABLE if fetched else ())
    fetch = ["--skip=cleanup/apt", f"--customize-hook={FETCH}{' '.join(fetched)}"] if fetched else []
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}",
        '--dpkgopt=path-exclude=/usr/share/doc/*', '--dpkgopt=path-exclude=/usr/share/man/*',
        '--dpkgopt=path-exclude=/usr/share/locale/*', f"--customize-hook={HOOK}", *fetch,
        suite, str(scratch),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    if result.returncode:
        raise HostFailed(f"no root file system of {suite}:\n{result.stderr[-2000:]}")
    scratch.replace(target)
