"""Pulumi's project files, read as the CLI reads them."""

from pathlib import Path

import pytest
from commonpool.engine.error import ConfigRefused, EngineError, Unsupported
from commonpool.engine.mask import Masks
from commonpool.engine.project import load, stacks_of, unknown_keys


def project(folder: Path, text: str = "", settings: str = "") -> Path:
    (folder / "Pulumi.yaml").write_text(f"name: x\nruntime: python\n{text}", encoding="utf-8")
    if settings:
        (folder / "Pulumi.dev.yaml").write_text(f"config:\n{settings}", encoding="utf-8")
    return folder


def test_scalars_are_the_text_that_stands_there_and_only_what_is_inside_of_maps_has_types(tmp_path: Path) -> None:
    settings = "  x:a: no\n  x:b: 010\n  x:c: 1.10\n  x:d: 2024-01-01\n  x:e: {n: 1, l: [true, no, 2024-01-01, 'true', 12:30, =], on: x}\n"
    found = load(project(tmp_path, settings=settings), "organization/x/dev").config
    assert found == {
        "x:a": "no",
        "x:b": "010",
        "x:c": "1.10",
        "x:d": "2024-01-01",
        "x:e": {"n": 1, "l": [True, "no", "2024-01-01", "true", "12:30", "="], "on": "x"},
    }


def test_what_is_declared_has_its_default_is_missed_by_name_and_checked_by_type(tmp_path: Path) -> None:
    declared = "config:\n  a: {type: integer, default: 3}\n  b: {type: boolean}\n"
    with pytest.raises(ConfigRefused, match="x:b is missing"):
        load(project(tmp_path, declared), "dev")
    with pytest.raises(ConfigRefused, match="declares it as boolean"):
        load(tmp_path, "dev", {"b": "maybe"})
    program = load(tmp_path, "dev", {"b": "true", "other:c": "1"})
    assert program.config == {"x:a": 3, "x:b": "true", "other:c": "1"}
    assert unknown_keys(program, {"aa": "1", "other:c": "1"}) == [
        "x:aa is not declared in Pulumi.yaml; did you mean x:a?"
    ]


def test_what_the_project_declares_as_secret_is_hidden_however_it_is_given(tmp_path: Path) -> None:
    project(tmp_path, "config:\n  a: {type: string, secret: true}\n  b: {type: integer, secret: true, default: 1}\n")
    program = load(tmp_path, "dev", {"a": "canary-9"})
    assert set(program.secret_config) == {"x:a", "x:b"}
    with pytest.raises(ConfigRefused, match="--secret x:a=") as missing:
        load(tmp_path, "dev", {"b": "canary-8"})
    assert "canary-8" not in str(missing.value)


def test_names_by_a_pattern_of_the_configuration_are_refused_with_the_way_out(tmp_path: Path) -> None:
    project(tmp_path, settings="  pulumi:autonaming: {mode: verbatim}\n")
    with pytest.raises(Unsupported, match="pulumi:autonaming"):
        load(tmp_path, "dev")
    assert load(tmp_path, "dev", {"pulumi:autonaming": ""}).config == {"pulumi:autonaming": ""}


def test_an_encrypted_value_is_refused_with_the_way_out_unless_it_is_given(tmp_path: Path) -> None:
    project(tmp_path, settings="  x:key:\n    secure: abc\n")
    with pytest.raises(Unsupported, match="--secret x:key="):
        load(tmp_path, "dev")
    program = load(tmp_path, "dev", secret_config={"key": "canary-9"})
    assert (program.config, set(program.secret_config)) == ({"x:key": "canary-9"}, {"x:key"})


@pytest.mark.parametrize("named", ["stackConfigDir: settings", "config: settings"])
def test_settings_are_in_the_folder_and_of_the_form_that_the_project_names(tmp_path: Path, named: str) -> None:
    (tmp_path / "Pulumi.yml").write_text(f"name: x\nruntime: python\n{named}\n", encoding="utf-8")
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "Pulumi.prod.yml").write_text("config: {x:a: 1}\n", encoding="utf-8")
    assert stacks_of(tmp_path) == ["prod"]
    assert load(tmp_path, "prod").config == {"x:a": "1"}


def test_an_imported_environment_is_refused(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text("environment: [team/dev]\n", encoding="utf-8")
    with pytest.raises(Unsupported, match="ESC") as refused:
        load(tmp_path, "dev")
    assert "--secret" in refused.value.next_step


def test_files_that_are_no_project_are_refused_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: [\n", encoding="utf-8")
    with pytest.raises(EngineError, match=r"Pulumi\.yaml:2:1"):
        load(tmp_path, "dev")
    (tmp_path / "Pulumi.yaml").write_text("runtime: python\n", encoding="utf-8")
    with pytest.raises(EngineError, match="name is None"):
        load(tmp_path, "dev")
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: nodejs\n", encoding="utf-8")
    with pytest.raises(Unsupported, match="nodejs"):
        load(tmp_path, "dev")
    project(tmp_path, settings="  x:a: 1\n")
    assert stacks_of(tmp_path) == ["dev"]


def test_secrets_are_hidden_plain_in_base64_in_json_and_line_by_line() -> None:
    masks = Masks()
    masks.hide({"key": 'line-one "quoted"\nline-two-x', "short": "ab"})
    masks.hide('{"inside": "of json"}')
    text = 'a line-two-x b bGluZS1vbmUgInF1b3RlZCIKbGluZS10d28teA== c line-one \\"quoted\\"\\nline-two-x d of json e ab'
    assert masks.apply(text) == "a [secret] b [secret] c [secret] d [secret] e ab"
