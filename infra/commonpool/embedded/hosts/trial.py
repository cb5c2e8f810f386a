"""The test hosts of one embedded pool, seen from outside: started in the background, asked how far they are, stopped.

They play the machines that the inventory calls `commonpool_trial`, with addresses in `NETWORK`. A keeper process of their own makes them, brings
them in as a person would (survey, then onboard, over SSH) and stays while they run; what it is at stands in a file.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from commonpool.embedded.configuration import Layout
from commonpool.embedded.hosts.lan import clear

if TYPE_CHECKING:
    from commonpool.model import Estate, Machine

NETWORK = "10.78.0.0/24"
KEEPER = "commonpool.embedded.hosts"
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class State:
    """How far they are: `word` is absent, working, joined or failed; `since` in seconds of the epoch."""

    word: str = "absent"
    words: str = ""
    machines: tuple[str, ...] = ()
    since: float = 0.0


def played(estate: "Estate") -> "list[Machine]":
    """The machines that test hosts play."""
    return [machine for machine in estate.machines if machine.facts.role == "node" and machine.facts.trial]


class Trial:
    """The hosts of one pool."""

    def __init__(self, layout: Layout) -> None:
        """Nothing is started or read."""
        self.folder = layout.root / "hosts"

    @property
    def log(self) -> Path:
        """What the keeper said."""
        return self.folder / "keeper.log"

    def state(self) -> State:
        """How far they are; a keeper that died without a word has failed."""
        try:
            kept = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
            found = State(kept["word"], kept["words"], tuple(kept["machines"]), kept["since"])
        except (OSError, ValueError, KeyError):
            return State()
        if self.keeper() is None and found.word in ("working", "joined"):
            ended = "the machine was started anew" if psutil.boot_time() > found.since else "their keeper ended"
            return State("failed", f"{ended} while: {found.words}", found.machines, found.since)
        return found

    def note(self, word: str, words: str, machines: Sequence[str]) -> None:
        """For the keeper: what it is at. Machines are brought in side by side, so several threads note at once."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, scratch = tempfile.mkstemp(dir=self.folder, prefix="state-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(State(word, words, tuple(machines), time.time())), file)
        os.replace(scratch, self.folder / "state.json")

    def keeper(self) -> psutil.Process | None:
        """The process that keeps them, known by its command line."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if KEEPER in words and str(self.folder) in words and process.status() != psutil.STATUS_ZOMBIE:
                    return process
        return None

    def start(self, pool: str, estate: "Estate") -> None:
        """Start the keeper unless it runs."""
        if self.keeper() is not None:
            return
        self.note("working", "starting", [machine.name for machine in played(estate)])
        with self.log.open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", KEEPER, str(self.folder), pool, str(estate.root.resolve())],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/",
                env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
            )  # fmt: skip

    def stop(self) -> bool:
        """Shut the hosts down; their disks stay. False when nothing ran."""
        keeper = self.keeper()
        if keeper is not None:
            with contextlib.suppress(psutil.Error):
                keeper.terminate()
                keeper.wait(STOP_SECONDS)
            with contextlib.suppress(psutil.Error):
                keeper.kill()
        if (self.folder / "hosts").is_dir():
            clear(self.folder, keep=True)  # a keeper that was killed left everything as it stood
        return keeper is not None

    def remove(self) -> None:
        """Stop them and delete their disks."""
        self.stop()
        if self.folder.is_dir():
            clear(self.folder)
