"""The API server, as the engine's inner loop needs it: few verbs, little CPU, honest errors.

Built on aiohttp, because on a small machine the client's CPU is the throughput. Calls that may be repeated without harm
are repeated with back-off and jitter until `patience` runs out; a create whose answer got lost is looked up, not guessed.
Nothing here falls back to an unverified connection.
"""

import asyncio
import random
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from commonpool.engine.discovery import ACCEPT, KNOWN, KindInfo, kinds_of, unknown
from commonpool.engine.error import CredentialRefused, EngineError, FieldConflict, Refused, Stale, Unreachable
from commonpool.engine.kubeconfig import Credentials

MANAGER = "commonpool"
PATIENCE_SECONDS = 60.0  # an API server that restarts is back by then; longer outages are for a person
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
PAGE = 5000  # objects per list request: bounds the memory of one answer to some 10 MB of metadata
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
RETRIED = frozenset({429, 500, 502, 503, 504})


class Cluster:
    """One API server under one identity."""

    def __init__(self, credentials: Credentials, session: aiohttp.ClientSession, patience: float) -> None:
        """Use `connect`."""
        self.credentials, self.patience = credentials, patience
        self.url, self.namespace = credentials.server, credentials.namespace
        self._session = session
        self._server_name = credentials.server_name or None
        self._served: dict[tuple[str, str], KindInfo] = {}
        self._asked = 0.0

    @classmethod
    async def connect(
        cls,
        credentials: Credentials,
        *,
        user_agent: str = "commonpool",
        parallel: int = 64,
        patience: float = PATIENCE_SECONDS,
    ) -> Self:
        """Make a client; nothing is sent yet. Raises `EngineError` when the certificates cannot be used."""
        connector = aiohttp.TCPConnector(ssl=_tls(credentials), limit=parallel, keepalive_timeout=30)
        headers = {"User-Agent": user_agent, "Accept": "application/json"}
        token = Path(credentials.token_file).read_text(encoding="utf-8").strip() if credentials.token_file else ""
        if token or credentials.token:
            headers["Authorization"] = f"Bearer {token or credentials.token}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
        session = aiohttp.ClientSession(
            base_url=credentials.server,
            connector=connector,
            headers=headers,
            timeout=timeout,
            proxy=credentials.proxy or None,
        )
        return cls(credentials, session, patience)

    async def __aenter__(self) -> Self:
        """Closes at the end."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    # -- reading

    async def read(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object, or None when there is none of that name."""
        info = await self.kind(api_version, kind)
        try:
            return await self.request("GET", info.url(namespace, name))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def list_objects(
        self, api_version: str, kind: str, *, namespace: str = "", selector: str = "", metadata_only: bool = False
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects of a kind and the list's resourceVersion; items carry neither apiVersion nor kind."""
        info = await self.kind(api_version, kind)
        headers = {"Accept": METADATA_ONLY} if metadata_only else None
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        items: list[dict[str, Any]] = []
        while True:
            page = await self.request("GET", info.url(namespace), query=query, headers=headers)
            items += page["items"] or ()
            more = page["metadata"].get("continue")
            if not more:
                return items, page["metadata"].get("resourceVersion", "")
            query["continue"] = more

    async def kind(self, api_version: str, kind: str) -> KindInfo:
        """Where a kind is served. Raises `UnknownKind` when discovery, freshly asked, does not know it."""
        info = KNOWN.get((api_version, kind)) or self._served.get((api_version, kind))
        if info is None:
            await self._discover()
            info = self._served.get((api_version, kind))
        if info is None:
            raise unknown(api_version, kind, self._served.values())
        return info

    async def kinds(self) -> list[KindInfo]:
        """Every kind that can be listed."""
        await self._discover()
        return list(self._served.values())

    async def _discover(self) -> None:
        documents = await asyncio.gather(
            *(self.request("GET", root, headers={"Accept": ACCEPT}) for root in ("/api", "/apis"))
        )
        found = [info for document in documents for info in kinds_of(document)]
        self._served = {(info.api_version, info.kind): info for info in found}
        self._asked = time.monotonic()

    async def version(self) -> str:
        """The API server's version, for instance `v1.36.3`."""
        return str((await self.request("GET", "/version"))["gitVersion"])

    # -- writing

    async def apply(
        self, body: Mapping[str, Any], *, dry_run: bool = False, force: bool = False, field_manager: str = MANAGER
    ) -> dict[str, Any]:
        """Server-side apply. Raises `FieldConflict` or `Refused` with the server's own words."""
        info = await self.kind(body["apiVersion"], body["kind"])
        metadata = body["metadata"]
        query = {"fieldManager": field_manager, "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        if force:
            query["force"] = "true"
        headers = {"Content-Type": "application/apply-patch+yaml"}
        url = info.url(metadata.get("namespace", ""), metadata["name"])
        return await self.request("PATCH", url, body=body, query=query, headers=headers)

    async def merge_patch(
        self, api_version: str, kind: str, namespace: str, name: str, patch: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A JSON merge patch (RFC 7386): null removes."""
        info = await self.kind(api_version, kind)
        headers = {"Content-Type": "application/merge-patch+json"}
        return await self.request("PATCH", info.url(namespace, name), body=patch, headers=headers)

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create one object. An answer that got lost is looked up: it is ours when it holds what was sent."""
        info = await self.kind(body["apiVersion"], body["kind"])
        metadata = body["metadata"]
        url = info.url(metadata.get("namespace", ""))
        try:
            return await self.request("POST", url, body=body, repeat=False, query={"fieldManager": MANAGER})
        except Unreachable:
            found = await self.read(body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"])
            if found is None:
                return await self.request("POST", url, body=body, repeat=False, query={"fieldManager": MANAGER})
            if _holds(found, body):
                return found
            raise

    async def replace(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace one object at the resourceVersion in its metadata. Raises `Stale` when that is not the newest."""
        info = await self.kind(body["apiVersion"], body["kind"])
        metadata = body["metadata"]
        url = info.url(metadata.get("namespace", ""), metadata["name"])
        try:
            return await self.request("PUT", url, body=body, repeat=False, query={"fieldManager": MANAGER})
        except Unreachable:
            found = await self.read(body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"])
            if found is not None and _holds(found, body):
                return found
            return await self.request("PUT", url, body=body, repeat=False, query={"fieldManager": MANAGER})

    async def delete(
        self, api_version: str, kind: str, namespace: str, name: str, *, uid: str = "", dry_run: bool = False
    ) -> bool:
        """Delete one object in the background; False when it is gone already, or is another one than `uid`."""
        info = await self.kind(api_version, kind)
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self.request(
                "DELETE", info.url(namespace, name), body=body, query={"dryRun": "All"} if dry_run else {}
            )
        except Refused as error:
            if error.status == 404 or (error.status == 409 and uid):
                return False
            raise
        return True

    async def watch(
        self, api_version: str, kind: str, *, namespace: str = "", field_selector: str = "", version: str = ""
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """(event type, object) from a resourceVersion on, until the server ends the stream."""
        info = await self.kind(api_version, kind)
        query = {"watch": "true", "fieldSelector": field_selector, "resourceVersion": version, "timeoutSeconds": "300"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with self._session.get(
            info.url(namespace), params={key: value for key, value in query.items() if value}, timeout=timeout
        ) as response:
            if response.status != 200:
                raise _refusal(response.status, await response.read(), self.credentials)
            async for line in response.content:
                event = orjson.loads(line)
                yield event["type"], event["object"]

    # -- the wire

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
    ) -> dict[str, Any]:
        """Send one request, repeated while that is harmless and patience lasts."""
        data = orjson.dumps(body) if body is not None else None
        if data is not None and not (headers and "Content-Type" in headers):
            headers = {**(headers or {}), "Content-Type": "application/json"}
        deadline = time.monotonic() + self.patience
        pause = FIRST_PAUSE_SECONDS
        while True:
            wait = 0.0
            try:
                async with self._session.request(
                    method, path, data=data, params=query, headers=headers, server_hostname=self._server_name
                ) as response:
                    status, content = response.status, await response.read()
                    if status < 400:
                        return dict(orjson.loads(content))
                    problem: EngineError = _refusal(status, content, self.credentials)
                    repeatable = status == 429 or (repeat and status in RETRIED)
                    wait = _retry_after(response)
            except aiohttp.ClientConnectorCertificateError as error:
                raise Unreachable(f"{self.url}: its certificate is not one that {self.credentials.origin} trusts: {error}") from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = Unreachable(f"{self.url} does not answer ({type(error).__name__}: {error})")
                problem.__cause__ = error
                repeatable = repeat
            if not repeatable or time.monotonic() + pause > deadline:
                raise problem
            await asyncio.sleep(max(wait, random.uniform(0, pause)))  # noqa: S311 (jitter, not a secret)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _tls(credentials: Credentials) -> ssl.SSLContext | bool:
    if not credentials.server.startswith("https"):
        return True
    try:
        context = ssl.create_default_context(cadata=credentials.ca.decode() or None)
        if credentials.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if credentials.client_certificate:
            # OpenSSL reads certificate chains from files only; the file is gone before anything is sent.
            with tempfile.NamedTemporaryFile(prefix="commonpool-") as file:
                file.write(credentials.client_certificate + b"\n" + credentials.client_key)
                file.flush()
                context.load_cert_chain(file.name)
    except (ssl.SSLError, ValueError) as error:
        raise EngineError(f"{credentials.origin}: certificates cannot be used: {error}") from error
    return context


def _retry_after(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE_SECONDS * 2) if text.isdigit() else 0.0


def _refusal(status: int, content: bytes, credentials: Credentials) -> EngineError:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = {}
    message = str(answer.get("message") or content[:256].decode(errors="replace") or f"HTTP {status}")
    reason = str(answer.get("reason") or "")
    if status == 401:
        return CredentialRefused(f"{credentials.server} does not accept the credential of {credentials.origin}: {message}")
    causes = (answer.get("details") or {}).get("causes") or []
    conflicts = tuple(
        (_manager(cause.get("message", "")), cause.get("field", ""))
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )
    if conflicts:
        return FieldConflict(message, conflicts)
    if status == 409 and reason == "Conflict" and not (answer.get("details") or {}).get("causes"):
        return Stale(message) if "modified" in message else Refused(message, status=status, reason=reason)
    return Refused(message, status=status, reason=reason)


def _manager(message: str) -> str:
    # The server says: conflict with "kubectl-edit" using v1
    return message.partition('"')[2].partition('"')[0] or message


def _holds(found: Any, sent: Any) -> bool:  # noqa: ANN401
    """Whether everything that was sent stands in what was found; metadata the server sets may differ."""
    if isinstance(sent, Mapping):
        return isinstance(found, Mapping) and all(
            key in ("resourceVersion", "managedFields") or _holds(found.get(key), value) for key, value in sent.items()
        )
    return bool(found == sent)
