"""One pool for all attacks, and for nothing else: what others applied would be part of the ground."""

from collections.abc import Iterator

import own_pool
import pytest
from commonpool.embedded import EmbeddedPool

from escapes.ground import Ground, stand


@pytest.fixture(scope="package")
def embedded_pool(worker: str) -> Iterator[EmbeddedPool]:
    with own_pool.running(f"escapes-{worker}") as pool:
        yield pool


@pytest.fixture(scope="package")
def ground(embedded_pool: EmbeddedPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    yield stand(embedded_pool, tmp_path_factory.mktemp("ground"))
