"""A command at a real terminal: what it shows, and what a person types."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds until a screen that does not come is a failure


class Terminal:
    """One command with a terminal of its own, 100 columns wide unless `COLUMNS` says otherwise."""

    def __init__(self, *words: str, **environment: str) -> None:
        """Start it."""
        self.shown = ""
        self._own, theirs = pty.openpty()
        command = [sys.executable, "-m", "commonpool.cli", *words]
        settings = os.environ | {"COLUMNS": "100", "TERM": "xterm-256color"} | environment
        settings.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=settings, start_new_session=True
        )
        os.close(theirs)

    def until(self, text: str) -> str:
        """Read until the text stands on the screen; returns everything shown so far, without escapes."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.plain:
            assert time.monotonic() < deadline, f"{text!r} never came:\n{self.plain}"
            assert self._read() or text in self.plain, f"it ended without {text!r}:\n{self.plain}"
        return self.plain

    @property
    def plain(self) -> str:
        """What was shown, without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown).replace("\r\n", "\n")

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        os.write(self._own, line.encode() + b"\n")

    def end_input(self) -> None:
        """Ctrl-D at the beginning of a line."""
        os.write(self._own, b"\x04")

    def interrupt(self) -> None:
        """What Ctrl-C sends."""
        self.process.send_signal(signal.SIGINT)

    def interrupt_question(self) -> None:
        """Ctrl-C until it ends: readline may miss one that comes while it is still writing its question."""
        for _ in range(int(PATIENCE)):
            self.interrupt()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
                return

    def ended(self) -> int:
        """Read to the end; returns the exit code."""
        while self._read():
            pass
        os.close(self._own)
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._own], [], [], PATIENCE)
        assert ready, f"nothing more came:\n{self.plain}"
        try:
            content = os.read(self._own, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.shown += content.decode(errors="replace")
        return bool(content)
