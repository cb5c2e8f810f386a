"""Kubernetes manifests as text to objects, the way the API machinery reads them.

YAML 1.1 booleans and octals count as in kubectl, also as keys (`on: x` is `"true": x`); dates, times of the day and `=`
stay the texts that they are. Lists are taken apart.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import yaml

from commonpool.engine.error import Refused

_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[1-9][0-9_]*|0)$")
# An exponent of two digits: a longer one is rather a piece of a digest, and for Go often no number either.
_FLOAT = re.compile(
    r"([-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]{1,2})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_as_go(loader: Any) -> None:  # noqa: ANN401
    """Let a loader take for texts what JSON does not know (timestamps) or Go's YAML does not (`=`, numbers of base 60)."""
    others = tuple(f":{tag}" for tag in ("timestamp", "value", "int", "float"))
    loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(others)]
        for first, resolvers in loader.yaml_implicit_resolvers.items()
    }
    loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
    loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


class _Loader(_LOADER):  # type: ignore[misc]
    """Of manifests."""


read_as_go(_Loader)


def documents(text: str, origin: str = "the YAML given") -> list[Any]:
    """Every document that is not empty. Raises `Refused` with line and column for what is no YAML."""
    try:
        return [_json(document, origin) for document in yaml.load_all(text, Loader=_Loader) if document]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        raise Refused(f"{place}: no YAML: {getattr(error, 'problem', None) or error}") from None


def declared(found: Iterable[Any]) -> list[Any]:
    """The objects without `status`, which tools that write manifests leave in them and nobody declares.

    A document that says neither apiVersion nor kind is none.
    """
    return [
        {key: value for key, value in one.items() if key != "status"} if isinstance(one, dict) else one
        for one in found
        if not isinstance(one, dict) or (one.get("apiVersion") and one.get("kind"))
    ]


def _json(value: Any, origin: str) -> Any:  # noqa: ANN401
    """The value as JSON has it, where keys are texts; nulls in maps are dropped, as the API server would."""
    if isinstance(value, dict):
        return {_key(key, origin): _json(item, origin) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_json(item, origin) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise Refused(f"{origin}: JSON has no value of type {type(value).__name__}: {str(value)[:40]}")


def _key(key: Any, origin: str) -> str:  # noqa: ANN401
    if isinstance(key, str):
        return key
    if isinstance(key, (int, float)):
        return json.dumps(key)
    raise Refused(f"{origin}: {'null' if key is None else type(key).__name__} cannot be a key")


def objects(found: Iterable[Any], origin: str) -> list[dict[str, Any]]:
    """Kubernetes objects with apiVersion, kind and name, lists taken apart. Raises `Refused` for anything else."""
    result: list[dict[str, Any]] = []
    for document in found:
        if not isinstance(document, dict):
            raise Refused(f"{origin}: holds {type(document).__name__} where a Kubernetes object should be")
        if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
            result += objects(document["items"], origin)
            continue
        missing = [key for key in ("apiVersion", "kind") if not document.get(key)]
        if not (document.get("metadata") or {}).get("name"):
            missing.append("metadata.name")
        if missing:
            kind = document.get("kind") or "an object"
            raise Refused(f"{origin}: {kind} without {', '.join(missing)}")
        result.append(document)
    return result
