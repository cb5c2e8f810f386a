"""An Envoy whose thread stands still is seen, and ends by itself, so that another one takes its place."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from commonpool.envoy.bounds import STUCK_SECONDS

from proxy.backend import Backend
from proxy.conftest import Proxy, until

PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000


@contextmanager
def standing_still(thread: int) -> Iterator[Callable[[], bool]]:
    """One thread of another process does nothing more; yields whether it has gone. Linux: ptrace(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_SEIZE, thread, None, None):
        pytest.skip(
            f"this machine lets nobody stop a thread of another process (ptrace): {os.strerror(ctypes.get_errno())}"
        )
    libc.ptrace(PTRACE_INTERRUPT, thread, None, None)
    os.waitpid(thread, WALL)
    gone = False

    def ended() -> bool:
        nonlocal gone
        if not gone:
            # Who traces it has to see its end before its parent does.
            number, state = os.waitpid(thread, os.WNOHANG | WALL)
            gone = number != 0 and not os.WIFSTOPPED(state)
        return gone

    try:
        yield ended
    finally:
        until(ended, "the thread's end was seen")


def test_an_envoy_whose_main_thread_stands_still_serves_on_is_told_of_and_replaced(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    legacy = start_backend("legacy")
    proxy.serve("stuck", legacy.port)
    until(lambda: proxy.pool.status().troubles == [], "nothing is wrong that others did to it")
    before = proxy.component("envoy").pid
    with standing_still(before) as ended:
        assert [words for words, _ in proxy.pool.status().troubles] == ["Envoy runs and does not answer"]
        assert proxy.ask("stuck.test")[0] == 200, "its other threads know their routes"
        until(ended, "it gave itself up", 3 * STUCK_SECONDS)
    proxy.await_status("stuck.test", 200)
    assert proxy.component("envoy").pid != before
    until(lambda: proxy.pool.status().troubles == [], "and nothing is wrong any more")
