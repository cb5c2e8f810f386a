"""What Tab offers: names out of files, at once, and never an error."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from estates import SAMPLE

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("commonpool.model", "commonpool.embedded", "pulumi", "kubernetes", "aiohttp", "grpc", "rich", "cryptography")
CODE = f"""
import atexit, sys
atexit.register(lambda: print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr))
from commonpool.cli import main
main()
"""
OFFERED = {
    "commonpool machine survey rs-n": ["rs-nas-1", "rs-nas-2"],
    "commonpool machine image x.tar --on nc-2": ["nc-21", "nc-22", "nc-23", "nc-24"],
    "commonpool agreement show res": ["residents-for-payroll"],
    "commonpool request decide res": ["residents-for-flood-warning"],
    "commonpool correction answer ": ["company-moved"],
    "commonpool dataset show res": ["residents"],
    "commonpool service credential company-register --caller finance-department-t": ["finance-department-treasury"],
    "commonpool policy explain --namespace water-bureau-": ["water-bureau-flood", "water-bureau-flood-test"],
    "commonpool service certificate policy-research ": ["forecast-desk"],
    "commonpool department new x --flavor s": ["standard", "secure"],
    "commonpool department new x --business-class f": ["finance"],
    "commonpool explain department.spec.namespaces.res": ["department.spec.namespaces.resources"],
    "commonpool explain sharedservice.spec.backends.po": [
        "sharedservice.spec.backends.pods",
        "sharedservice.spec.backends.port",
    ],
    "commonpool up --stack ": ["pool", "services", "departments"],
    "commonpool ledger --pool ": ["trial"],
    "commonpool ledger --context ": ["admin@集群", "other"],
    "commonpool ledger --output j": ["json"],
    "commonpool ledger --output = j": ["json"],
    "commonpool ledger --output = ": ["text", "json", "yaml", "markdown"],
    "commonpool ledger --output =": ["text", "json", "yaml", "markdown"],
    "commonpool service credential x --caller = water-bureau-flood-": ["water-bureau-flood-test"],
}


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    pool = tmp_path / "data" / "pools" / "trial"
    pool.mkdir(parents=True)
    (pool / "pool.json").write_text("{}", encoding="utf-8")
    config = tmp_path / "config"
    config.write_text("contexts: [{name: admin@集群}, {name: other}]\n", encoding="utf-8")
    return {"COMMONPOOL_DATA": str(tmp_path / "data"), "KUBECONFIG": str(config)}


def tab(line: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """What bash gets for a line whose end is completed."""
    words = [*line.split(), *([""] if line.endswith(" ") else [])]
    told = {"_COMMONPOOL_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    return subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=os.environ | environment | told,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("line", OFFERED)
def test_names_are_offered_and_nothing_heavy_is_read_for_them(line: str, surroundings: dict[str, str]) -> None:
    ended = tab(line, surroundings)
    assert ended.stdout.split() == OFFERED[line]
    assert ended.stderr.split() == []


@pytest.mark.parametrize(
    "line",
    [
        "commonpool department show ",
        "commonpool machine survey ",
        "commonpool service credential x --caller ",
        "commonpool service certificate water-bureau ",
        "commonpool department new x --flavor ",
        "commonpool ledger --context ",
        "commonpool explain nothing.",
        "commonpool explain department.spec.nothing.",
        "commonpool -C /nowhere department show ",
    ],
)
def test_a_broken_estate_is_no_reason_to_speak(line: str, tmp_path: Path, surroundings: dict[str, str]) -> None:
    broken = tmp_path / "estate"
    shutil.copytree(SAMPLE, broken)
    for path in (*broken.rglob("*.yaml"), tmp_path / "config"):
        path.write_bytes(b"]: \xff\x00 {")
    ended = tab(line, surroundings | {"COMMONPOOL_ESTATE": str(broken)})
    assert ended.stderr.split() == []


def test_of_a_broken_estate_the_names_of_files_are_still_offered(tmp_path: Path, surroundings: dict[str, str]) -> None:
    (tmp_path / "estate" / "departments").mkdir(parents=True)
    for name in ("water-bureau", "省水利厅"):
        (tmp_path / "estate" / "departments" / f"{name}.yaml").write_text(": [", encoding="utf-8")
    ended = tab("commonpool department show ", surroundings | {"COMMONPOOL_ESTATE": str(tmp_path / "estate")})
    assert ended.stdout.split() == ["water-bureau", "省水利厅"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_completes_in_that_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    script, called = tmp_path / "script", tmp_path / "bin"
    made = subprocess.run(
        [sys.executable, "-m", "commonpool.cli", "completion", shell], capture_output=True, check=True
    )
    script.write_bytes(made.stdout)
    called.mkdir()
    (called / "commonpool").write_text(f'#!/bin/sh\nexec {sys.executable} -m commonpool.cli "$@"\n', encoding="utf-8")
    (called / "commonpool").chmod(0o755)
    asked = {
        "bash": f"source {script}; COMP_WORDS=(commonpool department show wat); COMP_CWORD=3;"
        ' _commonpool_completion commonpool; echo "${COMPREPLY[@]}"',
        "zsh": "compdef() { :; }; _arguments() { print -- $@ }; words=(commonpool department show wat); CURRENT=4;"
        f" source {script}; _commonpool_completion",
        "fish": f"source {script}; complete -C 'commonpool department show wat'",
    }
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}
    ended = subprocess.run(
        [shell, *flags[shell], "-c", asked[shell]],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{called}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "water-bureau" in ended.stdout
    assert ended.stderr == ""
