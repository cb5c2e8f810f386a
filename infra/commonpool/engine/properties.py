"""Pulumi's wire values to Python and back: secrets, unknowns, numbers.

The encoding is the public one of Pulumi's resource protocol (`google.protobuf.Struct` with signature keys).
Assets, archives and resource references of remote components have no meaning for Kubernetes objects and are refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

from commonpool.engine.error import Unsupported
from commonpool.engine.unknown import UNKNOWN, Unknown

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (a marker of the protocol, not a secret)
OUTPUT_VALUE = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
RESOURCE_REFERENCE = "5cf8f73096256a8f31e491e813e4eb8e"
UNKNOWN_SENTINEL = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Path = tuple[str | int, ...]


@dataclass
class Properties:
    """Decoded inputs: plain values, the paths that are secret, the paths that are not known yet."""

    values: dict[str, Any] = field(default_factory=dict)
    secrets: set[Path] = field(default_factory=set)
    unknowns: set[Path] = field(default_factory=set)


def decode(struct: struct_pb2.Struct) -> Properties:
    """Decode a message's properties; nulls in maps are dropped, as the API server would."""
    result = Properties()
    result.values = _decode_struct(struct, (), result)
    return result


def _decode_struct(struct: struct_pb2.Struct, path: Path, result: Properties) -> Any:  # noqa: ANN401
    fields = struct.fields
    if SIGNATURE in fields:
        return _decode_special(struct, path, result)
    values: dict[str, Any] = {}
    for key in fields:
        value = _decode_value(fields[key], (*path, key), result)
        if value is not None:
            values[key] = value
    return values


def _decode_value(value: struct_pb2.Value, path: Path, result: Properties) -> Any:  # noqa: ANN401
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        if text == UNKNOWN_SENTINEL:
            result.unknowns.add(path)
            return UNKNOWN
        return text
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return _decode_struct(value.struct_value, path, result)
    if kind == "list_value":
        return [_decode_value(item, (*path, index), result) for index, item in enumerate(value.list_value.values)]
    return None


def _decode_special(struct: struct_pb2.Struct, path: Path, result: Properties) -> Any:  # noqa: ANN401
    signature = struct.fields[SIGNATURE].string_value
    if signature == SECRET:
        result.secrets.add(path)
        return _decode_value(struct.fields["value"], path, result)
    if signature == OUTPUT_VALUE:
        if struct.fields["secret"].bool_value:
            result.secrets.add(path)
        if "value" not in struct.fields:
            result.unknowns.add(path)
            return UNKNOWN
        return _decode_value(struct.fields["value"], path, result)
    if signature == RESOURCE_REFERENCE:
        reference = struct.fields["id"] if "id" in struct.fields else struct.fields["urn"]
        return _decode_value(reference, path, result)
    error = Unsupported(f"assets and archives are not values of a Kubernetes object (at {show_path(path)})")
    error.next_step = "give what is in it as a text: open(path).read()"
    raise error


def secret_values(properties: Properties) -> list[Any]:
    """The values at the secret paths."""
    found = []
    for path in properties.secrets:
        node: Any = properties.values
        for part in path:
            if isinstance(node, dict):
                node = node.get(part)
            else:
                node = node[part] if isinstance(node, list) and isinstance(part, int) and part < len(node) else None
        found.append(node)
    return found


def secret_outputs(kind: object, named: Iterable[str]) -> frozenset[str]:
    """The outputs that are secret: those that are named, and what a Secret holds."""
    return frozenset(named) | (frozenset({"data", "stringData"}) if kind == "Secret" else frozenset())


def reference(urn: str, identifier: str) -> dict[str, Any]:
    """A resource as a value, which the SDK turns into the resource again."""
    return {SIGNATURE: RESOURCE_REFERENCE, "urn": urn, "id": identifier}


def encode(values: Mapping[str, Any], secrets: frozenset[str] = frozenset()) -> struct_pb2.Struct:
    """Encode outputs; the top-level keys named in `secrets` are wrapped as Pulumi secrets."""
    struct = struct_pb2.Struct()
    for key, value in values.items():
        _encode_into(struct.fields[key], value if key not in secrets else {SIGNATURE: SECRET, "value": value})
    return struct


def _encode_into(target: struct_pb2.Value, value: Any) -> None:  # noqa: ANN401
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, (int, float)):
        target.number_value = value
    elif isinstance(value, Mapping):
        fields = target.struct_value.fields
        target.struct_value.SetInParent()
        for key, item in value.items():
            _encode_into(fields[key], item)
    elif isinstance(value, (list, tuple)):
        target.list_value.SetInParent()
        for item in value:
            _encode_into(target.list_value.values.add(), item)
    elif isinstance(value, Unknown):
        target.string_value = UNKNOWN_SENTINEL
    else:
        target.null_value = struct_pb2.NULL_VALUE


def show_path(path: Path) -> str:
    """`spec.containers[0].image` for ("spec", "containers", 0, "image")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def remove_path(values: dict[str, Any], expression: str) -> None:
    """Take the field that an `ignore_changes` expression names out of the body; absent fields are no error.

    The syntax is Pulumi's property path: dots, `[0]`, `["key"]`, `*` for every child.
    """
    _remove(values, list(parse_path(expression)))


def parse_path(expression: str) -> Path:
    """Split a Pulumi property path. Raises `Unsupported` when brackets or quotes do not close."""
    parts: list[str | int] = []
    rest = expression
    while rest:
        if rest[0] == "[":
            inner, closed, rest = rest[1:].partition('"]' if rest[1:2] == '"' else "]")
            if not closed:
                raise Unsupported(f"property path {expression!r} has a bracket that does not close")
            parts.append(inner[1:] if inner[:1] == '"' else (int(inner) if inner.isdigit() else inner))
            rest = rest.removeprefix(".")
            continue
        stop = min((rest.find(mark) for mark in ".[" if mark in rest), default=len(rest))
        parts.append(rest[:stop])
        rest = rest[stop:].removeprefix(".")
    return tuple(parts)


def _remove(node: Any, parts: list[str | int]) -> None:  # noqa: ANN401
    head, tail = parts[0], parts[1:]
    keys: list[Any] = []
    if isinstance(node, dict):
        keys = list(node) if head == "*" else [head] if head in node else []
    elif isinstance(node, list):
        keys = list(range(len(node))) if head == "*" else [head] if isinstance(head, int) and head < len(node) else []
    for key in reversed(keys):
        if tail:
            _remove(node[key], tail)
        else:
            del node[key]
