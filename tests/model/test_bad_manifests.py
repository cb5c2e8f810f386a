"""CASES M1 to M11 from the outside: one line with its place, exit code 1, nothing written, memory bounded by the system."""

import os
import random
import re
import resource
import subprocess
import sys
from pathlib import Path

import estates
import pytest
from commonpool.cli import run
from commonpool.model.document import parse, read

ROOT = Path(__file__).resolve().parents[2]
VALID = estates.department("water", 1)
LINE = re.compile(r"(?P<file>[^:]+):(?P<line>\d+):(?P<column>\d+): [^\n]+ \[(?P<rule>[a-z0-9-]+)\]")
MEMORY = 200 << 20  # bytes of data that the reader may take; the interpreter and pydantic alone take some 60 MB
MERGES = "".join(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n" for n in range(1, 40))
ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
BOMBS = {
    "aliases": (f"a0: &a0 [x]\n{ALIASES}".encode(), "yaml-alias"),
    "merges": (f"m0: &m0 {{x: 1}}\n{MERGES}".encode(), "yaml-merge"),
    "nesting": (b"[" * 100_000, "yaml-depth"),
    "blocks": (b"a:\n" + b"".join(b" " * n + b"- \n" for n in range(1, 1400)), "yaml-depth"),
    "size": (b"#" * (100 << 20), "file-size"),
}
CASES: list[tuple[str, str, str, str]] = [
    ("M2", "metadata:\n  name: water\n", "metadata:\n  name: water\n  name: water\n", "key-duplicate"),
    ("M3", "name: main", "name: no", "scalar-ambiguous"),
    ("M3", "cpu: 40m", "cpu: 017", "scalar-ambiguous"),
    ("M3", "cpu: 40m", "cpu: 1:30", "scalar-ambiguous"),
    ("M3", "cpu: 40m", "cpu: 1_000", "scalar-ambiguous"),
    ("M3", 'start: "2026-01-01"', "start: 2026-01-01", "scalar-ambiguous"),
    ("M3", "name: main", "name: ~", "type-wrong"),
    *(
        ("M4", "cpu: 40m", f"cpu: {text}", "quantity-invalid")
        for text in ('"-1"', '"-0"', '"-1e30"', '"NaN"', '".inf"', '"100E"', '"9223372036854775808"')
    ),
    *(
        ("M4", "cpu: 40m", f"cpu: {text}", "quantity-invalid")
        for text in ('"1e4294967297"', '"2E6024865272343"', '"1.5 pods"', '"0x10"', '"１０"', '"10 Gi"', '""')
    ),
    ("M5", "name: water", 'name: "w\\u0430ter"', "name-invalid"),
    ("M5", "name: water", 'name: "../../x"', "name-invalid"),
    ("M5", "name: water", 'name: "a\\r\\nb"', "name-invalid"),
    ("M5", "displayName: Department 1", 'displayName: "Department\\u202e1"', "text-character"),
    ("M6", "\n", "\r", "file-encoding"),
    ("M6", "Department 1", "Department\0", "file-encoding"),
    ("M7", "  term:", "  trem:", "field-unknown"),
    ("M7", "environment: test", "environment: [test]", "value-unknown"),
    ("M7", "resources: [{", "resources: null #", "type-wrong"),
    ("M7", VALID, "", "document-empty"),
    ("M7", VALID, f"{VALID}---\n{VALID}", "document-many"),
    ("M8", "environment: test", "environment: !!python/object/apply:os.system [touch owned]", "yaml-tag"),
    ("M8", "environment: test", "environment: !include /etc/shadow", "yaml-tag"),
]


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid estate of one department; the command works in it."""
    estates.write(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def first_line(text: str) -> dict[str, str]:
    match = LINE.fullmatch(text.splitlines()[0])
    assert match, text[:500]
    return match.groupdict()


@pytest.mark.parametrize(
    ("case", "old", "new", "rule"), CASES, ids=[f"{one[0]} {one[3]} {n}" for n, one in enumerate(CASES)]
)
def test_a_bad_manifest_is_one_line_with_its_place_and_nothing_is_written(
    estate: Path, case: str, old: str, new: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in VALID, case
    path = estate / "departments" / "water.yaml"
    path.write_text(VALID.replace(old, new), encoding="utf-8", newline="")
    before = content_of(estate)
    for words in (["validate"], ["department", "list"], ["up", "--yes"]):
        assert run(words) == 1
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if LINE.fullmatch(line)]
        found = [first_line(line) for line in lines]
        assert captured.out == ""
        assert rule in {one["rule"] for one in found}
        assert {one["file"] for one in found} == {"departments/water.yaml"}
        assert all(int(one["line"]) >= 1 and int(one["column"]) >= 1 for one in found)
        assert not set("\u202e\u0430\0") & set(captured.err)
    assert content_of(estate) == before


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_bounded_memory(estate: Path, bomb: str) -> None:
    content, rule = BOMBS[bomb]
    (estate / "departments" / "bomb.yaml").write_bytes(content)
    ended = subprocess.run(
        [sys.executable, "-m", "commonpool.cli", "validate"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    found = first_line(ended.stderr)
    assert (found["file"], found["rule"]) == ("departments/bomb.yaml", rule)


def test_everything_that_is_wrong_is_told_in_one_run(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = estate / "pool.yaml"
    text = pool.read_text(encoding="utf-8").replace("cidr: 10.21.0.0/16", "cidr: 10.20.128.0/17")
    pool.write_text(text, encoding="utf-8")
    for name, number, parent in (("a", 2, "b"), ("b", 3, "a")):
        text = estates.department(name, number).replace("level: city}", f"level: city, parent: {parent}}}")
        text += "      consumes: [nothing]\n      containers: {defaultMemoryLimit: 1Mi}\n"
        (estate / "departments" / f"{name}.yaml").write_text(text, encoding="utf-8")
    assert run(["validate"]) == 1
    found = {match["rule"] for match in LINE.finditer(capsys.readouterr().err)}
    assert found == {"cidr-overlap", "parent-cycle", "service-unknown", "limit-below-request"}


def test_promises_beyond_the_pool_are_refused_where_they_stand(
    estate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = estate / "departments" / "water.yaml"
    path.write_text(VALID.replace("cpu: 40m", 'cpu: "100000"'), encoding="utf-8")
    assert run(["validate"]) == 1
    found = first_line(capsys.readouterr().err)
    line = VALID[: VALID.index("guaranteed:")].count("\n") + 1
    assert (found["file"], found["rule"], int(found["line"])) == ("departments/water.yaml", "capacity-exceeded", line)


def test_a_hundred_thousand_byte_strings_end_in_values_or_problems(tmp_path: Path) -> None:
    source = random.Random(20260202)
    alphabet = b"ab1:-[]{}#&*!|>'\"%@,.?~ \n\t\r\0\xff\xc3\xa9"
    for _ in range(100_000):
        content = bytes(source.choices(alphabet, k=source.randrange(14)))
        try:
            document = parse(content.decode("utf-8"), "m")
        except UnicodeDecodeError:
            path = tmp_path / "m.yaml"
            path.write_bytes(content)
            document = read(path, "m")
        assert all(problem.rule and problem.line >= 1 for problem in document.problems)
        assert document.values is None or not document.problems, "what has problems has no values"
