"""One request of a program for one resource, decoded, and the Kubernetes object that it asks for. Pure."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime.proto import resource_pb2

from commonpool.engine.error import Unsupported
from commonpool.engine.properties import UNKNOWN, Path, decode, remove_path
from commonpool.engine.record import MANAGER, Identity, field_manager_of

AUTONAMED = "pulumi.com/autonamed"
PROVIDER_TYPE = "pulumi:providers:kubernetes"
_BLANK_OPTIONS = {
    "remote": "remote components (multi-language packages)",
    "replaceOnChanges": "the resource option replace_on_changes",
    "replace_with": "the resource option replace_with",
    "transforms": "transforms that run in the engine (use transformations)",
    "state_migrations": "state migrations",
}


@dataclass(frozen=True)
class Registration:
    """A custom resource as the program declares it; `values` are its inputs, `secrets` and `unknowns` paths in them."""

    urn: str
    type: str
    name: str
    parent: str
    unit: str
    values: dict[str, Any]
    secrets: frozenset[Path] = frozenset()
    unknowns: frozenset[Path] = frozenset()
    aliases: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    provider: str = ""
    protect: bool = False
    retain: bool = False
    delete_before_replace: bool = False
    deleted_with: str = ""
    import_id: str = ""
    ignore_changes: tuple[str, ...] = ()
    secret_outputs: frozenset[str] = frozenset()
    timeouts: Mapping[str, str] = field(default_factory=dict)

    @property
    def patch(self) -> bool:
        """Whether it is a `…Patch` resource: fields on an object that somebody else owns."""
        return self.type.rsplit(":", 1)[-1] == f"{self.values.get('kind', '')}Patch"


def make_urn(stack: str, project: str, parent: str, type_token: str, name: str) -> str:
    """The URN in Pulumi's form; the stack resource itself does not show in the chain of types."""
    chain = parent.split("::")[2] if parent else ""
    qualified = type_token if not chain or chain == "pulumi:pulumi:Stack" else f"{chain}${type_token}"
    return f"urn:pulumi:{stack}::{project}::{qualified}::{name}"


def parse(request: resource_pb2.RegisterResourceRequest, urn: str, unit: str) -> Registration:
    """Decode a request. Raises `Unsupported` for options that this engine does not claim."""
    for option, words in _BLANK_OPTIONS.items():
        if getattr(request, option):
            raise Unsupported(f"{request.type} {request.name!r} uses {words}, which the embedded engine does not do")
    if request.hooks.ByteSize():
        raise Unsupported(
            f"{request.type} {request.name!r} uses resource hooks, which the embedded engine does not run"
        )
    inputs = decode(request.object)
    return Registration(
        urn=urn,
        type=request.type,
        name=request.name,
        parent=request.parent,
        unit=unit,
        values=inputs.values,
        secrets=frozenset(inputs.secrets),
        unknowns=frozenset(inputs.unknowns),
        aliases=tuple(request.aliasURNs),
        dependencies=tuple(request.dependencies),
        provider=request.provider,
        protect=request.protect,
        retain=request.retainOnDelete,
        delete_before_replace=request.deleteBeforeReplace,
        deleted_with=request.deletedWith,
        import_id=request.importId,
        ignore_changes=tuple(request.ignoreChanges),
        secret_outputs=frozenset(request.additionalSecretOutputs),
        timeouts=_timeouts(request),
    )


def _timeouts(request: resource_pb2.RegisterResourceRequest) -> dict[str, str]:
    limits = request.customTimeouts
    return {verb: text for verb in ("create", "update", "delete") if (text := getattr(limits, verb))}


def body_of(
    registration: Registration, *, namespaced: bool, namespace: str, previous: Identity | None
) -> dict[str, Any]:
    """The object to apply: inputs without ignored fields, with a name and a namespace.

    Without a name in the metadata the object gets `<logical name>-<8 hex digits>`, Pulumi's auto-naming; it keeps the
    name of `previous`. During a preview the digits come from the URN, so that a preview shows the same name twice.
    """
    if "apiVersion" not in registration.values or "kind" not in registration.values:
        raise Unsupported(f"{registration.urn}: type {registration.type} is not a Kubernetes object")
    body: dict[str, Any] = _copy(registration.values)
    for expression in registration.ignore_changes:
        remove_path(body, expression)
    body.pop("status", None)
    metadata = body.setdefault("metadata", {})
    if metadata is UNKNOWN:
        raise Unsupported(f"{registration.urn}: metadata as a whole is an output; give name and namespace one by one")
    if namespaced and "namespace" not in metadata:
        metadata["namespace"] = previous.namespace if previous else namespace
    if not namespaced:
        metadata.pop("namespace", None)
    if "name" not in metadata:
        prefix = metadata.pop("generateName", f"{registration.name.lower()}-")
        metadata.setdefault("annotations", {})[AUTONAMED] = "true"
        keep = previous is not None and previous.name.startswith(prefix)
        metadata["name"] = previous.name if previous and keep else prefix + secrets.token_hex(4)
    return body


def autonamed(body: Mapping[str, Any]) -> bool:
    """Whether the engine chose the object's name, so that a replacement may stand beside the old one."""
    return bool(body["metadata"].get("annotations", {}).get(AUTONAMED) == "true")


def field_manager(registration: Registration) -> str:
    """Patches own their fields under a manager of their own, so that removing one gives back only its fields."""
    return field_manager_of(registration.urn) if registration.patch else MANAGER


def _copy(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
