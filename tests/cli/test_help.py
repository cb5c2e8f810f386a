"""Help of every command: one voice, an example that works, nothing undocumented, nothing cut off."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from commonpool.cli import run
from commonpool.cli.app import app
from commonpool.cli.help import EXAMPLES


def everything(command: Any, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    below = [
        pair for name, child in getattr(command, "commands", {}).items() for pair in everything(child, (*words, name))
    ]
    return [(words, command), *below]


ROOT = Path(__file__).resolve().parents[2]
ALL = everything(typer.main.get_command(app))
LEAVES = {" ".join(words): command for words, command in ALL if not hasattr(command, "commands")}


@pytest.mark.parametrize("words", [words for words, _ in ALL], ids=" ".join)
def test_help_fits_and_says_what_values_are(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert not [line for line in shown.splitlines() if len(line) > 80]
    usage, _, rest = shown.partition("\n")
    assert not re.findall(r"<(?:str|int|float|path|file|list)\b[^>]*>", shown), (
        "a value is called by a name, not by a type of Python"
    )
    assert "..." not in re.sub(r"[A-Z]\.\.\.|\[ARGS\]\.\.\.", "", rest), "no sentence is cut off"
    assert re.match(r"\n  [A-Z].*", rest), "it begins with a sentence"
    assert usage.startswith(f"Usage: {' '.join(('commonpool', *words))} [OPTIONS]")


def test_every_command_and_no_other_has_an_example() -> None:
    assert set(EXAMPLES) == set(LEAVES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_understood(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = EXAMPLES[name].replace("\\\n", " ")
    words = shlex.split(re.sub(r"^source <\((.*)\)$", r"\1", line).partition(" > ")[0])
    assert words[: 1 + len(name.split())] == ["commonpool", *name.split()]
    monkeypatch.chdir(tmp_path)
    for word in words:
        if re.search(r"^[^:]*\.[a-z]+$", word):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()
    LEAVES[name].make_context(name, words[1 + len(name.split()) :])


@pytest.mark.parametrize(
    "name",
    [
        "explain",
        "ledger",
        "version",
        "department list",
        "department show",
        "department explain",
        "machine list",
        "machine volumes",
        "service dns",
        "policy list",
        "dataset list",
        "dataset search",
        "dataset show",
        "dataset export",
        "agreement new",
        "agreement key",
        "agreement list",
        "agreement show",
        "agreement verify",
        "request new",
        "request list",
        "request show",
        "correction list",
        "progress list",
        "progress report",
        "embedded status",
    ],
)
def test_an_example_without_a_cluster_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMMONPOOL_DATA", str(tmp_path))
    words = shlex.split(EXAMPLES[name].replace("\\\n", " ").partition(" > ")[0])
    assert run(words[1:]) == 0


@pytest.mark.parametrize("command", LEAVES.values(), ids=LEAVES)
def test_every_argument_and_option_is_explained(command: Any) -> None:
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert parameter.help.endswith((".", "!", "?", "…")), f"{parameter.name}: {parameter.help}"
        assert parameter.help[0].isupper() or parameter.help[0] in "*-`" or ":" in parameter.help, parameter.help


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["departmnt"], "did you mean department?"),
        (["service", "credentail"], "did you mean credential?"),
        (["service", "cutover", "aprove", "x"], "did you mean approve?"),
        (["ledger", "--htlm", "x"], "did you mean --html?"),
        (["department", "show", "watr-bureau"], "did you mean water-bureau?"),
        (["dataset", "show", "resident"], "did you mean residents?"),
        (["explain", "department.spec.namespace"], "did you mean namespaces?"),
        (["schema", "Departmet"], "did you mean Department?"),
        (["preview", "--stack", "departmets"], "did you mean departments?"),
        (["machine", "survey", "rs-1"], "did you mean rs-"),
        (["agreement", "show", "residents-for-pay"], "did you mean residents-for-payroll?"),
        (["ledger", "--output", "jsn"], "json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_mistyped_is_met_with_what_was_meant(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPOOL_DATA", str(tmp_path))
    assert run(typed) == 1
    assert meant in capsys.readouterr().err


def test_what_an_option_says_is_read_by_its_command() -> None:
    for path in (ROOT / "infra" / "commonpool" / "cli").glob("*.py"):
        for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(one, ast.FunctionDef) and any("command(" in ast.unparse(by) for by in one.decorator_list):
                read = {name.id for body in one.body for name in ast.walk(body) if isinstance(name, ast.Name)}
                assert not [given.arg for given in one.args.args if given.arg not in read], f"{path.name}: {one.name}"
