"""A file that is in memory only, for libraries that read from files: keys and kubeconfigs never touch a disk.

A disk that is full therefore stops nothing that talks to a cluster.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_file(content: bytes) -> Iterator[Path]:
    """The path of a file with the content, readable by this process, gone afterwards."""
    if not hasattr(os, "memfd_create"):  # elsewhere than on Linux: a private file, for a moment
        with tempfile.NamedTemporaryFile(prefix="commonpool-") as file:
            file.write(content)
            file.flush()
            yield Path(file.name)
        return
    descriptor = os.memfd_create("commonpool", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
