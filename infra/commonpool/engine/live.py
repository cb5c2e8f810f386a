"""What a cluster says of capacity and use, as the ledger wants it: one list of nodes, one of pods, and what is used.

That comes from the metrics API, else from the kubelets of the machines that joined.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from commonpool.engine.cluster import Cluster
from commonpool.engine.error import EngineError
from commonpool.ledger import Amount, Live
from commonpool.model import Quantity, QuantityError

_OVER = ("Succeeded", "Failed")
_KUBELET_SECONDS = 5.0


async def read_live(cluster: Cluster) -> Live:
    """Allocatable by node, requested and, where somebody measures it, used by namespace."""
    (nodes, _), (pods, _) = await asyncio.gather(cluster.list_objects("v1", "Node"), cluster.list_objects("v1", "Pod"))
    simulated = frozenset(node["metadata"]["name"] for node in nodes if _is_simulated(node))
    joined = [name for node in nodes if is_ready(node) and (name := node["metadata"]["name"]) not in simulated]
    requested: dict[str, Amount] = defaultdict(Amount.zero)
    for pod in pods:
        if pod.get("status", {}).get("phase") not in _OVER:
            namespace = pod["metadata"]["namespace"]
            requested[namespace] = requested[namespace] + requests_of(pod)
    return Live(
        allocatable={
            node["metadata"]["name"]: _amount(node.get("status", {}).get("allocatable", {}))
            for node in nodes
            if is_ready(node)
        },
        requested=dict(requested),
        used=await _used(cluster, joined),
        simulated=simulated,
    )


def _is_simulated(node: Mapping[str, Any]) -> bool:
    return bool(node["metadata"].get("labels", {}).get("commonpool.dev/simulated") == "true")


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether a node takes pods."""
    conditions = node.get("status", {}).get("conditions", ())
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def requests_of(pod: Mapping[str, Any]) -> Amount:
    """What the scheduler counts: containers and sidecars together, or the largest step of the start when that is more.

    Init containers start one after the other, each beside the sidecars before it (KEP-753).
    """
    spec = pod.get("spec", {})
    sidecars = start = Amount.zero()
    for container in spec.get("initContainers", ()):
        asked = _requests(container)
        step = sidecars + asked
        start = Amount(max(start.cpu, step.cpu), max(start.memory, step.memory))
        if container.get("restartPolicy") == "Always":
            sidecars = step
    together = Amount.total(_requests(container) for container in spec.get("containers", ())) + sidecars
    return Amount(max(together.cpu, start.cpu), max(together.memory, start.memory))


def _requests(container: Mapping[str, Any]) -> Amount:
    return _amount(container.get("resources", {}).get("requests", {}))


def _amount(values: Mapping[str, Any]) -> Amount:
    try:
        return Amount(Quantity.parse(str(values.get("cpu", "0"))), Quantity.parse(str(values.get("memory", "0"))))
    except QuantityError:
        return Amount.zero()


async def _used(cluster: Cluster, joined: Sequence[str]) -> dict[str, Amount] | None:
    """By namespace: from the metrics API, else from the kubelets; None where neither answers."""
    try:
        pods, _ = await cluster.list_objects("metrics.k8s.io/v1beta1", "PodMetrics")
    except EngineError:
        return await _used_of_kubelets(cluster, joined)
    used: dict[str, Amount] = defaultdict(Amount.zero)
    for pod in pods:
        namespace = pod["metadata"]["namespace"]
        for container in pod.get("containers", ()):
            used[namespace] = used[namespace] + _amount(container.get("usage", {}))
    return dict(used)


async def _used_of_kubelets(cluster: Cluster, joined: Sequence[str]) -> dict[str, Amount] | None:
    """What the machines that joined say themselves (kubelet's Summary API); simulated ones run nothing.

    None when no machine has joined, and when one does not answer: a sum without it would be too small.
    """
    paths = [f"/api/v1/nodes/{quote(name)}/proxy/stats/summary" for name in joined]
    try:
        async with asyncio.timeout(_KUBELET_SECONDS):
            summaries = await asyncio.gather(*(cluster.request("GET", path) for path in paths))
    except (EngineError, TimeoutError):
        return None
    return used_by_namespace(summaries) if summaries else None


def used_by_namespace(summaries: Iterable[Mapping[str, Any]]) -> dict[str, Amount]:
    """Cores of the last seconds and bytes of the working set, from kubelets' summaries. Pure."""
    used: dict[str, Amount] = defaultdict(Amount.zero)
    for summary in summaries:
        for pod in summary.get("pods", ()):
            values = {
                "cpu": f"{pod.get('cpu', {}).get('usageNanoCores', 0)}n",
                "memory": pod.get("memory", {}).get("workingSetBytes", 0),
            }
            namespace = pod["podRef"]["namespace"]
            used[namespace] = used[namespace] + _amount(values)
    return dict(used)
