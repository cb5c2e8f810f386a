"""Bulk exchange: files and tables that are too much for calls, packed for one department, fetched in pieces, acknowledged.

A drop is a folder that any HTTP server with ranges (RFC 9110, section 14) may hand out: each file encrypted to the consumer's
own keys (age), and a manifest with the digests of every file and of every eight megabytes of it, signed by the provider. A
fetch that breaks off goes on after the last piece that is good. The consumer's signed receipt names the manifest.
"""

import base64
import hashlib
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import pyrage  # type: ignore[import-untyped]
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from commonpool.exchange.vault import recipient
from commonpool.model.statement import message

MANIFEST, RECEIPT = "manifest.json", "receipt.json"  # both are written beside the files that were fetched
PIECE = 8 << 20  # bytes of which the manifest has a digest each
LARGEST_MANIFEST = 16 << 20
LONGEST_NAME = 200  # bytes; file systems take 255, with what is added while it is fetched
_BLOCK = 1 << 20
_PASSING = (408, 429)  # refusals of a server that it may take back soon
TRIES, PAUSE_SECONDS, ANSWER_SECONDS = 5, 1.0, 60.0
Fields = dict[str, Any]


class DropRefused(Exception):
    """A drop is not what it says, or not for whoever fetches it."""

    code = "drop_refused"
    next_step = ""


class DropInterrupted(Exception):
    """The connection broke off again and again; what arrived is kept."""

    code = "drop_interrupted"
    next_step = "run the same again: it goes on after what arrived"


@dataclass(frozen=True)
class Packed:
    """One file: as it is (`bytes`, `sha256`), and encrypted, with the digest of each piece."""

    name: str
    bytes: int
    sha256: str
    packed_bytes: int
    pieces: tuple[str, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Raises `DropRefused` for what says no file, and a name that leads elsewhere or that a fetch has its own use for."""
        try:
            name, size, packed = str(values["name"]), int(values["bytes"]), int(values["packed_bytes"])
            found = cls(name, size, str(values["sha256"]), packed, tuple(map(str, values["pieces"])))
        except (KeyError, TypeError, ValueError) as error:
            raise DropRefused(f"an entry of the manifest says no file: {error}") from error
        _refuse_names([name])
        return found

    @property
    def stored(self) -> str:
        """Its name in the drop."""
        return f"{self.name}.age"


@dataclass(frozen=True)
class Terms:
    """Under which agreement, by whom and for whom."""

    agreement: str
    text: str
    provider: str
    consumer: str


def pack(sources: Sequence[Path], target: Path, terms: Terms, recipients: Sequence[str], at: str) -> Fields:
    """Encrypt files into a folder; returns the manifest's fields, not signed yet. Raises `DropRefused` or OSError."""
    if not recipients:
        raise DropRefused(f"{terms.consumer} declares no key, so nothing can be encrypted to it")
    _refuse_names([path.name for path in sources])
    keys = [recipient(one) for one in recipients]
    packed = []
    for path in sources:
        try:
            pyrage.encrypt_file(str(path), str(target / f"{path.name}.age"), keys)
        except pyrage.EncryptError as error:
            raise DropRefused(f"{path} cannot be encrypted into {target}: {error}") from error
        with path.open("rb") as plain, (target / f"{path.name}.age").open("rb") as encrypted:
            size, digest, _ = _digests(plain)
            packed_size, _, pieces = _digests(encrypted)
        packed.append(asdict(Packed(path.name, size, digest, packed_size, tuple(pieces))))
    return {"apiVersion": "commonpool.dev/v1", "kind": "Drop", **asdict(terms), "at": at, "files": packed}


@contextmanager
def new_folder(target: Path) -> Iterator[None]:
    """A drop's own folder, which goes again when it does not become whole. Raises `DropRefused` when it is there already."""
    if target.exists():
        raise DropRefused(f"{target} exists already; every drop is a folder of its own, so name a new one")
    target.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _refuse_names(names: Sequence[str]) -> None:
    for name in names:
        elsewhere = Path(name).name != name or name.startswith(".") or name in (MANIFEST, RECEIPT)
        if not name.isprintable() or elsewhere or not 0 < len(name.encode()) <= LONGEST_NAME:
            raise DropRefused(f"{name!r} is no name of a file in a drop")
    if len(set(names)) != len(names):
        raise DropRefused("two of the files have the same name")


def signed(fields: Fields, key: str, private: Ed25519PrivateKey) -> Fields:
    """With the name of the key and the signature over the canonical form (RFC 8785)."""
    named = {**fields, "key": key}
    return {**named, "signature": base64.b64encode(private.sign(message(named))).decode()}


def check(fields: Mapping[str, Any], public: str) -> None:
    """Raises `DropRefused` unless the key signed it."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
    try:
        key.verify(base64.b64decode(str(fields["signature"])), message(fields))
    except (InvalidSignature, KeyError, ValueError, RecursionError) as error:
        raise DropRefused(
            f"the signature of this {fields.get('kind', 'document')} is not by the key that is declared"
        ) from error


def digest(content: bytes) -> str:
    """What a receipt says of a manifest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def write(folder: Path, fields: Fields) -> bytes:
    """Write the manifest; returns its bytes."""
    content = json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n"
    (folder / MANIFEST).write_bytes(content)
    return content


def receipt(manifest: bytes, department: str, at: str) -> Fields:
    """What the consumer signs when everything arrived and opened."""
    fields = json.loads(manifest)
    return {
        "apiVersion": "commonpool.dev/v1",
        "kind": "DropReceipt",
        "drop": digest(manifest),
        "agreement": fields["agreement"],
        "department": department,
        "files": len(fields["files"]),
        "bytes": sum(one["bytes"] for one in fields["files"]),
        "at": at,
    }


class _Staying(urllib.request.HTTPRedirectHandler):
    """Follows nobody: what goes with a request, the token of the pool, would go wherever its answer says."""

    def redirect_request(self, *request: Any, **more: Any) -> None:  # noqa: ANN401
        """No request follows, so the redirect is an error like others."""


_OPENER = urllib.request.build_opener(_Staying)


class Source:
    """Where a drop is fetched from: a URL with ranges, or a folder."""

    def __init__(self, place: str, headers: Mapping[str, str]) -> None:
        """`headers` go with every request, for instance the token of the pool."""
        self.place, self.headers = place.rstrip("/"), dict(headers)

    def manifest(self) -> bytes:
        """The manifest as it is handed out. Raises `DropRefused`, `DropInterrupted`, or OSError for a folder."""
        try:
            with self._opened(MANIFEST, 0) as stream:
                content = stream.read(LARGEST_MANIFEST + 1)
        except urllib.error.URLError as error:
            raise DropInterrupted(f"{self.place} cannot be reached: {error.reason}") from error
        if len(content) > LARGEST_MANIFEST:
            raise DropRefused(f"the manifest is larger than {LARGEST_MANIFEST:,} bytes")
        return bytes(content)

    def blocks(self, name: str, start: int) -> Iterator[bytes]:
        """The rest of a file from a byte on. Raises OSError when it breaks off."""
        with self._opened(name, start) as stream:
            while block := stream.read(_BLOCK):
                yield block

    def _opened(self, name: str, start: int) -> Any:  # noqa: ANN401
        if not self.place.startswith(("http://", "https://")):
            file = (Path(self.place) / name).open("rb")
            file.seek(start)
            return file
        headers = self.headers | ({"Range": f"bytes={start}-"} if start else {})
        request = urllib.request.Request(f"{self.place}/{urllib.parse.quote(name)}", headers=headers)  # noqa: S310
        try:
            answer = _OPENER.open(request, timeout=ANSWER_SECONDS)
        except urllib.error.HTTPError as error:
            if 300 <= error.code < 500 and error.code not in _PASSING:
                raise DropRefused(f"{self.place} answers {error.code} {error.reason} to {name}") from error
            raise
        if start and answer.status != 206:
            _skip(answer, start)  # a server without ranges sends everything again
        return answer


def _skip(stream: BinaryIO, size: int) -> None:
    while size and (block := stream.read(min(size, _BLOCK))):
        size -= len(block)


def fetch(
    source: Source, files: Sequence[Packed], into: Path, private: Ed25519PrivateKey, tell: Callable[[str], None]
) -> None:
    """Fetch, verify and open every file; goes on after what is there already. Raises `DropRefused` or `DropInterrupted`."""
    _refuse_names([one.name for one in files])
    parts = into / ".parts"
    parts.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(files, 1):
        if (into / one.name).exists() and _matches(into / one.name, one):
            continue
        tell(f"{number} of {len(files)}: {one.name}")
        _download(source, one, parts / one.stored, tell)
        _open(parts / one.stored, one, into, private)
    for path in parts.iterdir():
        path.unlink()
    parts.rmdir()


def _download(source: Source, one: Packed, path: Path, tell: Callable[[str], None]) -> None:
    failures = 0
    while (start := _good(path, one)) < one.packed_bytes:
        try:
            _append(source.blocks(one.stored, start), path, one, start, tell)
            if path.stat().st_size < one.packed_bytes:
                raise OSError("the connection ended before the file did")
            if _good(path, one) < one.packed_bytes:
                raise DropRefused(f"{one.name} is not what its manifest says")
        except (OSError, urllib.error.URLError) as error:
            failures = 0 if _good(path, one) > start else failures + 1
            if failures >= TRIES:
                raise DropInterrupted(f"{one.name}: {error}") from error
            time.sleep(PAUSE_SECONDS)


def _append(blocks: Iterator[bytes], path: Path, one: Packed, start: int, tell: Callable[[str], None]) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(start)
        file.truncate()
        for block in blocks:
            file.write(block)
            if file.tell() > one.packed_bytes:
                raise DropRefused(f"{one.name} is longer than its manifest says")
            tell(f"{one.name}: {file.tell():,} of {one.packed_bytes:,} bytes")
        file.flush()
        os.fsync(file.fileno())


def _good(path: Path, one: Packed) -> int:
    """How many bytes from the beginning are what the manifest says. Raises `DropRefused` when a whole file is not."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        size, _, pieces = _digests(file)
    whole = size >= one.packed_bytes
    compared = pieces if whole else pieces[: size // PIECE]
    good = next(
        (at for at, (mine, theirs) in enumerate(zip(compared, one.pieces, strict=False)) if mine != theirs),
        len(compared),
    )
    if whole and good == len(one.pieces):
        return one.packed_bytes
    return good * PIECE


def _open(path: Path, one: Packed, into: Path, private: Ed25519PrivateKey) -> None:
    form, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    identity = pyrage.ssh.Identity.from_buffer(private.private_bytes(serialization.Encoding.PEM, form, plain))
    opened = path.with_suffix(".open")
    try:
        pyrage.decrypt_file(str(path), str(opened), [identity])
    except pyrage.DecryptError as error:
        opened.unlink(missing_ok=True)
        raise DropRefused(f"{one.name} cannot be opened by this key: {error}") from error
    except OSError as error:
        opened.unlink(missing_ok=True)
        raise DropInterrupted(f"{one.name} arrived, but cannot be written: {error}") from error
    if not _matches(opened, one):
        opened.unlink()
        raise DropRefused(f"{one.name} opens, but is not what the manifest says")
    opened.replace(into / one.name)


def _matches(path: Path, one: Packed) -> bool:
    with path.open("rb") as file:
        size, found, _ = _digests(file)
    return (size, found) == (one.bytes, one.sha256)


def _digests(file: BinaryIO) -> tuple[int, str, list[str]]:
    """Length, digest of all, digest of each piece."""
    whole, pieces, size = hashlib.sha256(), [], 0
    while piece := file.read(PIECE):
        whole.update(piece)
        pieces.append(hashlib.sha256(piece).hexdigest())
        size += len(piece)
    return size, whole.hexdigest(), pieces
