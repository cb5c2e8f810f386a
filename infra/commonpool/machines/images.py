"""Images brought to nodes as OCI archives, without any registry: what is in an archive, and the way onto the machines."""

import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from commonpool.machines.error import MachineError
from commonpool.machines.run import MachineRun, Observer, play
from commonpool.machines.survey import Access
from commonpool.model import Machine

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def names_in(path: Path) -> list[str]:
    """The images of an OCI archive by full name. Raises `MachineError` for anything else."""
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("index.json")
            index = json.loads(member.read()) if member else {}
        entries = [one.get("annotations") or {} for one in index["manifests"]]
    except (OSError, KeyError, ValueError, TypeError, tarfile.TarError) as error:
        raise MachineError(
            f"{path} is no OCI archive: {error}",
            code="image_unreadable",
            next_step="make one, for instance with `skopeo copy … oci-archive:FILE:NAME` or `docker buildx build -o type=oci`",
        ) from error
    names = [next((one[key] for key in _NAMES if key in one), "") for one in entries]
    if not names or not all("/" in name for name in names):
        raise MachineError(
            f"{path} holds an image without a full name",
            code="image_unnamed",
            next_step="name it registry/repository:tag when the archive is made",
        )
    return names


def bring(
    machines: Sequence[Machine], archives: Sequence[Path], folder: Path, access: Access, observer: Observer
) -> dict[str, MachineRun]:
    """Import these archives on these machines."""
    described = []
    for path in archives:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        described.append({"path": str(path.resolve()), "digest": digest})
    wanted = access.to("commonpool.pool.image", machines, {"image_archives": described})
    return play(wanted, folder / "runs", observer)
