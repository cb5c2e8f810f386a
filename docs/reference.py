"""The handbook's reference, from what the program itself says: fields, commands, environment variables, exit codes.

`conf.py` writes the pages at each build, so that they cannot drift and nobody has to keep them.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from commonpool.cli.app import app
from commonpool.cli.failure import EXIT_CODES
from commonpool.cli.help import EXAMPLES
from commonpool.folder import VARIABLES
from commonpool.model import KINDS, explain_field, field_paths


def write(folder: Path) -> None:
    """Write `fields.md` and `commands.md`."""
    folder.mkdir(exist_ok=True)
    (folder / "fields.md").write_text("\n".join(fields()) + "\n", encoding="utf-8")
    (folder / "commands.md").write_text("\n".join(commands()) + "\n", encoding="utf-8")


def fields() -> Iterator[str]:
    """One table for each kind, with the words of `commonpool explain`."""
    yield "# Fields of the manifests\n\nWhat `commonpool explain FIELD` prints, for all fields. Editors complete and check"
    yield "them with the JSON Schemas in `schemas/`, which `commonpool schema KIND` prints too."
    for kind, model in KINDS.items():
        yield f"\n## {kind}\n\n{_one_line(inspect.getdoc(model) or '')}\n"
        yield "| field | what it means | what it takes |\n|---|---|---|"
        for path in _below(kind.lower()):
            _, _, meaning, takes, *_ = explain_field(path).split("\n")
            yield f"| `{path.partition('.')[2]}` | {_cell(meaning)} | {_cell(takes)} |"


def _below(path: str) -> Iterator[str]:
    for child in field_paths(f"{path}."):
        yield child
        yield from _below(child)


def commands() -> Iterator[str]:
    """Exit codes, environment variables, and every command with its options."""
    yield "# Commands, environment, exit codes\n\n## Exit codes\n\n| code | meaning |\n|---|---|"
    yield from (f"| {code} | {_cell(meaning)} |" for code, meaning in EXIT_CODES.items())
    yield "\n## Environment variables\n\nOptions that have one name it below; these stand for none:\n"
    yield "| variable | what it does |\n|---|---|"
    yield from (f"| `{name}` | {_cell(meaning)} |" for name, meaning in VARIABLES.items())
    for words, command in leaves(typer.main.get_command(app), ("commonpool",)):
        yield f"\n## {' '.join(words)}\n\n{_one_line(command.help or '')}\n"
        yield f"```sh\n{EXAMPLES[' '.join(words[1:])]}\n```\n"
        yield "| option | what it does | environment |\n|---|---|---|"
        yield from (_option(parameter) for parameter in command.params if parameter.name != "help")


def _option(parameter: Any) -> str:  # noqa: ANN401
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.name.upper()}`"
    return f"| {names} | {_cell(parameter.help or '')} | {f'`{parameter.envvar}`' if parameter.envvar else ''} |"


def leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
    """Every command that does something, with the words that call it."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name, child in below.items():
        yield from leaves(child, (*words, name))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|").replace("<", "&lt;")
