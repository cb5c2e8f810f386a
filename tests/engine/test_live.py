"""What a cluster's own reports of use are read as."""

from typing import Any

from commonpool.engine.live import requests_of, used_by_namespace
from commonpool.ledger import Amount
from commonpool.model import Quantity


def amount(cpu: str, memory: str) -> Amount:
    return Amount(Quantity.parse(cpu), Quantity.parse(memory))


def container(cpu: str, memory: str, **more: str) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}}, **more}


def test_a_sidecar_counts_beside_the_containers_and_beside_the_init_containers_after_it() -> None:
    sidecar = container("100m", "64Mi", restartPolicy="Always")
    small = {"initContainers": [sidecar, container("1", "32Mi")], "containers": [container("500m", "128Mi")]}
    assert requests_of({"spec": small}) == amount("1100m", "192Mi")
    before = {"initContainers": [container("1", "32Mi"), sidecar], "containers": [container("500m", "128Mi")]}
    assert requests_of({"spec": before}) == amount("1", "192Mi")


def test_the_kubelets_summaries_are_added_up_by_namespace() -> None:
    def pod(namespace: str, cores: int, memory: int) -> dict[str, Any]:
        return {
            "podRef": {"namespace": namespace, "name": "any"},
            "cpu": {"usageNanoCores": cores},
            "memory": {"workingSetBytes": memory},
        }

    one = {"pods": [pod("water-flood", 20_000_000, 1024), {"podRef": {"namespace": "water-flood"}}]}
    other = {"pods": [pod("water-flood", 5_000_000, 2048), pod("tax-main", 0, 4096)]}
    found = used_by_namespace([one, other])
    assert found == {"water-flood": amount("25m", "3Ki"), "tax-main": amount("0", "4Ki")}
