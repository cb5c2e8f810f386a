"""CASES M1-M3, M6-M8: what a YAML file may hold, and that hostile ones cost nothing."""

from pathlib import Path

import pytest
from commonpool.model.document import Document, locate, parse, read

MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30))
ALIAS_BOMB = "a0: &a0 [x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]\n" for n in range(1, 20)
)


def rules(document: Document) -> list[str]:
    assert document.values is None
    return [problem.rule for problem in document.problems]


def written(folder: Path, content: bytes) -> Document:
    path = folder / "manifest.yaml"
    path.write_bytes(content)
    return read(path, "manifest.yaml")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (ALIAS_BOMB, "yaml-alias"),
        (MERGE_BOMB, "yaml-merge"),
        ("[" * 100_000 + "]" * 100_000, "yaml-depth"),
        ("a:\n" + "".join(" " * n + "- \n" for n in range(1, 3000)), "yaml-depth"),
        ("{" * 100_000, "yaml-depth"),
    ],
    ids=["aliases", "merge keys", "nesting", "block nesting", "open braces"],
)
def test_bombs_are_refused_before_they_are_built(text: str, rule: str) -> None:
    assert rule in rules(parse(text, "bomb"))


def test_a_file_of_100_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    assert rules(read(path, "large.yaml")) == ["file-size"]


def test_duplicate_keys_are_refused_at_any_depth_with_both_places() -> None:
    document = parse("a:\n  - b: {c: 1, d: 2, c: 3}\na: 1\n", "m")
    assert [(problem.line, problem.column) for problem in document.problems] == [(2, 21), (3, 1)]
    assert "the first is at line 2, column 9" in document.problems[0].message


@pytest.mark.parametrize(
    "text", ["no", "No", "yes", "on", "off", "y", "017", "0o17", "0x1F", "1:30", "1_000", "1e3", "2026-01-01", "+1",
             ".5", "1.", ".inf", ".nan", "TRUE", "99999999999999999999"],
)  # fmt: skip
def test_words_that_yaml_readers_disagree_on_must_be_quoted(text: str) -> None:
    document = parse(f"name: {text}\n", "m")
    if text == "y":
        assert document.values == {"name": "y"}, "every reader at hand takes y for text"
        return
    assert rules(document) == ["scalar-ambiguous"]
    assert document.problems[0].fix == f'put it in quotes: "{text}"'
    assert parse(f'name: "{text}"\n', "m").values == {"name": text}


def test_plain_words_and_numbers_pass() -> None:
    document = parse("a: 1\nb: 1.5\nc: true\nd: text\ne: ~\nf: -3\ng: 500m\nh: 10Gi\n", "m")
    assert document.values == {
        "a": 1, "b": 1.5, "c": True, "d": "text", "e": None, "f": -3, "g": "500m", "h": "10Gi",
    }  # fmt: skip


def test_crlf_equals_lf_and_a_byte_order_mark_is_nothing(tmp_path: Path) -> None:
    plain = written(tmp_path, b"a: 1\nb: [x]\n")
    assert written(tmp_path, b"a: 1\r\nb: [x]\r\n").values == plain.values
    assert written(tmp_path, b"\xef\xbb\xbfa: 1\nb: [x]\n").values == plain.values


@pytest.mark.parametrize(
    "content",
    [b"a: \xff\xfe\n", b"a: \xc0\x80\n", "a: 1\n".encode("utf-16"), b"a: x\0y\n", b"a: 1\rb: 2\r"],
    ids=["broken UTF-8", "overlong NUL", "UTF-16", "NUL", "CR alone"],
)
def test_other_encodings_are_refused(tmp_path: Path, content: bytes) -> None:
    assert rules(written(tmp_path, content)) == ["file-encoding"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "document-empty"),
        ("# only a comment\n", "document-empty"),
        ("a: 1\n---\nb: 2\n", "document-many"),
        ("a: !!python/object/apply:os.system [id]\n", "yaml-tag"),
        ("a: !include /etc/shadow\n", "yaml-tag"),
        ("a: !!binary aGVsbG8=\n", "yaml-tag"),
        ("a: !!set {x}\n", "yaml-tag"),
        ("? [a, b]\n: 1\n", "yaml-key"),
        ("a: [1, 2\n", "yaml-syntax"),
        ("a: 'open\n", "yaml-syntax"),
        ("%YAML 3.0\n---\na: 1\n", "yaml-syntax"),
    ],
)
def test_documents_that_are_no_manifest(text: str, rule: str) -> None:
    assert rules(parse(text, "m")) == [rule]


def test_values_are_located(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("a:\n  b:\n    - c: 1\n    - {c: 2, d: 三}\n", encoding="utf-8")
    assert locate(path, ("a", "b", 1, "d")) == (4, 17)
    assert locate(path, ("a", "b", 7)) == (2, 3), "the deepest part that exists"


@pytest.mark.parametrize("text", ["!0 : a", "!x key: a", "!!python/name:os.system key: a", "a: {!y b: 1}"])
def test_a_tag_on_a_key_is_refused(text: str) -> None:
    assert [problem.rule for problem in parse(text, "m").problems] == ["yaml-tag"]
