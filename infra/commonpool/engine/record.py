"""What the pool remembers of one resource, and the seal by which a live object proves that it is ours.

Membership follows the ApplySet conventions of KEP-3659 (label `applyset.kubernetes.io/part-of`). A label can be
smuggled onto a foreign object by anybody who may update it, so deletion also asks for the recorded UID or, where a
run died before it could record one, for a seal: a keyed digest over the object's identity that only the stack's key,
kept in a Secret of the pool, can produce.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import orjson

from commonpool.engine.managed_fields import applied_fields

PART_OF = "applyset.kubernetes.io/part-of"
RESOURCE = "commonpool.dev/resource"
SEAL = "commonpool.dev/seal"
MARKS = frozenset({PART_OF, RESOURCE, SEAL})
MANAGER = "commonpool"
HELPERS = frozenset({"commonpool-cut-over"})  # managers of ours that act between two runs; runs are told what they did
REPLACED = "#replaced-"  # in the URN of a record whose object another one has replaced


class Identity(NamedTuple):
    """Which object: API group (without version, so that a version change is no replacement), kind, namespace, name."""

    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Identity":
        """The identity of a Kubernetes object given as a mapping."""
        group, _, version = body["apiVersion"].rpartition("/")
        metadata = body["metadata"]
        return cls(group if version else "", body["kind"], metadata.get("namespace", ""), metadata["name"])

    def __str__(self) -> str:
        """`Deployment.apps water-flood/api`, the way kubectl names things."""
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


@dataclass(frozen=True)
class Record:
    """One resource as it was last applied.

    `digest` is keyed and covers the body that was sent; `fields` covers the part of `managedFields` that is ours, so a
    change of any field that we own changes it. `order` is the position of registration: deletion runs backwards.
    """

    urn: str
    api_version: str
    identity: Identity
    uid: str
    digest: str
    fields: str
    order: int
    provider: str = ""
    dependencies: tuple[str, ...] = ()
    protect: bool = False
    retain: bool = False
    patch: bool = False
    deleted_with: str = ""
    manager: str = ""  # the field manager, where a program names its own
    unready: bool = False  # applied, and its readiness was awaited in vain
    delete_timeout: str = ""
    transient: bool = False  # a finished Job that its `ttlSecondsAfterFinished` takes away

    @property
    def owner(self) -> str:
        """The field manager under which it was applied."""
        return self.manager or (field_manager_of(self.urn) if self.patch else MANAGER)

    @property
    def type(self) -> str:
        """The Pulumi type token, the last one of the URN's chain."""
        return self.urn.split("::")[2].rsplit("$", 1)[-1]

    def to_json(self) -> dict[str, Any]:
        """Plain values for the state."""
        shown = {name: value for name in _FIELDS if (value := getattr(self, name)) or name not in _OFTEN_BLANK}
        return shown | {"identity": list(self.identity)}


_OFTEN_BLANK = (
    "fields",
    "provider",
    "dependencies",
    "protect",
    "retain",
    "patch",
    "deleted_with",
    "manager",
    "unready",
    "delete_timeout",
    "transient",
)

_FIELDS = tuple(Record.__dataclass_fields__)

# The inverse of `to_json`, for the records of a bucket by unit.
decode_records = msgspec.json.Decoder(dict[str, list[Record]]).decode


def digest_body(key: bytes, body: Mapping[str, Any]) -> str:
    """A keyed digest of what is sent, 32 hex digits: keyed, because bodies of Secrets must not be guessable from it."""
    return hashlib.blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), key=key, digest_size=16).hexdigest()


def seal(key: bytes, identity: Identity, urn: str) -> str:
    """The proof that this stack applied an object of this identity."""
    message = "\x00".join((*identity, urn)).encode()
    return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")[:18]).decode()


def sealed(key: bytes, live: Mapping[str, Any]) -> bool:
    """Whether a live object carries the seal of this stack for its own identity."""
    annotations = live["metadata"].get("annotations", {})
    expected = seal(key, Identity.of(live), annotations.get(RESOURCE, ""))
    return hmac.compare_digest(annotations.get(SEAL, ""), expected)


def mark(body: dict[str, Any], *, key: bytes, part_of: str, urn: str) -> dict[str, Any]:
    """The body with membership label, resource name and seal; the given one is not changed."""
    metadata = body["metadata"]
    marked = {
        **metadata,
        "labels": {**metadata.get("labels", {}), PART_OF: part_of},
        "annotations": {**metadata.get("annotations", {}), RESOURCE: urn, SEAL: seal(key, Identity.of(body), urn)},
    }
    return {**body, "metadata": marked}


def unmarked(live: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object without our marks: labels of one become selectors of another, which nothing would match with them."""
    metadata = live.get("metadata")
    if not isinstance(metadata, Mapping):
        return live
    shown = dict(metadata)
    for field in ("labels", "annotations"):
        if isinstance(found := metadata.get(field), Mapping):
            shown[field] = {key: value for key, value in found.items() if key not in MARKS}
            if not shown[field]:
                del shown[field]
    return {**live, "metadata": shown}


def owned_fields(live: Mapping[str, Any], manager: str = MANAGER) -> str:
    """A digest of what we own in a live object, 16 hex digits; empty when we own nothing."""
    return applied_fields(live).get(manager, "")


def field_manager_of(urn: str) -> str:
    """The manager's name of one patch."""
    return f"{MANAGER}-patch-{hashlib.sha256(urn.encode()).hexdigest()[:12]}"


def applyset_id(name: str, namespace: str) -> str:
    """The ApplySet identifier of a Secret as parent (KEP-3659, version 1)."""
    name_hash = hashlib.sha256(f"{name}.{namespace}.Secret.".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(name_hash).decode().rstrip('=')}-v1"
