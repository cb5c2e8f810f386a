"""The edit that a refusal names is taken literally, again and again, until the manifest passes."""

import re
from pathlib import Path

import estates
import pytest
from commonpool.model import EstateRefused, load_estate
from commonpool.model.problem import Problem

VALID = estates.department("water", 1)
MOST_EDITS = 6
SLIPS = {
    "one line too far in": ("  displayName", "   displayName"),
    "one block too far in": ("    owner:", "     owner:"),
    "one line too far out": ("      environment", "     environment"),
    "tab": ("  displayName", "\tdisplayName"),
    "full-width spaces": ("      environment", "　　　environment"),
    "full-width colon": ("environment: test", "environment：test"),
    "full-width comma": ("cpu: 40m, ", "cpu: 40m，"),
    "full-width braces": ("{role: Office}", "｛role: Office｝"),
    "full-width brackets": ("[water-admins]", "【water-admins】"),
    "list in words": ("[water-admins]", "water-admins、water-office"),
    "a value that begins as an alias": ("Department 1", "*Department 1"),
    "a value that begins as a tag": ("Department 1", "!部门"),
    "a value with a colon": ("Department 1", "Department: 1"),
    "unit": ("64Mi", "64MiB"),
    "cores": ("cpu: 40m", "cpu: 1 core"),
    "cores in Chinese": ("cpu: 40m", "cpu: 1核"),
    "half a core": ("cpu: 40m", "cpu: 0.5"),
    "memory without a suffix": ("64Mi", "64"),
    "memory in thousandths": ("64Mi", "64m"),
    "level in quotes": ("protectionLevel: 2", 'protectionLevel: "2"'),
    "level too high": ("protectionLevel: 2", "protectionLevel: 0"),
    "name in capitals": ("name: main", "name: Main_1"),
    "name of a template": ("  name: water", "  name: <water>"),
    "enumeration in capitals": ("environment: test", "environment: TEST"),
    "misspelt field": ("businessClass", "business_class"),
    "kind": ("kind: Department", "kind: Namespace"),
    "day with strokes": ('"2026-01-01"', '"2026/1/1"'),
    "day in Chinese": ('"2026-01-01"', '"2026年1月1日"'),
    "day without quotes": ('"2026-01-01"', "2026-01-01"),
    "number without quotes": ('"201"', "201"),
    "code in small letters": (estates.code(1), estates.code(1).lower()),
    "mailbox": ("{role: Office}", "{role: Office, email: office}"),
    "mailbox with a wide sign": ("{role: Office}", "{role: Office, email: office＠water.example}"),
    "port alone": ("}]\n", "}]\n      egress: [{name: time, cidr: 198.51.100.7, ports: [8883], reason: Readings}]\n"),
    "end of a block": (
        "}]\n",
        "}]\n      egress: [{name: time, cidr: 198.51.100.7/25, ports: [{port: 8883}], reason: x}]\n",
    ),
    "several at once": (
        "environment: test\n      businessClass: finance",
        "enviroment: test\n      businessClass: Finance",
    ),
}


def edited(text: str, problem: Problem) -> str:
    """The text after the edit; fails where the edit is no instruction."""
    lines = text.split("\n")
    at, column, fix = problem.line - 1, problem.column - 1, problem.fix
    if moved := re.match(r"indent (?:line (\d+)|it) by (\d+) spaces", fix):
        at = int(moved[1]) - 1 if moved[1] else at
        lines[at] = " " * int(moved[2]) + lines[at].lstrip(" ")
    elif marked := re.fullmatch(r"write '(.+)' instead of '(.+)' at line (\d+), column (\d+)", fix):
        at, column = int(marked[3]) - 1, int(marked[4]) - 1
        wide = marked[2].encode("ascii", "ignore").decode("unicode_escape") or marked[2]
        assert lines[at][column] == wide
        lines[at] = lines[at][:column] + marked[1] + lines[at][column + 1 :]
    elif fix == "write spaces instead of the tab":
        lines[at] = lines[at].replace("\t", "  ")
    elif fix == "put the value in quotes":
        lines[at] = re.sub(r": (.*)", r': "\1"', lines[at], count=1)
    else:
        value = re.match(
            r"(?:write|put it in quotes:)(?: for instance| at most| at least)? (\[.*\]|\{.*\}|\"[^\"]*\"|[^ ,]+)", fix
        )
        assert value, fix
        old = re.match(r"\"[^\"]*\"|[^,}\]\n:]+", lines[at][column:])
        assert old
        lines[at] = lines[at][:column] + value[1] + lines[at][column + len(old[0]) :]
    return "\n".join(lines)


@pytest.mark.parametrize("slip", SLIPS)
def test_the_edit_that_a_refusal_names_passes_as_it_stands(tmp_path: Path, slip: str) -> None:
    old, new = SLIPS[slip]
    assert old in VALID
    estates.write(tmp_path, 0)
    path = tmp_path / "departments" / "water.yaml"
    text, told = VALID.replace(old, new, 1), []
    for _ in range(MOST_EDITS):
        path.write_text(text, encoding="utf-8")
        try:
            load_estate(tmp_path)
        except EstateRefused as refused:
            # From the end, so that an edit does not move the place of another one.
            for problem in reversed(refused.problems):
                told.append(f"{problem} {problem.fix}")
                text = edited(text, problem)
        else:
            assert told, "it is refused"
            return
    pytest.fail("\n".join(told))


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("", "take the file away, or write the manifest"),
        ("Please give us a namespace\n", "write its fields: apiVersion, kind, metadata and spec"),
        (VALID.replace("name: water", "name: {{ name }}"), "write the value itself instead of the template's {{ … }}"),
        (VALID.replace("  term", "<<<<<<< HEAD\n  term"), "keep one side of the merge conflict that begins at line 15"),
        (VALID.replace("[{flavor", "#"), "write its entries below it, each begun with '- '"),
        (VALID.replace("guaranteed", "requests"), "take it out; fields there are flavor, guaranteed and burst"),
        (VALID.replace("guaranteed: {", "burst: true, guaranteed: {"), "write its fields: cpu and memory"),
        (VALID.replace("name: water", "name: 水利"), "write it in these letters, for instance in pinyin"),
    ],
)
def test_what_no_edit_can_be_guessed_for_is_told_what_belongs_there(tmp_path: Path, text: str, fix: str) -> None:
    estates.write(tmp_path, 0)
    (tmp_path / "departments" / "water.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(EstateRefused) as refused:
        load_estate(tmp_path)
    assert fix in [problem.fix.partition(":" if not text else "\n")[0] for problem in refused.value.problems]


def test_chinese_is_told_as_it_was_written_and_what_looks_like_latin_is_not(tmp_path: Path) -> None:
    for written, told in (("水利", "'水利'"), ("w\u0430ter", "'w\\u0430ter'"), ("wa\u200bter", "'wa\\u200bter'")):
        (tmp_path / written).mkdir()
        estates.write(tmp_path / written, 0)
        text = VALID.replace("  name: water", f"  name: {written}")
        (tmp_path / written / "departments" / "water.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(EstateRefused) as refused:
            load_estate(tmp_path / written)
        assert f"metadata.name: {told} is not a name" in refused.value.problems[0].message


def test_a_file_with_another_name_than_its_manifest_is_checked_all_the_same(tmp_path: Path) -> None:
    estates.write(tmp_path, 0)
    text = VALID.replace("performance", "performence")
    (tmp_path / "departments" / "draft.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(EstateRefused) as refused:
        load_estate(tmp_path)
    assert {problem.rule for problem in refused.value.problems} == {"file-name", "flavor-unknown"}


def test_a_namespace_that_stands_twice_is_told_once(tmp_path: Path) -> None:
    estates.write(tmp_path, 0)
    again = VALID[VALID.index("    - name: main") :]
    (tmp_path / "departments" / "water.yaml").write_text(VALID + again, encoding="utf-8")
    with pytest.raises(EstateRefused) as refused:
        load_estate(tmp_path)
    assert [problem.rule for problem in refused.value.problems] == ["name-duplicate"]
