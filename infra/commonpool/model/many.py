"""Many manifests of one folder, read on all the cores that this process may use. Run as a program it reads for another process.

Reading YAML is nearly all that a large catalogue costs the first time, and Python reads on one core. What is read elsewhere
comes back as lines of the cache; whatever is not plain, or not right, comes back as nothing and is read here, where its
problems are told with their place.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import orjson

from commonpool.model import garbage
from commonpool.model.cache import Cache
from commonpool.model.document import Document, read

FEWEST = 2_000  # files for one process: it takes as long to start as to read a few hundred


def read_many(files: Sequence[tuple[Path, str]], cache: Cache) -> Generator[Document, None, None]:
    """The documents of files in their order; each file with what messages call it."""
    shares = min(len(os.sched_getaffinity(0)), (len(files) - len(cache)) // FEWEST)
    if shares < 2:
        yield from (read(path, name, cache) for path, name in files)
        return
    size = -(-2 * len(files) // (2 * shares - 1))
    own, rest = files[: size // 2], files[size // 2 :]  # half a share: this process checks all of them as well
    elsewhere = [_Elsewhere(rest[start : start + size]) for start in range(0, len(rest), size)]
    try:
        yield from (read(path, name, cache) for path, name in own)
        for one in elsewhere:
            yield from one.documents(cache)
    finally:
        for one in elsewhere:
            one.end()


class _Elsewhere:
    """A share of the files, read by a process of its own while this one reads another share."""

    def __init__(self, files: Sequence[tuple[Path, str]]) -> None:
        self._files, self._answer = files, b""
        command = [sys.executable, "-m", __name__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        paths = orjson.dumps([os.path.abspath(path) for path, _ in self._files])
        self._answer, _ = self._process.communicate(paths)

    def documents(self, cache: Cache) -> Iterator[Document]:
        """As `read` gives them; what a process that ended early did not read is read here."""
        self._listening.join()
        lines, self._answer = self._answer.split(b"\n")[:-1], b""
        for index, (path, name) in enumerate(self._files):
            line = lines[index] if index < len(lines) else b""
            yield Document(name, cache.keep(line)) if line else read(path, name, cache)

    def end(self) -> None:
        """Whatever comes of it, the process does not outlive the reading."""
        self._process.kill()
        self._listening.join()


def _main() -> None:
    write = sys.stdout.buffer.write
    for path in orjson.loads(sys.stdin.buffer.read()):
        cache = Cache()
        read(Path(path), path, cache)
        write(b"".join(cache.read.values()) + b"\n")


if __name__ == "__main__":
    with garbage.put_off():
        _main()
