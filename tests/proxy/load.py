"""Open-loop load: requests start when they are due, whether or not earlier ones were answered.

Up to a bound: a machine that is busy with other things sends fewer instead of piling them up until all of them time out.
"""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

IN_FLIGHT = 128


@dataclass
class Outcome:
    """What came of one load."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    answered_by: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Not answered at all, or with a status of 500 and above."""
        return sum(self.errors.values()) + sum(count for status, count in self.statuses.items() if status >= 500)

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, statuses {dict(self.statuses)}, errors {dict(self.errors)}, by {dict(self.answered_by)}"
        )


class Load:
    """`with Load(url, host, rate=200) as load: …` sends from a thread of its own until the block ends; then `load.outcome`."""

    def __init__(
        self, url: str, host: str, *, rate: float, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> None:
        self.url, self.rate, self.method = url, rate, method
        self.headers = {"Host": host, **(headers or {})}
        self.outcome = Outcome()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send_all()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def await_answers(self, count: int, seconds: float = 60.0) -> None:
        """Wait until this many more requests were answered, whatever the answer."""
        wanted = self._done() + count
        deadline = time.monotonic() + seconds
        while self._done() < wanted:
            assert time.monotonic() < deadline, f"too few answers: {self.outcome}"
            time.sleep(0.01)

    @property
    def under_way(self) -> int:
        """How many requests were sent and not answered yet."""
        return self.outcome.sent - self._done()

    def _done(self) -> int:
        return sum(self.outcome.statuses.values()) + sum(self.outcome.errors.values())

    async def _send_all(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            free = asyncio.Semaphore(IN_FLIGHT)
            began = time.monotonic()
            while not self._ending.is_set():
                due = began + self.outcome.sent / self.rate
                if (pause := due - time.monotonic()) > 0:
                    await asyncio.sleep(pause)
                await free.acquire()
                self.outcome.sent += 1
                tasks.create_task(self._send(session)).add_done_callback(lambda task: free.release())

    async def _send(self, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        try:
            async with session.request(self.method, self.url, headers=self.headers) as answer:
                body = await answer.read()
                self.outcome.statuses[answer.status] += 1
                if answer.status < 500 and answer.content_type == "application/json" and b'"name"' in body:
                    self.outcome.answered_by[(await answer.json()).get("name", "")] += 1
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.outcome.errors[type(error).__name__] += 1
        self.outcome.seconds.append(time.monotonic() - began)
