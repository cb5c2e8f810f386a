"""Container images without any registry: one static program and a few files as an OCI archive that containerd imports.

The same content gives the same bytes, so an image is known by its hash and imported once.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
NOBODY = "65532:65532"


def image(
    name: str, files: Mapping[str, bytes], command: Sequence[str], target: Path, links: Mapping[str, str] | None = None
) -> Path:
    """Write an OCI archive with one layer: `files` by path, all executable, run as nobody. Returns `target`."""
    layer = _tar(files, links or {}, mode=0o755)
    packed = gzip.compress(layer, 1, mtime=0)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(command), "User": NOBODY, "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    blobs: dict[str, bytes] = {}

    def add(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": add(json.dumps(config).encode(), _CONFIG),
        "layers": [add(packed, _LAYER)],
    }
    entry = add(json.dumps(manifest).encode(), _MANIFEST) | {"annotations": {"io.containerd.image.name": name}}
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}
    content = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps(index).encode(),
        **blobs,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_tar(content, {}, mode=0o644))
    return target


def _tar(files: Mapping[str, bytes], links: Mapping[str, str], *, mode: int) -> bytes:
    """A tar of files in the order of their names, without times and owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in sorted({str(parent) for path in (*files, *links) for parent in Path(path).parents} - {"."}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(files[path]), mode
            archive.addfile(entry, io.BytesIO(files[path]))
        for path in sorted(links):
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, links[path]
            archive.addfile(entry)
    return buffer.getvalue()
