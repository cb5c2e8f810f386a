"""Kubernetes manifests as text to objects, the way the API machinery reads them.

YAML 1.1 booleans and octals count as in kubectl, also as keys (`on: x` is `"true": x`); dates stay the texts that they
are. Lists are taken apart.
"""

import json
from collections.abc import Iterable
from typing import Any

import yaml

from commonpool.engine.error import Refused

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_LOADER):  # type: ignore[misc]
    """Without timestamps: JSON knows none, so they would be lost on the way."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _LOADER.yaml_implicit_resolvers.items()
}


def documents(text: str, origin: str = "the YAML given") -> list[Any]:
    """Every document that is not empty. Raises `Refused` with line and column for what is no YAML."""
    try:
        return [_json(document, origin) for document in yaml.load_all(text, Loader=_Loader) if document]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        raise Refused(f"{place}: no YAML: {getattr(error, 'problem', None) or error}") from None


def _json(value: Any, origin: str) -> Any:  # noqa: ANN401
    """The value as JSON has it, where keys are texts."""
    if isinstance(value, dict):
        return {_key(key, origin): _json(item, origin) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item, origin) for item in value]
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
