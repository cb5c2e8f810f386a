"""Taking fields out of JSON. Pure.

What stays is what the agreement lists, by dotted paths; lists are passed through, objects and lists stay where they were, and
numbers keep their spelling. Everything that is not listed is gone, also what nobody thought of when the agreement was made.
"""

import json
import re
import secrets
from collections.abc import Iterable
from typing import Any

_NOTHING = object()  # of a value that may not stay
Tree = dict[str, Any]  # name to the tree below it; an empty tree is a whole value


class NotFilterable(Exception):
    """This answer cannot be read as JSON, so no field can be taken out of it."""


def tree(items: Iterable[str]) -> Tree:
    """The listed paths as a tree; a path that is listed whole makes longer ones below it meaningless."""
    found: Tree = {}
    for item in sorted(items):
        place, *rest = item.split(".")
        level = found
        whole = place in level and not level[place]
        for name in rest:
            if whole:
                break
            level = level.setdefault(place, {})
            place, whole = name, name in level and not level[name]
        if not whole:
            level[place] = {}
    return found


def filtered(content: bytes, allowed: Tree) -> tuple[bytes, int]:
    """The JSON text with the allowed fields only, and how many were taken out. Raises `NotFilterable`."""
    mark = secrets.token_hex(8)
    numbers: list[str] = []

    def kept(text: str) -> str:
        numbers.append(text)
        return f"{mark}:{len(numbers) - 1}:"

    def refuse(text: str) -> Any:  # noqa: ANN401
        raise ValueError(f"{text} is no JSON")

    try:
        value = json.loads(content.decode("utf-8"), parse_float=kept, parse_constant=refuse)
        left, gone = _left(value, allowed)
        if left is _NOTHING:
            raise ValueError("it is a single value, and the agreement lists fields")
        text = json.dumps(left, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        encoded = re.sub(f'"{mark}:([0-9]+):"', lambda match: numbers[int(match[1])], text).encode()
    except (ValueError, RecursionError) as error:
        raise NotFilterable(str(error)) from error
    return encoded, gone


def _left(value: Any, allowed: Tree) -> tuple[Any, int]:  # noqa: ANN401
    if not allowed:
        return value, 0
    if isinstance(value, dict):
        kept, gone = {}, 0
        for name, one in value.items():
            if name not in allowed:
                gone += 1
                continue
            left, more = _left(one, allowed[name])
            gone += more
            if left is not _NOTHING:
                kept[name] = left
        return kept, gone
    if isinstance(value, list):
        pairs = [_left(one, allowed) for one in value]
        return [left for left, _ in pairs if left is not _NOTHING], sum(more for _, more in pairs)
    return (value, 0) if value is None else (_NOTHING, 1)  # a value where the agreement speaks of fields below it
