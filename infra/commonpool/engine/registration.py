"""One request of a program for one resource, decoded, and the Kubernetes object that it asks for. Pure."""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime.proto import resource_pb2

from commonpool.engine.error import Refused, Unsupported
from commonpool.engine.plugin import not_done
from commonpool.engine.properties import Path, decode, encode, parse_path, remove_path
from commonpool.engine.record import MANAGER, Identity, field_manager_of
from commonpool.engine.unknown import UNKNOWN

AUTONAMED = "pulumi.com/autonamed"
FIELD_MANAGER = "pulumi.com/patchFieldManager"
FORCE = "pulumi.com/patchForce"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
# What an object that was read has in its metadata, and nobody declares.
_SERVERS = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
# The SDKs have names without dashes for these fields of a schema.
_DASHED = {
    f"x_kubernetes_{name}": f"x-kubernetes-{name.replace('_', '-')}"
    for name in (
        "embedded_resource",
        "int_or_string",
        "list_map_keys",
        "list_type",
        "map_type",
        "preserve_unknown_fields",
        "validations",
    )
}
PROVIDER_TYPE = "pulumi:providers:kubernetes"
_BLANK_OPTIONS = {
    "remote": "a remote component, which needs a Pulumi plugin and",
    "replace_with": "the resource option replace_with",
    "state_migrations": "state migrations",
}
_MESSAGE_OPTIONS = {"hooks": "resource hooks", "replacement_trigger": "the resource option replacement_trigger"}


@dataclass(frozen=True)
class Registration:
    """A custom resource as the program declares it; `values` are its inputs, `secrets`, `unknowns` and `hidden` paths in them.

    What is hidden is no secret, but its differences are not shown.
    """

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
    replace_on_changes: tuple[str, ...] = ()
    secret_outputs: frozenset[str] = frozenset()
    timeouts: Mapping[str, str] = field(default_factory=dict)
    hidden: frozenset[Path] = frozenset()

    def annotation(self, name: str) -> str:
        """An annotation that the program sets; empty without it, or while it is not known."""
        metadata = self.values.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        value = annotations.get(name, "") if isinstance(annotations, dict) else ""
        return value if isinstance(value, str) else ""

    @property
    def ignored(self) -> tuple[str, ...]:
        """The paths of `ignore_changes` in the object that is applied."""
        return tuple(map(_applied_path, self.ignore_changes))

    @property
    def replacing(self) -> tuple[str, ...]:
        """The paths of `replace_on_changes` in the object that is applied."""
        return tuple(map(_applied_path, self.replace_on_changes))

    @property
    def patch(self) -> bool:
        """Whether it is a `…Patch` resource: fields on an object that somebody else owns."""
        return self.type.rsplit(":", 1)[-1] == f"{self.values.get('kind', '')}Patch"


def _applied_path(expression: str) -> str:
    return re.sub(r"^stringData\b", "data", expression)


def make_urn(stack: str, project: str, parent: str, type_token: str, name: str) -> str:
    """The URN in Pulumi's form; the stack resource itself does not show in the chain of types."""
    chain = parent.split("::")[2] if parent else ""
    qualified = type_token if not chain or chain == "pulumi:pulumi:Stack" else f"{chain}${type_token}"
    return f"urn:pulumi:{stack}::{project}::{qualified}::{name}"


def inherited_aliases(request: Any, of_parent: Iterable[str]) -> tuple[str, ...]:  # noqa: ANN401
    """The aliases of a resource: its own, and those that follow from the aliases of its parent.

    As in Pulumi, a child whose name begins with its parent's name had it begin with the parent's former name.
    """
    own = tuple(request.aliasURNs)
    tokens = [
        (request.type, request.name),
        *((urn.split("::")[2].rsplit("$", 1)[-1], urn.split("::")[3]) for urn in own),
    ]
    parent_name = request.parent.rsplit("::", 1)[-1]
    found = list(own)
    for former in of_parent:
        stack, project, _, former_name = former.removeprefix("urn:pulumi:").split("::", 3)
        for token, name in tokens:
            renamed = former_name + name.removeprefix(parent_name) if name.startswith(parent_name) else name
            found += [make_urn(stack, project, former, token, one) for one in (renamed, name)]
    return tuple(dict.fromkeys(found))


def inherit(request: Any, parent: Any) -> None:  # noqa: ANN401
    """Set what a resource takes from its parent's request where it says nothing of its own, as Pulumi's engine does."""
    for option in ("protect", "retainOnDelete"):
        if parent.HasField(option) and not request.HasField(option):
            setattr(request, option, getattr(parent, option))
    request.deletedWith = request.deletedWith or parent.deletedWith


def parse(request: resource_pb2.RegisterResourceRequest, urn: str, unit: str, aliases: tuple[str, ...]) -> Registration:
    """Decode a request. Raises `Unsupported` for options that this engine does not claim."""
    for option, words in _BLANK_OPTIONS.items():
        if getattr(request, option):
            raise not_done(f"{request.type} {request.name!r} uses {words}, which the embedded engine does not do")
    told: Any = request  # whose stubs know fields by literals alone
    for option, words in _MESSAGE_OPTIONS.items():
        if told.HasField(option) and getattr(request, option).ByteSize():
            raise not_done(f"{request.type} {request.name!r} uses {words}, which the embedded engine does not do")
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
        aliases=aliases,
        dependencies=tuple(request.dependencies),
        provider=request.provider,
        protect=request.protect,
        retain=request.retainOnDelete,
        delete_before_replace=request.deleteBeforeReplace,
        deleted_with=request.deletedWith,
        import_id=request.importId,
        ignore_changes=tuple(request.ignoreChanges),
        replace_on_changes=tuple(request.replaceOnChanges),
        secret_outputs=frozenset(request.additionalSecretOutputs),
        timeouts=_timeouts(request),
        hidden=frozenset(map(parse_path, request.hideDiffs)),
    )


def as_request(one: Registration) -> Any:  # noqa: ANN401
    """The request that `parse` turns into this registration, for what changes requests."""
    return resource_pb2.RegisterResourceRequest(
        type=one.type,
        name=one.name,
        parent=one.parent,
        custom=True,
        object=encode(one.values, frozenset(str(path[0]) for path in one.secrets)),
        aliasURNs=one.aliases,
        dependencies=one.dependencies,
        provider=one.provider,
        protect=one.protect,
        retainOnDelete=one.retain,
        deleteBeforeReplace=one.delete_before_replace,
        deleteBeforeReplaceDefined=one.delete_before_replace,
        deletedWith=one.deleted_with,
        importId=one.import_id,
        ignoreChanges=one.ignore_changes,
        replaceOnChanges=one.replace_on_changes,
        additionalSecretOutputs=sorted(one.secret_outputs),
        customTimeouts=resource_pb2.RegisterResourceRequest.CustomTimeouts(**one.timeouts),
    )


def _timeouts(request: resource_pb2.RegisterResourceRequest) -> dict[str, str]:
    limits = request.customTimeouts
    return {verb: text for verb in ("create", "update", "delete") if (text := getattr(limits, verb))}


def body_of(
    registration: Registration,
    *,
    namespaced: bool,
    namespace: str,
    previous: Identity | None,
    suffix: str,
    kept: bool = False,
    whole: bool = False,
) -> dict[str, Any]:
    """The object to apply: inputs without ignored fields (with them when `whole`), with a name and a namespace.

    Without a name in the metadata the object gets `<logical name>-<suffix>`, Pulumi's auto-naming; it keeps the name
    of `previous` when that was an automatic one (`kept`), also under another logical name. `suffix` has to be the same
    when a run that was killed is run again, or there would be two objects.
    """
    if "apiVersion" not in registration.values or "kind" not in registration.values:
        raise Unsupported(
            f"{registration.type} {registration.name!r} is no Kubernetes object: it needs the Pulumi plugin "
            "'kubernetes', which is not here"
        )
    body = _declared(registration) if whole else _without_ignored(registration, previous)
    body.pop("status", None)
    metadata = body.setdefault("metadata", {})
    if metadata is UNKNOWN:
        metadata = body["metadata"] = {"name": UNKNOWN, "namespace": UNKNOWN}
    if namespaced and not metadata.get("namespace"):
        metadata["namespace"] = namespace
    if not namespaced:
        metadata.pop("namespace", None)
    if "name" not in metadata:
        if registration.patch:
            raise Refused(f"{registration.urn}: patch resources require the `.metadata.name` field to be set")
        prefix = metadata.pop("generateName", f"{registration.name.lower()}-")
        if (annotations := metadata.setdefault("annotations", {})) is not UNKNOWN:
            annotations[AUTONAMED] = "true"
        keep = previous is not None and (kept or previous.name.startswith(prefix))
        metadata["name"] = previous.name if previous and keep else prefix + suffix
    return body


def _declared(registration: Registration) -> dict[str, Any]:
    """The inputs as they are applied: texts of a Secret among its data, as in pulumi-kubernetes.

    `stringData` is of no manager's, so the server would neither take out what is no longer declared nor tell of drift.
    """
    body: dict[str, Any] = copied(registration.values)
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        body["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVERS}
    texts, data = body.get("stringData"), body.get("data", {})
    if body.get("kind") != "Secret" or not isinstance(texts, dict) or not isinstance(data, dict):
        return body
    # Of texts that are none the server says what is wrong.
    if all(isinstance(text, str) or text is UNKNOWN for text in texts.values()):
        del body["stringData"]
        body["data"] = data | {key: text if text is UNKNOWN else _base64(text) for key, text in texts.items()}
    return body


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _without_ignored(registration: Registration, previous: Identity | None) -> dict[str, Any]:
    """The inputs without ignored fields; what says which object it is stays, as it was, also where `*` ignores it."""
    body = _declared(registration)
    for expression in registration.ignored:
        remove_path(body, expression)
    body |= {key: registration.values[key] for key in ("apiVersion", "kind")}
    declared = registration.values.get("metadata")
    if isinstance(declared, dict):
        metadata = body.setdefault("metadata", {})
        for key in {"name", "namespace", "generateName"} & (declared.keys() - metadata.keys()):
            metadata[key] = getattr(previous, key, declared[key])
    return body


def autonamed(body: Mapping[str, Any]) -> bool:
    """Whether the engine chose the object's name, so that a replacement may stand beside the old one."""
    annotations = body["metadata"].get("annotations")
    return isinstance(annotations, dict) and annotations.get(AUTONAMED) == "true"


def field_manager(registration: Registration) -> str:
    """Patches own their fields under a manager of their own, so that removing one gives back only its fields."""
    own = field_manager_of(registration.urn) if registration.patch else MANAGER
    return registration.annotation(FIELD_MANAGER) or own


def copied(value: Any) -> Any:  # noqa: ANN401
    """A copy that may be changed, its fields named as the API server does; what is not known stays the same unknown."""
    if isinstance(value, dict):
        return {_DASHED.get(key, key): copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value
