"""All of a file or nothing of it: half a certificate would keep the pool from starting until somebody deletes it."""

import os
from pathlib import Path


def write(path: Path, content: bytes, mode: int) -> None:
    """Put a file of this mode in the place of what stands there, once it is on the disk."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
