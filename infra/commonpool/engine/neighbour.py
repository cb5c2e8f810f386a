"""Waiting for what another resource of the same run brings: a namespace, or the kind of a custom resource.

Programs, and manifests above all, do not always say what depends on what. As long as other resources are being applied,
one of them may bring what is missing; when all that is left is waiting, nothing will.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from commonpool.engine.error import Refused, UnknownKind

LONGEST_SECONDS = 60.0
GRACE_SECONDS = 3.0  # so long nothing else may be under way before it counts as missing: programs register one by one
PAUSE_SECONDS = 0.2

T = TypeVar("T")


@dataclass
class Neighbours:
    """How many resources of a run are being applied, and how many of them wait for others."""

    busy: int = 0
    waiting: int = 0

    async def patiently(self, work: Callable[[], Awaitable[T]], stopped: Callable[[], bool]) -> T:
        """The result of `work`, tried again while something that it needs may still come."""
        self.busy += 1
        try:
            return await work()
        except Refused as error:
            if not is_missing_neighbour(error) or stopped():
                raise
            return await self._again(work, stopped, error)
        finally:
            self.busy -= 1

    async def _again(self, work: Callable[[], Awaitable[T]], stopped: Callable[[], bool], first: Refused) -> T:
        loop = asyncio.get_running_loop()
        last = first
        started = alone_since = loop.time()
        self.waiting += 1
        try:
            while loop.time() < min(started + LONGEST_SECONDS, alone_since + GRACE_SECONDS) and not stopped():
                await asyncio.sleep(PAUSE_SECONDS)
                if self.busy > self.waiting:
                    alone_since = loop.time()
                try:
                    return await work()
                except Refused as error:
                    if not is_missing_neighbour(error):
                        raise
                    last = error
        finally:
            self.waiting -= 1
        raise last


def is_missing_neighbour(error: Refused) -> bool:
    """Whether the namespace or the kind is missing, rather than the object itself wrong."""
    return isinstance(error, UnknownKind) or (error.status == 404 and str(error).startswith("namespaces "))
