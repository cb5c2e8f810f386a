"""One pool for all attacks, and for nothing else: what others applied would be part of the ground."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commonpool.embedded import EmbeddedPool
from escapes.ground import Ground, stand


@pytest.fixture(scope="package")
def embedded_pool(worker: str) -> Iterator[EmbeddedPool]:
    pool = EmbeddedPool(f"escapes-{worker}", Path(tempfile.gettempdir()) / f"commonpool-tests-{os.getuid()}")
    pool.reset()
    pool.start()
    yield pool
    pool.reset()


@pytest.fixture(scope="package")
def ground(embedded_pool: EmbeddedPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    yield stand(embedded_pool, tmp_path_factory.mktemp("ground"))
