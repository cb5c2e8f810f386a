"""Bytes to and from one API server: connections, TLS, credentials, one attempt at a time.

Built on aiohttp, because on a small machine the client's CPU is the throughput. What it refuses: an unverified
connection that the kubeconfig did not ask for by name, redirects, and to have more bodies in memory than it may send.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
import orjson
from yarl import URL

from commonpool.engine.answer import is_broken, problem, retry_after, settles
from commonpool.engine.error import EngineError, Refused, Stale, Unreachable
from commonpool.engine.evidence import Evidence, is_write
from commonpool.engine.kubeconfig import Credentials
from commonpool.engine.memory_file import memory_file
from commonpool.engine.recent import Recent
from commonpool.engine.retry import BROKEN_SECONDS, Again

CONNECT_SECONDS = 10.0
STREAM_SILENCE_SECONDS = 120.0  # bookmarks come every minute; a stream that is silent for two is dead


class Wire:
    """Connections to one API server under one identity. Use `open`."""

    def __init__(
        self, credentials: Credentials, session: aiohttp.ClientSession, parallel: int, patience: float
    ) -> None:
        """Keep what every attempt needs."""
        self.credentials, self.server = credentials, credentials.server
        self._session, self._timeout = session, _timeout(patience)
        self._slots = asyncio.Semaphore(parallel)
        self._server_name = credentials.server_name or None
        self._token = credentials.token
        self._renewing = asyncio.Lock()
        self.evidence: Evidence | None = None
        self.trouble: Callable[[str], None] | None = None
        self.recent = Recent()

    @classmethod
    async def open(cls, credentials: Credentials, *, user_agent: str, parallel: int, patience: float) -> "Wire":
        """Prepare; nothing is sent yet. Raises `EngineError` when the certificates cannot be used."""
        headers = [("User-Agent", user_agent), ("Accept", "application/json"), *credentials.impersonate]
        if not credentials.compress:
            headers.append(("Accept-Encoding", "identity"))
        session = aiohttp.ClientSession(
            # Slots bound requests; watches come on top, so that waiting never starves the requests waited for.
            connector=aiohttp.TCPConnector(ssl=tls(credentials), limit=0, keepalive_timeout=30),
            headers=headers,
            proxy=credentials.proxy or None,
        )
        return cls(credentials, session, parallel, patience)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "",
        seconds: float | None = None,
        decode: Callable[[bytes], Any] = orjson.loads,
    ) -> dict[str, Any]:
        """One attempt. Raises `Again` for what may pass, another `EngineError` for what does not."""
        async with self._slots:
            data = orjson.dumps(body) if body is not None else None
            if self.evidence is not None and is_write(method, path):
                await self.evidence.before_write(method, path, data)
            headers = {"Content-Type": content_type} if data is not None else {}
            if accept:
                headers["Accept"] = accept
            status, content, header = await self._exchange(method, path, data, headers, seconds)
            if status == 401 and self.credentials.renewable and await self._renew(headers.get("Authorization", "")):
                status, content, header = await self._exchange(method, path, data, headers, seconds)
        if 200 <= status < 300:
            try:
                answer: dict[str, Any] = decode(content)
            except (orjson.JSONDecodeError, msgspec.DecodeError) as error:
                raise Unreachable(
                    f"{self.server} answers, but not as an API server does (no JSON): is a proxy in between?"
                ) from error
            return answer
        refusal = self._judgement(method, path, status, content, header)
        # An object, or the quota that counts it, is written by many at once: the server gave up its own repeating.
        if isinstance(refusal, Stale) and body is not None and not _names_version(body):
            raise Again(refusal)
        raise refusal

    async def stream(self, path: str, opened: Callable[[], None]) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a watch, until the server ends it; `opened` is called when it has begun. Raises as `send` does."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STREAM_SILENCE_SECONDS)
        try:
            async with self._session.get(
                self._url(path),
                headers=self._headers({}),
                timeout=timeout,
                server_hostname=self._server_name,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    content, header = await response.read(), response.headers.get("Retry-After", "")
                    raise self._judgement("GET", path, response.status, content, header)
                opened()
                rest = b""
                async for chunk in response.content.iter_any():  # lines may be longer than any reader's buffer
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Again(Unreachable(f"{self.server}: something in between garbles its streams: {error}")) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._lost(error) from error

    async def _exchange(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str], seconds: float | None
    ) -> tuple[int, bytes, str]:
        timeout = self._timeout if seconds is None else _timeout(seconds)
        try:
            async with self._session.request(
                method,
                self._url(path),
                data=data,
                headers=self._headers(headers),
                allow_redirects=False,
                server_hostname=self._server_name,
                timeout=timeout,
            ) as response:
                return response.status, await response.read(), response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._lost(error) from error

    def _url(self, path: str) -> URL:
        return URL(self.server + path, encoded=True)

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    async def _renew(self, shown: str) -> bool:
        """Fetch the token again from its file or plugin; True when there is one that was not shown yet."""
        async with self._renewing:
            if f"Bearer {self._token}" == shown:
                self._token = await asyncio.to_thread(self.credentials.renewed_token)
            return f"Bearer {self._token}" != shown

    def _judgement(self, method: str, path: str, status: int, content: bytes, header: str) -> EngineError | Again:
        error = problem(status, content, self.server, self.credentials.describe())
        settling = settles(error, dry_run="dryRun=" in path)
        if status == 429 or settling or self.recent.explains(path, error):
            return Again(error, wait=retry_after(header))
        if is_broken(status, content):
            return Again(error, wait=retry_after(header), unsure=True, broken=True)
        if method == "PATCH" and isinstance(error, Refused) and error.reason == "AlreadyExists":
            return Again(error)  # two applies made the same object at once; the next one finds it
        return error

    def _lost(self, error: BaseException) -> EngineError | Again:
        """What a failure of the connection means."""
        origin = self.credentials.origin
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or getattr(cause, "os_error", None) or getattr(cause, "certificate_error", None)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Unreachable(
                f"{self.server}: its certificate is not one that {self.credentials.ca_origin or 'this system'} "
                f"vouches for ({cause}); nothing was sent. Credentials: {origin}"
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return Unreachable(f"{self.server}: no TLS connection with the credentials of {origin}: {cause}")
        if isinstance(error, aiohttp.InvalidURL):
            return Unreachable(f"{self.server} of {origin} is no usable address: {error}")
        sent = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        silent = sent and isinstance(error, TimeoutError)
        words = "takes requests but gives no answer; is its store (etcd) well?" if silent else "does not answer"
        unreachable = Unreachable(f"{self.server} {words} ({type(error).__name__}: {error})".replace(": )", ")"))
        unreachable.__cause__ = error
        if self.trouble is not None:
            self.trouble(str(unreachable))
        return Again(unreachable, unsure=sent, broken=silent)


def _names_version(body: Mapping[str, Any]) -> bool:
    """Whether a write is only for the version, or the object, that it names."""
    return "preconditions" in body or bool(body.get("metadata", {}).get("resourceVersion"))


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=seconds, sock_connect=min(CONNECT_SECONDS, seconds), sock_read=min(BROKEN_SECONDS, seconds)
    )


def tls(credentials: Credentials) -> ssl.SSLContext | bool:
    """One TLS context for all connections. Raises `EngineError` naming the origin when the material is unusable."""
    if not credentials.server.startswith("https"):
        return True
    try:
        context = ssl.create_default_context(cadata=credentials.ca.decode() or None)
        # Go accepts authorities without a key identifier, and many clusters have such; newer Pythons would not.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if credentials.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if credentials.client_certificate:
            # OpenSSL reads certificate chains from files only.
            with memory_file(credentials.client_certificate + b"\n" + credentials.client_key) as path:
                context.load_cert_chain(path)
    except (ssl.SSLError, ValueError) as error:
        raise EngineError(f"{credentials.origin}: certificates cannot be used: {error}") from error
    return context
