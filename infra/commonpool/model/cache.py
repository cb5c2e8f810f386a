"""What manifests held that were read before, by the digest of their bytes, so that a file that did not change is not parsed again.

Parsing YAML is half of what reading an estate costs, and most manifests are those of yesterday. There is one file for each
estate in the cache: a digest of the rest, then a line for each manifest with the SHA-256 of its bytes and its values as JSON.
Only what was plain is kept, never a problem. Refused, that is as good as not there, is a file of another user or that others
may write, one of another version of what reads, and one that is not whole. Deleting it costs the time of reading once.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import yaml

from commonpool.folder import cache_folder

ESTATES = 32  # files that are kept; the ones written last
_HEXADECIMAL = 64  # digits of a SHA-256


class Cache:
    """The values of one estate's manifests. Use `opened`, and `save` when all of them were read."""

    def __init__(self, path: Path | None = None, lines: Mapping[bytes, bytes] = MappingProxyType({})) -> None:
        """`lines` are by their first 64 bytes, the digest of a manifest; without a path nothing is kept."""
        self._path, self._known = path, lines
        self._read: dict[bytes, bytes] = {}

    def values(self, content: bytes) -> Any:  # noqa: ANN401
        """What a manifest of these bytes holds; None when that is not known."""
        key = _digest(content)
        found = self._known.get(key)
        if found is None:
            return None
        self._read[key] = found
        return orjson.loads(found[_HEXADECIMAL:])

    def keep(self, content: bytes, values: Any) -> None:  # noqa: ANN401
        """Know what a manifest holds, unless JSON cannot say it: an integer beyond 64 bits, half a surrogate pair."""
        with contextlib.suppress(TypeError, ValueError):
            key = _digest(content)
            self._read[key] = key + orjson.dumps(values)

    def save(self) -> None:
        """Write what was read since `opened`, unless that is what stands there; what cannot be written is not kept."""
        if self._path is None or self._read.keys() == self._known.keys():
            return
        content = b"\n".join(self._read.values())
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._path, _digest(content) + b"\n" + content)
            _forget(self._path.parent)


def opened(root: Path) -> Cache:
    """What is known of the estate in a folder."""
    name = hashlib.sha256(f"{_version()}:{root.resolve()}".encode(errors="surrogateescape")).hexdigest()[:24]
    try:
        path = cache_folder() / "manifests" / name
    except RuntimeError:  # a user without a home
        return Cache()
    digest, _, content = _own(path).partition(b"\n")
    if _digest(content) != digest:
        return Cache(path)
    return Cache(path, {line[:_HEXADECIMAL]: line for line in content.split(b"\n")})


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


@cache
def _version() -> str:
    """Of what makes values out of bytes."""
    code = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("cache.py", "document.py"))
    return f"{hashlib.sha256(code).hexdigest()}:{yaml.__version__}:{yaml.__with_libyaml__}"


def _own(path: Path) -> bytes:
    """The content of a file that nobody else can have written; empty where there is none."""
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return b""
            return file.read()
    except OSError:
        return b""


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, for its owner alone."""
    descriptor, scratch = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(scratch, path)
    except OSError:
        os.unlink(scratch)
        raise


def _forget(folder: Path) -> None:
    """Leave the files that were written last."""
    found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in found[:-ESTATES]:
        path.unlink(missing_ok=True)
