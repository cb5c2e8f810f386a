"""Bytes of bodies that calls hold at one time: what is held whole for one consumer leaves room for the others."""

from collections import Counter
from dataclasses import dataclass, field

# Of all agreements, and of one: 16 answers of the largest size at one time. While an answer is filtered, which few are at one
# time, it takes some ten times its size besides.
ALL, EACH = 256 << 20, 64 << 20


@dataclass
class Room:
    """What is held now, by agreement."""

    held: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def take(self, agreement: str, size: int) -> bool:
        """Whether so many bytes more may be held."""
        if self.total + size > ALL or self.held[agreement] + size > EACH:
            return False
        self.held[agreement] += size
        self.total += size
        return True

    def give_back(self, agreement: str, size: int) -> None:
        """The call that held them is over."""
        self.held[agreement] -= size
        self.total -= size
