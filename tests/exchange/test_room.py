"""What is held whole for one consumer leaves room for the others, and a flood of refused calls room on the disk."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from commonpool.exchange import room
from commonpool.exchange.processing_pb2 import (
    HeaderMap,
    HeaderValue,
    HttpBody,
    HttpHeaders,
    ProcessingRequest,
    ProcessingResponse,
)
from commonpool.exchange.server import Processor
from commonpool.exchange.tally import RECORDED
from commonpool.exchange.terms import Book, Terms
from commonpool.exchange.vault import Vault
from commonpool.exchange.volume import Volume
from commonpool.journal import Journal
from commonpool.journal.query import records
from commonpool.journal.recorder import Recorder
from commonpool.model.today import today

PIECE = b'{"name": "' + b"x" * 900


def terms(consumer: str) -> Terms:
    return Terms(
        "of-" + consumer, "", "people", "d0", consumer, "budget", "digest", today(), today(), items={"name": {}}
    )


def headers(**values: str) -> HttpHeaders:
    found = [HeaderValue(key=key.replace("_", "-"), raw_value=value.encode()) for key, value in values.items()]
    return HttpHeaders(headers=HeaderMap(headers=found))


def asked(consumer: str) -> ProcessingRequest:
    subject = f"system:serviceaccount:{consumer}-main:default"
    found = ProcessingRequest(request_headers=headers(x_commonpool_subject=subject, **{":method": "GET", ":path": "/"}))
    found.attributes["envoy.filters.http.ext_proc"].update({"xds.route_name": "httproute/service-people/people/rule/0"})
    return found


def answered(content: bytes, *, end: bool) -> ProcessingRequest:
    return ProcessingRequest(response_body=HttpBody(body=content, end_of_stream=end))


HEAD = ProcessingRequest(response_headers=headers(content_type="application/json", **{":status": "200"}))


async def play(
    processor: Processor, messages: Sequence[ProcessingRequest], gate: asyncio.Event | None = None
) -> ProcessingResponse:
    """The last thing that Envoy is told; the last message comes when the gate opens."""

    async def sent() -> AsyncIterator[ProcessingRequest]:
        for message in messages[:-1]:
            yield message
        if gate:
            await gate.wait()
        yield messages[-1]

    context: Any = None
    return [one async for one in processor.process(sent(), context)][-1]


def processor_of(folder: Path, recorder: Recorder) -> Processor:
    book = Book()
    book.departments |= {f"{name}-main": name for name in ("d1", "d2", "d3")}
    book.services["people"] = (terms("d1"), terms("d2"))
    return Processor(book, recorder, Vault(folder / "bodies"), Volume(today()))


def test_a_consumer_of_many_large_answers_leaves_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "EACH", 1500)
    monkeypatch.setattr(room, "ALL", 3000)
    journal = Journal.open(tmp_path / "journal", tmp_path / "journal.key", "test")

    async def work() -> None:
        async with Recorder(journal) as recorder:
            processor, gate = processor_of(tmp_path, recorder), asyncio.Event()
            whole = [HEAD, answered(PIECE, end=False), answered(b'"}', end=True)]
            first = asyncio.create_task(play(processor, [asked("d1"), *whole], gate))
            while not processor.room.total:
                await asyncio.sleep(0.01)
            refused = await play(processor, [asked("d1"), *whole])
            assert (refused.immediate_response.status.code, b"no-room" in refused.immediate_response.body) == (
                503,
                True,
            )
            assert (await play(processor, [asked("d2"), *whole])).HasField("response_body"), "others have their own"
            gate.set()
            assert (await first).HasField("response_body")
            assert (await play(processor, [asked("d1"), *whole])).HasField("response_body"), "there is room again"
            assert (processor.room.total, set(processor.room.held.values())) == (0, {0})

    asyncio.run(work())


def test_calls_that_are_refused_over_and_over_do_not_fill_the_journal(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal", tmp_path / "journal.key", "test")

    async def work() -> set[int]:
        async with Recorder(journal) as recorder:
            processor = processor_of(tmp_path, recorder)
            return {(await play(processor, [asked("d3")])).immediate_response.status.code for _ in range(1000)}

    assert asyncio.run(work()) == {403}
    told = [one.data.get("times") for one in records(tmp_path / "journal", kinds=("exchange.denied",))]
    assert told == [None] * RECORDED + [128, 256, 512]
