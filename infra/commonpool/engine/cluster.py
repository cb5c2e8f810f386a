"""The API server, as the engine's inner loop needs it: few verbs, little CPU, honest errors.

Calls that may be repeated without harm are repeated with back-off and jitter until `patience` runs out. A create or
replace whose answer got lost is looked up, not guessed: it was a success when everything that was sent stands there.
What it refuses: to take silence for absence, and to delete by name alone what somebody may have made anew.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import orjson

from commonpool.engine.answer import holds
from commonpool.engine.discovery import ACCEPT, KNOWN, KindInfo, kinds_of, unknown
from commonpool.engine.error import EngineError, Refused, Stale
from commonpool.engine.evidence import Evidence
from commonpool.engine.key import Key
from commonpool.engine.kubeconfig import Credentials
from commonpool.engine.managed_fields import decode_list
from commonpool.engine.recent import NEVER
from commonpool.engine.retry import PATIENCE_SECONDS, Again, patiently
from commonpool.engine.watch import Feed, Page
from commonpool.engine.wire import Wire

MANAGER = "commonpool"
USER_AGENT = "commonpool/0.1"
PAGE = 5000  # objects per list request: bounds one answer to some 10 MB of metadata
# What stands behind an APIService need not know how to leave the rest out: then it is all sent, and the rest not read.
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
FRESH_SECONDS = 1.0  # a kind missed this shortly before is not asked for again: previews meet many of one new kind
NEW_KIND_SECONDS = 15.0  # discovery follows a CustomResourceDefinition or APIService within seconds
NEW_KIND_PAUSE_SECONDS = 0.2
WATCHES = 64  # streams at a time; whoever gets none looks from time to time instead
_DEFINING = frozenset({"CustomResourceDefinition", "APIService"})
_RULING = frozenset(
    {
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
    }
)


class Cluster:
    """One API server under one identity."""

    def __init__(self, wire: Wire, patience: float) -> None:
        """Use `connect`."""
        self.credentials, self.patience, self._wire = wire.credentials, patience, wire
        self.url, self.namespace = wire.server, wire.credentials.namespace
        self.streams = asyncio.Semaphore(WATCHES)
        self._served: dict[tuple[str, str], KindInfo] = {}
        self._asked = float("-inf")
        self._defined = wire.recent.defined
        self._asking = asyncio.Lock()

    @classmethod
    async def connect(
        cls,
        credentials: Credentials,
        *,
        user_agent: str = USER_AGENT,
        parallel: int = 64,
        patience: float = PATIENCE_SECONDS,
    ) -> Self:
        """Make a client; nothing is sent yet. Raises `EngineError` when the certificates cannot be used.

        At most `parallel` requests are under way, and no more bodies than that are encoded at a time. `patience` in
        seconds bounds each call with all its repetitions.
        """
        return cls(await Wire.open(credentials, user_agent=user_agent, parallel=parallel, patience=patience), patience)

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
        await self._wire.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person must be told about this connection before it is used."""
        return self.credentials.warnings

    @property
    def evidence(self) -> Evidence | None:
        """Who is told of every write before it is sent; nobody unless somebody was named."""
        return self._wire.evidence

    @evidence.setter
    def evidence(self, evidence: Evidence | None) -> None:
        self._wire.evidence = evidence

    @property
    def trouble(self) -> Callable[[str], None] | None:
        """Who hears at once of a server that does not answer, although it is asked again; nobody unless somebody was named."""
        return self._wire.trouble

    @trouble.setter
    def trouble(self, trouble: Callable[[str], None] | None) -> None:
        self._wire.trouble = trouble

    @property
    def ruled(self) -> float:
        """When a rule of who may write what was last changed, by the monotonic clock; what refuses shortly after is tried again."""
        return self._wire.recent.ruled

    @ruled.setter
    def ruled(self, moment: float) -> None:
        self._wire.recent.ruled = moment

    def note_room(self, namespace: str) -> None:
        """What a quota of a namespace counts is less now, or its limits are others: what it refuses shortly after is tried again."""
        self._wire.recent.freed[namespace] = time.monotonic()

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
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        selector: str = "",
        metadata_only: bool = False,
        patience: float | None = None,
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects of a kind and the list's resourceVersion; items carry neither apiVersion nor kind.

        With `metadata_only`, an item is what `managed_fields.Metadata` has of its metadata. `patience` in seconds, where
        given, bounds how long it is asked again.
        """
        page = await self._list(api_version, kind, namespace, {"labelSelector": selector}, metadata_only, patience)
        return page.items, page.version

    async def _list(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        filters: Mapping[str, str],
        metadata_only: bool = False,
        patience: float | None = None,
    ) -> Page:
        info = await self.kind(api_version, kind)
        accept, decode = (METADATA_ONLY, decode_list) if metadata_only else ("", orjson.loads)
        query = {"limit": str(PAGE)} | {key: value for key, value in filters.items() if value}
        items: list[dict[str, Any]] = []
        while True:
            try:
                path = f"{info.url(namespace)}?{urlencode(query)}"
                page = await self.request("GET", path, accept=accept, decode=decode, patience=patience)
            except Refused as error:
                if error.status != 410 or "continue" not in query:
                    raise
                # The pages took longer than the server keeps a version: one list without pages cannot expire.
                query.pop("continue")
                query["limit"], items = "0", []
                continue
            items += page.get("items") or ()
            metadata = page.get("metadata", {})
            if not metadata.get("continue"):
                return Page(items, metadata.get("resourceVersion", ""))
            query["continue"] = metadata["continue"]

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        field_selector: str = "",
        selector: str = "",
        version: str = "",
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """(ADDED, MODIFIED or DELETED, object) without end, from a resourceVersion on, or from a list at first.

        Streams that end are continued; when the server has forgotten our version, everything is listed anew and what
        went meanwhile is reported as DELETED. Raises `Unreachable` when patience runs out.
        """
        info = await self.kind(api_version, kind)
        filters = {"fieldSelector": field_selector, "labelSelector": selector}

        async def relist() -> Page:
            return await self._list(api_version, kind, namespace, filters)

        feed = Feed(self._wire, info.url(namespace), filters, relist, self.patience, version)
        async with aclosing(feed.events()) as events:
            async for event in events:
                yield event

    async def version(self) -> str:
        """The API server's version, for instance `v1.36.3`."""
        return str((await self.request("GET", "/version"))["gitVersion"])

    # -- kinds

    async def kind(self, api_version: str, kind: str) -> KindInfo:
        """Where a kind is served. Raises `UnknownKind` when discovery, freshly asked, does not know it."""
        key = (api_version, kind)
        info = KNOWN.get(key) or self._served.get(key)
        if info is not None:
            return info
        group = api_version.rpartition("/")[0]
        while True:
            missed = time.monotonic()
            async with self._asking:
                if self._asked < max(missed - FRESH_SECONDS, self._defined.get(group, NEVER)):
                    await self._discover()
            if key in self._served:
                return self._served[key]
            if time.monotonic() > self._defined.get(group, NEVER) + NEW_KIND_SECONDS:
                raise unknown(api_version, kind, self._served.values())
            self._asked = float("-inf")
            await asyncio.sleep(NEW_KIND_PAUSE_SECONDS)

    async def version_serving(self, group: str, kind: str) -> str:
        """The apiVersion that serves a kind today; empty when none does, and then no object of it is left.

        What does not answer, and only misses in the discovery of everything, is an error here. Raises `EngineError`.
        """
        versions = ["v1"]
        if group:
            found = await self._found(f"/apis/{group}")
            versions = [version["groupVersion"] for version in found.get("versions", ())]
        for version in versions:
            found = await self._found(f"/apis/{version}" if group else f"/api/{version}")
            if any(one["kind"] == kind and "/" not in one["name"] for one in found.get("resources", ())):
                return version
        return ""

    async def _found(self, path: str) -> dict[str, Any]:
        try:
            return await self.request("GET", path)
        except Refused as error:
            if error.status == 404:
                return {}
            raise

    async def kinds(self) -> list[KindInfo]:
        """Every kind that can be listed."""
        async with self._asking:
            await self._discover()
        return [info for info in self._served.values() if info.listable]

    async def _discover(self) -> None:
        began = time.monotonic()
        documents = await asyncio.gather(*(self.request("GET", root, accept=ACCEPT) for root in ("/api", "/apis")))
        served: dict[tuple[str, str], KindInfo] = {}
        for document in documents:
            if document.get("kind") != "APIGroupDiscoveryList":
                raise EngineError(f"{self.url} does not speak aggregated discovery; Kubernetes 1.27 or later is needed")
            served |= kinds_of(document)
        self._served, self._asked = served, began

    # -- writing

    async def apply(
        self,
        body: Mapping[str, Any],
        *,
        dry_run: bool = False,
        force: bool = False,
        subresource: str = "",
        field_manager: str = MANAGER,
    ) -> dict[str, Any]:
        """Server-side apply. Raises `FieldConflict` or `Refused` with the server's own words."""
        kind = body["kind"]
        info = await self.kind(body["apiVersion"], kind)
        path = info.url(self._namespace_of(info, body), body["metadata"]["name"], subresource)
        applied = await self.request("PATCH", path + _apply_query(field_manager, dry_run, force), body, APPLY)
        if kind in _DEFINING and not dry_run:
            self._defined[body["spec"].get("group", "")] = time.monotonic()
        if kind in _RULING and not dry_run:
            self.ruled = time.monotonic()
        if kind == "ResourceQuota" and not dry_run:
            self.note_room(self._namespace_of(info, body))
        return applied

    async def merge_patch(
        self, api_version: str, kind: str, namespace: str, name: str, patch: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A JSON merge patch (RFC 7386): null removes."""
        info = await self.kind(api_version, kind)
        return await self.request("PATCH", f"{info.url(namespace, name)}?fieldManager={MANAGER}", patch, MERGE)

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create one object. Raises `Refused` with reason `AlreadyExists` when somebody else made it."""
        info = await self.kind(body["apiVersion"], body["kind"])
        return await self._write_once("POST", info.url(self._namespace_of(info, body)), info, body)

    async def replace(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace one object at the resourceVersion in its metadata. Raises `Stale` when that is not the newest."""
        info = await self.kind(body["apiVersion"], body["kind"])
        path = info.url(self._namespace_of(info, body), body["metadata"]["name"])
        return await self._write_once("PUT", path, info, body)

    async def _write_once(self, method: str, path: str, info: KindInfo, body: Mapping[str, Any]) -> dict[str, Any]:
        unsure = False

        async def attempt(seconds: float) -> dict[str, Any]:
            nonlocal unsure
            if unsure and (found := await self._standing(info, body)):
                return found
            try:
                return await self._wire.send(method, f"{path}?fieldManager={MANAGER}", body=body, seconds=seconds)
            except Again as again:
                unsure = unsure or again.unsure
                raise
            except (Stale, Refused) as error:
                # A refusal may come from our own first attempt; connections, too, repeat a PUT on their own.
                lost = isinstance(error, Stale) or (unsure and error.reason == "AlreadyExists")
                if lost and (found := await self._standing(info, body)):
                    return found
                raise

        return await patiently(attempt, self.patience)

    async def _standing(self, info: KindInfo, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The live object if it is what was sent, at another version than the one that was to be replaced."""
        metadata = body["metadata"]
        try:
            found = await self._wire.send("GET", info.url(self._namespace_of(info, body), metadata["name"]))
        except Refused as error:
            if error.status == 404:
                return None
            raise
        if found["metadata"]["resourceVersion"] == metadata.get("resourceVersion"):
            return None
        return found if holds(found, body) else None

    async def delete(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> bool:
        """Delete one object; False when it is gone already, or is another one than `uid`.

        Without a uid the one that stands now is looked up first, so that repeating never hits a successor.
        """
        info = await self.kind(api_version, kind)
        if not uid:
            found = await self.read(api_version, kind, namespace, name)
            if found is None:
                return False
            uid = found["metadata"]["uid"]
        body = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        path = info.url(namespace, name) + ("?dryRun=All" if dry_run else "")

        async def attempt(_: float) -> bool:
            try:
                await self.request("DELETE", path, body)
            except (Stale, Refused) as error:
                if isinstance(error, Refused) and error.status not in (404, 409):
                    raise
                # It is gone, or another one, or an admission webhook refuses with a status that sounds like it.
                found = await self.read(api_version, kind, namespace, name)
                if found is None or found["metadata"]["uid"] != uid:
                    return False
                if isinstance(error, Stale):
                    raise Again(error) from error
                raise
            if not dry_run:
                self.note_room(namespace)
            return True

        return await patiently(attempt, self.patience)

    def _namespace_of(self, info: KindInfo, body: Mapping[str, Any]) -> str:
        return str(body["metadata"].get("namespace") or self.namespace) if info.namespaced else ""

    # -- the wire

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        *,
        accept: str = "",
        decode: Callable[[bytes], Any] = orjson.loads,
        patience: float | None = None,
    ) -> dict[str, Any]:
        """Send one request that may be repeated without harm, until it is answered or patience ends."""
        patience = self.patience if patience is None else patience

        async def attempt(seconds: float) -> dict[str, Any]:
            limit = None if seconds == patience else seconds
            return await self._wire.send(
                method, path, body=body, content_type=content_type, accept=accept, seconds=limit, decode=decode
            )

        return await patiently(attempt, patience)


@lru_cache(maxsize=256)
def _apply_query(manager: str, dry_run: bool, force: bool) -> str:
    query = {"fieldManager": manager, "fieldValidation": "Strict"}
    return "?" + urlencode(query | ({"dryRun": "All"} if dry_run else {}) | ({"force": "true"} if force else {}))


__all__ = ["MANAGER", "Cluster", "Key", "KindInfo"]
