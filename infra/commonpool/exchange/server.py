"""The process: watches the agreements, serves Envoy, records; `python -m commonpool.exchange` starts it."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc  # type: ignore[import-untyped]

from commonpool.engine import Cluster, kubeconfig
from commonpool.exchange.call import Call, Refusal
from commonpool.exchange.processing_pb2 import ProcessingRequest, ProcessingResponse
from commonpool.exchange.room import Room
from commonpool.exchange.tally import Tally
from commonpool.exchange.terms import DEPARTMENT, LABEL, Book
from commonpool.exchange.vault import Vault
from commonpool.exchange.volume import Volume
from commonpool.journal import Entry, Journal, JournalError, JournalUnavailable, Record
from commonpool.journal.recorder import GRACE_SECONDS, Recorder
from commonpool.journal.segment import BODIES
from commonpool.journal.timestamp import Stamping
from commonpool.model.today import today

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
CLOSING_SECONDS = 5.0
STAMP_LOOK_SECONDS = 20.0  # between two looks whether a timestamp is due


class Processor:
    """Envoy's external processor: one stream for each call."""

    def __init__(self, book: Book, recorder: Recorder, vault: Vault, volume: Volume) -> None:
        """What all calls share."""
        self.book, self.recorder, self.vault, self.volume = book, recorder, vault, volume
        self.tally, self.room = Tally(volume.day), Room()
        self.halted = ""  # why nothing is accepted at present

    async def record(self, entry: Entry) -> Record:
        """One record, durable. Raises `JournalUnavailable` also while no time is vouched for any more."""
        if self.halted:
            raise JournalUnavailable(self.halted)
        return (await self.recorder.record(entry))[0]

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server of it answers."""
        process = grpc.stream_stream_rpc_method_handler(
            self.process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Process": process})

    async def process(
        self,
        requests: AsyncIterator[ProcessingRequest],
        context: "grpc.aio.ServicerContext[ProcessingRequest, ProcessingResponse]",
    ) -> AsyncIterator[ProcessingResponse]:
        """Answer each message in its turn."""
        call = Call(self.book, self.record, self.vault, self.volume, self.tally, self.room)
        try:
            async for message in requests:
                for response in await call.take(message):
                    yield response
        except Refusal as refusal:
            yield refusal.response
        finally:
            call.leave()
            if not call.over:
                with contextlib.suppress(JournalError, asyncio.CancelledError):
                    await asyncio.shield(call.broken())


async def serve(address: str, cluster: Cluster, journal: Journal, grace: float) -> None:
    """Serve until cancelled; begins when the agreements are known, so that nobody passes unseen before."""
    book = Book()
    known = [asyncio.Event(), asyncio.Event()]
    async with Recorder(journal, grace) as recorder:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        volume = await asyncio.to_thread(Volume.read, journal.folder, today())
        processor = Processor(book, recorder, Vault(journal.folder / BODIES), volume)
        server.add_generic_rpc_handlers((processor.handler,))
        watches = [
            asyncio.create_task(_follow(cluster, book, known[0], agreements=True)),
            asyncio.create_task(_follow(cluster, book, known[1], agreements=False)),
        ]
        while not all(one.is_set() for one in known):
            done, _ = await asyncio.wait(watches, timeout=0.02)
            for task in done:  # a watch that ends before it knows anything failed
                task.result()
        if server.add_insecure_port(address) == 0:
            raise OSError(f"{address} is taken")
        await server.start()
        if service := os.environ.get("COMMONPOOL_TIMESTAMPS", ""):
            watches.append(asyncio.create_task(keep_stamping(processor, Stamping(journal, service))))
        print(f"serving at {address}", flush=True)
        try:
            await asyncio.gather(*watches)
        finally:
            for task in watches:
                task.cancel()
            await server.stop(CLOSING_SECONDS)


async def keep_stamping(processor: Processor, stamping: Stamping) -> None:
    """Have times vouched for; past the limit without the service no call is accepted until it is back."""
    while True:
        try:
            warning = await asyncio.to_thread(stamping.keep_up)
            processor.halted = ""
            if warning:
                print(f"warning: {warning}", flush=True)
        except JournalUnavailable as error:
            processor.halted = str(error)
            print(f"halted: {error}", flush=True)
        await asyncio.sleep(STAMP_LOOK_SECONDS)


async def _follow(cluster: Cluster, book: Book, known: asyncio.Event, *, agreements: bool) -> None:
    kind, selector = ("ConfigMap", f"{LABEL}=true") if agreements else ("Namespace", DEPARTMENT)
    take = book.take if agreements else book.settle
    items, version = await cluster.list_objects("v1", kind, selector=selector)
    for item in items:
        take("ADDED", item)
    known.set()
    async for event, item in cluster.watch("v1", kind, selector=selector, version=version):
        take(event, item)


def main(arguments: list[str] | None = None) -> None:
    """Start it; the first thing that cannot be had ends it, and the supervisor tries again."""
    parser = argparse.ArgumentParser(prog="commonpool exchange", description=__doc__)
    parser.add_argument("--listen", required=True, help="unix:PATH, or host:port where the proxy alone reaches it")
    parser.add_argument("--kubeconfig", required=True, type=Path)
    parser.add_argument("--journal", required=True, type=Path, help="folder")
    parser.add_argument("--key", required=True, type=Path, help="private key of the journal")
    parser.add_argument("--name", default="pool", help="name of the pool, for a journal that is made")
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS, help="seconds that a call waits for its evidence")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)  # of its socket too

    async def run() -> None:
        journal = Journal.open(chosen.journal, chosen.key, chosen.name)
        async with await Cluster.connect(kubeconfig.load(chosen.kubeconfig)) as cluster:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            await serve(chosen.listen, cluster, journal, chosen.grace)

    try:
        asyncio.run(run())
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit(0)
