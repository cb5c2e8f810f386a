"""Our own stacks are ordinary Pulumi programs: over the SDK's public protocol, in a process of their own, they are the same."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from commonpool.components.unit import EXCHANGE
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, preview
from commonpool.engine.project import load
from commonpool.model import Estate

ROOT = Path(__file__).resolve().parents[2]
OnCluster = Callable[[Callable[[Cluster], Coroutine[Any, Any, Any]]], Any]


@pytest.mark.parametrize("stack", ["pool", "services", "departments"])
def test_a_stack_run_as_anybodys_program_declares_what_stands(
    sample: Estate, embedded_pool: EmbeddedPool, on_cluster: OnCluster, stack: str
) -> None:
    told = {EXCHANGE: embedded_pool.exchange}  # an agreement of the sample takes fields out on the way
    found = on_cluster(lambda cluster: preview(load(ROOT, stack, told), cluster))
    assert (found.problems, found.counts) == ((), {})
    assert found.unchanged > 40
    assert found.outputs


def test_what_the_pool_puts_into_a_namespace_uses_up_nobodys_limit(sample: Estate, on_cluster: OnCluster) -> None:
    """The certificate authority, and a ConfigMap for each consumed service."""
    namespace, limit, consumed = next(
        (name, spec.objects.config_maps, spec.consumes)
        for department in sample.departments
        for name, spec in department.namespaces()
        if len(spec.consumes) > 1
    )

    async def counted(cluster: Cluster) -> tuple[int, int]:
        """What the quota allows, and how many there are once the authority is.

        The quota's own count is not asked: of what came within its first moments it may know nothing for five minutes.
        """
        quota = await cluster.read("v1", "ResourceQuota", namespace, "objects")
        assert quota is not None
        while len(found := (await cluster.list_objects("v1", "ConfigMap", namespace=namespace))[0]) <= len(consumed):
            await asyncio.sleep(0.1)
        return int(quota["spec"]["hard"]["count/configmaps"]), len(found)

    hard, standing = on_cluster(counted)
    assert (standing, hard) == (len(consumed) + 1, limit + standing)
