"""The sample estate, applied once for each test process by the command itself, and people of its departments."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import own_pool
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, kubeconfig
from commonpool.model import Estate, load_estate

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
Work = Callable[[Cluster], Coroutine[Any, Any, T]]


def commonpool(pool: EmbeddedPool, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run the command against a pool, as a person would."""
    command = [sys.executable, "-m", "commonpool.cli", *arguments, "--kubeconfig", str(pool.kubeconfig)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not check or ended.returncode == 0, ended.stdout + ended.stderr
    return ended


@pytest.fixture(scope="package")
def embedded_pool(worker: str) -> Iterator[EmbeddedPool]:
    """A pool for the sample alone: what it protects would stand in the way of others' estates."""
    with own_pool.running(f"sample-{worker}") as pool:
        yield pool


@pytest.fixture(scope="package")
def sample(embedded_pool: EmbeddedPool) -> Estate:
    """The sample estate, standing."""
    commonpool(embedded_pool, "up", "--yes", "--skip-preview", "--estate", "examples/estate")
    return replace(load_estate(ROOT / "examples" / "estate"), exchange=embedded_pool.exchange)


@pytest.fixture(scope="package")
def person(
    embedded_pool: EmbeddedPool, sample: Estate, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Callable[[Work[T]], T]]:
    """Act as a member of a group of the identity provider: `person("water-developers")(work)`."""
    folder = tmp_path_factory.mktemp("people")

    def member(group: str) -> Callable[[Work[T]], T]:
        path = folder / f"{group}.kubeconfig"
        if not path.exists():
            embedded_pool.issue_kubeconfig(f"oidc:{group}-member", (f"oidc:{group}",), path, days=1)

        def act(work: Work[T]) -> T:
            async def connected() -> T:
                async with await Cluster.connect(kubeconfig.load(path)) as cluster:
                    return await work(cluster)

            return asyncio.run(connected())

        return act

    return member
