"""What there is to see of a service behind the proxy: its backends, how they are, since when that is known, and its move.

Envoy says how many checks it has made, not when. The time of the last evidence is therefore that of the look at which a
count had grown: a little later than the check itself, never earlier.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from commonpool.components.backend import keys
from commonpool.model import SharedService
from commonpool.model.backend import Backend, Health
from commonpool.model.duration import seconds
from commonpool.proxy.cut_over import Decision
from commonpool.proxy.metrics import TOGETHER
from commonpool.proxy.record import Record
from commonpool.proxy.sample import Counts, Members, Reading, Sample
from commonpool.proxy.store import Kept
from commonpool.proxy.weights import Route, backends_by_object


@dataclass
class Evidence:
    """What was seen by earlier looks: the last sample, and by backend when something proved how it is."""

    sample: Sample | None = None
    at: datetime | None = None
    since: datetime | None = None
    proofs: dict[str, datetime] = field(default_factory=dict)

    def add(self, sample: Sample, now: datetime) -> None:
        """One more look."""
        self.since = self.since or now
        if self.sample is not None:
            names = {name for one in sample.instances.values() for name in one.counts}
            for name in names:
                new = sample.since(self.sample, name)
                if new.checks or new.requests:
                    self.proofs[name] = now
        self.sample, self.at = sample, now


@dataclass(frozen=True)
class BackendState:
    """One backend at one moment."""

    name: str
    place: str
    share: float | None  # percent of the calls that the live routes give it
    total: Reading  # since Envoy began to count
    recent: Reading  # since the look before
    health: str  # healthy, partly, down, unknown or unwatched
    proof: datetime | None  # when a check or a call last proved it
    watched: float  # for how many seconds we have looked
    stand_in: bool = False  # whether the embedded pool plays it, since what it stands on is only simulated

    @property
    def proven(self) -> bool:
        """Whether its health is more than Envoy's word from before we looked."""
        return self.proof is not None or self.health in ("unknown", "unwatched")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "place": self.place,
            "standIn": self.stand_in,
            "sharePercent": self.share,
            "health": self.health,
            "proven": self.proven,
            "lastEvidence": self.proof.isoformat(timespec="seconds") if self.proof else None,
            "total": self.total.to_json(),
            "sinceLastLook": self.recent.to_json(),
        }


@dataclass(frozen=True)
class ServiceState:
    """A service at one moment."""

    service: SharedService
    host: str
    address: str
    at: datetime
    backends: tuple[BackendState, ...]
    record: Record | None = None
    last: Decision | None = None
    complaints: tuple[str, ...] = ()

    @property
    def move(self) -> str:
        """Where its cut-over stands, in a few words; empty without one."""
        if self.record is None:
            return "planned" if self.service.spec.cut_over else ""
        record = self.record
        steps = f"step {record.step + 1} of {len(record.plan.steps)}"
        words = {"moving": f"{record.weight} %, {steps}", "paused": f"paused at {record.weight} %, {steps}"}
        return words.get(record.phase.value, record.phase.value.replace("-", " "))

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the words of the API."""
        endpoint = self.service.spec.endpoint
        return {
            "name": self.service.name,
            "at": self.at.isoformat(timespec="milliseconds"),
            "protocol": endpoint.protocol if endpoint else None,
            "host": self.host,
            "address": self.address,
            "offeredBy": self.service.spec.offered_by,
            "backends": [one.to_json() for one in self.backends],
            "cutOver": cut_over_json(self.record, self.last),
            "complaints": list(self.complaints),
        }


def cut_over_json(record: Record | None, last: Decision | None) -> dict[str, Any] | None:
    """What a reader needs of a record, without the counters that only the engine needs."""
    if record is None:
        return None
    values = record.to_json()
    del values["baseline"]
    return values | {"lastDecision": last.to_json() if last else None}


def state(
    service: SharedService,
    host: str,
    address: str,
    routes: Iterable[Route],
    evidence: Evidence,
    before: Sample | None,
    kept: Kept | None,
    complaints: Iterable[str],
    played: Container[str] = (),
) -> ServiceState:
    """Everything together. Pure; `evidence` already holds the newest look, `before` is the one before it.

    `played` are the keys of the stand-ins that answer for simulated machines.
    """
    now = evidence.at or datetime.now(UTC)
    shares = live_shares(routes, service)
    joined = counted_together(evidence.sample)
    single = [(one.name, place(one)) for one in service.spec.backends if one.name not in joined]
    rows = [*single, *((name, "counted together") for name in sorted(set(joined.values())))]
    backends = tuple(
        replace(_backend(service, *row, shares, evidence, before, now), stand_in=_played(service, row[0], played))
        for row in rows
    )
    last = kept.decisions[-1] if kept and kept.decisions else None
    return ServiceState(service, host, address, now, backends, kept.record if kept else None, last, tuple(complaints))


def _backend(
    service: SharedService,
    name: str,
    stands: str,
    shares: Mapping[str, float],
    evidence: Evidence,
    before: Sample | None,
    now: datetime,
) -> BackendState:
    sample = evidence.sample or Sample()
    members, proof = sample.members(name), evidence.proofs.get(name)
    recent = sample.since(before, name) if before else Counts()
    share = _whole(shares, name)
    watched = (now - (evidence.since or now)).total_seconds()
    return BackendState(
        name,
        stands,
        share,
        Reading.of(sample.counts(name), members),
        Reading.of(recent, members),
        health(members, share, (now - proof).total_seconds() if proof else None, watched, service.spec.health),
        proof,
        watched,
    )


def _played(service: SharedService, name: str, played: Container[str]) -> bool:
    names = name.split(TOGETHER)
    return any(key in played for one in service.spec.backends if one.name in names for key in keys(service, one))


def _whole(shares: Mapping[str, float], name: str) -> float | None:
    found = [shares[one] for one in name.split(TOGETHER) if one in shares]
    return round(sum(found), 1) if found else None


def counted_together(sample: Sample | None) -> dict[str, str]:
    """The joined name under which Envoy counts a backend, for those that it does not count by themselves. Pure."""
    names = {name for one in (sample or Sample()).instances.values() for name in one.counts}
    return {one: name for name in names if TOGETHER in name for one in name.split(TOGETHER)}


def health(members: Members | None, share: float | None, age: float | None, watched: float, declared: Health) -> str:
    """How a backend is, as far as that can be known. Pure.

    `age` is that of the last evidence; before there is any, Envoy's word stands until it would have expired. In a cluster
    Envoy checks a backend that nobody has called once a minute, whatever the declared interval, so that may take a while.
    """
    if members is None:
        return "unknown" if share else "unwatched"  # without a share nothing is sent there, not even checks
    if (watched if age is None else age) > seconds(declared.evidence_expires):
        return "unknown"
    if not members.healthy:
        return "down"
    return "healthy" if members.healthy == members.total else "partly"


def live_shares(routes: Iterable[Route], service: SharedService) -> dict[str, float]:
    """Percent by backend, as the first rule with backends says; every rule has the same. Pure."""
    names = backends_by_object(service)
    for route in routes:
        for rule in route["spec"].get("rules", ()):
            found = {
                names[one["name"]]: one.get("weight", 1) for one in rule.get("backendRefs", ()) if one["name"] in names
            }
            if found:
                whole = sum(found.values()) or 1
                return {name: round(100 * weight / whole, 1) for name, weight in found.items()}
    return {}


def place(backend: Backend) -> str:
    """Where a backend stands, in the manifest's words."""
    if backend.pods:
        return "pods"
    if backend.peer:
        return f"{backend.peer.service} of pool {backend.peer.peer}"
    return ", ".join(backend.machines)
