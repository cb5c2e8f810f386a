"""One call on its way: decided before it goes on, held until its evidence is on the disk, its answer with the agreed fields only.

Two records stand for a call: that it was asked, before the service sees it, and what came of it, before the caller sees the end
of the answer. A process that dies in between leaves the first one, and the caller an answer that broke off.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from commonpool.exchange import wire, x_road
from commonpool.exchange.fields import NotFilterable, filtered
from commonpool.exchange.processing_pb2 import HttpBody, ProcessingRequest, ProcessingResponse
from commonpool.exchange.room import Room
from commonpool.exchange.tally import RECORDED, Tally
from commonpool.exchange.terms import Book, Terms
from commonpool.exchange.vault import Vault
from commonpool.exchange.volume import ASKED, Volume, until_midnight
from commonpool.journal import Entry, JournalError, Record
from commonpool.model.today import today

LARGEST = 4 << 20  # bytes of an answer out of which fields are taken, or of which the text is kept
SUBJECT, AUDIENCE = "x-commonpool-subject", "x-commonpool-audience"
PASSED = "x-commonpool-exchange"  # by which the proxy knows that a call was here; it takes this header from nobody else
ANSWERED, REFUSED, DENIED = "exchange.answered", "exchange.refused", "exchange.denied"
_DENIALS = (401, 403, 429)
_CODINGS = ("accept-encoding", "range", "if-range", "if-none-match", "if-modified-since")
# What speaks of the body as the service sent it: digests, and the place where gRPC puts what it has to say.
_OF_THE_WHOLE = (
    *("content-length", "etag", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges"),
    *("grpc-status", "grpc-message", "grpc-status-details-bin"),
)
Recording = Callable[[Entry], Awaitable[Record]]
Responses = list[ProcessingResponse]


class Refusal(Exception):
    """The call ends here; `response` is what the caller gets."""

    def __init__(self, status: int, kind: str, title: str, detail: str, again: int = 0) -> None:
        """The words of a problem document, and after how many seconds to come back, if that helps."""
        super().__init__(detail)
        self.kind, self.status = kind, status
        self.response = wire.refusal(status, kind, title, detail, {"retry-after": str(again)} if again else None)


@dataclass
class Call:
    """What is known of one call; one method for each message of Envoy."""

    book: Book
    record: Recording
    vault: Vault
    volume: Volume
    tally: Tally
    room: Room
    service: str = ""
    subject: str = ""
    consumer: str = ""
    terms: Terms | None = None
    message: x_road.Message | None = None
    asked: Record | None = None
    over: bool = False
    began: float = field(default_factory=time.monotonic)
    _request: Any = field(default_factory=hashlib.sha256)
    _requested: bytearray = field(default_factory=bytearray)
    _request_size: int = 0
    _line: tuple[str, str] = ("", "")
    _status: int = 0
    _of_proxy: bool = False
    _holding: bool = False
    _held: bytearray = field(default_factory=bytearray)
    _answer: Any = field(default_factory=hashlib.sha256)
    _answer_size: int = 0
    _answer_headers: dict[str, str] = field(default_factory=dict)
    _gone: int = 0
    _room: int = 0

    async def take(self, message: ProcessingRequest) -> Responses:
        """What Envoy is told. Raises `Refusal` when the call ends here, `JournalUnavailable` when it broke off half-way."""
        kind = message.WhichOneof("request")
        if kind == "request_headers":
            return await self._request_headers(message)
        if self.terms is not None and not self.book.stands(self.terms):
            raise await self._ended(self.terms)
        if kind == "request_body":
            return await self._request_body(message.request_body)
        if kind == "request_trailers":
            return [wire.request_trailers()]
        if kind == "response_headers":
            head, self._of_proxy = message.response_headers, wire.of_proxy(message)
            return await self._response_headers(wire.headers(head), end=head.end_of_stream)
        if kind == "response_body":
            return await self._response_body(message.response_body)
        return [*await self._finished(end=False), wire.response_trailers()]

    # -- the request

    async def _request_headers(self, message: ProcessingRequest) -> Responses:
        headers = wire.headers(message.request_headers)
        self.service = wire.service_of(wire.route(message))
        self.subject = headers.get(SUBJECT, "")
        self.consumer = self.book.department(self.subject)
        self._line = (headers.get(":method", ""), headers.get(":path", ""))
        self.terms = await self._agreed(headers.get(AUDIENCE, ""))
        if self.terms is None:
            return [wire.request_headers({})]
        try:
            self.message = x_road.Message.of(headers)
        except x_road.Misused as error:
            raise await self._refuse(400, "x-road-header", "Not an X-Road request", str(error)) from error
        change = await self._mapped()
        self._x_road = {name: value for name, value in headers.items() if name.startswith("x-road-")}
        if not self.terms.silent:
            self.asked = await self._counted(self.terms)
        change[PASSED] = self.terms.agreement
        return [wire.request_headers(change, _CODINGS if self._shapes else ())]

    async def _agreed(self, audience: str) -> Terms | None:
        """The agreement under which this is asked; None where none is needed, and the route decides alone."""
        if self.service in self.book.broken:
            raise await self._refuse(
                503, "agreements-unreadable", "No agreement can be read", self.book.broken[self.service]
            )
        if audience not in self.book.audiences.get(self.service, (audience,)):
            detail = f"the token of {self.subject} is not for {self.service}, or not for it alone"
            raise await self._refuse(401, "token-for-another-service", "Token for another service", detail, kind=DENIED)
        known = self.book.of(self.service, self.consumer)
        held = next((one for one in known if one.holds(today())), None)
        if known and held is None:
            detail = f"the agreement {known[-1].agreement} of {self.consumer} on {self.service} held from {known[-1].start} to {known[-1].end}"
            raise await self._refuse(403, "agreement-not-in-force", "The agreement is not in force", detail)
        if held is None and self.consumer not in self.book.others.get(self.service, ()):
            raise await self._unlisted()
        if held and held.evidence == "body" and not held.recipients:
            detail = (
                f"{held.agreement} keeps bodies that only the two departments may open, and their keys are not declared"
            )
            raise await self._refuse(503, "no-recipients", "Bodies cannot be kept", detail)
        return held

    async def _counted(self, terms: Terms) -> Record:
        """The record by which the call is asked, unless the day has had all calls that are agreed on."""
        if terms.volume is None:
            return await self._recorded(ASKED, self._question())
        if not self.volume.take(terms.agreement, terms.volume, today()):
            detail = f"{self.consumer} has had the {terms.volume:,} calls of a day that {terms.agreement} gives it; the next day begins at midnight in China"
            again = until_midnight(datetime.now(UTC))
            raise await self._refuse(429, "volume-exceeded", "The volume of the day is used up", detail, again=again)
        try:
            return await self._recorded(ASKED, self._question())
        except Refusal:
            self.volume.give_back(terms.agreement)
            raise

    async def _unlisted(self) -> Refusal:
        """Whoever is not listed does not pass, also while a route that was taken away is still open for a moment."""
        who = self.subject or "who asks"
        detail = f"no agreement of {self.consumer or who} on {self.service} is in force, and none lets it call without"
        return await self._refuse(403, "not-a-consumer", "Not a declared consumer", detail, kind=DENIED)

    async def _ended(self, terms: Terms) -> Refusal:
        """A transfer that is under way stops with its agreement; what has gone cannot be taken back, and the caller sees it break off."""
        detail = f"{terms.agreement} is over, suspended or terminated; the transfer that was under way is stopped"
        return await self._refuse(403, "agreement-over", "The agreement is over", detail)

    async def _mapped(self) -> dict[str, str]:
        """The path that the service knows, for a request in X-Road's form."""
        message = self.message
        if message is None:
            return {}
        own = {self.consumer, self.book.codes.get(self.consumer, self.consumer)}
        if message.client and message.member not in own:
            detail = f"X-Road-Client names {message.member}, and the token is of {self.consumer}"
            raise await self._refuse(403, "x-road-client", "Another client than the token's", detail)
        if message.service and message.service.rsplit("/", 1)[1] != self.service:
            detail = f"the path names {message.service.rsplit('/', 1)[1]}, and the host {self.service}"
            raise await self._refuse(404, "x-road-service", "Another service than the host's", detail)
        return {":path": message.path} if message.path else {}

    def _question(self) -> dict[str, Any]:
        assert self.terms is not None
        path, _, query = self._line[1].partition("?")
        found: dict[str, Any] = {
            "service": self.service,
            "provider": self.terms.provider,
            "consumer": self.consumer,
            "agreement": self.terms.agreement,
            "text": self.terms.digest,
            "signed": list(self.terms.signed),
            "purpose": self.terms.purpose,
            "method": self._line[0],
            "path": path,
        }
        if query:  # it may hold what is asked for, a name or a number of a person
            found["query"] = f"sha256:{hashlib.sha256(query.encode()).hexdigest()}"
        if self.message:
            found["xRoad"] = self.message.evidence()
        return found

    async def _request_body(self, body: HttpBody) -> Responses:
        self._request.update(body.body)
        self._request_size += len(body.body)
        if self._keeps:
            kept = body.body[: LARGEST - len(self._requested)]
            await self._take_room(len(kept))
            self._requested += kept
        return [wire.request_body(body.body, end=body.end_of_stream)]

    # -- the answer

    @property
    def _shapes(self) -> bool:
        """Whether fields are taken out; what the proxy itself answers, why it let nothing through, has none."""
        return self.terms is not None and self.terms.items is not None and not self._of_proxy

    @property
    def _keeps(self) -> bool:
        return self.terms is not None and self.terms.evidence == "body"

    async def _response_headers(self, headers: dict[str, str], *, end: bool) -> Responses:
        self._status = int(headers.get(":status", "0"))
        self._answer_headers = headers
        if self.terms is None:
            await self._denied()
            return [wire.response_headers({})]
        if end:
            await self._answered()
            return [wire.response_headers(self._own_headers())]
        if not self._shapes and not self._keeps:
            return [wire.response_headers(self._own_headers())]
        self._holding = True  # until the whole answer is there: its head can still be another one
        return []

    async def _response_body(self, body: HttpBody) -> Responses:
        if self.terms is None or self.terms.silent:
            return wire.response_body(body.body, end=body.end_of_stream)
        if self._holding:
            return await self._hold(body)
        # One piece stays back, so that the end of the answer never goes on before the record of it.
        before = bytes(self._held)
        self._count(before)
        self._held = bytearray(body.body)
        if body.end_of_stream:
            return await self._finished(end=True, before=before)
        return wire.response_body(before, end=False) if before else []

    async def _hold(self, body: HttpBody) -> Responses:
        await self._take_room(len(body.body))
        self._held += body.body
        if len(self._held) > LARGEST:
            detail = f"the answer is larger than {LARGEST:,} bytes, above which no fields are taken out and no text is kept; ask for less at a time"
            raise await self._refuse(502, "answer-too-large", "The answer is too large", detail)
        return await self._finished(end=True) if body.end_of_stream else []

    async def _take_room(self, size: int) -> None:
        assert self.terms is not None
        if not self.room.take(self.terms.agreement, size):
            detail = f"so many calls under {self.terms.agreement}, or of all, are held whole at present that there is no room for this one"
            raise await self._refuse(503, "no-room", "Too much is held at one time", detail, again=1)
        self._room += size

    def leave(self) -> None:
        """Nothing of it is held any more, whatever became of it."""
        if self.terms is not None:
            self.room.give_back(self.terms.agreement, self._room)
        self._room = 0

    async def _finished(self, *, end: bool, before: bytes = b"") -> Responses:
        """The rest of the answer, once its record is durable."""
        if self.terms is None or self.over:
            return []
        if not self._holding:
            self._count(self._held)
            await self._answered()
            return wire.response_body(before + bytes(self._held), end=end)
        content = await self._shaped(bytes(self._held)) if self._shapes else bytes(self._held)
        kept = await asyncio.to_thread(self._keep, content) if self._keeps else ""
        self._count(content)
        await self._answered(kept)
        head = wire.response_headers(self._own_headers(), _OF_THE_WHOLE if self._shapes else ())
        return [head, *wire.response_body(content, end=end)]

    async def _shaped(self, content: bytes) -> bytes:
        """The agreed fields of the answer; one that cannot be read does not go on."""
        assert self.terms is not None
        assert self.terms.items is not None
        kind = self._answer_headers.get("content-type", "").partition(";")[0].strip().lower()
        if not content:
            return content
        try:
            if kind != "application/json" and not kind.endswith("+json"):
                raise NotFilterable(f"it is {kind or 'of no type'}")
            if self._answer_headers.get("content-encoding", "identity") != "identity":
                raise NotFilterable(f"it is compressed by {self._answer_headers['content-encoding']}")
            found, self._gone = await asyncio.to_thread(filtered, content, self.terms.items)
        except NotFilterable as error:
            if self._status >= 400:
                words = "The service answers with an error"
                detail = "what it says is no field of the agreement"
                raise await self._refuse(self._status, "service-error", words, detail) from error
            detail = f"fields of it are not agreed on, and they cannot be taken out: {error}"
            raise await self._refuse(502, "answer-not-filterable", "The answer cannot be filtered", detail) from error
        return found

    def _own_headers(self) -> dict[str, str]:
        if self.message is None:
            return {}
        method, path = self._line
        return self.message.answer(x_road.request_hash(method, path, self._x_road, self._request.digest()))

    def _count(self, content: bytes | bytearray) -> None:
        self._answer.update(content)
        self._answer_size += len(content)

    # -- evidence

    def _keep(self, content: bytes) -> str:
        assert self.terms is not None
        return self.vault.keep(bytes(self._requested), content, self.terms.recipients)

    async def _answered(self, kept: str = "") -> None:
        self.over = True
        if self.asked is None:
            return
        data: dict[str, Any] = {
            "asked": self.asked.sequence,
            "status": self._status,
            "milliseconds": round((time.monotonic() - self.began) * 1000),
            **self._parties(),
            **self._passed(),
        }
        if self._shapes:
            data["fieldsTakenOut"] = self._gone
        if kept:
            assert self.terms is not None
            data |= {"bodies": kept, "openTo": list(self.terms.recipients)}
        await self._recorded(ANSWERED, data)

    def _passed(self) -> dict[str, Any]:
        """What has gone on so far, in both directions: of a call that breaks off, that was exchanged all the same."""
        return {
            "request": self._sealed(self._request, self._request_size),
            "answer": self._sealed(self._answer, self._answer_size),
        }

    def _sealed(self, digest: Any, size: int) -> dict[str, Any]:  # noqa: ANN401
        return {"bytes": size, "sha256": digest.hexdigest()} if size else {"bytes": 0}

    def _parties(self) -> dict[str, str]:
        found = {"service": self.service, "consumer": self.consumer}
        return found | ({"agreement": self.terms.agreement, "provider": self.terms.provider} if self.terms else {})

    async def _denied(self) -> None:
        """A call that the route refused, although this process had nothing against it."""
        self.over = True
        if self.service and self._status in _DENIALS and self._of_proxy:
            data = {**self._parties(), "status": self._status, "path": self._line[1].partition("?")[0]}
            await self._tallied(DENIED, data)

    async def broken(self) -> None:
        """The stream ended before the answer did: the caller or the service went away."""
        if self.asked is not None and not self.over:
            self.over = True
            data = {"asked": self.asked.sequence, "status": self._status, **self._parties(), **self._passed()}
            data["broken"] = True
            await self.record(Entry(ANSWERED, self.subject, data))

    async def _refuse(
        self, status: int, reason: str, title: str, detail: str, *, kind: str = REFUSED, again: int = 0
    ) -> Refusal:
        self.over = True
        path = self._line[1].partition("?")[0]
        data: dict[str, Any] = {**self._parties(), "status": status, "path": path, "reason": reason, "detail": detail}
        if self.asked is not None:
            await self._recorded(kind, data | {"asked": self.asked.sequence, **self._passed()})
        else:
            await self._tallied(kind, data)
        return Refusal(status, reason, title, detail, again)

    async def _tallied(self, kind: str, data: dict[str, Any]) -> None:
        """A refusal that completes no other record, with its number in the day once there were many."""
        number = self.tally.take(self.subject, self.service, today())
        if number:
            await self._recorded(kind, data | ({"times": number} if number > RECORDED else {}))

    async def _recorded(self, kind: str, data: dict[str, Any]) -> Record:
        try:
            return await self.record(Entry(kind, self.subject or "nobody", data))
        except (JournalError, OSError) as error:
            self.over = True
            detail = f"no evidence of this call can be written: {error}"
            raise Refusal(503, "evidence-unavailable", "Evidence cannot be written", detail) from error
