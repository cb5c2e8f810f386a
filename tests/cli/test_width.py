"""On a terminal of 80 columns no sentence and no table runs over the edge; what is copied stays whole."""

from pathlib import Path

import estates
import pytest
from commonpool.cli import output
from commonpool.cli.output import Output, folded
from rich.cells import cell_len
from terminal import Terminal

SCREENS = {
    "help": ["--help"],
    "valid": ["validate"],
    "refused": ["validate", "examples/refused/asks-too-much.yaml"],
    "field": ["explain", "dataset.spec"],
    "ledger": ["ledger", "--declared"],
    "departments": ["department", "list"],
    "department": ["department", "show", "water-bureau"],
    "decision": ["department", "explain", "water-bureau", "--declared"],
    "machines": ["machine", "list"],
    "datasets": ["dataset", "list"],
    "dataset": ["dataset", "show", "residents"],
    "agreements": ["agreement", "list"],
    "requests": ["request", "list"],
    "progress": ["progress", "list"],
    "mistyped": ["department", "show", "nothing"],
}


@pytest.mark.parametrize("name", SCREENS)
def test_every_screen_fits_in_80_columns(name: str, tmp_path: Path) -> None:
    terminal = Terminal(*SCREENS[name], COLUMNS="80", COMMONPOOL_DATA=str(tmp_path))
    terminal.ended()
    told = [line.rsplit("\r", 1)[-1] for line in terminal.plain.splitlines()]
    assert any(told)
    assert not [line for line in told if cell_len(line) > 80]


def test_of_long_names_the_first_is_whole_while_there_is_room_and_nothing_runs_over_the_edge(tmp_path: Path) -> None:
    long = "commission-of-health-and-families-of-a"
    estates.write(tmp_path / "estate", 3, prefix=long)
    wide, narrow = (
        Terminal("department", "list", "-e", str(tmp_path / "estate"), COLUMNS=size) for size in ("100", "80")
    )
    assert wide.ended() == narrow.ended() == 0
    assert wide.plain.count(long) == 3, "a name can be copied"
    assert max(map(cell_len, narrow.plain.splitlines())) <= 80


def test_a_line_goes_on_where_its_words_began() -> None:
    assert folded("  estate    jiangnan: 44 machines, 12 departments", 30).split("\n") == [
        "  estate    jiangnan: 44",
        "            machines, 12",
        "            departments",
    ]
    assert folded("  who: the department, or the pool's operators", 30).split("\n") == [
        "  who: the department, or the",
        "    pool's operators",
    ]
    assert folded("\x1b[31m  ! one: two three four\x1b[0m", 16).split("\n") == [
        "\x1b[31m  ! one: two\x1b[0m",
        "\x1b[31m    three four\x1b[0m",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "next: commonpool department show water-bureau --estate x",
        f"  {'0' * 64}",
        "`commonpool up --estate a/b`",
        "short",
        "",
    ],
)
def test_what_is_copied_stays_whole(line: str) -> None:
    assert folded(line, 30) == line
    assert folded(line, 0) == line


def test_chinese_goes_on_below_anywhere_but_between_a_bracket_and_what_is_in_it() -> None:
    assert folded("kind of theme (主题)", 15).split("\n") == ["kind of theme", "  (主题)"]
    assert folded("政务信息（主题）", 10).split("\n") == ["政务信息", "  （主题）"]
    assert folded("政务信息资源（主题）", 14).split("\n") == ["政务信息资源", "  （主题）"]


def test_a_long_command_goes_on_as_shells_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "columns", lambda stream: 40)
    text = Output().command("next", "commonpool up --estate '/a b/estate' --pool other | less", "again")
    assert text.split("\n") == [
        "  next     commonpool up \\",
        "             --estate '/a b/estate' \\",
        "             --pool other | less",
        "             # again",
    ]
