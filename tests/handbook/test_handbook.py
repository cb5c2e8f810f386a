"""The handbook holds: it builds without a warning, nothing is undocumented, and every command on it does what it says."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml
from commonpool.cli.app import app
from commonpool.embedded import EmbeddedPool, binaries
from commonpool.folder import VARIABLES
from pages import DOCS, PAGES, ROOT, blocks

sys.path.insert(0, str(DOCS))
import reference

BOUND_SECONDS = 300
NEEDS = {"pulumi"}  # programs that a block may name as needed


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, worker: str) -> Iterator[dict[str, str]]:
    """Where a reader stands after `make up`: a checkout, an embedded pool with the sample, the commands on the PATH."""
    folder = tmp_path_factory.mktemp("handbook")
    for name in ("examples", "inventories", "stacks", "schemas", "playbooks", "tools"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    programs = folder / "bin"
    programs.mkdir()
    kubectl = programs / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {binaries.built(binaries.KUBERNETES)}/kubernetes kubectl "$@"\n')
    kubectl.chmod(0o755)
    data = Path(tempfile.gettempdir()) / f"commonpool-handbook-{os.getuid()}-{worker}"
    pools = [EmbeddedPool(name, data) for name in ("default", "mine")]
    for pool in pools:
        pool.reset()
    (programs / "commonpool").write_text(f'#!/bin/sh\nexec {sys.executable} -m commonpool.cli "$@"\n')
    (programs / "commonpool").chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COMMONPOOL_")}
    cache = {key: value for key, value in os.environ.items() if key == "COMMONPOOL_CACHE"}
    yield (
        environment
        | cache
        | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "COMMONPOOL_DATA": str(data),
            "COMMONPOOL_ESTATE": "examples/estate",
            "KUBECONFIG": str(pools[0].kubeconfig),
            "HERE": str(folder),
        }
    )
    for pool in pools:
        pool.reset()


def shell(text: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """As a reader pastes it; a line that begins with `!` must fail, every other one must not."""
    script = "\n".join(
        re.sub(r"^! (.*)$", r"if \1; then echo 'this should have been refused' >&2; exit 99; fi", line)
        for line in text.replace("\\\n", "").splitlines()
    )
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=environment["HERE"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=BOUND_SECONDS,
        check=False,
    )


def test_the_sample_stands_before_the_first_page(desk: dict[str, str]) -> None:
    ended = shell("commonpool up --yes --skip-preview", desk)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_does_what_it_says(page: Path, desk: dict[str, str]) -> None:
    for block in blocks(page):
        if block.path:
            path = Path(desk["HERE"], block.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.words[:1] != ("sh",) or any(shutil.which(need) is None for need in block.words[1:]):
            continue
        ended = shell(block.text, desk)
        assert ended.returncode == 0, f"{page.name}:{block.line}\n{ended.stdout}\n{ended.stderr}"


def test_a_block_needs_only_programs_that_are_known() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.words, f"{page.name}:{block.line}: a block without a language is neither run nor read"
            if block.words[0] == "sh":
                assert set(block.words[1:]) <= NEEDS, f"{page.name}:{block.line}"
            assert block.words[0] in {"sh", "yaml", "python", "text", "console", "{include}", "{literalinclude}"}, (
                f"{page.name}:{block.line}"
            )


def test_the_handbook_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "ask-for-a-namespace" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_no_option_command_or_field_is_undocumented() -> None:
    for words, command in reference.leaves(typer.main.get_command(app), ("commonpool",)):
        assert command.help, " ".join(words)
        for parameter in command.params:
            assert getattr(parameter, "help", None) or parameter.name == "help", f"{' '.join(words)}: {parameter.name}"
    assert not [row for row in reference.fields() if row.endswith("|  |")], "a field without words"


def test_no_environment_variable_is_undocumented() -> None:
    documented = "\n".join(reference.commands())
    read = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\()["'](COMMONPOOL_\w+)""")
    used = {name for path in (ROOT / "infra").rglob("*.py") for name in read.findall(path.read_text(encoding="utf-8"))}
    assert "COMMONPOOL_DATA" in used
    assert not {name for name in used if f"`{name}`" not in documented}
    assert {name for name in VARIABLES if name.startswith("COMMONPOOL_")} <= used


def commands_of(pipeline: Path) -> list[str]:
    """What a pipeline runs, in order, without installing and without its server's own programs."""
    values = yaml.safe_load(pipeline.read_text(encoding="utf-8"))
    if "jobs" in values:
        steps = [step for job in values["jobs"].values() for step in job["steps"] if step.get("id") != "install"]
        found = [step["run"] for step in steps if "run" in step]
    else:
        found = [line for stage in values["stages"] for line in values[stage]["script"]]
    return [line for line in found if not line.startswith(("gh ", "curl "))]


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_the_commands_of_a_pipeline_do_what_it_says(name: str, desk: dict[str, str]) -> None:
    here = Path(desk["HERE"])
    kubeconfigs = {}
    for variable, kind in (("POOL_PREVIEW", "--preview-only"), ("POOL_APPLY", "--apply")):
        path = here / f"{name}-{variable}.kubeconfig"
        made = shell(f"commonpool credential ci {kind} --write {path}", desk)
        assert made.returncode == 0, made.stderr
        kubeconfigs[variable] = str(path)
    summary = here / f"{name}-summary.md"
    pipeline = ROOT / "examples" / "pipelines" / f"{name}.yml"
    values = yaml.safe_load(pipeline.read_text(encoding="utf-8"))
    declared = values.get("env") or values["variables"]
    environment = desk | kubeconfigs | declared | {"GITHUB_STEP_SUMMARY": str(summary)}
    found = commands_of(pipeline)
    assert len(found) >= 3
    secrets = iter(kubeconfigs.values())
    for line in found:
        if "$POOL" in line and "printf" in line:  # the server puts the secret there
            environment["POOL"] = Path(next(secrets)).read_text(encoding="utf-8")
        ended = shell(line, environment)
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"
    assert "### commonpool preview" in (here / "preview.md").read_text(encoding="utf-8")


def test_the_timers_are_right_and_run_commands_that_there_are() -> None:
    units = sorted((ROOT / "examples" / "systemd").iterdir())
    assert {path.suffix for path in units} == {".service", ".timer"}
    known = {" ".join(words) for words, _ in reference.leaves(typer.main.get_command(app), ("commonpool",))}
    started = [
        line.removeprefix("ExecStart=/usr/bin/env ").partition(" --")[0]
        for path in units
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("ExecStart=")
    ]
    assert len(started) == 2
    assert set(started) <= known
    if checker := shutil.which("systemd-analyze"):
        ended = subprocess.run([checker, "verify", *map(str, units)], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_the_threat_model_names_only_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")))
    texts = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) >= 30
    assert not [name for name in named if f"def {name}(" not in texts]
