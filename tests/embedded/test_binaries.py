"""Where the Go that builds the control plane comes from."""

import os
import subprocess
from pathlib import Path

import pytest
from commonpool.embedded import binaries


@pytest.mark.parametrize(("module", "version"), [(binaries.KUBERNETES, "go1.26"), (binaries.ENVOY_GATEWAY, "go1.27")])
def test_a_go_that_is_too_old_is_replaced_by_the_pinned_wheel(
    module: binaries.Module, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "bin" / "go"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho go1.4\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setenv("COMMONPOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(binaries, "PLACES", ())
    found = binaries.find_go(binaries.source_folder(module))
    assert str(tmp_path / "cache") in found
    assert version in subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
    before = Path(found).stat().st_mtime_ns
    assert binaries.find_go(binaries.source_folder(module)) == found
    assert Path(found).stat().st_mtime_ns == before, "installed once"


def test_the_hash_changes_with_the_pins_and_only_with_them(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module m\n")
    one = binaries.content_hash(tmp_path, ())
    (tmp_path / "README.md").write_text("words")
    assert binaries.content_hash(tmp_path, ()) == one
    (tmp_path / "go.mod").write_text("module n\n")
    assert binaries.content_hash(tmp_path, ()) != one


def test_what_was_not_used_for_a_month_goes_and_what_is_used_or_somebody_elses_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPOOL_CACHE", str(tmp_path))
    old, used = tmp_path / "binaries" / f"{1:016x}", tmp_path / "binaries" / f"{2:016x}"
    wheel, killed = tmp_path / f"envoy-{3:016x}", tmp_path / "binaries" / "building-abc"
    others = [tmp_path / "nodes", tmp_path / "binaries" / "notes"]
    for folder in (old, used, wheel, killed, *others):
        folder.mkdir(parents=True)
        (folder / "program").write_text("x")
    today = old.stat().st_mtime
    assert binaries.prune(today + 29 * 86_400) == [killed]
    os.utime(used, (today, today + 25 * 86_400))
    assert set(binaries.prune(today + 31 * 86_400)) == {old, wheel}
    assert all(folder.exists() for folder in (used, *others))


def test_a_program_that_is_asked_for_counts_as_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPOOL_CACHE", str(tmp_path))
    module = binaries.ENVOY_GATEWAY
    folder = binaries.source_folder(module)
    built = tmp_path / "binaries" / binaries.content_hash(folder, (*binaries.FLAGS, *module.flags))
    built.mkdir(parents=True)
    os.utime(built, (0, 0))
    assert binaries.built(module) == built
    assert binaries.prune() == []
