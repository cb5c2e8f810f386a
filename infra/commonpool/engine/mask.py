"""Takes secret values out of texts: what programs print, what servers quote, what exceptions say."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "[secret]"
SHORTEST = 3  # shorter values would make every text unreadable, and hide nothing


class Masks:
    """The secret values that a run has met so far, plain, as JSON strings, and in base64."""

    def __init__(self) -> None:
        """Nothing is hidden yet."""
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def hide(self, value: Any) -> None:  # noqa: ANN401
        """Hide every text (and number) in a value."""
        for text in _texts(value):
            if len(text) >= SHORTEST and text not in self._values:
                self._values |= {text, json.dumps(text)[1:-1], base64.b64encode(text.encode()).decode()}
                self._pattern = None

    def apply(self, text: str) -> str:
        """The text without any of them."""
        if not self._values or not text:
            return text
        if self._pattern is None:
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        return self._pattern.sub(MASK, text)


def _texts(value: Any) -> Iterable[str]:  # noqa: ANN401
    if isinstance(value, str):
        yield value
        yield from _parsed(value)
        if len(lines := value.splitlines()) > 1:
            yield from (line for line in lines if len(line) > 2 * SHORTEST)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _parsed(text: str) -> Iterable[str]:
    """The texts inside of a JSON document: objects in configuration are one."""
    if text[:1] not in ("{", "["):
        return
    try:
        found = json.loads(text)
    except ValueError:
        return
    yield from _texts(_credentials(found) if _is_kubeconfig(found) else found)


def _is_kubeconfig(found: Any) -> bool:  # noqa: ANN401
    return isinstance(found, Mapping) and found.get("kind") == "Config" and isinstance(found.get("users"), list)


def _credentials(kubeconfig: Mapping[str, Any]) -> list[Any]:
    """What is secret in a kubeconfig: its names, addresses and its kind are in every other message."""
    users = [entry.get("user") for entry in kubeconfig["users"] if isinstance(entry, Mapping)]
    found = [value for user in users if isinstance(user, Mapping) for key, value in user.items() if key != "exec"]
    plugins = [user["exec"] for user in users if isinstance(user, Mapping) and isinstance(user.get("exec"), Mapping)]
    return [*found, *(plugin.get("env") for plugin in plugins)]
