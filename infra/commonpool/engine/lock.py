"""One Lease per stack is the lock (coordination.k8s.io/v1), with holder, reason and expiry.

It is taken before the first write and not earlier: a run that changes nothing writes nothing. A holder that died on
this machine is recognised by its process; one elsewhere is waited out. What a stale holder could still do is stopped
by the state's resourceVersions, not by the clock.
"""

import asyncio
import contextlib
import getpass
import os
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from commonpool.engine.cluster import Cluster
from commonpool.engine.error import EngineError, LockHeld, Refused, Stale
from commonpool.engine.state import NAMESPACE, STATE_DIGEST

DURATION_SECONDS = 30  # a holder that stays silent this long is taken to be dead
RENEW_SECONDS = 8  # three misses fit into the duration
LOOK_SECONDS = 6  # between two looks at somebody who may be dead: two of them see any renewal
REASON = "commonpool.dev/reason"


def identify() -> str:
    """Who we are in a Lease: `user@host:pid/boot/nonce`; the boot id makes pids comparable."""
    return f"{_user()}@{socket.gethostname()}:{os.getpid()}/{_boot()}/{uuid.uuid4().hex[:8]}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return "unknown"


def holder_died_here(holder: str) -> bool:
    """Whether the holder was a process of this machine, since its last boot, that no longer runs."""
    try:
        place, boot, _ = holder.split("/")
        host, pid = place.rpartition(":")[0].rpartition("@")[2], int(place.rpartition(":")[2])
    except ValueError:
        return False
    if host != socket.gethostname() or boot != _boot() or boot == "unknown":
        return False
    return not Path(f"/proc/{pid}").exists()


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, since when, and whether they have been silent for longer than a holder may be."""

    who: str
    since: str
    silent: bool


async def holder_of(cluster: Cluster, name: str) -> Holder | None:
    """Who holds a lease; nobody where it was given back, or whoever held it is known to have died."""
    lease = await cluster.read("coordination.k8s.io/v1", "Lease", NAMESPACE, name)
    spec = (lease or {}).get("spec", {})
    holder = spec.get("holderIdentity", "")
    if lease is None or not holder or holder_died_here(holder):
        return None
    return Holder(holder.split("/")[0], spec.get("acquireTime", ""), _expiry(lease) < datetime.now(UTC))


class Lock:
    """The lease of one stack. `acquire` is idempotent; `release` gives back only what is ours."""

    def __init__(self, cluster: Cluster, name: str, reason: str) -> None:
        """Nothing is written before `acquire`."""
        self.cluster, self.name, self.reason = cluster, name, reason
        self.holder = identify()
        self.lost = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None
        self._lease: dict[str, Any] | None = None

    @property
    def held(self) -> bool:
        """Whether this run holds the lease and has not lost it."""
        return self._lease is not None and not self.lost.is_set()

    async def acquire(self) -> str:
        """Take the lease. Returns the dead holder's name when one was taken over. Raises `LockHeld`."""
        if self._lease is not None:
            return ""
        found = await self._read()
        previous = (found or {}).get("spec", {}).get("holderIdentity", "")
        if found and previous and not holder_died_here(previous):
            found = await self._wait_out(found)
        body = self._body(found)
        try:
            self._lease = await (self.cluster.replace(body) if found else self.cluster.create(body))
        except (Stale, Refused) as error:
            if isinstance(error, Refused) and error.reason != "AlreadyExists":
                raise  # nobody else has it: the server cannot write, or we may not
            raise self._held_by(await self._read() or {"spec": {}}) from error
        self._renewing = asyncio.create_task(self._renew(), name=f"lease {self.name}")
        return str(previous)

    async def release(self, digest: str | None = None) -> None:
        """Stop renewing and empty the lease, so that the next run need not wait.

        `digest` is that of the state as this run leaves it; None leaves the one of the run before.
        """
        if self._renewing:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
        lease, self._lease = self._lease, None
        if lease and not self.lost.is_set():
            lease["spec"] = {"holderIdentity": ""}
            if digest is not None:
                lease["metadata"].setdefault("annotations", {})[STATE_DIGEST] = digest
            with contextlib.suppress(EngineError):
                await self.cluster.replace(lease)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if self._lease is None:
                return
            self._lease["spec"]["renewTime"] = _now()
            try:
                self._lease = await self.cluster.replace(self._lease)
            except EngineError as error:
                # A lease that somebody deleted answers 409, as its uid is not there, or 404 with its whole namespace.
                if isinstance(error, Stale) or (isinstance(error, Refused) and error.status in (404, 409)):
                    self.lost.set()
                    return
                # Else an API server that is away for a moment; the state's versions still fence us.

    async def _read(self) -> dict[str, Any] | None:
        return await self.cluster.read("coordination.k8s.io/v1", "Lease", NAMESPACE, self.name)

    async def _wait_out(self, lease: dict[str, Any]) -> dict[str, Any] | None:
        """The lease of a silent holder, None when it was deleted meanwhile. Raises `LockHeld` for one that is not silent.

        Clocks differ, so an old renewTime alone proves nothing.
        """
        left = (_expiry(lease) - datetime.now(UTC)).total_seconds()
        if 0 <= left <= DURATION_SECONDS + RENEW_SECONDS:
            raise self._held_by(lease)
        # What seems to hold for longer was written by a clock ahead of ours: then its silence alone counts, all of it.
        for _ in range(2 if left < 0 else -(-DURATION_SECONDS // LOOK_SECONDS)):
            await asyncio.sleep(LOOK_SECONDS)
            again = await self._read()
            if again is None:
                return None
            if again["spec"].get("holderIdentity") and again["spec"].get("renewTime") != lease["spec"].get("renewTime"):
                raise self._held_by(again)
        return again

    def _body(self, found: dict[str, Any] | None) -> dict[str, Any]:
        before = ((found or {}).get("metadata", {}).get("annotations") or {}).get(STATE_DIGEST, "")
        annotations = {REASON: self.reason, STATE_DIGEST: before}
        metadata: dict[str, Any] = {"name": self.name, "namespace": NAMESPACE, "annotations": annotations}
        transitions = 0
        if found:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
            transitions = found["spec"].get("leaseTransitions", 0) + 1
        now = _now()
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }

    def _held_by(self, lease: dict[str, Any]) -> LockHeld:
        holder = lease["spec"].get("holderIdentity", "").split("/")[0] or "somebody who just let go of it"
        since = lease["spec"].get("acquireTime", "")
        latest = datetime.now(UTC) + timedelta(seconds=DURATION_SECONDS)  # the holder's clock may run ahead
        expires = min(_expiry(lease), latest).isoformat(timespec="seconds")
        reason = lease.get("metadata", {}).get("annotations", {}).get(REASON, "a run")
        return LockHeld(
            f"{reason} by {holder} holds this stack since {since}; a silent holder is taken over after {expires}",
            holder=holder,
            since=since,
            expires=expires,
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _expiry(lease: dict[str, Any]) -> datetime:
    spec = lease["spec"]
    try:
        renewed = datetime.strptime(spec["renewTime"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC) - timedelta(seconds=1)
    return renewed + timedelta(seconds=spec.get("leaseDurationSeconds", DURATION_SECONDS))
