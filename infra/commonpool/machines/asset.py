"""The record of each machine that was brought in: what it is used as, since when, on which evidence, and when it was let go.

One ConfigMap for each machine in the pool's own namespace, so that the pool itself knows its assets. A record is closed,
never deleted: who asks later where a machine and its data went finds the day and the reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from commonpool.engine import Cluster
from commonpool.machines.joining import RETIRED_LIST, bindings, retired_guard
from commonpool.machines.survey import Survey

NAMESPACE = "commonpool-system"
LABEL = "commonpool.dev/asset"
MANAGER = "commonpool-machines"


@dataclass(frozen=True)
class Asset:
    """One record. `state` is open or closed; times are ISO 8601 in UTC; `listening` are ports with their programs."""

    machine: str
    site: str
    role: str
    state: str
    opened: str
    address: str = ""
    model: str = ""
    system: str = ""
    listening: tuple[str, ...] = ()
    closed: str = ""
    reason: str = ""
    wiped: bool = False

    def to_json(self) -> dict[str, Any]:
        """Every field by its name."""
        return {**asdict(self), "listening": list(self.listening)}


def record(one: Survey, role: str, address: str, before: Asset | None, now: datetime) -> Asset:
    """The open record of a machine after a survey; it keeps its first day while it stays open. Pure."""
    seen = one.facts
    opened = before.opened if before is not None and before.state == "open" else _moment(now)
    return Asset(
        one.machine.name,
        one.machine.site,
        role,
        "open",
        opened,
        address,
        seen.model if seen else "",
        (seen.system_name or "") if seen else "",
        tuple(seen.listening) if seen else (),
    )


async def assets(cluster: Cluster) -> dict[str, Asset]:
    """Every record by machine."""
    found, _ = await cluster.list_objects("v1", "ConfigMap", namespace=NAMESPACE, selector=LABEL)
    return {one.machine: one for body in found if (one := _read(body)) is not None}


async def keep(cluster: Cluster, wanted: Sequence[Asset]) -> None:
    """Write records that differ from what stands."""
    standing = await assets(cluster)
    for one in wanted:
        if standing.get(one.machine) == one:
            continue
        labels = {LABEL: one.role, "app.kubernetes.io/managed-by": "commonpool"}
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"asset-{one.machine}", "namespace": NAMESPACE, "labels": labels},
            "data": {"asset.json": json.dumps(one.to_json(), ensure_ascii=False, sort_keys=True)},
        }
        await cluster.apply(body, field_manager=MANAGER)


def close(one: Asset, reason: str, now: datetime, *, wiped: bool) -> Asset:
    """The record of a machine that was let go. Pure."""
    values = {**asdict(one), "state": "closed", "closed": _moment(now), "reason": reason, "wiped": wiped}
    return Asset(**values)


def _read(body: Mapping[str, Any]) -> Asset | None:
    try:
        values = json.loads((body.get("data") or {})["asset.json"])
        return Asset(**{**values, "listening": tuple(values["listening"])})
    except (KeyError, TypeError, ValueError):
        return None


def _moment(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="seconds")


async def cut_off(cluster: Cluster, names: Sequence[str], now: datetime) -> None:
    """From now on nothing that these machines hold is worth anything: no write passes, no right is bound to them."""
    await _list(cluster, dict.fromkeys(names, _moment(now)))
    for name in names:
        for binding in bindings(name):
            await cluster.delete("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", binding)


async def let_in(cluster: Cluster, names: Sequence[str], *, closed: bool) -> None:
    """The contrary, for machines that come (again); also puts the guard in its place."""
    await _list(cluster, dict.fromkeys(names))
    for body in retired_guard(closed=closed):
        await cluster.apply(body, field_manager=MANAGER)


async def _list(cluster: Cluster, changes: Mapping[str, str | None]) -> None:
    namespace, name = RETIRED_LIST
    if await cluster.read("v1", "Namespace", "", namespace) is None:
        await cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, field_manager=MANAGER
        )
    if await cluster.read("v1", "ConfigMap", namespace, name) is None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}
        await cluster.apply(body, field_manager=MANAGER)
    await cluster.merge_patch("v1", "ConfigMap", namespace, name, {"data": dict(changes)})
