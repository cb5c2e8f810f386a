"""A pool whose proxy serves, an estate declared in it, backends to put behind it, and a way to ask through it."""

import asyncio
import http.client
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import estates
import psutil
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, kubeconfig

from proxy.backend import Backend
from proxy.declarations import backend, gateway, http_route
from proxy.estate import DeclaredEstate

PORT = 8081


@dataclass
class Proxy:
    """The proxy of one embedded pool, from outside."""

    pool: EmbeddedPool
    declared: list[dict[str, Any]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.pool.proxy_address

    @property
    def port(self) -> int:
        return self.pool.proxy_port(PORT)

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    def component(self, name: str) -> psutil.Process:
        """The process of a part of the pool, as it runs now."""
        return psutil.Process({one.name: one.pid for one in self.pool.status().components}[name])

    def ask(self, host: str, path: str = "/", port: int = 0, **headers: str) -> tuple[int, bytes]:
        """(status, body) of a GET; status 0 when nobody answers."""
        connection = http.client.HTTPConnection(self.address, port or self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error).encode()
        finally:
            connection.close()

    def apply(self, *bodies: dict[str, Any]) -> None:
        """Apply in order; what was applied is deleted after the test."""
        self.declared += bodies

        async def work() -> None:
            async with await Cluster.connect(kubeconfig.load(self.pool.kubeconfig)) as cluster:
                for body in bodies:
                    await cluster.apply(body, field_manager="tests")

        asyncio.run(work())

    def serve(self, name: str, port: int) -> None:
        """Lead `<name>.test` to a port of this machine; returns when it answers."""
        self.apply(backend(name, port), http_route(name, {name: 1}))
        self.await_status(f"{name}.test", 200)

    def forget(self) -> None:
        """Delete what was applied, last first."""

        async def work() -> None:
            async with await Cluster.connect(kubeconfig.load(self.pool.kubeconfig)) as cluster:
                for body in reversed(self.declared):
                    metadata = body["metadata"]
                    where = (body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"])
                    await cluster.delete(*where)

        asyncio.run(work())
        self.declared.clear()

    def delete(self, body: dict[str, Any]) -> None:
        """Take away one object that our stacks made."""

        async def gone() -> None:
            async with await Cluster.connect(kubeconfig.load(self.pool.kubeconfig)) as cluster:
                metadata = body["metadata"]
                await cluster.delete(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"])

        asyncio.run(gone())

    def read(self, body: dict[str, Any]) -> dict[str, Any]:
        """The live object."""

        async def work() -> dict[str, Any] | None:
            async with await Cluster.connect(kubeconfig.load(self.pool.kubeconfig)) as cluster:
                metadata = body["metadata"]
                return await cluster.read(
                    body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"]
                )

        found = asyncio.run(work())
        assert found is not None, f"{body['kind']} {body['metadata']['name']} is gone"
        return found

    def await_status(self, host: str, wanted: int, path: str = "/", port: int = 0, seconds: float = 30.0) -> bytes:
        """Ask until the status is the wanted one."""
        found: tuple[int, bytes] = (0, b"")

        def answers() -> bool:
            nonlocal found
            found = self.ask(host, path, port)
            return found[0] == wanted

        until(answers, f"{host}{path} answers {wanted}, last {found}", seconds)
        return found[1]


def until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Ask again and again; fail with `what` when it does not come true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="package")
def serving(worker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A pool of its own for these tests, with the proxy as our stacks declare it and one more Gateway without callers' identities."""
    pool = EmbeddedPool(f"proxied-{worker}", Path(tempfile.gettempdir()) / f"commonpool-tests-{os.getuid()}")
    pool.reset()
    pool.start()
    declared = DeclaredEstate(pool, estates.write(tmp_path_factory.mktemp("estate"), 3))
    declared.up("pool")
    Proxy(pool).apply(gateway("plain", PORT))
    pool.start()
    yield Proxy(pool)
    pool.reset()


@pytest.fixture
def proxy(serving: Proxy) -> Iterator[Proxy]:
    """The serving proxy; what the test applies through it is deleted afterwards."""
    one = Proxy(serving.pool)
    yield one
    one.forget()


@pytest.fixture
def start_backend() -> Iterator[Callable[[str], Backend]]:
    """Start backends by name; they end with the test."""
    with ExitStack() as running:
        yield lambda name: running.enter_context(Backend(name))
