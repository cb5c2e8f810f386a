"""Bodies that are kept as evidence: encrypted to the two departments (age), so that nobody else opens them, the operator neither."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson
import pyrage  # type: ignore[import-untyped]

from commonpool.journal import Record
from commonpool.journal.journal import sync_folder
from commonpool.journal.report import Finding
from commonpool.journal.segment import BODIES


class Vault:
    """A folder beside the journal; each file is named by the digest of what it holds, which stands in the record."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made at first use."""
        self.folder = folder

    def keep(self, request: bytes, answer: bytes, recipients: Sequence[str]) -> str:
        """Store both, durably; returns the digest of the encrypted file. Raises OSError or ValueError."""
        parts = orjson.dumps({"request": len(request), "answer": len(answer)}) + b"\n" + request + answer
        content = pyrage.encrypt(parts, [recipient(one) for one in recipients])
        name = hashlib.sha256(content).hexdigest()
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(self.folder.parent)
        path = self.folder / f"{name}.age"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        sync_folder(self.folder)  # the record that names it will be on the disk
        return f"sha256:{name}"


def unkept(journal: Path, records: Iterable[Record]) -> tuple[int, Finding | None]:
    """How many of the bodies that records name are here as they were kept, and the first that is not."""
    good = 0
    for record in records:
        name = str(record.data.get("bodies", ""))
        if not name:
            continue
        path = journal / BODIES / f"{name.removeprefix('sha256:')}.age"
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return good, Finding(record.sequence, "body", f"its bodies cannot be read: {error.strerror}", path, 0)
        if name != f"sha256:{found}":
            return good, Finding(record.sequence, "body", "its bodies are not those that were kept", path, 0)
        good += 1
    return good, None


def opened(content: bytes, identity: str) -> tuple[bytes, bytes]:
    """Request and answer, for the holder of a private key (age, or an OpenSSH Ed25519 key). Raises ValueError."""
    try:
        key = (
            pyrage.ssh.Identity.from_buffer(identity.encode())
            if "OPENSSH" in identity
            else pyrage.x25519.Identity.from_str(identity.strip())
        )
        head, _, rest = pyrage.decrypt(content, [key]).partition(b"\n")
    except pyrage.DecryptError as error:
        raise ValueError("this key does not open it") from error
    size = orjson.loads(head)["request"]
    return rest[:size], rest[size:]


def recipient(text: str) -> "pyrage.ssh.Recipient | pyrage.x25519.Recipient":
    """An age recipient: `age1…`, or a department's own signing key as `ssh-ed25519 …`. Raises ValueError."""
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise ValueError(f"{text[:40]!r} is no recipient of age") from error
