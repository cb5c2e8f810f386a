"""The processes of an embedded pool, found by its folder: pids alone may be somebody else's."""

import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from commonpool.embedded import proxy, stand_in
from commonpool.embedded.configuration import COMPONENTS as CONTROL_PLANE
from commonpool.embedded.configuration import Layout

COMPONENTS = (*CONTROL_PLANE, *proxy.COMPONENTS)
SUPERVISOR = "commonpool.embedded"


@dataclass(frozen=True)
class Processes:
    """Those of this user that name the pool's folder on their command line."""

    layout: Layout

    def found(self) -> list[psutil.Process]:
        """All that run now."""
        found = []
        root = str(self.layout.root)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                own = process.uids().real == os.getuid() and any(root == word or f"{root}/" in word for word in words)
                ours = {SUPERVISOR, stand_in.MODULE, proxy.EXCHANGE_MODULE} & set(words)
                if own and (ours or Path(words[0]).name in ("kubernetes", *COMPONENTS)):
                    found.append(process)
        return found

    def supervisor(self) -> psutil.Process | None:
        """Who starts the others, and again when they end."""
        return supervisor(self.found())

    def stop(self, timeout: float = 60.0) -> bool:
        """End them in good order, by force after `timeout` seconds; False when nobody looked after them."""
        supervisor = self.supervisor()
        if supervisor is not None:
            supervisor.send_signal(signal.SIGTERM)
            try:
                supervisor.wait(timeout)
            except psutil.TimeoutExpired:
                supervisor.kill()
        self.end_leftovers()
        return supervisor is not None

    def end_leftovers(self) -> None:
        """End components whose supervisor is gone."""
        leftovers = self.found()
        for process in leftovers:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(leftovers, timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()


def supervisor(processes: Iterable[psutil.Process]) -> psutil.Process | None:
    """The supervisor among a pool's processes; one that ended meanwhile is none."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if SUPERVISOR in process.cmdline():
                return process
    return None
