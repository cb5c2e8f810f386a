"""The estate that a command has read, for the programs that run inside of it: what is applied is what was checked.

Importing this imports no Pulumi.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commonpool.model import Estate, load_estate

_held: dict[Path, Estate] = {}


@contextmanager
def holding(estate: Estate) -> Iterator[None]:
    """Meanwhile, whoever reads the estate of this folder gets this one, whatever happens to the files."""
    root = estate.root.resolve()
    _held[root] = estate
    try:
        yield
    finally:
        _held.pop(root, None)


def read(root: Path) -> Estate:
    """The estate that is held, else the one in the folder. Raises `EstateRefused` with every problem and its place."""
    return _held.get(root.resolve()) or load_estate(root)
