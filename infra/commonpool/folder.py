"""Where this machine keeps what is Commonpool's: data that must stay, and a cache that may go."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$COMMONPOOL_CACHE`, else `$XDG_CACHE_HOME/commonpool`, else `~/.cache/commonpool`."""
    named = os.environ.get("COMMONPOOL_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "commonpool"


def data_folder() -> Path:
    """`$COMMONPOOL_DATA`, else `$XDG_DATA_HOME/commonpool`, else `~/.local/share/commonpool`."""
    named = os.environ.get("COMMONPOOL_DATA")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "commonpool"
