"""The consumer's side of X-Road for a client that knows nothing of the pool: the server that it has always called, beside it.

It takes `/r1/…` with `X-Road-Client` as a security server does (PR-REST, version 1), adds what the pool knows the department
by and passes the call on to the proxy; what the pool refuses comes back as an X-Road error. In a pod that is the token that
Kubernetes mounts there, outside of the pool the certificate of one of the department's systems: neither needs a right at the
API server. Whoever reaches it calls as the department, so it listens on loopback or where only the department's clients are.
What it does not do: X-Road's own transport between security servers, and passing on a client's `Authorization`, whose place
the token takes.
"""

import asyncio
import hashlib
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, web
from cryptography import x509
from yarl import URL

from commonpool.exchange import x_road
from commonpool.exchange.wire import PROBLEM

CONNECT_SECONDS = 5.0
_OWN_HEADERS = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "user-agent", "server", "expect",
})  # fmt: skip
_PROBLEMS = "https://commonpool.dev/problems/"
BAD_REQUEST, UNKNOWN_MEMBER = "Client.BadRequest", "Server.ClientProxy.UnknownMember"
NO_CREDENTIAL, UNREACHABLE = "Server.ClientProxy.InternalError", "Server.ClientProxy.NetworkError"
UNKNOWN_SERVICE, DENIED = "Server.ServerProxy.UnknownService", "Server.ServerProxy.AccessDenied"
FAILED = "Server.ServerProxy.ServiceFailed"


class XRoadError(Exception):
    """The call ends here; `kind` is X-Road's name for it."""

    def __init__(self, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Client.* says 400, everything else 500, as the protocol has it."""
        super().__init__(message)
        self.kind, self.headers = kind, dict(headers or {})

    @property
    def answer(self) -> web.Response:
        """What the client gets."""
        words = {"type": self.kind, "message": str(self), "detail": str(uuid.uuid4())}
        headers = self.headers | {"X-Road-Error": self.kind, "Content-Type": "application/json;charset=utf-8"}
        return web.Response(
            status=400 if self.kind.startswith("Client.") else 500, body=orjson.dumps(words), headers=headers
        )


class NoCredential(Exception):
    """Nothing is at hand by which the pool would know the department."""


@dataclass(frozen=True)
class Way:
    """Where a service is reached, under which name, and with which token or certificate."""

    host: str
    url: str
    token: str = ""
    tls: ssl.SSLContext | None = None


class Ways(Protocol):
    """What a namespace or a system may call."""

    async def find(self, service: str) -> Way | None:
        """None for what it does not list. Raises `NoCredential`."""


@dataclass
class Mounted:
    """In a pod: the ConfigMaps `consume-<service>` as folders, and the tokens that Kubernetes keeps fresh."""

    folder: Path

    async def find(self, service: str) -> Way | None:
        """Read anew for each call: a token is replaced in place."""
        place = self.folder / service
        if "/" in service or not (place / "URL").is_file():
            return None
        values = {name: (place / name).read_text(encoding="utf-8").strip() for name in ("HOST", "URL", "TOKEN_FILE")}
        try:
            token = await asyncio.to_thread(Path(values["TOKEN_FILE"]).read_text, "utf-8")
        except OSError as error:
            raise NoCredential(f"the token of {service} cannot be read: {error}") from error
        return Way(values["HOST"], values["URL"], token.strip())


@dataclass
class Certified:
    """Outside of the pool: the certificate of a system and where its services are, as `service certificate` wrote them.

    `file` is `<system>.json`; certificate and key lie beside it. All three are read anew when one of them is another; while
    what is found then is not whole, the former ones serve on.
    """

    file: Path
    _stamp: tuple[int, ...] = ()
    _ways: Mapping[str, Way] = field(default_factory=dict)
    _ends: datetime | None = None

    async def find(self, service: str) -> Way | None:
        """None for what its manifest did not list when the certificate was made."""
        await asyncio.to_thread(self._look)
        if self._ends and self._ends <= datetime.now(UTC):
            raise NoCredential(f"the certificate beside {self.file} ended on {self._ends:%Y-%m-%d %H:%M} UTC")
        return self._ways.get(service)

    def _look(self) -> None:
        certificate, key = self.file.with_suffix(".crt"), self.file.with_suffix(".key")
        try:
            stamp = tuple(path.stat().st_mtime_ns for path in (self.file, certificate, key))
            if stamp == self._stamp:
                return
            known = orjson.loads(self.file.read_bytes())
            tls = ssl.create_default_context(cadata=known["authority"] or None)
            tls.load_cert_chain(certificate, key)
            ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
            ways = {name: Way(one["host"], one["url"], tls=tls) for name, one in known["services"].items()}
        except (OSError, ValueError, KeyError, TypeError) as error:  # an SSLError is an OSError
            if not self._stamp:
                raise NoCredential(f"{self.file} with its certificate and key cannot be used: {error}") from error
            return
        self._stamp, self._ways, self._ends = stamp, ways, ends


@dataclass
class Server:
    """One department's server; `client` is what its clients say they are, a member or one subsystem of it."""

    client: str
    ways: Ways
    session: ClientSession

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One call."""
        try:
            return await self._pass_on(request)
        except XRoadError as error:
            return error.answer

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        message = self._message(request)
        name = message.service.rsplit("/", 1)[1]
        try:
            way = await self.ways.find(name)
        except NoCredential as error:
            raise XRoadError(NO_CREDENTIAL, str(error)) from error
        if way is None:
            raise XRoadError(UNKNOWN_SERVICE, f"{name} is not among the services that are consumed here")
        body = _Body(request)
        headers = _kept(request.headers) | {"host": way.host, x_road.IDENTITY: message.identity}
        if way.token:
            headers["authorization"] = f"Bearer {way.token}"
        url = URL(way.url.rstrip("/") + message.path, encoded=True)
        try:
            async with self.session.request(
                request.method,
                url,
                headers=headers,
                data=body.pieces() if request.body_exists else None,
                allow_redirects=False,
                ssl=way.tls or True,
                server_hostname=way.host if way.tls else None,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            ) as answer:
                await _refuse_problem(answer)
                return await _returned(request, answer, message, body)
        except ClientError as error:
            raise XRoadError(UNREACHABLE, f"the pool's proxy cannot be reached: {error}") from error

    def _message(self, request: web.BaseRequest) -> x_road.Message:
        named = {name.lower(): value for name, value in request.headers.items()} | {":path": request.raw_path}
        try:
            message = x_road.Message.of(named)
        except x_road.Misused as error:
            raise XRoadError(BAD_REQUEST, str(error)) from error
        if message is None or not message.service:
            words = "the path is /r1/{instance}/{class}/{member}/{subsystem}/{service}/…, and X-Road-Client names the client"
            raise XRoadError(BAD_REQUEST, words)
        if message.client != self.client and not message.client.startswith(f"{self.client}/"):
            raise XRoadError(
                UNKNOWN_MEMBER, f"X-Road-Client names {message.client}, and this is the server of {self.client}"
            )
        if "authorization" in named:
            words = "Authorization is not passed on: what the pool knows the department by takes its place"
            raise XRoadError(BAD_REQUEST, words)
        return message


class _Body:
    """A request's body on its way, with its digest."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.request, self.digest = request, hashlib.sha256()

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in self.request.content.iter_any():
            self.digest.update(piece)
            yield piece


async def _refuse_problem(answer: ClientResponse) -> None:
    """What the pool itself says becomes X-Road's error; what the service says is left alone."""
    if answer.content_type != PROBLEM:
        return
    content = await answer.read()
    try:
        said: Any = orjson.loads(content)
        ours = str(said["type"]).startswith(_PROBLEMS)
        words = f"{said['title']}: {said['detail']}"
    except (ValueError, KeyError, TypeError):
        ours, words = False, ""
    if ours:
        kind = DENIED if answer.status in (401, 403) else FAILED
        again = {name: value for name, value in answer.headers.items() if name.lower() == "retry-after"}
        raise XRoadError(kind, words, again)


async def _returned(
    request: web.BaseRequest, answer: ClientResponse, message: x_road.Message, body: _Body
) -> web.StreamResponse:
    said = {name.lower(): value for name, value in request.headers.items()}
    own = message.answer(x_road.request_hash(request.method, request.raw_path, said, body.digest.digest()))
    returned = web.StreamResponse(status=answer.status, headers=_kept(answer.headers) | own)
    await returned.prepare(request)
    # Once its head is out, an answer that breaks off breaks off here too: the connection ends without the last chunk.
    if answer.content_type == PROBLEM:
        await returned.write(await answer.read())
    else:
        async for piece in answer.content.iter_any():
            await returned.write(piece)
    await returned.write_eof()
    return returned


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """By lower-case name, without what is for one connection only and what tells of its ends; repeated ones are joined."""
    found: dict[str, str] = {}
    for name, value in ((name.lower(), value) for name, value in headers.items()):
        if name not in _OWN_HEADERS:
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def serve(address: str, port: int, client: str, ways: Ways, say: Callable[[str], None]) -> None:
    """Serve until cancelled. Raises OSError when the address cannot be had."""
    timeout = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    async with ClientSession(timeout=timeout, auto_decompress=False) as session:
        runner = web.ServerRunner(web.Server(Server(client, ways, session).answer))
        await runner.setup()
        try:
            site = web.TCPSite(runner, address, port)
            await site.start()
            say(f"http://{address}:{runner.addresses[0][1]}/r1/")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
