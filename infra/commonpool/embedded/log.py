"""What the components of an embedded pool say: one file each, under its folder."""

import contextlib
import json
import time
from collections.abc import Iterator

from commonpool.embedded.configuration import Layout
from commonpool.embedded.error import EmbeddedError, NotRunning

LONGEST_WORDS = 200
LAST_LINES = 15


def lines(layout: Layout, component: str, last: int = 100, follow: bool = False) -> Iterator[str]:
    """The last lines of a component's log, then what comes when `follow` is set. Raises `NotRunning` where there is none."""
    path = layout.logs / f"{component}.log"
    if not path.exists():
        known = ", ".join(sorted(log.stem for log in layout.logs.glob("*.log")))
        raise NotRunning(f"there is no log of {component!r}; there are {known or 'none'}")
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from (line.rstrip("\n") for line in file.readlines()[-last:])
        while follow:
            line = file.readline()
            if line:
                yield line.rstrip("\n")
            else:
                time.sleep(0.2)


def end(layout: Layout, component: str) -> str:
    """Its last lines."""
    try:
        return "\n".join(lines(layout, component, LAST_LINES))
    except EmbeddedError:
        return "(no log)"


def last_words(layout: Layout, component: str) -> str:
    """What its last line says, in one line."""
    with contextlib.suppress(EmbeddedError):
        said = [line.strip() for line in lines(layout, component, LAST_LINES) if line.strip()]
        return message(said[-1])[:LONGEST_WORDS] if said else "it said nothing"
    return "it said nothing"


def message(line: str) -> str:
    """What a line of a log says; of a structured one what is for people, which stands behind the time and the place."""
    try:
        said = json.loads(line)
        words = [said.get(key) for key in ("msg", "err", "error")]
    except (ValueError, AttributeError):
        return line
    return ": ".join(str(one) for one in words if one) or line
