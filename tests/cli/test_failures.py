"""Every way to fail: exit code 1, one shape of error, standard output either one document or nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import estates
import pytest
import yaml
from commonpool.cli import run
from commonpool.cli.failure import CommandFailed, report

ROOT = Path(__file__).resolve().parents[2]
NEW = ["department", "new"]
WAYS: dict[str, tuple[list[str], str]] = {
    "no such command": (["aply"], "usage"),
    "no such command of a group": (["department", "lst"], "usage"),
    "no such option": (["up", "--skip-previw"], "usage"),
    "a value that is none of the choices": (["preview", "--color", "red"], "usage"),
    "a number out of range": (["preview", "--parallel", "0"], "usage"),
    "a missing argument": (["department", "show"], "usage"),
    "configuration without a value": (["preview", "-c", "key"], "usage"),
    "a span of time that is none": (["up", "--yes", "--timeout", "soon"], "usage"),
    "nobody to ask": (["up"], "confirmation_needed"),
    "nobody to ask before deleting": (["destroy"], "confirmation_needed"),
    "nobody to ask before forgetting": (["embedded", "reset", "nothing"], "confirmation_needed"),
    "no such stack": (["preview", "--stack", "departmens"], "stack_unknown"),
    "no such target": (["preview", "--target", "watr-bureau"], "target_unknown"),
    "no such folder": (["validate", "--estate", "/nowhere"], "estate_refused"),
    "no such folder to work in": (["-C", "/nowhere", "validate"], "file_error"),
    "no such manifest": (["validate", "/nowhere.yaml"], "estate_refused"),
    "a manifest that is refused": (["validate", "examples/refused/many-at-once.yaml"], "estate_refused"),
    "no such program": (["preview", "--program", "/nowhere"], "unsupported"),
    "no kubeconfig": (["preview", "--estate", "examples/estate", "--kubeconfig", "/nowhere"], "kubeconfig_invalid"),
    "no such context": (["status", "--context", "nowhere"], "kubeconfig_invalid"),
    "the sample on somebody's cluster": (["preview", "--kubeconfig", "/nowhere"], "estate_missing"),
    "no pool that runs": (["preview"], "not_running"),
    "no pool to look at": (["status"], "not_running"),
    "no pool to ask": (["ledger", "--live"], "not_running"),
    "no folder for a page": (["ledger", "--declared", "--html", "/nowhere/page.html"], "file_error"),
    "no such department": (["department", "explain", "watr-bureau"], "department_unknown"),
    "no such field": (["explain", "department.spec.namspaces"], "usage"),
    "no such kind": (["schema", "Departmnt"], "usage"),
    "a name that is none": ([*NEW, "Harbour"], "name_invalid"),
    "a department that exists": ([*NEW, "water-bureau"], "exists"),
    "answers that are missing": ([*NEW, "harbour", "--cpu", "4"], "usage"),
    "no such log": (["embedded", "logs", "etdc"], "not_running"),
    "an address that is none of ours": (["embedded", "start", "x", "--listen", "10.0.0.1"], "usage"),
    "no such pool": (["embedded", "status", "x"], "pool_unknown"),
    "a pool that has no name": (["embedded", "start", "Not A Name"], "embedded_error"),
}


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pool, no kubeconfig, no terminal; the working folder is the checkout's."""
    monkeypatch.setenv("COMMONPOOL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_failure_has_one_shape(way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words, code = WAYS[way]
    assert run(words) == 1
    plain = capsys.readouterr()
    assert plain.out == ""
    assert f"[{code}]" in plain.err
    monkeypatch.setenv("COMMONPOOL_OUTPUT", "json")
    assert run(words) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["apiVersion"] == "commonpool.dev/v1"
    assert document["kind"] == "Error"
    assert shape(document["error"], code)["message"] in plain.err
    monkeypatch.setenv("COMMONPOOL_OUTPUT", "yaml")
    assert run(words) == 1
    assert yaml.safe_load(capsys.readouterr().out)["error"]["code"] == code


def shape(error: dict[str, Any], code: str) -> dict[str, Any]:
    assert list(error) == ["code", "message", "next", "problems"]
    assert error["code"] == code
    assert error["message"]
    for problem in error["problems"]:
        assert list(problem) == ["file", "line", "column", "message", "rule", "who", "fix"]
        assert problem["line"] >= 1
    return error


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["department", "shw", "x"], "did you mean show?"),
        (["up", "--skip-previw"], "did you mean --skip-preview?"),
        (["preview", "--stack", "departmens"], "did you mean departments?"),
        (["preview", "--target", "watr-bureau"], "did you mean water-bureau?"),
        (["department", "show", "watr-bureau"], "did you mean water-bureau?"),
        (["explain", "department.spec.namspaces"], "did you mean namespaces?"),
        (["schema", "Departmnt"], "did you mean Department?"),
    ],
)
def test_what_is_misspelt_gets_the_nearest_name(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 1
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-o", "json"], ["-ojson"], ["--output=json"], ["--output", "json"], ["-o=json"]])
def test_the_format_of_an_error_is_found_however_it_is_written(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["preview", *words, "--no-such-option"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_what_nobody_expected_leaves_its_traceback_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(RuntimeError("boom"), "json") == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "internal_error"
    path = Path(error["next"].split("the details are in ")[1].split(";")[0])
    assert "RuntimeError: boom" in path.read_text(encoding="utf-8")
    path.unlink()


def test_an_interruption_is_130_and_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt(), "text") == 130
    told = capsys.readouterr().err.splitlines()
    assert told == ["error: interrupted [interrupted]", "  next: what was begun goes on when the same is run again"]


def test_the_markdown_of_a_refusal_names_place_rule_and_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "examples/refused/many-at-once.yaml", "-o", "markdown"]) == 1
    comment = capsys.readouterr().out
    assert comment.startswith("### ❌ the estate has 4 problems")
    assert "- `examples/refused/many-at-once.yaml:15` there is no field 'spec.filling' `field-unknown`" in comment
    assert "  - **fix** write filing" in comment


def test_a_failure_carries_its_next_step() -> None:
    assert CommandFailed("no", next_step="yes").next_step == "yes"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_before_is_no_failure(closed: str) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m commonpool.cli department list {closed}', sys.executable],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ("water-bureau" in ended.stdout) is (">&-" not in closed or closed == "2>&-")


def test_an_estate_may_lie_in_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    estates.write(Path(os.fsdecode(folder)), 2)
    for words in (["validate"], ["department", "list", "-o", "json"], ["department", "explain", "d0"]):
        command = [sys.executable, "-m", "commonpool.cli", *words, "--estate", os.fsdecode(folder)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        assert (ended.returncode, b"internal_error" in ended.stderr) == (0, False), ended.stderr


def test_a_pool_whose_name_is_mistyped_is_asked_about(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "data" / "pools" / "harbour").mkdir(parents=True)
    (tmp_path / "data" / "pools" / "harbour" / "pool.json").touch()
    assert run(["status", "--pool", "habrour"]) == 1
    assert "did you mean harbour?" in capsys.readouterr().err
    assert run(["embedded", "reset", "habrour", "--yes"]) == 0
    assert capsys.readouterr().err == "there is no embedded pool habrour: did you mean harbour?\n"
    assert run(["correction", "answer", "company-moved"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2, "what is wrong, and what comes next"


def test_a_machine_that_does_not_answer_for_its_key_is_one_document_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estates.write(tmp_path, 1)
    pool, site = tmp_path / "pool.yaml", "name: silent-room, displayName: Room, zone: internal, inventory: silent.yml"
    pool.write_text(
        pool.read_text(encoding="utf-8").replace("    sites:\n", f"    sites:\n      - {{{site}}}\n"), encoding="utf-8"
    )
    host = {"ansible_host": "127.0.0.1", "ansible_port": 1, "commonpool_flavor": "standard"}
    host |= {"commonpool_cpu": "4", "commonpool_memory": "8Gi", "commonpool_role": "backend"}
    (tmp_path / "silent.yml").write_text(json.dumps({"all": {"hosts": {"silent-1": host}}}), encoding="utf-8")
    words = ["machine", "trust", "silent-1", "--estate", str(tmp_path)]
    assert run(words) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    what, then = printed.err.splitlines()
    assert what == "silent-1: no SSH server answers at 127.0.0.1, port 1"
    assert then.startswith("  next: check power, cable, address (ansible_host) and port; then ")
    assert then.endswith(f" machine trust --estate {tmp_path} silent-1")
    assert run([*words, "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["items"], found["silent"]) == ("HostKeyList", [], ["silent-1"])
