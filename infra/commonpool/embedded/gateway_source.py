"""How Envoy Gateway is built for one machine with several pools: a copy of the pinned module with a few texts replaced.

What is replaced and why stands in `tools/envoy-gateway/replacements.yaml`. Go refuses to overlay files of its module
cache, so the module is copied and put in the pinned one's place for this build only; go.mod and go.sum stay as they
are. The custom resource definitions are taken from the same modules, so that they cannot be of another version.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from commonpool.embedded.error import BuildFailed

MODULE = "github.com/envoyproxy/gateway"
DEFINITIONS = "definitions.json"
_DEFINED_IN = {
    MODULE: "charts/gateway-helm/charts/crds/crds/generated",
    "sigs.k8s.io/gateway-api": "config/crd/standard",
}
_NOT_BUILT = shutil.ignore_patterns("testdata", "*_test.go", "examples", "release-notes")


def arrange(go: str, folder: Path, scratch: Path, output: Path) -> tuple[str, ...]:
    """Copy and edit the module, write the definitions beside the binary; returns the flags that make `go build` use it."""
    module = _module(go, folder, MODULE)
    copy = scratch / "gateway"
    _copy(module, copy)
    for path, content in replaced(folder / "replacements.yaml", module):
        (copy / path).write_text(content, encoding="utf-8")
    own = scratch / "go.mod"
    own.write_text(f"{(folder / 'go.mod').read_text()}\nreplace {MODULE} => {copy}\n")
    shutil.copyfile(folder / "go.sum", scratch / "go.sum")
    (output / DEFINITIONS).write_text(json.dumps(pinned_definitions(go, folder)), encoding="utf-8")
    return (f"-modfile={own}",)


def replaced(replacements: Path, module: Path) -> Iterator[tuple[str, str]]:
    """(path, content) of each edited file. Raises `BuildFailed` for a text that does not stand there exactly once."""
    for entry in yaml.safe_load(replacements.read_text(encoding="utf-8")):
        content = (module / entry["file"]).read_text(encoding="utf-8")
        for old, new in entry["pairs"]:
            if content.count(old) != 1:
                raise BuildFailed(
                    f"{replacements}: {old!r} stands {content.count(old)} times in {entry['file']} of {module.name}, not once;"
                    " read what that version does there and change the entry"
                )
            content = content.replace(old, new)
        yield entry["file"], content


def pinned_definitions(go: str, folder: Path) -> list[Any]:
    """The kinds that the embedded pool serves (`definitions.yaml`), from the modules that Envoy Gateway is built of."""
    choice = yaml.safe_load((folder / "definitions.yaml").read_text(encoding="utf-8"))
    places = [_module(go, folder, name) / place for name, place in _DEFINED_IN.items()]
    return [chosen for place in places for one in definitions(place) if (chosen := _chosen(one, choice)) is not None]


def definitions(folder: Path) -> list[Any]:
    """The custom resource definitions in a folder, without descriptions: they are four fifths of what the server keeps."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml")))
    documents = (one for text in texts for one in yaml.load_all(text, yaml.CSafeLoader))
    return [_plain(one) for one in documents if one["kind"] == "CustomResourceDefinition"]


def _chosen(definition: Any, choice: dict[str, Any]) -> Any:  # noqa: ANN401
    kind = definition["spec"]["names"]["kind"]
    if kind in choice["omitted"]:
        return None
    versions = [one for one in definition["spec"]["versions"] if one["storage"] or one["name"] == choice["version"]]
    definition["spec"]["versions"] = versions
    for version in versions:
        for part, names in choice["removed"].get(kind, {}).items():
            for name in names:
                del version["schema"]["openAPIV3Schema"]["properties"][part]["properties"][name]
    *path, last = choice["opaque"].get(kind, [""])
    if last:
        for version in versions:
            place = version["schema"]["openAPIV3Schema"]
            for name in path:
                place = place["properties"][name]
            place["properties"][last] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return definition


def _plain(value: object) -> object:
    """Without `description: <text>`; a field of that name is a schema, hence a mapping, and stays."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if not (key == "description" and isinstance(one, str))}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _module(go: str, folder: Path, name: str) -> Path:
    """Where Go keeps the pinned module, fetched when it is not there yet."""
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    command = [go, "mod", "download", "-json", name]
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if answer.returncode:
        raise BuildFailed(f"{name} could not be fetched: {answer.stderr.strip() or answer.stdout.strip()}")
    return Path(json.loads(answer.stdout)["Dir"])


def _copy(source: Path, target: Path) -> None:
    """Contents only: the module cache is read-only, and that would be copied too."""
    target.mkdir()
    skipped = _NOT_BUILT(str(source), [path.name for path in source.iterdir()])
    for path in source.iterdir():
        if path.is_dir() and path.name not in skipped:
            _copy(path, target / path.name)
        elif path.name not in skipped:
            shutil.copyfile(path, target / path.name)
