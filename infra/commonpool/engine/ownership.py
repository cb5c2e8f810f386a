"""Which parts of a live object one manager owns, as `managedFields` tell, and property paths in objects. Pure.

A field that `ignore_changes` names is left as it stands: where we own it, what stands is sent again (an apply without it
would remove it); where somebody else took it over, it is not sent at all.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from commonpool.engine.properties import parse_path

Fields = Mapping[str, Any]


def fields_of(live: Mapping[str, Any], manager: str) -> Fields:
    """The `fieldsV1` that a manager owns by apply; empty when it owns nothing."""
    for entry in live["metadata"].get("managedFields", ()):
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return dict(entry.get("fieldsV1") or {})
    return {}


def keep_owned(body: dict[str, Any], live: Mapping[str, Any], owned: Fields, expression: str) -> None:
    """Put what we own at a property path of the live object into the body, as it stands."""
    _keep(body, live, owned, list(parse_path(expression)))


def differs(before: Mapping[str, Any], after: Mapping[str, Any], expression: str) -> bool:
    """Whether two objects differ at a property path; `*` stands for every child."""
    parts = list(parse_path(expression))
    return list(_values(before, parts)) != list(_values(after, parts))


def _values(node: Any, parts: list[str | int]) -> Iterator[Any]:  # noqa: ANN401
    if not parts:
        yield node
        return
    for key in _keys(node, parts[0]):
        yield from _values(node[key], parts[1:])


def _keys(node: Any, part: str | int) -> list[Any]:  # noqa: ANN401
    if part == "*":
        return list(node) if isinstance(node, Mapping) else list(range(len(node))) if isinstance(node, list) else []
    if isinstance(node, Mapping):
        return [part] if part in node else []
    return [part] if isinstance(node, list) and isinstance(part, int) and part < len(node) else []


def _keep(body: Any, live: Any, owned: Fields, parts: list[str | int]) -> None:  # noqa: ANN401
    head, tail = parts[0], parts[1:]
    for key in _keys(live, head):
        below = _below(owned, live, key)
        if below is None:
            continue
        if not tail:
            _put(body, key, _part(live[key], below))
        elif isinstance(body, dict):
            missing = key not in body
            _keep(body.setdefault(key, type(live[key])()), live[key], below, tail)
            if missing and not body[key]:
                del body[key]
        elif isinstance(body, list) and key < len(body):
            _keep(body[key], live[key], below, tail)


def _put(body: Any, key: Any, value: Any) -> None:  # noqa: ANN401
    if isinstance(body, dict) and isinstance(value, dict):
        body[key] = {**body.get(key, {}), **value}  # what says which object it is was never taken out
    elif isinstance(body, dict) or (isinstance(body, list) and key < len(body)):
        body[key] = value
    elif isinstance(body, list):
        body.append(value)


def _below(owned: Fields, node: Any, key: Any) -> Fields | None:  # noqa: ANN401
    """What is owned of a child; None for nothing. Below a field that is owned as a whole, everything is."""
    if not [name for name in owned if name != "."]:
        return {}
    if isinstance(node, Mapping):
        return owned.get(f"f:{key}")
    element = node[key]
    for name, below in owned.items():
        if name.startswith("k:") and isinstance(element, Mapping):
            labels = json.loads(name[2:])
            if all(element.get(label) == value for label, value in labels.items()):
                return dict(below)
        if name.startswith("v:") and json.loads(name[2:]) == element:
            return {}
    return None


def _part(value: Any, owned: Fields) -> Any:  # noqa: ANN401
    """What is owned of a value."""
    if not [name for name in owned if name != "."]:
        return value
    if isinstance(value, Mapping):
        return {key: _part(value[key], below) for key in value if (below := _below(owned, value, key)) is not None}
    return [
        _part(value[index], below) for index in range(len(value)) if (below := _below(owned, value, index)) is not None
    ]
