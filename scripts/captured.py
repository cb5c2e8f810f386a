"""Puts what commands really print into Markdown files: `make captured` rewrites the blocks, `make check` compares them.

A block says `captured.run("commonpool …")` in a cog comment. Blocks marked `live` need the running embedded pool with the
sample estate; without `COMMONPOOL_LIVE=1` they keep what they hold.
"""

import os
import re
import subprocess
from pathlib import Path

import cog  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[1]


def run(command: str, *, live: bool = False, lines: int = 0) -> None:
    """Write the command and what it prints, both streams, as one fenced block; `lines` keeps only the first ones."""
    if live and not os.environ.get("COMMONPOOL_LIVE"):
        cog.out(cog.previous)
        return
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "100", "PATH": path},
    )
    text = re.sub(r"\.venv/bin/(commonpool)", r"\1", ended.stdout).rstrip()
    if lines:
        text = "\n".join([*text.splitlines()[:lines], "…"])
    cog.outl(f"```console\n$ {command}\n{text}\n```")
