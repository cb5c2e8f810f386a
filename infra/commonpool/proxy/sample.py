"""What Envoy has counted for each backend at one moment, and what happened between two moments. Pure.

Counters of Envoy only grow, until it starts anew. One that shrank is taken to have started from nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from commonpool.proxy.histogram import Histogram


@dataclass(frozen=True)
class Counts:
    """One backend: calls answered (connections, for TCP), how many of them failed, how long they took, checks of its health."""

    requests: int = 0
    errors: int = 0
    latency: Histogram = field(default_factory=Histogram)
    checks: int = 0
    failed_checks: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            self.latency + other.latency,
            self.checks + other.checks,
            self.failed_checks + other.failed_checks,
        )

    def since(self, before: "Counts") -> "Counts":
        """What came after `before`; all of it when the counters started anew in between."""
        if self.restarted(before):
            return self
        return Counts(
            self.requests - before.requests,
            self.errors - before.errors,
            self.latency - before.latency,
            self.checks - before.checks,
            max(0, self.failed_checks - before.failed_checks),
        )

    def restarted(self, before: "Counts") -> bool:
        """Whether these began to count after `before`."""
        return self.requests < before.requests or self.errors < before.errors or self.checks < before.checks

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self) | {"latency": self.latency.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{**values, "latency": Histogram.from_json(values.get("latency", {}))})


@dataclass(frozen=True)
class Members:
    """How many hosts a backend has in Envoy, and how many of them it sends calls to."""

    healthy: int
    total: int


@dataclass(frozen=True)
class Instance:
    """What one Envoy says, by the backend's name."""

    counts: Mapping[str, Counts] = field(default_factory=dict)
    members: Mapping[str, Members] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """What every Envoy says at one moment, by its address."""

    instances: Mapping[str, Instance] = field(default_factory=dict)

    def members(self, backend: str) -> Members | None:
        """Where the Envoys differ, the worst view; None when no Envoy knows the backend (nothing is sent there)."""
        found = [one.members[backend] for one in self.instances.values() if backend in one.members]
        return min(found, key=lambda one: one.healthy) if found else None

    def counts(self, backend: str) -> Counts:
        """The sum over all Envoys."""
        return total(one.counts.get(backend, Counts()) for one in self.instances.values())

    def since(self, before: "Sample", backend: str) -> Counts:
        """What happened between two samples; an Envoy that is new counts from nothing."""
        return total(
            one.counts.get(backend, Counts()).since(_before(before, address, backend))
            for address, one in self.instances.items()
        )

    def to_json(self) -> dict[str, Any]:
        """The counters alone, by Envoy and backend."""
        return {
            address: {name: counts.to_json() for name, counts in one.counts.items()}
            for address, one in self.instances.items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; what it knew of members is gone."""
        return cls(
            {
                address: Instance({name: Counts.from_json(counts) for name, counts in one.items()})
                for address, one in values.items()
            }
        )


def total(parts: Any) -> Counts:  # noqa: ANN401
    """The sum."""
    return sum(parts, start=Counts())


def _before(sample: Sample, address: str, backend: str) -> Counts:
    instance = sample.instances.get(address)
    return instance.counts.get(backend, Counts()) if instance else Counts()


@dataclass(frozen=True)
class Reading:
    """Counts as people and gates read them."""

    requests: int = 0
    errors: int = 0
    timed: int = 0  # calls whose latency is known; Envoy tells it some seconds later than their number
    median: float | None = None
    p99: float | None = None
    healthy: int | None = None
    hosts: int | None = None

    @classmethod
    def of(cls, counts: Counts, members: Members | None) -> Self:
        """From what happened, and who is there."""
        return cls(
            counts.requests,
            counts.errors,
            counts.latency.count,
            _rounded(counts.latency.quantile(0.5)),
            _rounded(counts.latency.quantile(0.99)),
            members.healthy if members else None,
            members.total if members else None,
        )

    @property
    def error_rate(self) -> float:
        """Failed calls of all; 0 without any."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def down(self) -> bool:
        """Whether Envoy knows it and sends nothing there because no host of it is healthy."""
        return self.healthy == 0

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the words of the API."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "timed": self.timed,
            "medianMilliseconds": self.median,
            "p99Milliseconds": self.p99,
            "healthy": self.healthy,
            "hosts": self.hosts,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            values["requests"],
            values["errors"],
            values.get("timed", 0),
            values.get("medianMilliseconds"),
            values.get("p99Milliseconds"),
            values.get("healthy"),
            values.get("hosts"),
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


@dataclass(frozen=True)
class Window:
    """What was seen of both backends since the present weights hold."""

    seconds: float
    old: Reading
    new: Reading

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"seconds": round(self.seconds, 1), "old": self.old.to_json(), "new": self.new.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(values["seconds"], Reading.from_json(values["old"]), Reading.from_json(values["new"]))
