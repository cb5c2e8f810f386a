"""Waiting for what another resource of the same run brings: a namespace, a kind, a role to bind, a priority class.

Programs, and manifests above all, do not always say what depends on what. As long as other resources are being applied,
one of them may bring what is missing; when all that is left is waiting, nothing will.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from commonpool.engine.error import Refused, UnknownKind
from commonpool.engine.record import Identity

LONGEST_SECONDS = 60.0
GRACE_SECONDS = 3.0  # so long nothing else may be under way before it counts as missing: programs register one by one
PAUSE_SECONDS = 0.2
_ROLE = re.compile(r'(cluster)?role(binding)?s?\.rbac\.authorization\.k8s\.io "[^"]+" not found')
_PRIORITY = re.compile(r"no PriorityClass with name (?P<name>\S+) was found")
_RUNTIME = re.compile(r'RuntimeClass "(?P<name>[^"]+)" not found')
_ACCOUNT = re.compile(r"error looking up service account (?P<namespace>[^/\s]+)/(?P<name>[^:\s]+):")

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
    """Whether something that it stands in or refers to is missing, rather than the object itself wrong."""
    words = str(error)
    if error.status == 404:
        return isinstance(error, UnknownKind) or words.startswith("namespaces ") or bool(_ROLE.match(words))
    if error.status == 403:
        return any(pattern.search(words) for pattern in (_PRIORITY, _RUNTIME))
    return isinstance(error, UnknownKind)


def missing_reference(error: Refused, body: Mapping[str, Any]) -> Identity | None:
    """The role that a binding grants, or what a pod runs as and by, when it is that which the server does not find.

    It looks for the role only where who writes the binding is no administrator, and then calls it by the binding's kind.
    """
    if error.status == 404 and _ROLE.match(str(error)) and isinstance(role := body.get("roleRef"), Mapping):
        kind = str(role.get("kind"))
        namespace = "" if kind == "ClusterRole" else body["metadata"].get("namespace", "")
        return Identity("rbac.authorization.k8s.io", kind, namespace, str(role.get("name")))
    if error.status != 403:
        return None
    if priority := _PRIORITY.search(str(error)):
        return Identity("scheduling.k8s.io", "PriorityClass", "", priority["name"])
    if runtime := _RUNTIME.search(str(error)):
        return Identity("node.k8s.io", "RuntimeClass", "", runtime["name"])
    if account := _ACCOUNT.search(str(error)):
        return Identity("", "ServiceAccount", account["namespace"], account["name"])
    return None
