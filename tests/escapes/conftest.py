"""One pool for all attacks."""

from collections.abc import Iterator

import pytest
from commonpool.embedded import EmbeddedPool
from escapes.ground import Ground, stand


@pytest.fixture(scope="package")
def ground(embedded_pool: EmbeddedPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    yield stand(embedded_pool, tmp_path_factory.mktemp("ground"))
