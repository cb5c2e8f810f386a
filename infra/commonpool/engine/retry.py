"""When a request that failed is sent again: exponential back-off with full jitter, bounded in total time.

What it refuses: to decide whether repeating is harmless. Whoever raises `Again` has decided that.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from commonpool.engine.error import EngineError

PATIENCE_SECONDS = 60.0  # an API server that restarts is back by then; longer outages are for a person
BROKEN_SECONDS = 25.0  # it answers, but with errors of its own: a person should hear of that within half a minute
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

T = TypeVar("T")


class Again(Exception):
    """An attempt failed in a way that may pass. Never leaves the engine's client.

    `wait` is what the server asked for, in seconds. `unsure` says that the server may have done what it was asked to.
    `broken` says that the server answers but cannot do its work, or takes requests and stays silent.
    """

    def __init__(self, problem: EngineError, *, wait: float = 0.0, unsure: bool = False, broken: bool = False) -> None:
        """`problem` is what is raised when patience ends."""
        super().__init__(str(problem))
        self.problem, self.wait, self.unsure, self.broken = problem, wait, unsure, broken


async def patiently(attempt: Callable[[float], Awaitable[T]], patience: float) -> T:
    """Call `attempt(seconds left)` until it raises no `Again`, or patience ends; then its problem is raised."""
    start = time.monotonic()
    try:
        return await attempt(patience)  # nearly always all there is; the machinery below costs CPU
    except Again as again:
        return await _repeat(attempt, patience, start, again)


async def _repeat(attempt: Callable[[float], Awaitable[T]], patience: float, start: float, first: Again) -> T:
    import tenacity

    jitter = tenacity.wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS)
    latest, counted, broken_since = first, False, start

    def pause(state: tenacity.RetryCallState) -> float:
        return max(latest.wait, jitter(state))

    def exhausted(state: tenacity.RetryCallState) -> bool:
        next_try = time.monotonic() + state.upcoming_sleep
        return next_try > start + patience or (latest.broken and next_try > broken_since + BROKEN_SECONDS)

    async def again() -> T:
        nonlocal latest, counted, broken_since
        if not counted:
            counted = True
            raise first  # the attempt that failed before we got here counts as the first one
        began = time.monotonic()
        try:
            return await attempt(max(start + patience - began, 1.0))
        except Again as failure:
            if failure.broken and not latest.broken:
                broken_since = began
            latest = failure
            raise

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(Again), wait=pause, stop=exhausted, sleep=asyncio.sleep, reraise=True
    )
    try:
        return await retrying(again)
    except Again as last:
        raise last.problem from last.problem.__cause__
