"""What commands print: data to standard output, plain wherever nobody looks, documents that programs read."""

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from commonpool.cli import cwd_first, output, run, screen
from commonpool.cli.failure import CommandFailed, markdown, report
from commonpool.cli.output import Format, Output, table
from commonpool.cli.report import field_line, to_markdown
from commonpool.cli.survey import Progress
from commonpool.cli.target import Target
from commonpool.engine import FieldChange, ResourceProblem, Result
from commonpool.ledger import Ledger
from commonpool.machines import Event
from commonpool.model import Problem, load_estate
from markdown_it import MarkdownIt
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
ESCAPE = "\x1b"
DOCUMENTS = {
    "Validation": ["validate"],
    "DepartmentList": ["department", "list"],
    "Department": ["department", "show", "water-bureau"],
    "Admission": ["department", "explain", "water-bureau", "--declared"],
    "MachineList": ["machine", "list"],
    "Ledger": ["ledger", "--declared"],
    "Explanation": ["explain", "department.spec"],
    "EmbeddedPoolList": ["embedded", "status"],
    "DatasetList": ["dataset", "list"],
    "Dataset": ["dataset", "show", "residents"],
    "AgreementList": ["agreement", "list"],
    "Verification": ["agreement", "verify"],
    "SharingRequestList": ["request", "list"],
    "CorrectionList": ["correction", "list"],
    "Progress": ["progress", "list"],
    "NameResolution": ["service", "dns"],
    "PolicyList": ["policy", "list"],
}


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPOOL_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(ROOT)


def outside(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command as a script calls it."""
    return subprocess.run(
        [sys.executable, "-m", "commonpool.cli", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_every_document_is_one_and_says_what_it_is(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[Any] = []
    for format in ("json", "yaml"):
        assert run([*DOCUMENTS[kind], "-o", format]) == 0
        found.append(yaml.safe_load(capsys.readouterr().out))
    assert (found[0]["apiVersion"], found[0]["kind"]) == ("commonpool.dev/v1", kind)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_pipe_gets_neither_colours_nor_boxes(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(DOCUMENTS[kind]) == 0
    captured = capsys.readouterr()
    assert captured.out
    assert ESCAPE not in captured.out + captured.err
    assert not set("│┃┏╭") & set(captured.out)


def test_colour_is_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["department", "show", "water-bureau"]
    assert run([*words, "--color", "always"]) == 0
    assert ESCAPE in capsys.readouterr().out
    assert run([*words, "--color", "always", "-o", "json"]) == 0
    assert ESCAPE not in capsys.readouterr().out, "a document has no colours"
    assert ESCAPE not in outside(*words, NO_COLOR="1").stdout


@pytest.mark.parametrize("words", [["ledger", "--declared"], ["department", "list"], ["machine", "list"]], ids=" ".join)
def test_tables_become_tables_of_markdown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "-o", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    assert set(lines[first + 1]) <= set("|-: ")
    assert len({line.count("|") for line in lines[first : first + 3]}) == 1


ORDERS = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b2J\r\u202etxt\u2028end"


@pytest.mark.parametrize("say", [Output().data, Output().say])
def test_what_others_wrote_gives_no_orders_to_a_terminal(say: Any, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a\tb\n{ORDERS}\n")
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "\x1b[31mred\x1b[0m" in shown, "our own colours stay"
    assert set(re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028]", shown)) == {ESCAPE}
    assert shown.count(ESCAPE) == 2
    assert "\\u001b]0;owned\\u0007" in shown


def test_the_living_line_gives_no_orders_to_a_terminal() -> None:
    """It names what is fetched, and another department chose that name."""
    shown = io.StringIO()
    told = Output()
    with told.working("fetching"):
        told.progress(ORDERS)
        Console(file=shown, force_terminal=True, width=200).print(told)
    assert "\x1b]" not in shown.getvalue()
    assert "\\u001b]0;owned\\u0007" in shown.getvalue()


def test_a_failure_gives_no_orders_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(CommandFailed(f"no {ORDERS}", next_step=ORDERS), "text")
    assert "\x1b]" not in capsys.readouterr().err


SMUGGLED = "x](y) ![i](http://evil.example/i.png) <img src=z> **b** `c` | d\n```\n### all is well\n- @boss"


def test_what_others_wrote_is_only_text_in_a_comment() -> None:
    """A value that is refused, what the API server says of a name, a cell of a table: no image, link, tag or line of its own."""
    problem = Problem("departments/x.yaml", 1, 1, f"there is no field {SMUGGLED}", "field-unknown", fix=SMUGGLED)
    change = ResourceProblem(f"a::{SMUGGLED}", "refused", SMUGGLED)
    texts = {
        "refusal": markdown(CommandFailed(SMUGGLED, next_step=SMUGGLED, problems=(problem,))),
        "failure": markdown(CommandFailed(SMUGGLED, next_step=SMUGGLED)),
        "run": to_markdown([Result("departments", True, problems=(change,))], "preview", CommandFailed(SMUGGLED)),
        "table": Output(Format.MARKDOWN).table(["a", "b"], [[SMUGGLED, SMUGGLED]]),
    }
    for name, text in texts.items():
        blocks = MarkdownIt("commonmark").enable("table").parse(text)
        kinds = {token.type for block in blocks for token in (block, *(block.children or ()))}
        assert not kinds & {"image", "link_open", "html_inline", "html_block", "fence"}, name
        assert [block.content for block in blocks if block.type == "inline"].count("all is well") == 0, name
        assert len([line for line in text.splitlines() if line.startswith("|")]) == (3 if name == "table" else 0)


def test_a_field_that_changes_stays_on_its_line() -> None:
    """A description may have line ends; the fence of a comment's details has none but its own."""
    line = field_line(FieldChange("metadata.annotations", "~", SMUGGLED, SMUGGLED))
    assert "\n" not in line


def test_of_long_values_that_begin_alike_a_line_shows_where_they_part() -> None:
    line = field_line(FieldChange("spec.cel", "~", "x" * 400 + "old end", "x" * 400 + "new end"))
    assert line.endswith("old end -> …" + "x" * 40 + "new end")


def test_a_column_is_as_wide_as_its_chinese() -> None:
    lines = table(["", "n"], [["省水利厅", "1"], ["ab", "22"]]).splitlines()
    assert [line.index("1") if "1" in line else line.index("22") for line in lines[1:]] == [6, 10]


def test_a_folder_may_be_named_anywhere(tmp_path: Path) -> None:
    assert cwd_first(["up", "-C", "here", "--yes"]) == ["-C", "here", "up", "--yes"]
    (tmp_path / "pool.yaml").write_text("kind: Nothing\n", encoding="utf-8")
    ended = outside("validate", "-C", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.startswith("pool.yaml:1:"), "the estate is that folder, and paths are relative to it"


def test_options_can_come_from_the_environment() -> None:
    ended = outside("validate", COMMONPOOL_ESTATE="examples/estate", COMMONPOOL_OUTPUT="json")
    assert json.loads(ended.stdout)["machines"] == 44


def test_without_a_terminal_work_is_told_of_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "QUIET_SECONDS", 0.01)
    told = ""
    spoken = Output(Format.JSON)
    with spoken.working("counting"):
        spoken.progress("counting to ten")
        deadline = time.monotonic() + 60
        while "counting to ten (" not in told and time.monotonic() < deadline:
            told += capsys.readouterr().err
    assert "counting to ten (" in told
    assert ESCAPE not in told
    assert "\r" not in told
    assert capsys.readouterr().out == "", "progress is no data"


def test_every_machine_is_told_with_its_step_and_trouble_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "QUIET_SECONDS", 0.01)
    spoken = Output(Format.JSON)
    progress = Progress(spoken, 3)
    told = ""
    with spoken.working("connecting"):
        progress.take(Event("one", "Import images", "started"))
        progress.take(Event("two", "Start kubelet", "failed", "no space left"))
        deadline = time.monotonic() + 60
        while "two: Start kubelet\n" not in told and time.monotonic() < deadline:
            told += capsys.readouterr().err
    assert "  two: Start kubelet: no space left\n" in told
    lines = r"2 of 3 machines under way, 1 with trouble \(\d+ s so far\)\n      one: Import images\n      two: Start kubelet\n"
    assert re.search(lines, told)


def test_help_needs_nothing_heavy() -> None:
    heavy = ("pulumi", "kubernetes", "aiohttp", "grpc", "pydantic", "rich", "yaml", "cryptography", "jinja2", "psutil")
    code = (
        f"import sys; from commonpool.cli import run; run(['--help']); print([m for m in {heavy} if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("commonpool dep", ["department"]),
        ("commonpool department show wat", ["water-bureau"]),
        ("commonpool up --stack ser", ["services"]),
        ("commonpool up --target mess", ["message-exchange"]),
        ("commonpool explain department.spec.na", ["department.spec.namespaces"]),
        ("commonpool schema Share", ["SharedService"]),
        ("commonpool embedded logs kube-c", ["kube-controllers"]),
    ],
)
def test_names_are_completed_without_a_cluster(words: str, expected: list[str]) -> None:
    place = str(len(words.split()) - 1)
    bash = outside(_COMMONPOOL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place)
    assert bash.stdout.split() == expected
    fish = outside(
        _COMMONPOOL_COMPLETE="complete_fish", _TYPER_COMPLETE_FISH_ACTION="get-args", _TYPER_COMPLETE_ARGS=words
    )
    assert [line.split("\t")[0] for line in fish.stdout.splitlines()] == expected
    zsh = outside(_COMMONPOOL_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=words)
    assert f'"{expected[0]}"' in zsh.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_one_of_its_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_COMMONPOOL_COMPLETE" in capsys.readouterr().out


def test_the_version_is_an_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("commonpool ")


def test_of_many_departments_the_last_screen_shows_those_that_the_run_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    estate = load_estate(ROOT / "examples" / "estate")
    everything = screen.departments(Ledger.of(estate), Output(Format.TEXT), ())
    assert all(department.name in everything for department in estate.departments)
    monkeypatch.setattr(screen, "MOST_DEPARTMENTS", len(estate.departments) - 1)
    shown = screen.departments(Ledger.of(estate), Output(Format.TEXT), {"water-bureau", "commonpool"})
    assert [line.split()[0] for line in shown.splitlines()] == [
        "department",
        "water-bureau",
        str(len(estate.departments) - 1),
    ]


def test_the_command_to_run_next_has_the_configuration_and_no_secret() -> None:
    target = Target(
        program=Path("hello"), stacks=("dev",), config={"text": "two words"}, secret_config={"key": "canary"}
    )
    words = target.rerun("up").partition(" up ")[2]
    assert words == "--program hello --stack dev -c 'text=two words' --secret key=VALUE"


def test_on_a_terminal_the_last_column_of_texts_goes_on_below_itself() -> None:
    rows = [["a", "one two three four five six"], ["b", "政务信息资源共享管理暂行办法"]]
    shown = table(["rule", "refuses"], rows, left=2, width=30)
    assert shown.splitlines() == [
        "rule  refuses",
        "a     one two three four five",
        "      six",
        "b     政务信息资源共享管理暂行",
        "      办法",
    ]
    assert table(["rule", "refuses"], rows, left=2).splitlines()[1] == "a     one two three four five six"


def test_no_line_is_longer_than_the_terminal_while_words_or_names_have_room() -> None:
    rows = [["residents-for-payroll", "5 cores, 12 GiB", "in force", "省人力资源和社会保障厅"]]
    headings = ["agreement", "promised", "state", "name"]
    assert table(headings, rows, left=1, width=60).splitlines() == [
        "agreement                  promised     state  name",
        "residents-for-payroll   5 cores, 12  in force  省人力资源和",
        "                                GiB            社会保障厅",
    ]
    assert table(headings, rows, left=1, width=38).splitlines() == [
        "agreement  promised    state name",
        "residents- 5 cores, in force 省人力资",
        "for-         12 GiB          源和社会",
        "payroll                      保障厅",
    ]
    assert len(table(headings, rows, left=1, width=20).splitlines()) == 2, "no room: as it is"


def test_a_cell_in_colour_is_as_wide_as_without() -> None:
    red = "\x1b[31mill at night\x1b[0m"
    assert table(["a", "b"], [[red, "x"]], left=2).splitlines()[0] == "a             b"
    assert table(["a", "b"], [[red, "x" * 20]], left=2, width=30).splitlines() == [
        "a         b",
        f"\x1b[31mill at\x1b[0m    {'x' * 20}",
        "\x1b[31mnight\x1b[0m",
    ]


@pytest.mark.parametrize("words", [["department", "list"], ["explain", "nothing", "-o", "json"]])
def test_a_reader_who_goes_or_a_disk_that_is_full_ends_it_in_words_if_any(words: list[str]) -> None:
    command = [sys.executable, "-m", "commonpool.cli", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as gone:
        assert gone.stdout is not None
        gone.stdout.close()
        assert gone.stderr is not None
        assert (gone.stderr.read(), gone.wait()) == ("", 1)
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode != 0
    assert ended.stderr.startswith("error: what is printed cannot be written: No space left on device [file_error]")
    assert "Traceback" not in ended.stderr
