"""Latencies as Envoy counts them: how many calls were faster than each of a few bounds. Pure.

A quantile read from buckets is an estimate: it is somewhere between two bounds, and taken to be evenly spread there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Histogram:
    """Number of calls by upper bound in milliseconds, cumulative; the last bound is infinite."""

    buckets: tuple[tuple[float, int], ...] = ()

    @classmethod
    def of(cls, buckets: Mapping[float, float]) -> Self:
        """From bound to number, in any order."""
        return cls(tuple((bound, int(number)) for bound, number in sorted(buckets.items())))

    @property
    def count(self) -> int:
        """All calls."""
        return self.buckets[-1][1] if self.buckets else 0

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram.of({bound: self.at(bound) + other.at(bound) for bound in self._bounds(other)})

    def __sub__(self, other: "Histogram") -> "Histogram":
        return Histogram.of({bound: max(0, self.at(bound) - other.at(bound)) for bound in self._bounds(other)})

    def _bounds(self, other: "Histogram") -> set[float]:
        return {bound for bound, _ in (*self.buckets, *other.buckets)}

    def at(self, bound: float) -> int:
        """How many were within a bound; those of the next lower one where it is none of ours."""
        found = 0
        for upper, number in self.buckets:
            if upper > bound:
                break
            found = number
        return found

    def quantile(self, share: float) -> float | None:
        """The latency in milliseconds below which this share of the calls stayed; None without calls."""
        wanted = share * self.count
        if not self.count:
            return None
        lower, below = 0.0, 0
        for upper, number in self.buckets:
            if number >= wanted and number > below:
                if math.isinf(upper):
                    return lower
                return lower + (upper - lower) * (wanted - below) / (number - below)
            lower, below = upper, number
        return lower

    def to_json(self) -> dict[str, int]:
        """Bound (as text) to number."""
        return {"+Inf" if math.isinf(bound) else f"{bound:g}": number for bound, number in self.buckets}

    @classmethod
    def from_json(cls, values: Mapping[str, int]) -> Self:
        """The inverse of `to_json`."""
        return cls.of({math.inf if bound == "+Inf" else float(bound): number for bound, number in values.items()})
