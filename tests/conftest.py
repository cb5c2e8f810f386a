"""One real control plane for each test process, and the folders that tests share.

The pool's folder has a fixed place, so that a run that was killed is cleaned up by the next one.
"""

import asyncio
import json
import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import own_pool
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, kubeconfig
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from commonpool.embedded.hosts import Lan

ROOT = Path(__file__).resolve().parents[1]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In the background of a script it is ignored, and so would it be by the commands that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if any(name.lower() == "http_proxy" or name.lower() == "https_proxy" for name in os.environ):
    # Tests ask what they started on this machine; what they install comes by the proxy all the same.
    direct = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", "127.0.0.1", "localhost"]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, direct))
TOGETHER = frozenset({"tests/components", "tests/escapes", "tests/machines", "tests/proxy"})
FIRST = ("tests/machines", "tests/proxy", "tests/escapes", "tests/handbook")  # what takes longest in one piece
T = TypeVar("T")


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """With several processes: by file, but folders that share a pool or the machine's network stay in one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in TOGETHER else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which files are handed out."""

    def turn(item: pytest.Item) -> int:
        folder = item.nodeid.partition("::")[0].rpartition("/")[0]
        return FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=turn)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """How tests are spread."""
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def worker() -> str:
    """The name of this test process."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


@pytest.fixture(scope="session")
def embedded_pool(worker: str) -> Iterator[EmbeddedPool]:
    """A running embedded pool that the tests of this process share; tests use namespaces of their own."""
    with own_pool.running(f"tests-{worker}") as pool:
        yield pool


@pytest.fixture(scope="module")
def catalogue(embedded_pool: EmbeddedPool) -> Iterator[None]:
    """What the departments' stack expects of the pool's, for tests that apply it alone."""
    with own_pool.catalogue(embedded_pool):
        yield


@pytest.fixture
def fresh(embedded_pool: EmbeddedPool) -> str:
    """A name that no other test uses."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def on_cluster(embedded_pool: EmbeddedPool) -> Callable[[Callable[[Cluster], Coroutine[Any, Any, T]]], T]:
    """Run a coroutine function with a client of the administrator."""

    def run(work: Callable[[Cluster], Coroutine[Any, Any, T]]) -> T:
        async def connected() -> T:
            async with await Cluster.connect(kubeconfig.load(embedded_pool.kubeconfig)) as cluster:
                return await work(cluster)

        return asyncio.run(connected())

    return run


@pytest.fixture
def writes(embedded_pool: EmbeddedPool) -> Callable[[], list[dict[str, Any]]]:
    """The write requests of our own client since the last call, from the API server's audit log."""
    seen = embedded_pool.audit_log.stat().st_size

    def since() -> list[dict[str, Any]]:
        nonlocal seen
        with embedded_pool.audit_log.open("rb") as file:
            file.seek(seen)
            content = file.read()
        seen += len(content)
        events = [json.loads(line) for line in content.splitlines()]
        verbs = {"create", "update", "patch", "delete", "deletecollection"}
        return [
            event
            for event in events
            if event["verb"] in verbs
            and event.get("userAgent", "").startswith("commonpool")
            and "dryRun" not in event["requestURI"]
            and "selfsubjectreviews" not in event["requestURI"]  # a question, although the API server calls it create
        ]

    return since


@pytest.fixture(scope="session")
def lan(worker: str) -> "Iterator[Lan]":
    """A LAN for test hosts (`tests/machines`): removed at the end, or by the next run when this one is killed."""
    from commonpool.embedded.hosts import Lan, why_not
    from commonpool.embedded.node_archive import node_archive

    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    node_archive()  # here, where a network is: the LAN leads to no Go module
    made = Lan(Path(tempfile.gettempdir()) / f"commonpool-hosts-{os.getuid()}-{worker}")
    yield made
    made.clean()
