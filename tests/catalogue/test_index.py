"""Search finds parts of Chinese words, follows the files, and survives its own cache."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commonpool.catalogue import index as index_module
from commonpool.catalogue import open_index
from commonpool.catalogue.index import query, tokens

MANIFEST = """\
apiVersion: commonpool.dev/v1
kind: Dataset
metadata: {{name: {name}}}
spec: {{displayName: {title}, provider: {provider}, code: C-{name}, abstract: {abstract}, sharing: {{class: conditional}}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMMONPOOL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


def write(folder: Path, name: str, title: str, *, provider: str = "water", abstract: str = "x") -> None:
    text = MANIFEST.format(name=name, title=title, provider=provider, abstract=abstract)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def found(folder: Path, text: str, **filters: Any) -> list[str]:
    with closing(open_index(folder)) as index:
        index.refresh()
        return [one.name for one in index.search(text, **filters)[0]]


def test_any_part_of_a_chinese_name_is_found_and_nothing_that_only_shares_characters(folder: Path) -> None:
    write(folder, "a", "常住人口基础信息")
    write(folder, "b", "口岸人员信息")
    assert found(folder, "人口") == ["a"]
    assert found(folder, "基础信息") == ["a"]
    assert found(folder, "信息") == ["b", "a"] or found(folder, "信息") == ["a", "b"]
    assert sorted(found(folder, "人")) == ["a", "b"]
    assert found(folder, "息") != [], "the last character too"
    assert found(folder, "人口 口岸") == [], "all words must be there"


def test_titles_come_before_what_is_only_in_the_abstract(folder: Path) -> None:
    write(folder, "a", "流量", abstract="水位 水位 水位")
    write(folder, "b", "水位监测")
    assert found(folder, "水位") == ["b", "a"]


def test_what_very_many_match_is_found_with_titles_first_and_counted_in_full(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "MANY", 3)
    for number in range(4):
        write(folder, f"r{number}", "流量", abstract="水位 港口市")
    write(folder, "t", "港口市水位监测")
    write(folder, "u", "港口市水位监测", provider="transport")
    with closing(open_index(folder)) as index:
        index.refresh()
        found, total = index.search("水位 港口", limit=3)
        assert ([one.name for one in found], total) == (["t", "u", "r0"], 6)
        found, total = index.search("水位 港口", provider="water", limit=3)
        assert ([one.name for one in found], total) == (["t", "r0", "r1"], 5)
        assert len(index.search("水位 港口", limit=50)[0]) == 6, "each once"


def test_codes_and_beginnings_of_words_are_found_and_filters_hold(folder: Path) -> None:
    write(folder, "rainfall", "Rainfall stations", provider="water")
    write(folder, "railway", "Railway stations", provider="transport")
    assert found(folder, "stat", provider="transport") == ["railway"]
    assert found(folder, "C-rainfall") == ["rainfall"]
    assert found(folder, "", sharing="unconditional") == []
    assert found(folder, "") == ["railway", "rainfall"]


@pytest.mark.parametrize(
    "text", ['"', "'; drop table entry; --", "AND", "NOT a", "a*", "(", "NEAR(a b)", "col:a", "\0", "人\0口"]
)
def test_a_question_is_words_and_never_a_language(folder: Path, text: str) -> None:
    write(folder, "a", "one")
    found(folder, text)
    assert found(folder, "one") == ["a"]


def test_the_index_follows_what_is_written_changed_and_deleted(folder: Path) -> None:
    write(folder, "a", "水位")
    assert found(folder, "水位") == ["a"]
    time.sleep(0.01)
    write(folder, "a", "流量监测站")
    write(folder, "b", "水位")
    assert (found(folder, "水位"), found(folder, "流量")) == (["b"], ["a"])
    (folder / "a.yaml").unlink()
    assert found(folder, "流量") == []


def test_a_damaged_index_is_made_anew(folder: Path, tmp_path: Path) -> None:
    write(folder, "a", "水位")
    assert found(folder, "水位") == ["a"]
    (path,) = (tmp_path / "cache" / "catalogue").glob("*.sqlite")
    path.write_bytes(b"no database at all" * 1000)
    assert found(folder, "水位") == ["a"]


def test_what_is_no_manifest_is_left_to_validation(folder: Path) -> None:
    (folder / "a.yaml").write_text("spec: [", encoding="utf-8")
    (folder / "b.yaml").write_text("- x\n", encoding="utf-8")
    write(folder, "c", "水位")
    assert found(folder, "") == ["c"]


def test_tokens_and_questions_meet() -> None:
    assert tokens("常住人口 GB/T 2260") == "常住 住人 人口 口 gb t 2260"
    assert query("人口 gb") == '"人口" "gb"*'
    assert query("常住人口") == '"常住 住人 人口"'
    assert query("") == ""
