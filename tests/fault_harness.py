"""Faults for whole runs: components that stop or die, a connection that loses answers, a run that is killed at a point.

Everything is real: the faults happen to real processes and real TCP connections between the engine and an API server.
"""

import asyncio
import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from commonpool.embedded import EmbeddedPool

HANDSHAKE_BYTES = 6000  # of answers; a connection is not cut before TLS stands


def pid_of(pool: EmbeddedPool, component: str) -> int:
    """The process of one component."""
    return next(one.pid for one in pool.status().components if one.name == component)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still while the block runs: it neither answers nor dies."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@dataclass
class Cutter:
    """A TCP proxy that now and then takes a request along and cuts the connection instead of the answer."""

    target: int
    probability: float
    chance: random.Random = field(default_factory=lambda: random.Random(20260101))
    cuts: int = 0
    port: int = 0
    ready: threading.Event = field(default_factory=threading.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways."""
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        requests = asyncio.create_task(_copy(reader, up_writer))
        try:
            await self._answers(up_reader, writer)
        except (OSError, asyncio.CancelledError):  # cancelled at the end: servers of this Python complain of it
            pass
        finally:
            requests.cancel()
            up_writer.close()
            writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(1 << 16):
            if passed > HANDSHAKE_BYTES and self.chance.random() < self.probability:
                self.cuts += 1
                return
            passed += len(data)
            writer.write(data)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


@contextmanager
def losing_answers(pool: EmbeddedPool, folder: Path, probability: float) -> Iterator[tuple[Cutter, Path]]:
    """A proxy before the pool's API server, and a kubeconfig that goes through it."""
    document = yaml.safe_load(pool.kubeconfig.read_text(encoding="utf-8"))
    cluster = document["clusters"][0]["cluster"]
    cutter = Cutter(int(cluster["server"].rpartition(":")[2]), probability)
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def listen() -> None:
        over = asyncio.Event()
        server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
        cutter.port = server.sockets[0].getsockname()[1]
        loops.append((asyncio.get_running_loop(), over))
        cutter.ready.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(listen()))
    thread.start()
    assert cutter.ready.wait(10)
    cluster["server"] = f"https://127.0.0.1:{cutter.port}"
    path = folder / "through-the-cutter.kubeconfig"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    try:
        yield cutter, path
    finally:
        loop, over = loops[0]
        loop.call_soon_threadsafe(over.set)
        thread.join(10)


def when(notes: list[str], seen: Callable[[list[str]], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something once a run has reported enough; started already, to be joined."""
    pause = threading.Event()

    def watch() -> None:
        for _ in range(60_000):
            if seen(notes):
                act()
                return
            pause.wait(0.005)
        raise AssertionError("the run never came so far")

    thread = threading.Thread(target=watch)
    thread.start()
    return thread
