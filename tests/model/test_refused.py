"""Every manifest of `examples/refused` is refused with exactly the words beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFUSED = sorted((ROOT / "examples" / "refused").glob("*.yaml"))


def validate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "commonpool.cli", "validate", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("manifest", REFUSED, ids=lambda path: path.stem)
def test_a_refused_manifest_gets_the_words_beside_it(manifest: Path) -> None:
    ended = validate(str(manifest.relative_to(ROOT)))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == manifest.with_suffix(".txt").read_text(encoding="utf-8")


def test_there_are_refused_manifests_and_no_words_without_one() -> None:
    assert len(REFUSED) >= 20
    assert {path.stem for path in REFUSED} == {path.stem for path in (ROOT / "examples" / "refused").glob("*.txt")}


def test_the_sample_estate_is_accepted() -> None:
    ended = validate()
    assert ended.returncode == 0, ended.stderr
    assert "44 machines are valid" in ended.stdout
