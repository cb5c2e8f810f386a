"""Names for completion: out of files, without checking them, without a cluster, and in a moment.

Nobody who presses Tab is told what is wrong with an estate: what cannot be read is not offered.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from commonpool.cli.target import Target, project_folder, stack_names
from commonpool.folder import data_folder
from commonpool.host_pattern import expand

Completer = Callable[[typer.Context, str], list[str]]
MOST_FILES = 50  # that are read for one completion: of more, the first letters of a department choose


def offered(find: Callable[[typer.Context, str], Iterable[str]]) -> Completer:
    """What of it begins as typed, each once; nothing where it fails."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        try:
            return [name for name in dict.fromkeys(find(context, incomplete)) if name.startswith(incomplete)]
        except Exception:  # a file that is no YAML, a folder that is closed, whatever it is
            return []

    return complete


def files(*folders: str) -> Completer:
    """Names of an estate's manifests, which are those of their files."""

    def find(context: typer.Context, incomplete: str) -> Iterator[str]:
        for folder in folders:
            yield from sorted(path.stem for path in (_root(context) / folder).glob("*.yaml"))

    return offered(find)


def _root(context: typer.Context) -> Path:
    return Target(estate=context.params.get("estate")).estate_folder()


def _read(path: Path) -> Any:  # noqa: ANN401
    import yaml

    with path.open("rb") as file:
        return yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)


def _departments(context: typer.Context, incomplete: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The manifests of those that what was typed may belong to."""
    paths = sorted((_root(context) / "departments").glob("*.yaml"))
    near = [path for path in paths if path.stem.startswith(incomplete) or incomplete.startswith(f"{path.stem}-")]
    for path in near[:MOST_FILES]:
        yield path.stem, _read(path)["spec"]


@offered
def namespaces(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Namespaces of departments."""
    for name, spec in _departments(context, incomplete):
        yield from (f"{name}-{one['name']}" for one in spec["namespaces"])


@offered
def systems(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Systems outside of the pool, of the department that was typed before."""
    spec = _read(_root(context) / "departments" / f"{context.params['department']}.yaml")["spec"]
    yield from (one["name"] for one in spec.get("systems", ()))


@offered
def flavors(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Hardware classes of the pool."""
    yield from (one["name"] for one in _read(_root(context) / "pool.yaml")["spec"]["compute"]["flavors"])


@offered
def machines(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Machines of the inventories."""
    root = _root(context)
    for site in _read(root / "pool.yaml")["spec"]["compute"]["sites"]:
        yield from sorted(_hosts(_read(root / site["inventory"])["all"]))


def _hosts(group: Mapping[str, Any] | None) -> Iterator[str]:
    for pattern in (group or {}).get("hosts") or ():
        yield from expand(pattern)
    for child in ((group or {}).get("children") or {}).values():
        yield from _hosts(child)


@offered
def contexts(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Contexts of the kubeconfig that is named, else of the usual ones."""
    named = context.params.get("kubeconfig")
    usual = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    for path in [str(named)] if named else usual.split(os.pathsep):
        if Path(path).is_file():
            yield from (one["name"] for one in _read(Path(path))["contexts"])


@offered
def pools(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Embedded pools of this machine."""
    yield from sorted(path.parent.name for path in (data_folder() / "pools").glob("*/pool.json"))


@offered
def stacks(context: typer.Context, incomplete: str) -> list[str]:
    """Our stacks."""
    return stack_names()


@offered
def fields(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Paths of fields one level below what was typed, out of the schemas."""
    head = incomplete.rpartition(".")[0]
    if not head:
        yield from (kind.lower() for kind in _kinds())
        return
    yield from (f"{head}.{name}" for name in _field(head).get("properties", ()))


@offered
def business_classes(context: typer.Context, incomplete: str) -> list[str]:
    """The seven."""
    return list(_field("department.spec.namespaces")["properties"]["businessClass"]["enum"])


def kinds(incomplete: str) -> list[str]:
    """Kinds of manifests, however they are typed."""
    return [kind for kind in _kinds() if kind.lower().startswith(incomplete.lower())]


def _kinds() -> list[str]:
    return sorted(json.loads(path.read_bytes())["title"] for path in (project_folder() / "schemas").glob("*.json"))


def _field(path: str) -> Mapping[str, Any]:
    """What the schema says of the object at a path."""
    kind, *parts = path.split(".")
    document = json.loads((project_folder() / "schemas" / f"{kind.lower()}.json").read_bytes())
    node = document
    for part in parts:
        node = _resolved(node["properties"][part], document["$defs"])
    return dict(node)


def _resolved(node: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Through references, lists and what may be absent."""
    while "properties" not in node:
        if "$ref" in node:
            node = definitions[node["$ref"].rpartition("/")[2]]
        elif "anyOf" in node:
            node = node["anyOf"][0]
        elif "items" in node:
            node = node["items"]
        else:
            return node
    return node
