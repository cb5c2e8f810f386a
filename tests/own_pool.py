"""Embedded pools of the tests, at fixed places, so that a run that was killed is cleaned up by the next one."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commonpool.components.catalogue import NAMESPACE
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, kubeconfig


@contextmanager
def running(name: str) -> Iterator[EmbeddedPool]:
    """A pool of that name, empty at first, gone at the end."""
    pool = EmbeddedPool(name, Path(tempfile.gettempdir()) / f"commonpool-tests-{os.getuid()}")
    pool.reset()
    pool.start()
    yield pool
    pool.reset()


def make_catalogue(pool: EmbeddedPool) -> bool:
    """Make the namespace that the pool's own stack makes and the departments' expects; False where it stands."""

    async def make() -> bool:
        async with await Cluster.connect(kubeconfig.load(pool.kubeconfig)) as cluster:
            if await cluster.read("v1", "Namespace", "", NAMESPACE) is not None:
                return False
            await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            return True

    return asyncio.run(make())


@contextmanager
def catalogue(pool: EmbeddedPool) -> Iterator[None]:
    """That namespace for a while: whoever applies the pool's stack afterwards must not find another's."""

    async def take_away() -> None:
        async with await Cluster.connect(kubeconfig.load(pool.kubeconfig)) as cluster:
            await cluster.delete("v1", "Namespace", "", NAMESPACE)
            while await cluster.read("v1", "Namespace", "", NAMESPACE) is not None:
                await asyncio.sleep(0.2)

    made = make_catalogue(pool)
    yield
    if made:
        asyncio.run(take_away())
