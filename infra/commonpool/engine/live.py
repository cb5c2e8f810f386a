"""What a cluster says of capacity and use, as the ledger wants it: one list of nodes, one of pods, metrics where there are any."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from commonpool.engine.cluster import Cluster
from commonpool.engine.error import EngineError
from commonpool.ledger import Amount, Live
from commonpool.model import Quantity, QuantityError

_OVER = ("Succeeded", "Failed")


async def read_live(cluster: Cluster) -> Live:
    """Allocatable by node, requested and (with a metrics API) used by namespace."""
    (nodes, _), (pods, _) = await asyncio.gather(cluster.list_objects("v1", "Node"), cluster.list_objects("v1", "Pod"))
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
        used=await _used(cluster),
        simulated=frozenset(
            node["metadata"]["name"]
            for node in nodes
            if node["metadata"].get("labels", {}).get("commonpool.dev/simulated") == "true"
        ),
    )


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether a node takes pods."""
    conditions = node.get("status", {}).get("conditions", ())
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def requests_of(pod: Mapping[str, Any]) -> Amount:
    """What the scheduler counts: the sum of containers, or the largest init container when that is more."""
    spec = pod.get("spec", {})
    together = Amount.total(_requests(container) for container in spec.get("containers", ()))
    found = together
    for container in spec.get("initContainers", ()):
        first = _requests(container)
        found = Amount(max(found.cpu, first.cpu), max(found.memory, first.memory))
    return found


def _requests(container: Mapping[str, Any]) -> Amount:
    return _amount(container.get("resources", {}).get("requests", {}))


def _amount(values: Mapping[str, Any]) -> Amount:
    try:
        return Amount(Quantity.parse(str(values.get("cpu", "0"))), Quantity.parse(str(values.get("memory", "0"))))
    except QuantityError:
        return Amount.zero()


async def _used(cluster: Cluster) -> dict[str, Amount] | None:
    try:
        pods, _ = await cluster.list_objects("metrics.k8s.io/v1beta1", "PodMetrics")
    except EngineError:
        return None
    used: dict[str, Amount] = defaultdict(Amount.zero)
    for pod in pods:
        namespace = pod["metadata"]["namespace"]
        for container in pod.get("containers", ()):
            used[namespace] = used[namespace] + _amount(container.get("usage", {}))
    return dict(used)
