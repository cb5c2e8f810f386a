"""What an attacker tries: one request each, written out by every form of a verb that the API server knows."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]
STRATEGIC, MERGE = "application/strategic-merge-patch+json", "application/merge-patch+json"
JSON, APPLY = "application/json-patch+json", "application/apply-patch+yaml"


@dataclass(frozen=True)
class Attempt:
    """One request; `by_roles` says that roles alone stand against it, because no policy can."""

    case: str
    words: str
    method: str
    path: str
    body: Any = None
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    by_roles: bool = False
    nobody: bool = False  # not even an administrator may

    def __str__(self) -> str:
        return f"{self.case} {self.words}: {self.method} {self.path}"


def pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def changed(case: str, words: str, path: str, live: Body, patch: Body, **marks: Any) -> Iterator[Attempt]:
    """The same change as strategic, merge and JSON patch, as server-side apply, and as a whole update.

    `live` is the object that stands at `path`; `patch` is a merge patch for it.
    """
    yield Attempt(case, f"{words} (strategic)", "PATCH", path, patch, STRATEGIC, **marks)
    yield Attempt(case, f"{words} (merge)", "PATCH", path, patch, MERGE, **marks)
    yield Attempt(case, f"{words} (JSON)", "PATCH", path, list(_operations(live, patch, "")), JSON, **marks)
    identity = {word: live[word] for word in ("apiVersion", "kind")}
    metadata = {"name": live["metadata"]["name"], **patch.get("metadata", {})}
    if "namespace" in live["metadata"]:
        metadata["namespace"] = live["metadata"]["namespace"]
    applied = {**identity, **patch, "metadata": metadata}
    yield Attempt(case, f"{words} (apply)", "PATCH", f"{path}?fieldManager=x&force=true", applied, APPLY, **marks)
    yield Attempt(case, f"{words} (update)", "PUT", path, merged(live, patch), **marks)


def gone(case: str, words: str, path: str, **marks: Any) -> Iterator[Attempt]:
    """Deleted by name, and together with everything beside it."""
    yield Attempt(case, f"{words} (delete)", "DELETE", path, **marks)
    yield Attempt(case, f"{words} (deletecollection)", "DELETE", path.rsplit("/", 1)[0], **marks)


def merged(live: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    found = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def _operations(live: Any, patch: Body, place: str) -> Iterator[Body]:
    for key, value in patch.items():
        here = f"{place}/{pointer(key)}"
        if value is None:
            yield {"op": "remove", "path": here}
        elif isinstance(value, dict) and isinstance(live, dict) and isinstance(live.get(key), dict):
            yield from _operations(live[key], value, here)
        else:
            yield {"op": "add", "path": here, "value": value}
