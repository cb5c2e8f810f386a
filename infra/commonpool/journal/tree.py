"""The Merkle tree of a transparency log (RFC 6962, section 2), as far as a journal needs it. Pure.

Written here because the packages that do it are unmaintained or under the GPL (pymerkle); it is sixty lines.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Self

EMPTY = hashlib.sha256().digest()


def leaf_hash(content: bytes) -> bytes:
    """The hash of one record."""
    return hashlib.sha256(b"\0" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Frontier:
    """The complete subtrees of the first `size` records, largest first: all that is needed to go on and to say the root."""

    __slots__ = ("size", "subtrees")

    def __init__(self, size: int = 0, subtrees: Iterable[bytes] = ()) -> None:
        """One subtree for each bit that is set in `size`. Raises ValueError for another number."""
        self.size, self.subtrees = size, list(subtrees)
        if len(self.subtrees) != size.bit_count():
            raise ValueError(f"{size} records have {size.bit_count()} complete subtrees, not {len(self.subtrees)}")

    def copy(self) -> Self:
        """One that goes its own way."""
        return type(self)(self.size, self.subtrees)

    def add(self, leaf: bytes) -> None:
        """Append one record by its hash."""
        done = self.size
        while done & 1:
            leaf = node_hash(self.subtrees.pop(), leaf)
            done >>= 1
        self.subtrees.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle root of all records so far."""
        if not self.subtrees:
            return EMPTY
        found = self.subtrees[-1]
        for subtree in reversed(self.subtrees[:-1]):
            found = node_hash(subtree, found)
        return found


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle root of records by their hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    return frontier.root()


def consistency(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """The proof that the first `size` leaves are a beginning of all of them (RFC 6962, 2.1.2)."""
    return _subproof(leaves, size, known=True) if 0 < size < len(leaves) else []


def _subproof(leaves: Sequence[bytes], size: int, *, known: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if known else [root(leaves)]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if size <= split:
        return [*_subproof(leaves[:split], size, known=known), root(leaves[split:])]
    return [*_subproof(leaves[split:], size - split, known=False), root(leaves[:split])]


def is_consistent(old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]) -> bool:
    """Whether the log of (size, root) `new` goes on from that of `old` (RFC 9162, 2.1.4.2)."""
    (size, old_root), (total, new_root) = old, new
    if not 0 < size <= total:
        return size == 0 and not proof
    if size == total:
        return old_root == new_root and not proof
    path = list(proof)
    if size & (size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    first, last = size - 1, total - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    seen_old = seen_new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            seen_old, seen_new = node_hash(step, seen_old), node_hash(step, seen_new)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            seen_new = node_hash(seen_new, step)
        first, last = first >> 1, last >> 1
    return last == 0 and (seen_old, seen_new) == (old_root, new_root)
