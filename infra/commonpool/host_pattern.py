"""Names of hosts as inventories write them: Ansible's ranges. Without the model, so that completion can read them too."""

import re

_RANGE = re.compile(r"\[([0-9]{1,9}):([0-9]{1,9})\]")
_MOST_IN_RANGE = 1000


def expand(pattern: str) -> list[str]:
    """`rs-[01:03]` is rs-01, rs-02, rs-03; a name without a range is itself."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last = match.groups()
    width = len(first) if first.startswith("0") else 0
    numbers = range(int(first), min(int(last), int(first) + _MOST_IN_RANGE) + 1)
    return [f"{pattern[: match.start()]}{number:0{width}d}{pattern[match.end() :]}" for number in numbers]
