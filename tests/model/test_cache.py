"""An unchanged manifest is not parsed again, and whatever is wrong with the cache costs time and nothing else."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import estates
import pytest
from commonpool.model import EstateRefused, cache, document, load_estate


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An estate of three departments, and a cache of its own."""
    monkeypatch.setenv("COMMONPOOL_CACHE", str(tmp_path / "cache"))
    return estates.write(tmp_path / "estate", 3)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are parsed from now on."""
    found: list[str] = []
    parse = document.parse

    def noted(text: str, name: str) -> document.Document:
        found.append(Path(name).name)
        return parse(text, name)

    monkeypatch.setattr(document, "parse", noted)
    return found


def kept(root: Path) -> Path:
    """The only file in the cache."""
    (path,) = (root.parent / "cache" / "manifests").iterdir()
    return path


def test_what_did_not_change_is_parsed_once_and_read_as_the_same(root: Path, parsed: list[str]) -> None:
    first = load_estate(root)
    assert {"pool.yaml", "d0.yaml", "d1.yaml", "d2.yaml"} <= set(parsed)
    parsed.clear()
    second = load_estate(root)
    assert parsed == []
    assert (second.departments, second.pool, second.digests) == (first.departments, first.pool, first.digests)


def test_a_file_changed_within_the_same_moment_and_to_the_same_size_is_read_anew(root: Path, parsed: list[str]) -> None:
    load_estate(root)
    path = root / "departments" / "d1.yaml"
    before, text = path.stat(), path.read_text(encoding="utf-8")
    path.write_text(text.replace("environment: test", "environment: prod"), encoding="utf-8")
    path.write_text(text.replace("Duty desk", "Duty team"), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    parsed.clear()
    (changed,) = (one for one in load_estate(root).departments if one.name == "d1")
    assert changed.spec.contacts.duty.role == "Duty team"
    assert parsed == ["d1.yaml"]


def test_a_problem_is_never_kept(root: Path, parsed: list[str]) -> None:
    path = root / "departments" / "d1.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}extra: 017\n", encoding="utf-8")
    told = []
    for _ in range(2):
        with pytest.raises(EstateRefused) as refused:
            load_estate(root)
        told.append([str(problem) for problem in refused.value.problems])
    assert told[0] == told[1]
    assert "scalar-ambiguous" in told[0][0]
    path.write_text(text, encoding="utf-8")
    parsed.clear()
    load_estate(root)
    assert parsed == ["d1.yaml"], "the others were plain the first time"


@pytest.mark.parametrize("values", [{"half": "\ud83d"}, {"large": 1 << 64}])
def test_what_json_cannot_say_is_not_kept(root: Path, values: object) -> None:
    known = cache.Cache(root)
    known.keep(b"bytes", values)
    known.save()
    assert not (root.parent / "cache").exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def overwritten(path: Path) -> None:
    content = path.read_bytes()
    place = content.index(b"Duty desk")
    path.write_bytes(content[:place] + b"Duty team" + content[place + 9 :])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def whole_but_writable_by_others(path: Path) -> None:
    path.chmod(0o622)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [cut, overwritten, emptied, noise, whole_but_writable_by_others, a_folder])
def test_what_is_damaged_or_not_ours_alone_is_as_none(
    root: Path, parsed: list[str], spoil: Callable[[Path], None]
) -> None:
    first = load_estate(root)
    spoil(kept(root))
    parsed.clear()
    assert load_estate(root).departments == first.departments
    assert "d0.yaml" in parsed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_what_another_user_wrote_is_as_none(root: Path, parsed: list[str]) -> None:
    load_estate(root)
    os.chown(kept(root), 65534, 65534)
    parsed.clear()
    load_estate(root)
    assert "d0.yaml" in parsed
    assert kept(root).stat().st_uid == 0, "and it is written anew"


def test_only_its_owner_reads_it(root: Path) -> None:
    load_estate(root)
    assert kept(root).stat().st_mode & 0o777 == 0o600
    assert kept(root).parent.stat().st_mode & 0o777 == 0o700


def test_what_another_version_read_is_not_believed(
    root: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_estate(root)
    monkeypatch.setattr(cache, "_version", lambda: "another")
    parsed.clear()
    load_estate(root)
    assert "d0.yaml" in parsed


def test_a_cache_that_cannot_be_written_is_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "file").touch()
    monkeypatch.setenv("COMMONPOOL_CACHE", str(root.parent / "file"))
    assert load_estate(root).departments == load_estate(root).departments


def test_a_full_disk_leaves_nothing_behind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert load_estate(root).departments
    assert list((root.parent / "cache" / "manifests").iterdir()) == []


def test_who_has_no_home_reads_without(root: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("COMMONPOOL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    for _ in range(2):
        parsed.clear()
        load_estate(root)
        assert "d0.yaml" in parsed


def test_nothing_is_written_while_nothing_changes(root: Path) -> None:
    load_estate(root)
    before = kept(root).stat()
    load_estate(root)
    assert kept(root).stat() == before
    (root / "departments" / "d2.yaml").unlink()
    load_estate(root)
    assert b"T-2" not in kept(root).read_bytes(), "what is gone is forgotten"


def test_the_estates_that_were_read_last_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ESTATES", 2)
    for number in range(4):
        load_estate(estates.write(root.parent / f"estate{number}", 1))
    assert len(list((root.parent / "cache" / "manifests").iterdir())) == 2


def test_two_processes_at_once_read_the_same(root: Path) -> None:
    reads = (
        "import hashlib, pathlib, sys; from commonpool.model import load_estate\n"
        "for _ in range(20):\n"
        "    found = load_estate(pathlib.Path(sys.argv[1]))\n"
        "    for path in (pathlib.Path(sys.argv[2]) / 'manifests').iterdir(): path.unlink(missing_ok=True)\n"
        "print(hashlib.sha256(repr((found.departments, sorted(found.digests.items()))).encode()).hexdigest())\n"
    )
    command = [sys.executable, "-c", reads, str(root), str(root.parent / "cache")]
    found = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    estate = load_estate(root)
    expected = hashlib.sha256(repr((estate.departments, sorted(estate.digests.items()))).encode()).hexdigest()
    assert [one.communicate()[0].strip() for one in found] == [expected, expected]
