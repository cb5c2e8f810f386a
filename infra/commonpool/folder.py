"""Where this machine keeps what is Commonpool's: data that must stay, and a cache that may go."""

import os
from pathlib import Path

VARIABLES = {  # of the environment, those that stand for no option
    "COMMONPOOL_CACHE": "Folder of built binaries, and of what was read before; default: `$XDG_CACHE_HOME/commonpool`, else `~/.cache/commonpool`.",
    "COMMONPOOL_DATA": "Folder of embedded pools and surveys; default: `$XDG_DATA_HOME/commonpool`, else `~/.local/share/commonpool`.",
    "COMMONPOOL_JOURNAL": "Folder of the journal of evidence; default: the embedded pool's, else one for each cluster in the data folder.",
    "COMMONPOOL_TOKEN_FILE": "File with the caller's token for `commonpool drop`, for instance the one mounted into a Pod.",
    "COMMONPOOL_TRACEBACK": "With 1: print the traceback of an unexpected error instead of keeping it in a file.",
    "HTTPS_PROXY": "Proxy on the way to a cluster whose kubeconfig names none, as with kubectl; never for this machine's own pool.",
    "KUBECONFIG": "Where `--kubeconfig` names none and programs ask for the default cluster, as with kubectl.",
    "NO_PROXY": "Hosts, domains and networks that are reached without `HTTPS_PROXY`.",
    "NO_COLOR": "Set to anything: no colour, as on no-color.org.",
}


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
