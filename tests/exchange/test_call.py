"""What Envoy is told of one call, and what the journal holds of it, message by message."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commonpool.exchange.processing_pb2 import HttpBody, ProcessingRequest, ProcessingResponse
from commonpool.exchange.server import Processor
from commonpool.exchange.terms import Book, Terms
from commonpool.exchange.vault import Vault
from commonpool.exchange.volume import Volume
from commonpool.journal import Journal, Record
from commonpool.journal.note import Signer
from commonpool.journal.query import records
from commonpool.journal.recorder import Recorder
from commonpool.model.today import today
from test_room import answered, asked, headers, terms

FILTER = "envoy.filters.http.ext_proc"
WORDS = b'{"title": "No healthy backend", "detail": "no backend of people is healthy"}'


def body(content: bytes, *, end: bool = False) -> ProcessingRequest:
    return ProcessingRequest(request_body=HttpBody(body=content, end_of_stream=end))


def head(details: str, status: int = 200, kind: str = "application/json") -> ProcessingRequest:
    found = ProcessingRequest(response_headers=headers(content_type=kind, **{":status": str(status)}))
    found.attributes[FILTER].update({"response.code_details": details})
    return found


def play(
    folder: Path, agreed: Terms, messages: Sequence[ProcessingRequest]
) -> tuple[list[ProcessingResponse], list[Record]]:
    """What Envoy is told in turn, and the records; Envoy's stream ends after the last message."""
    journal = Journal.open(folder / "journal", folder / "journal.key", "test")

    async def sent() -> AsyncIterator[ProcessingRequest]:
        for message in messages:
            yield message

    async def work() -> list[ProcessingResponse]:
        async with Recorder(journal) as recorder:
            book = Book(services={"people": (agreed,)}, departments={"d1-main": "d1"})
            processor = Processor(book, recorder, Vault(folder / "bodies"), Volume(today()))
            context: Any = None
            return [one async for one in processor.process(sent(), context)]

    told = asyncio.run(work())
    return told, list(records(folder / "journal", kinds=("exchange.",)))


def content(told: Sequence[ProcessingResponse]) -> bytes:
    pieces = [one.response_body.response.body_mutation.streamed_response.body for one in told if one.response_body]
    return b"".join(pieces)


def sealed(text: bytes) -> dict[str, Any]:
    return {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}


def test_what_had_passed_is_in_the_evidence_of_a_call_that_breaks_off(tmp_path: Path) -> None:
    """A caller who hangs up before the last piece has all the others."""
    pieces = [answered(b"a" * 1000, end=False), answered(b"b" * 1000, end=False), answered(b"c", end=False)]
    messages = [asked("d1"), body(b"a question", end=True), head("via_upstream"), *pieces]
    told, (_, last) = play(tmp_path, replace(terms("d1"), items=None), messages)
    assert content(told) == b"a" * 1000 + b"b" * 1000
    assert (last.data["broken"], last.data["request"]) == (True, sealed(b"a question"))
    assert last.data["answer"] == sealed(content(told))


def test_the_whole_answer_is_in_the_evidence_of_a_call_that_ends(tmp_path: Path) -> None:
    pieces = [answered(b"a" * 1000, end=False), answered(b"b", end=True)]
    told, (_, last) = play(tmp_path, replace(terms("d1"), items=None), [asked("d1"), head("via_upstream"), *pieces])
    assert content(told) == b"a" * 1000 + b"b"
    assert "broken" not in last.data
    assert last.data["answer"] == sealed(content(told))


@pytest.mark.parametrize(
    "details", ["no_healthy_upstream", "rbac_access_denied_matched_policy[none]", "direct_response"]
)
def test_the_proxys_own_reasons_reach_a_consumer_of_some_fields(tmp_path: Path, details: str) -> None:
    told, (_, last) = play(
        tmp_path, terms("d1"), [asked("d1"), head(details, 503, "application/problem+json"), answered(WORDS, end=True)]
    )
    assert content(told) == WORDS
    assert last.data["answer"] == sealed(WORDS)


@pytest.mark.parametrize("details", ["via_upstream", ""])
def test_a_service_that_answers_like_the_proxy_is_filtered(tmp_path: Path, details: str) -> None:
    told, _ = play(
        tmp_path, terms("d1"), [asked("d1"), head(details, 503, "application/problem+json"), answered(WORDS, end=True)]
    )
    assert content(told) == b"{}"


def test_a_journal_that_takes_no_record_refuses_the_call_in_words(tmp_path: Path) -> None:
    Journal.open(tmp_path / "journal", tmp_path / "journal.key", "test")
    (tmp_path / "journal.key").write_bytes(Signer.generate("another").pem)
    (told,), kept = play(tmp_path, terms("d1"), [asked("d1")])
    assert told.immediate_response.status.code == 503
    assert b"evidence-unavailable" in told.immediate_response.body
    assert kept == []
