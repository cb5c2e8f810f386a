"""How runs end that are interrupted (CASES F4), that have no room to write (F9), or whose program misbehaves."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, lock
from commonpool.engine import state as states
from commonpool.engine.error import LockHeld
from commonpool.engine.lock import Lock, holder_died_here, identify
from programs import BARE, Stack, messages


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh)


def command(stack: Stack, *words: str) -> list[str]:
    where = ["--program", str(stack.folder), "--kubeconfig", str(stack.kubeconfig), "-c", f"name={stack.name}"]
    return [sys.executable, "-m", "commonpool.cli", *words, *where]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_f4_a_run_that_is_asked_to_end_ends_with_130_and_is_continued(stack: Stack, number: signal.Signals) -> None:
    """Its program sleeps, and one of its objects will never be ready: neither keeps it from ending."""
    stack.head = BARE
    stack.load("""
        import time
        maps = [config_map(f"c{number}") for number in range(20)]
        spec = {"nodeSelector": {"nowhere": "1"}, "containers": [{"name": "a", "image": "b"}]}
        resource("Pod", "never", {"metadata": {"namespace": name, "name": "never"}, "spec": spec}, depends_on=[space])
        pulumi.Output.all(*(one.id for one in maps)).apply(lambda _: time.sleep(300))
    """)
    process = subprocess.Popen(command(stack, "up", "--yes"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pause = threading.Event()
    for _ in range(1200):
        if stack.read("v1", "Pod", stack.name, "never") is not None or process.poll() is not None:
            break
        pause.wait(0.1)
    else:
        raise AssertionError("the run never came so far")
    process.send_signal(number)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert "again" in talk
    lease = stack.read("coordination.k8s.io/v1", "Lease", states.NAMESPACE, stack.state().name)
    assert lease["spec"].get("holderIdentity", "") == ""
    whole = 'for number in range(20):\n    config_map(f"c{number}")'
    continued = stack.up(whole)
    assert continued.problems == (), messages(continued)
    assert stack.refresh().unchanged == 21
    assert stack.read("v1", "Pod", stack.name, "never") is None


def test_f9_a_full_disk_stops_no_run_because_none_writes_to_it(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "_mkstemp_inner", full)
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    path = str(stack.kubeconfig)
    source = f"""
        other = k8s.Provider("other", kubeconfig=open({path!r}).read())
        k8s.core.v1.ConfigMap("a", metadata={{**inside, "name": "a"}}, opts=Options(provider=other))
    """
    assert stack.up(source).counts == {"create": 2}
    assert stack.destroy().counts == {"delete": 2}


def test_f2_a_live_owner_elsewhere_is_never_broken_and_a_dead_one_here_is(stack: Stack) -> None:
    stack.head = BARE
    stack.up("")
    name = stack.state().name
    here = identify()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    user, rest = here.split("@", 1)
    host, tail = rest.split(":", 1)
    boot = tail.split("/", 1)[1]

    async def held(cluster: Cluster, holder: str) -> None:
        lock = Lock(cluster, name, "a test")
        lock.holder = holder
        await lock.acquire()
        lock._renewing.cancel()  # type: ignore[union-attr]

    stack.ask(lambda cluster: held(cluster, f"{user}@{host}:{dead.pid}/{boot}"))
    stack.notes.clear()
    assert stack.up('config_map("a")').counts == {"create": 1}
    assert any("took the stack over" in note for note in stack.notes)
    elsewhere = f"{user}@another-host:{dead.pid}/{boot}"
    assert not holder_died_here(elsewhere)
    stack.ask(lambda cluster: held(cluster, elsewhere))
    with pytest.raises(Exception, match="another-host"):
        stack.up('config_map("b")')
    assert stack.read("v1", "ConfigMap", stack.name, "b") is None


def test_a_holder_whose_clock_runs_a_day_ahead_is_taken_over_when_it_is_silent_and_not_before(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.head = BARE
    stack.up("")
    name, tomorrow = stack.state().name, datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr(lock, "DURATION_SECONDS", 12)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 1)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 1)

    async def work(cluster: Cluster) -> str:
        monkeypatch.setattr(lock, "_now", lambda: tomorrow.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        other = Lock(cluster, name, "a test")
        other.holder = "somebody@another-host:1/00000000/0"
        await other.acquire()
        monkeypatch.setattr(
            lock, "_now", lambda: f"{tomorrow.strftime('%Y-%m-%dT%H:%M:%S')}.{time.monotonic_ns() % 10**6:06}Z"
        )
        mine = Lock(cluster, name, "another test")
        with pytest.raises(LockHeld) as held:
            await mine.acquire()
        assert datetime.fromisoformat(held.value.expires) < tomorrow - timedelta(hours=23)
        other._renewing.cancel()  # type: ignore[union-attr]  # as if it died there
        try:
            return await mine.acquire()
        finally:
            await mine.release()

    assert stack.ask(work).startswith("somebody@another-host")


def test_secret_configuration_is_shown_nowhere_by_any_command_in_any_format(stack: Stack, tmp_path: Path) -> None:
    canary = "canary-5c1e-value"
    (tmp_path / "token").write_text(canary + "\n", encoding="utf-8")
    stack.load("""
        token = config.require_secret("token")
        k8s.core.v1.Secret("s", metadata={**inside, "name": "s"}, string_data={"t": token})
        config_map("plain", {"t": token, "j": pulumi.Output.json_dumps({"a": token})})
        print("the token is", config.get("token"))
        pulumi.export("token", token)
        if config.get_bool("broken"):
            k8s.core.v1.Service("bad", metadata={**inside, "name": "bad"}, spec={"type": token, "ports": [{"port": 1}]})
            raise ValueError("with " + config.require("token"))
    """)
    secret = ["--secret", f"token=@{tmp_path / 'token'}"]
    told = ""
    for words in (
        ["preview", "--output", "json"],
        ["up", "--yes", "--output", "json"],
        ["preview", "--output", "markdown", "-c", "broken=true"],
        ["up", "--yes", "--diff", "-c", "broken=true"],
        ["refresh"],
        ["destroy", "--yes"],
    ):
        done = subprocess.run(command(stack, *words) + secret, capture_output=True, text=True, timeout=300)
        told += done.stdout + done.stderr
    assert "the token is [secret]" in told
    assert canary not in told
    assert json.dumps(canary)[1:-1] not in told


def test_a_program_is_told_by_file_and_line_and_its_output_of_any_length_is_passed_on(stack: Stack) -> None:
    failed = stack.up('print("x" * 300_000)\nimport no_such_module')
    assert any(len(note) == 300_000 for note in stack.notes)
    assert f"{stack.folder / '__main__.py'}:" in messages(failed)
    assert "no_such_module" in messages(failed)
    assert "install it" in messages(failed)
    missing = stack.up('config.require("region")')
    assert f"-c {stack.name}:region=VALUE" in messages(missing)
    ended = stack.up("import os\nos._exit(7)")
    assert "code 7" in messages(ended)
    assert os.environ.get("PULUMI_CONFIG") is None
