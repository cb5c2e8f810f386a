"""`commonpool service …` as people and scripts call it, about a service that really moves."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import estates
import pytest
from commonpool.cli import run
from commonpool.proxy import metrics

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.load import Load
from proxy.moving import STEP, Moving, declare, manifest

Start = Callable[[str], Backend]
STEPS = [{"weight": 20, **STEP, "approval": True}, {"weight": 100, **STEP}]
CHECKS = {
    "active": {
        "type": "HTTP",
        "interval": "1s",
        "timeout": "1s",
        "unhealthyThreshold": 1,
        "healthyThreshold": 1,
        "http": {"path": "/healthz"},
    }
}


@pytest.fixture
def estate(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An estate, and an environment in which commands are about it and the tests' pool."""
    root = estates.write(tmp_path, 1)
    monkeypatch.setenv("COMMONPOOL_DATA", str(proxy.pool.layout.root.parents[1]))
    monkeypatch.setenv("COMMONPOOL_POOL", proxy.pool.name)
    monkeypatch.setenv("COMMONPOOL_ESTATE", str(root))
    return root


@pytest.fixture
def moving(proxy: Proxy, estate: Path, start_backend: Start) -> Iterator[Moving]:
    """A service with a plan that asks for a person, its backends checked every second."""
    name = f"s{uuid.uuid4().hex[:8]}"
    old, new = start_backend("old"), start_backend("new")
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
    policy = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": name, "namespace": f"service-{name}"},
        "spec": {"targetRefs": [target], "healthCheck": CHECKS},
    }
    found = declare(proxy, name, old, new, STEPS, policy)
    until(lambda: checked_by_envoy(proxy, name), "Envoy checks the old backend")
    backends = [
        {"name": "old", "machines": ["ha-registry-1"], "port": 8099},  # no port that the sample estate's stand-ins play
        {"name": "new", "machines": ["rs-nas-2"], "port": 8099, "weight": 0},
    ]
    plan = manifest(name, STEPS)["spec"]["cutOver"]
    checked = {"interval": "1s", "timeout": "1s", "evidenceExpires": "5s"}
    endpoint = {"protocol": "HTTP"}
    estates.add_service(estate, name, endpoint=endpoint, backends=backends, cutOver=plan, health=checked)
    yield found


def checked_by_envoy(proxy: Proxy, name: str) -> bool:
    text = metrics.scrape(proxy.pool.proxy_metrics, f"service-{name}")
    return any(metric == metrics.CHECKS_PASSED and value for metric, _, value in metrics.lines(text))


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run([*words, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run(list(words)) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def said_anyway(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What goes to standard output, however it ends."""
    capsys.readouterr()
    run(list(words))
    return capsys.readouterr().out


def started(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "commonpool.cli", "service", *words]
    return subprocess.Popen(command, env=os.environ.copy(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_cut_over_is_run_interrupted_approved_continued_and_looked_at(
    proxy: Proxy, moving: Moving, capsys: pytest.CaptureFixture[str]
) -> None:
    name = moving.name
    assert "never began" in said(capsys, "service", "cutover", "status", name, code=1)
    with Load(proxy.url, moving.host, rate=60) as load:
        first = started("cutover", "run", name)
        until(lambda: moving.weights() == [80, 20], "the first step is made")
        until(lambda: moving.history()[-1][1] == "approval", "it waits for a person")
        first.send_signal(signal.SIGINT)
        _, words = first.communicate(timeout=60)
        assert first.returncode == 130
        assert "runs here, in the foreground" in words
        assert f"service cutover run {name}" in words.rsplit("next:", 1)[-1]
        assert moving.weights() == [80, 20], "the traffic stays where it is"
        assert "approved by commonpool:admin" in said(
            capsys, "service", "cutover", "approve", name, "--reason", "agreed"
        )
        assert said(capsys, "service", "cutover", "run", name) == f"{name} is served by new alone\n"
    assert load.outcome.failed == 0, load.outcome
    status = document(capsys, "service", "cutover", "status", name, "--history")
    assert (status["kind"], status["phase"], status["weight"]) == ("CutOver", "done", 100)
    actions = [one["action"] for one in status["decisions"] if one["action"] != "stay"]
    assert actions == ["step", "approve", "step", "done"]
    assert all("seen" in one and one["reason"] for one in status["decisions"])
    refused = said(capsys, "service", "cutover", "pause", name, code=1)
    assert "there is nothing to pause [cut_over_refused]" in refused


def test_status_tells_whether_anybody_looks_at_the_gate(
    proxy: Proxy, moving: Moving, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed, as by a session that is lost: the share stays, and nothing goes back by itself any more."""
    name = moving.name
    with Load(proxy.url, moving.host, rate=60):
        first = started("cutover", "run", name)
        until(lambda: moving.weights() == [80, 20], "the first step is made")
        assert "  run by " in said(capsys, "service", "cutover", "status", name)
        watched = document(capsys, "service", "cutover", "status", name)["watchedBy"]
        assert f":{first.pid}" in watched["who"]
        assert not watched["silent"]
        first.kill()
        first.communicate()
        told = said(capsys, "service", "cutover", "status", name)
        assert "! nobody runs it: the share stays, and no gate is looked at;" in told
        assert f"service cutover run {name}" in told
        assert document(capsys, "service", "cutover", "status", name)["watchedBy"] is None
        said(capsys, "service", "cutover", "abort", name)
        assert f"{name} is served by old alone: aborted" in said_anyway(capsys, "service", "cutover", "run", name)
    assert "nobody runs it" not in said(capsys, "service", "cutover", "status", name)


def test_show_knows_when_each_backend_was_last_proven_and_what_it_did(
    proxy: Proxy, moving: Moving, capsys: pytest.CaptureFixture[str]
) -> None:
    with Load(proxy.url, moving.host, rate=60) as load:
        load.await_answers(30)
        found = document(capsys, "service", "show", moving.name)
        text = said(capsys, "service", "show", moving.name)
        listed = said(capsys, "service", "list")
    old, new = found["backends"]
    assert (old["health"], old["sharePercent"], old["proven"], old["place"]) == ("healthy", 100, True, "ha-registry-1")
    assert datetime.fromisoformat(old["lastEvidence"]) <= datetime.fromisoformat(found["at"])
    assert old["total"]["requests"] >= 30
    assert (new["health"], new["lastEvidence"], new["sharePercent"]) == ("unwatched", None, 0)
    assert found["address"] == f"{proxy.address}:{proxy.pool.proxy_port(8080)}"
    assert re.search(r"^old +ha-registry-1 +100 % +healthy +\d+\.\d s ago", text, re.M), text
    assert "a cut-over from old to new is planned and has not begun" in text
    assert re.search(
        rf"^{moving.name} +HTTP +d0 +old +healthy\?? +100 % +planned\n +new +unwatched +0 %$", listed, re.M
    )
    assert max(map(len, listed.splitlines())) <= 100


def test_watch_prints_a_line_for_each_backend_and_a_document_for_each_look(
    moving: Moving, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, "service", "watch", moving.name, "--looks", "2", "--every", "1.2").splitlines()
    assert len(lines) == 4
    assert re.match(rf"\d\d:\d\d:\d\d  {moving.name}  old 100 % healthy\??  \+\d+ requests", lines[0])
    capsys.readouterr()
    assert run(["service", "watch", "--looks", "2", "--every", "0.2", "-o", "json"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["kind"] for one in documents] == ["SharedServiceList"] * 2


def test_watching_without_end_is_ended_by_ctrl_c(moving: Moving) -> None:
    looking = started("watch", moving.name, "--every", "0.2")
    assert looking.stdout is not None
    assert moving.name in looking.stdout.readline()
    looking.send_signal(signal.SIGINT)
    _, words = looking.communicate(timeout=60)
    assert (looking.returncode, words) == (0, "")


def test_a_backend_that_fails_its_checks_is_shown_as_down(moving: Moving, capsys: pytest.CaptureFixture[str]) -> None:
    old = moving.backends[0]
    old.behave(healthy=False)

    def is_down() -> bool:
        return bool(document(capsys, "service", "show", moving.name)["backends"][0]["health"] == "down")

    until(is_down, "old is down", seconds=150)  # Envoy checks what nobody calls once a minute


def test_a_name_that_does_not_exist_is_answered_with_the_nearest(
    estate: Path, moving: Moving, capsys: pytest.CaptureFixture[str]
) -> None:
    words = said(capsys, "service", "show", f"{moving.name}x", code=1)
    assert f"did you mean {moving.name}?" in words
    assert "[service_unknown]" in words
