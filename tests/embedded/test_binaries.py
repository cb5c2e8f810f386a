"""Where the Go that builds the control plane comes from."""

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
