"""Group commit for programs that do many things at once: what waits together is sealed and synced together."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from commonpool.journal.error import JournalUnavailable
from commonpool.journal.journal import Journal
from commonpool.journal.record import Entry, Record

GRACE_SECONDS = 2.0  # how long an act waits for its evidence before it is refused
MOST = 512  # records of one commit: bounds what one seal holds
_Waiting = tuple[Sequence[Entry], "asyncio.Future[list[Record]]", float]


class Recorder:
    """Records for coroutines; `record` returns once they are durable."""

    def __init__(self, journal: Journal, grace: float = GRACE_SECONDS) -> None:
        """`grace` in seconds: what cannot be written by then is refused."""
        self.journal, self.grace = journal, grace
        self._waiting: list[_Waiting] = []
        self._committer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "journal")

    async def __aenter__(self) -> Self:
        """Closes at the end."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What waits is still written."""
        if self._committer is not None:
            await self._committer
        self._thread.shutdown()

    async def record(self, *entries: Entry) -> list[Record]:
        """Make records durable. Raises `JournalUnavailable` when that fails for longer than the grace."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Record]] = loop.create_future()
        self._waiting.append((entries, done, time.monotonic() + self.grace))
        if self._committer is None or self._committer.done():
            self._committer = loop.create_task(self._commit())
        return await done

    async def _commit(self) -> None:
        """Commit what waits until nothing does; whoever comes meanwhile is in the next commit."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._taken()
            entries = [entry for part, _, _ in group for entry in part]
            try:
                found = await loop.run_in_executor(self._thread, self.journal.append, entries)
            except JournalUnavailable as error:
                await self._refused(group, error)
                continue
            except Exception as error:
                for _, done, _ in group:
                    _settle(done, error)
                continue
            place = 0
            for part, done, _ in group:
                _settle(done, found[place : place + len(part)])
                place += len(part)

    def _taken(self) -> list[_Waiting]:
        count = size = 0
        for part, _, _ in self._waiting:
            if count and size + len(part) > MOST:
                break
            count, size = count + 1, size + len(part)
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _refused(self, group: list[_Waiting], error: JournalUnavailable) -> None:
        """Those whose grace is over are told; the others go to the front again."""
        now = time.monotonic()
        self._waiting = [one for one in group if one[2] > now] + self._waiting
        for _, done, deadline in group:
            if deadline <= now:
                _settle(done, error)
        if self._waiting:
            await asyncio.sleep(0.05)


def _settle(done: "asyncio.Future[list[Record]]", outcome: list[Record] | Exception) -> None:
    if done.done():  # whoever waited went away; the record stands all the same
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
