"""A Pulumi project as its files describe it: `Pulumi.yaml` and the configuration in `Pulumi.<stack>.yaml`.

Read as the Pulumi CLI reads them: a scalar of the configuration is the text that stands there (`no`, `010` and `1.10`
stay what they are), only what is inside of lists and maps has types; no dates, and no other booleans than true and
false. What is encrypted for the CLI is refused by name.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from commonpool.engine.deployment import ConfigValue, Program
from commonpool.engine.error import ConfigRefused, EngineError, Unsupported
from commonpool.engine.manifest import read_as_go

_TYPES = {"string", "integer", "number", "boolean", "array", "object"}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NUMBERS = {"integer": re.compile(r"[-+]?\d+"), "number": re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")}


class Declared(NamedTuple):
    """A setting as `Pulumi.yaml` declares it: its type or "", its default or None, whether it is secret."""

    type: str
    value: ConfigValue | None
    secret: bool


class _Loader(yaml.SafeLoader):
    """YAML 1.2 where that matters: `on` is a text, and JSON knows no dates."""


read_as_go(_Loader)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":bool")]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def describe(directory: Path) -> dict[str, Any]:
    """The `Pulumi.yaml` of a program's folder. Raises `Unsupported` for another language than Python."""
    path = _file(directory)
    project = _mapping(path)
    if not _NAME.fullmatch(str(project.get("name", ""))):
        raise EngineError(
            f"{path}: name is {project.get('name')!r}; a project's name is letters, digits, `.`, `_`, `-`"
        )
    runtime = project.get("runtime")
    language = runtime.get("name") if isinstance(runtime, dict) else runtime
    if language != "python":
        raise Unsupported(f"{path}: runtime {language!r}; the embedded engine runs Python programs")
    return project


def _file(directory: Path) -> Path:
    for name in ("Pulumi.yaml", "Pulumi.yml"):
        if (directory / name).exists():
            return directory / name
    raise Unsupported(f"{directory} has no Pulumi.yaml, so it is not a Pulumi project")


def _settings_file(directory: Path, stack: str) -> Path:
    """Where the settings of a stack are: named like the project's file, in the folder that it names, or beside it."""
    project = describe(directory)
    older = project.get("config")  # a text here is what `stackConfigDir` was called once
    folder = project.get("stackConfigDir") or (older if isinstance(older, str) else "")
    return directory / str(folder) / f"Pulumi.{stack}{_file(directory).suffix}"


def stacks_of(directory: Path) -> list[str]:
    """The stacks that have a settings file. Raises as `describe`."""
    pattern = _settings_file(directory, "*")
    return sorted(path.name[len("Pulumi.") : -len(path.suffix)] for path in pattern.parent.glob(pattern.name))


def load(
    directory: Path,
    stack: str,
    config: Mapping[str, ConfigValue] | None = None,
    secret_config: Mapping[str, str] | None = None,
) -> Program:
    """A program of somebody else's, with the configuration of `Pulumi.<stack>.yaml` under the given one.

    Keys without a namespace belong to the project. Raises `Unsupported` for encrypted values that are not given,
    because their key is with the Pulumi CLI, and for imported environments, and `ConfigRefused` for what `Pulumi.yaml` declares and nobody gives.
    """
    project = describe(directory)
    name = str(project["name"])
    given = {_qualify(key, name): value for key, value in {**(config or {}), **(secret_config or {})}.items()}
    declared = _declared(project, directory)
    merged: dict[str, ConfigValue] = {key: one.value for key, one in declared.items() if one.value is not None}
    stack = stack.rpartition("/")[2]  # Pulumi's full names are organization/project/stack
    settings = _settings_file(directory, stack)
    merged |= _settings(settings, name, set(given)) if settings.exists() else {}
    merged |= given
    _check(declared, merged, directory / "Pulumi.yaml")
    secret = {_qualify(key, name) for key in secret_config or {}} | {key for key, one in declared.items() if one.secret}
    if autonaming := merged.get("pulumi:autonaming"):
        error = Unsupported(
            f"pulumi:autonaming is {autonaming!r}; here names are a resource's own, or it and eight digits"
        )
        error.next_step = "give the resources names (metadata.name), and take the setting back: -c pulumi:autonaming="
        raise error
    return Program(name, stack, directory, merged, secret_config=frozenset(secret), isolated=True)


def unknown_keys(program: Program, given: Mapping[str, Any]) -> list[str]:
    """A hint for each given key of the project's own that `Pulumi.yaml` does not declare, where it declares any."""
    declared = _declared(describe(program.directory), program.directory)
    own = [key for key in declared if key.startswith(f"{program.project}:")]
    hints = []
    for key in sorted(_qualify(key, program.project) for key in given):
        if own and key not in declared and key.startswith(f"{program.project}:"):
            near = get_close_matches(key, own, n=1)
            hints.append(f"{key} is not declared in Pulumi.yaml" + (f"; did you mean {near[0]}?" if near else ""))
    return hints


def _settings(path: Path, project: str, given: set[str]) -> dict[str, ConfigValue]:
    found: dict[str, ConfigValue] = {}
    settings = _mapping(path)
    if settings.get("environment"):
        error = Unsupported(f"{path}: environment: Pulumi ESC environments are in the Pulumi Cloud, which is not asked")
        error.next_step = "take it out of the file, and give the values that come from there with -c and --secret"
        raise error
    for key, value in (settings.get("config") or {}).items():
        if _encrypted(value):
            if _qualify(key, project) in given:
                continue
            raise Unsupported(
                f"{path}: {key} is encrypted for the Pulumi CLI, whose key is not here; give it with --secret {key}=…"
            )
        found[_qualify(key, project)] = value
    return found


def _encrypted(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, dict):
        return set(value) == {"secure"} or any(map(_encrypted, value.values()))
    return isinstance(value, list) and any(map(_encrypted, value))


def _declared(project: Mapping[str, Any], directory: Path) -> dict[str, Declared]:
    """What `Pulumi.yaml` declares, by key."""
    declared: dict[str, Declared] = {}
    blocks = project.get("config")
    if blocks is None or isinstance(blocks, str):
        return declared  # a text names the folder of settings files
    if not isinstance(blocks, dict):
        raise EngineError(f"{directory / 'Pulumi.yaml'}: config is not a mapping")
    for key, block in blocks.items():
        if isinstance(block, dict):
            kind = str(block.get("type", "string" if "default" in block else ""))
            value = block.get("value", block.get("default"))
        else:
            kind, value = "", block
        secret = isinstance(block, dict) and block.get("secret") is True
        declared[_qualify(str(key), str(project["name"]))] = Declared(kind if kind in _TYPES else "", value, secret)
    return declared


def _check(declared: Mapping[str, Declared], given: Mapping[str, ConfigValue], path: Path) -> None:
    problems = []
    for key, one in declared.items():
        if key not in given:
            option = "--secret" if one.secret else "-c"
            problems.append(f"{key} is missing: {path} declares it without a default; give it with {option} {key}=…")
        elif not _fits(given[key], one.type):
            shown = "another thing" if one.secret else repr(given[key])
            problems.append(f"{key} is {shown}, but {path} declares it as {one.type}")
    if problems:
        raise ConfigRefused("; ".join(problems))


def _fits(value: ConfigValue, kind: str) -> bool:
    if not isinstance(value, str):
        return True
    if kind in _NUMBERS:
        return bool(_NUMBERS[kind].fullmatch(value))
    return value in ("true", "false") if kind == "boolean" else True


def _qualify(key: str, project: str) -> str:
    return key if ":" in key else f"{project}:{key}"


def _mapping(path: Path) -> dict[str, Any]:
    """A YAML file that is a mapping; scalars directly below `config` stay texts."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a safe one)
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise EngineError(f"{place}: no YAML: {getattr(error, 'problem', None) or 'it cannot be read'}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise EngineError(f"{path}: is not a mapping")
    for key, below in node.value:
        if key.value == "config" and isinstance(below, yaml.MappingNode):
            for name, item in below.value:
                if isinstance(item, yaml.ScalarNode) and name.value in values["config"]:
                    values["config"][name.value] = item.value
    return values
