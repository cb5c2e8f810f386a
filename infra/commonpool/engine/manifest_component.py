"""`kubernetes:yaml/v2:ConfigFile` and `ConfigGroup`: manifests in files or texts, as resources below one component.

The provider of the Pulumi CLI builds these components itself, so this engine has to. Names and order are its own:
`<prefix>:<namespace>/<name>`; namespaces and definitions first, then what lives in them, then what was told to wait by
`config.kubernetes.io/depends-on`.
"""

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

from pulumi.runtime.proto import resource_pb2

from commonpool.engine.cluster import Cluster
from commonpool.engine.condition import SKIP
from commonpool.engine.error import Refused, UnknownKind
from commonpool.engine.manifest import documents, objects
from commonpool.engine.properties import Properties
from commonpool.engine.registration import Registration, make_urn

TYPES = frozenset({"kubernetes:yaml/v2:ConfigFile", "kubernetes:yaml/v2:ConfigGroup"})
DEPENDS_ON = "config.kubernetes.io/depends-on"
DOWNLOAD_SECONDS = 60.0

Register = Callable[[Registration], Awaitable[None]]


def plain(request: Any) -> resource_pb2.RegisterResourceRequest:  # noqa: ANN401
    """The component's request with the options that its children inherit, and without what makes it a remote one."""
    found = resource_pb2.RegisterResourceRequest()
    found.CopyFrom(request)
    found.remote = False
    found.ClearField("object")
    return found


async def read(inputs: Properties, directory: Path) -> list[dict[str, Any]]:
    """The objects that the component's inputs name. Raises `Refused` with the file and line of what cannot be read."""
    values = inputs.values
    found: list[dict[str, Any]] = []
    files = [values["file"]] if "file" in values else values.get("files") or []
    for name in [files] if isinstance(files, str) else files:
        for origin, text in await asyncio.to_thread(_texts, str(name), directory):
            found += objects(documents(text, origin), origin)
    for text in [values["yaml"]] if isinstance(values.get("yaml"), str) else values.get("yaml") or []:
        found += objects(documents(text), "the YAML given")
    return found + objects(values.get("objs") or [], "objs")


def _texts(name: str, directory: Path) -> list[tuple[str, str]]:
    try:
        if name.startswith(("http://", "https://")):
            with urllib.request.urlopen(name, timeout=DOWNLOAD_SECONDS) as answer:  # noqa: S310 (http and https only)
                return [(name, answer.read().decode())]
        paths = sorted(glob(name, root_dir=directory)) if any(mark in name for mark in "*?[") else [name]
        return [(path, (directory / path).read_text(encoding="utf-8")) for path in paths]
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def recorded(component: str, urns: Iterable[str]) -> set[str]:
    """Those of the URNs that are of something below a component."""
    chain = f"{component.split('::')[2]}$"
    return {urn for urn in urns if urn.split("::")[2].startswith(chain)}


async def register(
    template: Registration, inputs: Properties, directory: Path, cluster: Cluster, one: Register
) -> list[str]:
    """Register every object below the component that `template` describes; returns their URNs."""
    found = await read(inputs, directory)
    scopes = {
        (item["spec"]["group"], item["spec"]["names"]["kind"]): item["spec"].get("scope") == "Namespaced"
        for item in found
        if item["kind"] == "CustomResourceDefinition"
    }
    for body in found:
        if await _namespaced(cluster, body, scopes):
            body["metadata"]["namespace"] = body["metadata"].get("namespace") or template.values["namespace"]
    children = [_child(template, inputs.values, body) for body in found]
    _order(children)
    names = {_reference(child.values): child for child in children}
    running: dict[str, asyncio.Task[None]] = {}

    async def after(child: Registration) -> None:
        before = [running[urn] for urn in child.dependencies if urn in running]
        if before:
            await asyncio.wait(before)
        await one(child)

    for child in sorted(children, key=lambda child: len(_chain(child, names))):
        running[child.urn] = asyncio.create_task(after(child))
    await asyncio.gather(*running.values())
    return [child.urn for child in children]


async def _namespaced(cluster: Cluster, body: Mapping[str, Any], scopes: Mapping[tuple[str, str], bool]) -> bool:
    group = body["apiVersion"].rpartition("/")[0]
    if (group, body["kind"]) in scopes:
        return scopes[group, body["kind"]]
    try:
        return (await cluster.kind(body["apiVersion"], body["kind"])).namespaced
    except UnknownKind:
        return False


def _child(template: Registration, values: Mapping[str, Any], body: dict[str, Any]) -> Registration:
    metadata = body["metadata"]
    prefix = values.get("resourcePrefix", template.name)
    place = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
    name = f"{prefix}:{place}" if prefix else place
    api_version = body["apiVersion"] if "/" in body["apiVersion"] else f"core/{body['apiVersion']}"
    token = f"kubernetes:{api_version}:{body['kind']}"
    if values.get("skipAwait"):
        metadata["annotations"] = {**(metadata.get("annotations") or {}), SKIP: "true"}
    secrets = {(key,) for key in ("data", "stringData") if body["kind"] == "Secret" and key in body}
    stack, project = template.urn.split("::")[0].rpartition(":")[2], template.urn.split("::")[1]
    urn = make_urn(stack, project, template.urn, token, name)
    return replace(
        template, urn=urn, type=token, name=name, parent=template.urn, values=body, secrets=frozenset(secrets)
    )


def _order(children: list[Registration]) -> None:
    """Give every child its dependencies: its namespace, its definition, and what its annotation names."""
    urns = {_reference(child.values): child.urn for child in children}
    definitions = {
        (child.values["spec"]["group"], child.values["spec"]["names"]["kind"]): child.urn
        for child in children
        if child.values["kind"] == "CustomResourceDefinition"
    }
    for position, child in enumerate(children):
        body = child.values
        metadata, group = body["metadata"], body["apiVersion"].rpartition("/")[0]
        wanted = [
            urns.get(("", "Namespace", "", metadata.get("namespace", ""))),
            definitions.get((group, body["kind"])),
            *(urns.get(_named(text)) for text in (metadata.get("annotations") or {}).get(DEPENDS_ON, "").split(",")),
        ]
        before = tuple(urn for urn in wanted if urn and urn != child.urn)
        children[position] = replace(child, dependencies=(*child.dependencies, *before))


def _reference(body: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metadata = body["metadata"]
    return body["apiVersion"].rpartition("/")[0], body["kind"], metadata.get("namespace", ""), metadata["name"]


def _named(text: str) -> tuple[str, str, str, str]:
    """`group/namespaces/ns/Kind/name` or `group/Kind/name`, as the annotation is documented."""
    parts = text.strip().split("/")
    if len(parts) == 5 and parts[1] == "namespaces":
        return parts[0], parts[3], parts[2], parts[4]
    return (parts[0], parts[1], "", parts[2]) if len(parts) == 3 else ("", "", "", "")


def _chain(child: Registration, names: Mapping[Any, Registration]) -> set[str]:
    """Everything that comes before a child. Raises `Refused` for a circle."""
    by_urn = {one.urn: one for one in names.values()}
    seen: set[str] = set()
    rest = [urn for urn in child.dependencies if urn in by_urn]
    while rest:
        urn = rest.pop()
        if urn == child.urn:
            raise Refused(f"{child.name} depends on itself (annotation {DEPENDS_ON})")
        if urn not in seen:
            seen.add(urn)
            rest += [other for other in by_urn[urn].dependencies if other in by_urn]
    return seen
