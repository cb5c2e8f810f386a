"""A stream of changes that survives what streams do not: ends, resets, versions that the server has forgotten."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple
from urllib.parse import urlencode

from commonpool.engine.error import Refused
from commonpool.engine.retry import Again, patiently
from commonpool.engine.wire import Wire

STREAM_SECONDS = 300  # the server ends a stream after this long, so that a dead one is noticed
SHORTEST_STREAM_SECONDS = 1.0  # one that ends sooner is something in between that hangs up: do not hammer it
_Place = tuple[str, str]


class Page(NamedTuple):
    """What a list gave, and at which resourceVersion."""

    items: list[dict[str, Any]]
    version: str


class Feed:
    """One watch of one collection."""

    def __init__(
        self,
        wire: Wire,
        path: str,
        filters: Mapping[str, str],
        relist: Callable[[], Awaitable[Page]],
        patience: float,
        version: str,
    ) -> None:
        """`version` is where to begin; empty begins with a list."""
        self._wire, self._relist, self._patience, self._version = wire, relist, patience, version
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(STREAM_SECONDS)}
        self._url = f"{path}?{urlencode(query | {key: value for key, value in filters.items() if value})}"
        self._known: dict[_Place, dict[str, Any]] = {}
        self._lost_since: float | None = None
        self._opened: float | None = None  # since when the present stream has been granted

    async def events(self) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """ADDED, MODIFIED and DELETED, without end."""
        while True:
            if not self._version:
                for event in await self._list():
                    yield event
            began, self._opened = time.monotonic(), None
            try:
                async with aclosing(self._stream()) as changes:
                    async for change in changes:
                        yield change
                if time.monotonic() < began + SHORTEST_STREAM_SECONDS:
                    await asyncio.sleep(SHORTEST_STREAM_SECONDS)
            except Again as again:
                await self._pause(again)
            except Refused as error:
                if error.status != 410:
                    raise
                self._version = ""

    async def _stream(self) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        path = f"{self._url}&resourceVersion={self._version}"
        async with aclosing(self._wire.stream(path, self._note_opened)) as events:
            async for event in events:
                kind, found = event["type"], event["object"]
                self._lost_since = None
                if kind == "ERROR":
                    status = int(found.get("code") or 500)
                    problem = Refused(str(found.get("message", "")), status=status, reason=str(found.get("reason", "")))
                    raise problem if status == 410 else Again(problem)
                self._version = found["metadata"]["resourceVersion"]
                if kind == "BOOKMARK":
                    continue
                self._remember(kind, found)
                yield kind, found

    def _note_opened(self) -> None:
        self._opened = time.monotonic()

    async def _list(self) -> list[tuple[str, dict[str, Any]]]:
        """Everything there is as ADDED or MODIFIED, and what is there no more as DELETED."""
        page = await self._relist()
        self._version = page.version
        standing = {_place(item): item for item in page.items}
        gone = [("DELETED", item) for place, item in self._known.items() if place not in standing]
        there = [("MODIFIED" if place in self._known else "ADDED", item) for place, item in standing.items()]
        self._known = {place: {"metadata": item["metadata"]} for place, item in standing.items()}
        return gone + there

    def _remember(self, kind: str, found: dict[str, Any]) -> None:
        if kind == "DELETED":
            self._known.pop(_place(found), None)
        else:
            self._known[_place(found)] = {"metadata": found["metadata"]}

    async def _pause(self, again: Again) -> None:
        """Wait for the server to come back. Raises the problem when that takes longer than patience."""
        now = time.monotonic()
        # All was well when it lived: what is in between cuts streams on which nothing happens for a while.
        if self._opened is not None and now > self._opened + SHORTEST_STREAM_SECONDS:
            self._lost_since = None
        self._lost_since = self._lost_since or now
        left = self._lost_since + self._patience - now

        async def probe(seconds: float) -> None:
            await self._wire.send("GET", "/version", seconds=seconds)

        if left <= 0:
            raise again.problem
        await asyncio.sleep(random.uniform(0, SHORTEST_STREAM_SECONDS))  # noqa: S311 (jitter, not a secret)
        await patiently(probe, left)


def _place(found: Mapping[str, Any]) -> _Place:
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]
