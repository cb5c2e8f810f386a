"""Runs against a real API server, by a person at a terminal and by a script: questions, exit codes, drift, interruption."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import estates
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster
from terminal import ROOT, Terminal

STACK = "commonpool.commonpool.departments"
T = TypeVar("T")
OnCluster = Callable[[Callable[[Cluster], Coroutine[Any, Any, T]]], T]


class Estate:
    """An estate of few departments, and the command about it."""

    def __init__(self, folder: Path, pool: EmbeddedPool) -> None:
        """Where it is, and on which cluster."""
        self.folder, self.pool = folder, pool
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def place(self) -> list[str]:
        """Which estate, and which cluster."""
        return ["--estate", str(self.folder), "--kubeconfig", str(self.pool.kubeconfig)]

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """As a script calls it."""
        command = [sys.executable, "-m", "commonpool.cli", *words, *self.place]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ)

    def terminal(self, *words: str) -> Terminal:
        """As a person calls it."""
        return Terminal(*words, *self.place)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, embedded_pool: EmbeddedPool) -> Iterator[Estate]:
    """Destroyed at the end but for what is protected."""
    found = Estate(tmp_path_factory.mktemp("runs") / "estate", embedded_pool)
    yield found
    ended = found.command("destroy", "--yes", "--exclude-protected")
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def estate(place: Estate) -> Estate:
    """Two departments, applied, whatever the test before left."""
    shutil.rmtree(place.folder)
    estates.write(place.folder, 2)
    ended = place.command("up", "--yes")
    assert ended.returncode == 0, ended.stderr
    return place


def test_exit_codes_say_whether_there_are_changes(estate: Estate) -> None:
    nothing = estate.command("preview", "--detailed-exitcode", "--expect-no-changes")
    assert (nothing.returncode, nothing.stdout.count("no changes")) == (0, 3)
    path = estate.folder / "departments" / "d1.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("cpu: 40m", "cpu: 50m", 1), encoding="utf-8")
    assert estate.command("preview").returncode == 0
    assert estate.command("preview", "--detailed-exitcode").returncode == 2
    unexpected = estate.command("preview", "--expect-no-changes", "--output", "json")
    assert unexpected.returncode == 1
    document = json.loads(unexpected.stdout)
    assert (document["kind"], document["changed"], document["error"]["code"]) == ("Preview", True, "unexpected_changes")
    only = estate.command("preview", "--target", "d0", "--detailed-exitcode")
    assert only.returncode == 0, "the other department is not asked about"
    mistyped = estate.command("preview", "--detailed-exitcode", "--no-such-option")
    assert mistyped.returncode == 1, "never 2, which says that there are changes"


def test_a_run_ends_with_what_changed_how_long_it_took_and_what_comes_next(estate: Estate) -> None:
    lines = estate.command("preview").stderr.splitlines()[-3:]
    assert [line.split()[0] for line in lines] == ["changed", "took", "next"]
    assert lines[0].split()[1] == "nothing"
    assert f"--estate {estate.folder}" in lines[2], "a command that can be copied"


def test_drift_is_named_by_status_and_refresh_and_mended_by_up(
    estate: Estate, on_cluster: "OnCluster[dict[str, Any] | None]"
) -> None:
    async def lose(cluster: Cluster) -> None:
        await cluster.delete("v1", "LimitRange", "d0-main", "containers")

    on_cluster(lose)
    status = estate.command("status")
    assert "~ LimitRange d0-main/containers" in status.stdout
    document = json.loads(estate.command("status", "--output", "json").stdout)
    drifted = [one["name"] for stack in document["stacks"] for one in stack["drifted"]]
    assert drifted == ["containers"]
    assert estate.command("refresh", "--detailed-exitcode").returncode == 2
    assert estate.command("up", "--yes").returncode == 0
    assert estate.command("refresh", "--detailed-exitcode").returncode == 0


def test_a_lost_part_of_what_the_pool_remembers_is_told_by_status_and_rebuilt_by_up(
    estate: Estate, on_cluster: "OnCluster[dict[str, Any] | None]"
) -> None:
    names = []

    async def lose(cluster: Cluster) -> None:
        found, _ = await cluster.list_objects("v1", "Secret", namespace="commonpool-system", metadata_only=True)
        names.append(next(name for one in found if (name := one["metadata"]["name"]).startswith(f"{STACK}.")))
        await cluster.delete("v1", "Secret", "commonpool-system", names[0])

    on_cluster(lose)
    words = f"the Secret commonpool-system/{names[0]} is missing"
    assert f"  ! {words}" in estate.command("status").stdout
    stacks = json.loads(estate.command("status", "--output", "json").stdout)["stacks"]
    assert [one["damage"] for one in stacks if one["damage"]] == [[words]]
    examined = estate.command("doctor")
    assert (examined.returncode, words in examined.stdout) == (1, True)
    assert "rebuilds what is remembered" in estate.command("refresh").stderr
    assert estate.command("up", "--yes").returncode == 0
    assert "!" not in estate.command("status").stdout


def test_a_damaged_journal_is_found_by_doctor_and_a_run_that_it_stops_says_what_mends_it(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPOOL_JOURNAL", str(tmp_path / "journal"))
    manifest = estate.folder / "departments" / "d1.yaml"
    declared = manifest.read_text(encoding="utf-8")
    manifest.write_text(declared.replace("cpu: 40m", "cpu: 50m", 1), encoding="utf-8")
    assert estate.command("up", "--yes").returncode == 0
    [segment] = (tmp_path / "journal" / "segments").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b'"run.begun"', b'"run.bugun"', 1))
    assert segment.read_bytes() != whole
    manifest.write_text(declared, encoding="utf-8")
    examined = estate.command("doctor").stdout
    assert "it is not what was sealed [changed]" in examined
    refused = estate.command("up", "--yes")
    assert (refused.returncode, "[evidence_unavailable]" in refused.stderr) == (1, True)
    assert "put a copy that verifies in its place" in refused.stderr.splitlines()[-1]
    assert "put a copy that verifies in its place" in examined
    segment.write_bytes(whole)
    assert estate.command("up", "--yes").returncode == 0


def test_the_answer_no_and_the_end_of_input_change_nothing(estate: Estate) -> None:
    (estate.folder / "departments" / "d2.yaml").write_text(estates.department("d2", 2), encoding="utf-8")
    person = estate.terminal("up")
    assert "+ Namespace d2-main" in person.until("yes / no / details [no]: ")
    person.type("")
    assert person.ended() == 1
    assert "nothing was changed [declined]" in person.plain
    person = estate.terminal("up")
    person.until("[no]: ")
    person.end_input()
    assert person.ended() == 1
    assert "[confirmation_needed]" in person.plain
    assert estate.command("preview", "--detailed-exitcode").returncode == 2, "it is still to be made"


def test_ctrl_c_at_the_question_ends_at_once(estate: Estate) -> None:
    (estate.folder / "departments" / "d2.yaml").write_text(estates.department("d2", 2), encoding="utf-8")
    person = estate.terminal("up")
    person.until("[no]: ")
    person.interrupt_question()
    assert person.ended() == 130
    assert "[interrupted]" in person.plain


def test_data_go_only_when_their_owner_is_typed(estate: Estate) -> None:
    (estate.folder / "departments" / "d1.yaml").unlink()
    person = estate.terminal("up")
    shown = person.until("Type d1 to go on")
    assert "- Namespace d1-main  it is no longer declared, with " in shown
    assert "1 deletion would lose data: Namespace d1-main" in shown
    person.type("yes")
    assert person.ended() == 1
    person = estate.terminal("up")
    person.until("Type d1 to go on")
    person.type("d1")
    assert person.ended() == 0
    assert "\x1b[" in person.shown, "at a terminal there is colour"
    comment = estate.command("preview", "--output", "markdown").stdout
    assert comment.startswith("### commonpool preview: no changes")


def test_an_interrupted_run_gives_back_its_lock_and_is_continued(estate: Estate) -> None:
    for number in range(2, 42):
        path = estate.folder / "departments" / f"d{number}.yaml"
        path.write_text(estates.department(f"d{number}", number), encoding="utf-8")
    person = estate.terminal("up", "--yes")
    person.until("departments: 2")
    person.interrupt()
    code = person.ended()
    assert (code, "[interrupted]" in person.plain) == (130, True), person.plain
    assert estate.command("up", "--yes").returncode == 0
    assert estate.command("refresh", "--detailed-exitcode").returncode == 0


def test_the_comment_for_a_pull_request_is_short_and_says_who_changes(estate: Estate) -> None:
    for number in range(2, 12):
        path = estate.folder / "departments" / f"d{number}.yaml"
        path.write_text(estates.department(f"d{number}", number), encoding="utf-8")
    (estate.folder / "departments" / "d1.yaml").unlink()
    comment = estate.command("preview", "--output", "markdown").stdout
    visible = comment.split("<details>")[0]
    assert len(visible.splitlines()) < 30
    assert len(comment) < 65_536
    assert "| departments | d1 |" in visible
    assert "⚠️ **1 deletion would lose data:** `Namespace d1-main`" in visible
    assert comment.count("```") % 2 == 0
