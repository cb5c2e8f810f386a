"""Host keys: pinned by a person at first contact, in a file beside the inventory, and never accepted silently after.

A key is pinned to a machine's name, not to its address. So an address that now belongs to another machine is refused, and
so is an inventory that points two names to one machine.
"""

import base64
import contextlib
import hashlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from commonpool.machines.error import HostKeyRefused
from commonpool.model import Machine

FILE = "known_hosts"
CONNECT_SECONDS = 5
SCAN_SECONDS = 15  # over a jump host it is two connections
SCANS = 32  # at a time; each is a key exchange


@dataclass(frozen=True)
class HostKey:
    """A public key as a machine shows it."""

    machine: str
    kind: str
    key: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it on the machine."""
        digest = hashlib.sha256(base64.b64decode(self.key)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def line(self) -> str:
        """Its line in the file."""
        return f"{self.machine} {self.kind} {self.key}"


def pin_file(machine: Machine) -> Path:
    """Beside the inventory of the machine's site."""
    return Path(machine.file).resolve().with_name(FILE)


def pinned(path: Path) -> dict[str, HostKey]:
    """The pinned keys by machine."""
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {words[0]: HostKey(words[0], words[1], words[2]) for words in lines if len(words) >= 3}


def scan(machines: Sequence[Machine]) -> dict[str, HostKey]:
    """The key that each machine shows now, on the way by which ssh goes there later too; one that shows none is absent."""
    with tempfile.TemporaryDirectory(prefix="commonpool-keys-") as folder, ThreadPoolExecutor(SCANS) as threads:
        shown = threads.map(lambda machine: _shown(machine, Path(folder) / machine.name), machines)
        return {key.machine: key for key in shown if key is not None}


def _shown(machine: Machine, place: Path) -> HostKey | None:
    """By an ssh that notes the key at a place of ours and gets no further: it does not say who it is."""
    options = {
        "HostKeyAlias": machine.name,
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": f'"{place}"',
        "GlobalKnownHostsFile": "/dev/null",
        "HashKnownHosts": "no",
        "PreferredAuthentications": "none",
        "BatchMode": "yes",
        "ControlPath": "none",
        "ConnectTimeout": str(CONNECT_SECONDS),
    } | ({"Port": str(machine.port)} if machine.port else {})
    told = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    command = ["ssh", "-N", "-T", *told, *shlex.split(machine.ssh_arguments), "--", machine.address or machine.name]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SCAN_SECONDS)
    return pinned(place).get(machine.name)


def pin(path: Path, keys: Iterable[HostKey], replace: Iterable[str] = ()) -> None:
    """Write keys that a person confirmed. Raises `HostKeyRefused` for a changed key, unless its machine is in `replace`."""
    known = dict(pinned(path))
    for key in keys:
        refuse_foreign(key, known, replace)
        known[key.machine] = key
    if not known and not path.exists():
        return  # nobody answered: a file that says nothing would only be committed by mistake
    lines = ["# Host keys of this site's machines, each confirmed by a person at first contact.\n"]
    lines += [f"{known[name].line}\n" for name in sorted(known)]
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text("".join(lines), encoding="utf-8")
    os.replace(scratch, path)


def refuse_foreign(key: HostKey, known: Mapping[str, HostKey], replace: Iterable[str] = ()) -> None:
    """Raises `HostKeyRefused` when the key is another machine's, or not the one that is pinned."""
    before = known.get(key.machine)
    if before is not None and before.key != key.key and key.machine not in replace:
        raise HostKeyRefused(
            f"{key.machine} shows another host key ({key.fingerprint}) than the pinned one ({before.fingerprint})",
            code="host_key_changed",
            next_step=f"when the machine was reinstalled: commonpool machine trust --replace {key.machine}",
        )
    owner = next((name for name, other in known.items() if other.key == key.key and name != key.machine), None)
    if owner is not None:
        raise HostKeyRefused(
            f"{key.machine} shows the host key of {owner} ({key.fingerprint}): its address is that of {owner}, or one is a copy of the other",
            code="host_key_foreign",
            next_step="correct ansible_host in the inventory, or make new host keys on the copy",
        )
