"""What several processes read is what one reads, problems and all; one that ends early costs time and nothing else."""

import os
import sys
from pathlib import Path

import pytest
from commonpool.model import many
from commonpool.model.cache import Cache
from commonpool.model.document import read

TEXTS = [
    "spec: {displayName: 水位, items: [1, 2.5, true, null], deep: {a: [{b: '017'}]}}\n",
    "spec: [\n",
    "",
    "name: 017\n",
    "large: 18446744073709551615\nsmall: -9999999999999999999\n",
    '"\\ud83d": half\n',
    "- x\n",
    "null\n",
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """Files of every kind, as though there were three cores and five files were many."""
    monkeypatch.setattr(many, "FEWEST", 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    found = []
    for number in range(40):
        path = tmp_path / f"{number:02d}.yaml"
        path.write_text(TEXTS[number % len(TEXTS)], encoding="utf-8")
        found.append((path, path.name))
    return [*found, (tmp_path / "missing.yaml", "missing.yaml")]


def test_what_others_read_is_what_one_process_reads(files: list[tuple[Path, str]]) -> None:
    begun: list[int] = []
    started = many._Elsewhere.__init__

    def counted(self: many._Elsewhere, share: list[tuple[Path, str]]) -> None:
        begun.append(len(share))
        started(self, share)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many._Elsewhere, "__init__", counted)
        cache = Cache()
        found = list(many.read_many(files, cache))
    alone = Cache()
    assert found == [read(path, name, alone) for path, name in files]
    assert cache.read == alone.read, "and what is kept of it"
    assert begun == [17, 16], "and this process reads half as many"


def test_a_process_that_ends_early_costs_nothing_but_time(
    files: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert list(many.read_many(files, Cache())) == [read(path, name) for path, name in files]


def test_no_process_outlives_a_reading_that_is_given_up(files: list[tuple[Path, str]]) -> None:
    before = children()
    reading = many.read_many(files, Cache())
    next(reading)
    assert children() - before
    reading.close()
    assert not children() - before


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()}


def test_what_is_known_is_read_by_one_process(files: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    first = Cache()
    expected = list(many.read_many(files, first))
    monkeypatch.setattr(many, "_Elsewhere", None)
    known = Cache(None, first.read | {bytes(64 * [number]): b"" for number in range(30)})
    assert list(many.read_many(files, known)) == expected
