"""Who applied which fields of a live object, as the API server keeps it in `metadata.managedFields` (KEP-555). Pure.

Whoever changes a field of ours takes it over there, so a digest of our entry finds every drift from one metadata list,
without reading a single spec. Entries are most of such a list: they stay bytes, and nobody builds their thousands of fields.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import msgspec
import orjson


class ManagedFields(msgspec.Struct, rename="camel"):
    """One manager's entry; `fields_v1` is JSON as the server wrote it."""

    manager: str = ""
    operation: str = ""
    subresource: str = ""
    time: str | None = None
    fields_v1: msgspec.Raw = msgspec.Raw(b"null")


class Metadata(TypedDict, total=False):
    """What is looked at of an object's metadata in a list."""

    name: str
    namespace: str
    uid: str
    resourceVersion: str
    generation: int
    creationTimestamp: str | None
    deletionTimestamp: str
    labels: dict[str, str]
    annotations: dict[str, str]
    finalizers: list[str]
    ownerReferences: list[dict[str, Any]]
    managedFields: list[ManagedFields]


class _Item(TypedDict):
    metadata: Metadata


_Continuation = TypedDict("_Continuation", {"resourceVersion": str, "continue": str}, total=False)


class MetadataList(TypedDict, total=False):
    """A PartialObjectMetadataList (meta.k8s.io/v1)."""

    metadata: _Continuation
    items: list[_Item] | None


decode_list = msgspec.json.Decoder(MetadataList).decode
_decode_entries = msgspec.json.Decoder(list[ManagedFields]).decode


def applied_fields(live: Mapping[str, Any]) -> dict[str, str]:
    """Digests, 16 hex digits, by field manager, of what each has applied in a live object."""
    return applied_entries(_decode_entries(orjson.dumps(live["metadata"].get("managedFields", []))))


def applied_entries(entries: Iterable[ManagedFields]) -> dict[str, str]:
    """The same of the entries of a list's item."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.operation == "Apply" and not entry.subresource:
            content = b"[%b,%b]" % (orjson.dumps(entry.time), canonical(bytes(entry.fields_v1)))
            found.setdefault(entry.manager, hashlib.blake2b(content, digest_size=8).hexdigest())
    return found


def canonical(fields: bytes) -> bytes:
    """Fields with keys in order and nothing escaped that need not be.

    As the server writes them they are that, except where elements of lists are named by their keys or values, or by their
    place, or where something on the way has laid the text out anew.
    """
    if b"\\" in fields or b" " in fields or b'"i:' in fields:
        return orjson.dumps(orjson.loads(fields), option=orjson.OPT_SORT_KEYS)
    return fields
