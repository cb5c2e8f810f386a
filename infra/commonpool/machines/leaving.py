"""Letting machines go: who is affected first, then pods moved by eviction, then the onboarding undone and the node forgotten.

What it refuses: to take a machine whose disk holds a bound volume, and to go on while a disruption budget holds a pod,
unless the operator says that the budget has had its time.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commonpool.components import envoy_gateway
from commonpool.components.rendering import DEPARTMENT, SERVICE
from commonpool.engine import Cluster
from commonpool.engine.error import EngineError, Refused, UnknownKind
from commonpool.machines import asset
from commonpool.machines.error import MachineError
from commonpool.machines.run import Event, MachineRun, Observer, played
from commonpool.machines.survey import Access
from commonpool.model import Machine

DRAIN_SECONDS = 300.0


@dataclass(frozen=True)
class Affected:
    """Who feels it when a machine goes: pods (as namespace/name), services in pods there or with it as a backend, volumes.

    `departments` are those of the pods and those that offer the services; `volumes` lie on its disks or shares and are claimed.
    """

    machine: str
    known: bool
    pods: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One item of a list."""
        return {
            "name": self.machine,
            "isNode": self.known,
            "pods": list(self.pods),
            "departments": list(self.departments),
            "services": list(self.services),
            "volumes": list(self.volumes),
        }


async def affected(cluster: Cluster, machines: Sequence[Machine]) -> list[Affected]:
    """From the live pool, one for each machine."""
    spaces, _ = await cluster.list_objects("v1", "Namespace")
    labels = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in spaces}
    volumes, _ = await cluster.list_objects("v1", "PersistentVolume")
    backends = await _backends(cluster)
    found = []
    for machine in machines:
        node = await cluster.read("v1", "Node", "", machine.name)
        pods = await _pods(cluster, machine.name)
        touched = {one["metadata"]["namespace"] for one in pods} | backends.get(machine.address, set())
        owners, services = ({labels.get(name, {}).get(key) for name in touched} for key in (DEPARTMENT, SERVICE))
        found.append(
            Affected(
                machine.name,
                node is not None,
                tuple(sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in pods)),
                tuple(sorted(name for name in owners if name)),
                tuple(sorted(name for name in services if name)),
                tuple(sorted(one["metadata"]["name"] for one in volumes if _lies_on(one, machine))),
            )
        )
    return found


async def _backends(cluster: Cluster) -> dict[str, set[str]]:
    """By address the namespaces of services that the proxy leads there; what stands in for a machine is at another one."""
    found: dict[str, set[str]] = {}
    slices, _ = await cluster.list_objects("discovery.k8s.io/v1", "EndpointSlice", selector=SERVICE)
    for one in slices:
        for address in (address for endpoint in one["endpoints"] or () for address in endpoint["addresses"]):
            found.setdefault(address, set()).add(one["metadata"]["namespace"])
    own: list[dict[str, Any]] = []
    with contextlib.suppress(UnknownKind):  # where there is no proxy
        own, _ = await cluster.list_objects(envoy_gateway.VERSION, "Backend", selector=SERVICE)
    for one in own:
        for endpoint in one["spec"].get("endpoints") or ():
            found.setdefault((endpoint.get("ip") or {}).get("address", ""), set()).add(one["metadata"]["namespace"])
    return found


async def _pods(cluster: Cluster, node: str) -> list[dict[str, Any]]:
    """Pods that run there and that a drain moves: none of a DaemonSet, none that the machine itself made."""
    items = (await cluster.request("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"))["items"]
    return [one for one in items if not _stays(one) and one["status"].get("phase") not in ("Succeeded", "Failed")]


def _stays(pod: Mapping[str, Any]) -> bool:
    owners = pod["metadata"].get("ownerReferences") or ()
    mirror = "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
    return mirror or any(one["kind"] == "DaemonSet" for one in owners)


def _lies_on(volume: Mapping[str, Any], machine: Machine) -> bool:
    """Whether a volume that somebody uses is a disk or a share of this machine."""
    spec = volume["spec"]
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    values = [
        value for term in terms for one in term.get("matchExpressions") or () for value in one.get("values") or ()
    ]
    share = (spec.get("nfs") or {}).get("server") in (machine.name, machine.address)
    return (machine.name in values or share) and volume.get("status", {}).get("phase") == "Bound"


async def retire(
    cluster: Cluster,
    machines: Sequence[Machine],
    folder: Path,
    access: Access,
    observer: Observer,
    *,
    reason: str = "retired",
    wipe: bool = False,
    past_budgets: bool = False,
) -> dict[str, MachineRun]:
    """Close, drain, cut off, undo, forget. Raises `MachineError` before anything when a disk there holds a bound volume.

    With `past_budgets` pods that a disruption budget still holds after `DRAIN_SECONDS` are deleted. With `wipe` the disks and folders that were taken as volumes are emptied; nothing else is. A machine that cannot be
    undone is cut off all the same: no key that it holds is worth anything from then on.
    """
    _refuse_bound(await affected(cluster, machines))
    await _close(cluster, machines)
    await asyncio.gather(*(drain(cluster, one.name, observer, past_budgets=past_budgets) for one in machines))
    await asset.cut_off(cluster, [machine.name for machine in machines], datetime.now(UTC))
    runs = await undo(machines, folder, access, observer, wipe=wipe)
    await _forget(cluster, runs, reason, wipe=wipe)
    return runs


def _refuse_bound(found: Sequence[Affected]) -> None:
    bound = [one for one in found if one.volumes]
    if bound:
        words = "; ".join(f"{one.machine} holds {', '.join(one.volumes)}" for one in bound)
        raise MachineError(
            words, code="volume_bound", next_step="move or export their data and delete the claims first"
        )


async def _close(cluster: Cluster, machines: Sequence[Machine]) -> None:
    """No pod comes any more."""
    for machine in machines:
        if await cluster.read("v1", "Node", "", machine.name) is not None:
            await cluster.merge_patch("v1", "Node", "", machine.name, {"spec": {"unschedulable": True}})


async def reset(
    cluster: Cluster, machines: Sequence[Machine], folder: Path, access: Access, observer: Observer
) -> dict[str, MachineRun]:
    """Undo an onboarding, whole or half, without moving anything. Raises `MachineError` where departments use it.

    A volume is in use also while no pod of the machine's own mounts it: an export serves other machines.
    """
    found = await affected(cluster, machines)
    busy = [one for one in found if one.departments]
    if busy:
        words = "; ".join(f"pods or services of {', '.join(one.departments)} are on {one.machine}" for one in busy)
        raise MachineError(words, code="machine_busy", next_step="commonpool machine retire, which moves them first")
    _refuse_bound(found)
    await _close(cluster, machines)
    await asset.cut_off(cluster, [machine.name for machine in machines], datetime.now(UTC))
    runs = await undo(machines, folder, access, observer)
    await _forget(cluster, runs, "reset", wipe=False)
    return runs


async def undo(
    machines: Sequence[Machine],
    folder: Path,
    access: Access,
    observer: Observer,
    *,
    wipe: bool = False,
    check: bool = False,
) -> dict[str, MachineRun]:
    """Run the role that undoes; with `check` it only says what it would undo."""
    wanted = access.to("commonpool.pool.retire", machines, {"retire_wipe": wipe}, check=check)
    return await played(replace(wanted, hours=wipe), folder / "runs", observer)


async def _forget(cluster: Cluster, runs: Mapping[str, MachineRun], reason: str, *, wipe: bool) -> None:
    """Delete the nodes, which cannot register again, and close the records of what is undone."""
    for name in runs:
        await cluster.delete("v1", "Node", "", name)
    known, now = await asset.assets(cluster), datetime.now(UTC)
    ended = [name for name, run in runs.items() if not run.failed and name in known and known[name].state == "open"]
    await asset.keep(cluster, [asset.close(known[name], reason, now, wiped=wipe) for name in ended])


async def drain(cluster: Cluster, node: str, observer: Observer, *, past_budgets: bool) -> None:
    """Evict until nothing is left; a disruption budget makes it wait. Raises `MachineError` with its words when it waits on.

    With `past_budgets` what is left then is deleted: a budget that lets nothing go would keep the machine for ever.
    """
    now = asyncio.get_running_loop().time
    move, deadline = _evict, now() + DRAIN_SECONDS
    while pods := await _pods(cluster, node):
        observer(Event(node, f"Move {len(pods)} pods", "started"))
        # All at once: one that is held is asked for again for a minute, and none waits behind it.
        held = next(filter(None, await asyncio.gather(*(move(cluster, pod) for pod in pods))), "")
        if now() > deadline:
            if not past_budgets or move is _delete:
                raise MachineError(
                    f"{node} still has {len(pods)} pods after {DRAIN_SECONDS:.0f} s: {held or 'they do not end'}",
                    code="drain_held",
                    next_step="ask their departments, then run it again; the machine takes no new pods meanwhile. With"
                    " --past-budgets what a disruption budget holds for so long is deleted",
                )
            move, deadline = _delete, now() + DRAIN_SECONDS
        await asyncio.sleep(1)


async def _delete(cluster: Cluster, pod: Mapping[str, Any]) -> str:
    await cluster.delete("v1", "Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
    return ""


async def _evict(cluster: Cluster, pod: Mapping[str, Any]) -> str:
    """Why a pod may not go now; empty when it goes."""
    space, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": space}}
    try:
        await cluster.request("POST", f"/api/v1/namespaces/{space}/pods/{name}/eviction", body)
    except Refused as error:
        return "" if error.status == 404 else f"{space}/{name}: {error}"
    except EngineError as error:  # held by a disruption budget for as long as the client is patient
        return f"{space}/{name}: {error}"
    return ""
