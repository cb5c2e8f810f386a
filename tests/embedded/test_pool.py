"""The embedded pool as a whole: fenced off, durable, mended when a part of it dies."""

import asyncio
import datetime
import ipaddress
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import estates
import psutil
import pytest
from commonpool.cli.failure import CommandFailed
from commonpool.cli.target import Target
from commonpool.embedded import EmbeddedPool
from commonpool.embedded.certificate import RENEW_BEFORE_DAYS, Authority, Pair
from commonpool.embedded.configuration import Ports
from commonpool.embedded.error import EmbeddedError, IdentityRefused, StartFailed
from commonpool.embedded.log import message
from commonpool.embedded.process import COMPONENTS
from commonpool.embedded.proxy import Place
from commonpool.embedded.status import ComponentStatus
from commonpool.engine import Cluster, kubeconfig

WAITING = """
import pulumi_kubernetes as k8s
k8s.core.v1.Pod("waits", spec={"containers": [{"name": "one", "image": "registry.k8s.io/pause:3.10"}]})
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPool]:
    """A pool of this module's own, which its tests may hurt."""
    pool = EmbeddedPool("hurt", tmp_path_factory.mktemp("data") / "pools")
    pool.start()
    yield pool
    pool.reset()


def ask(pool: EmbeddedPool, work: Callable[[Cluster], Any]) -> Any:
    async def connected() -> Any:
        async with await Cluster.connect(kubeconfig.load(pool.kubeconfig)) as cluster:
            return await work(cluster)

    return asyncio.run(connected())


def until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.1)


def config_map(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"a": "1"},
    }


def test_it_listens_on_loopback_only(own: EmbeddedPool) -> None:
    until(lambda: all(one.state == "running" for one in own.status().components), "all components run")

    def listening() -> list[tuple[str, str]]:
        return [
            (one.name, connection.laddr.ip)
            for one in own.status().components
            for connection in psutil.Process(one.pid).net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]

    # Envoy listens once a Gateway is declared; see tests/proxy.
    until(lambda: {name for name, _ in listening()} >= set(COMPONENTS) - {"kwok", "envoy"}, "all components listen")
    assert all(ipaddress.ip_address(address).is_loopback for _, address in listening()), listening()


def test_the_process_that_keeps_it_running_carries_neither_models_nor_clients() -> None:
    heavy = ("pydantic", "aiohttp", "grpc", "pulumi")
    code = f"import sys, commonpool.embedded.supervisor; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_its_files_are_private(own: EmbeddedPool) -> None:
    assert own.layout.root.stat().st_mode & 0o077 == 0
    for path in (own.kubeconfig, *own.layout.pki.glob("*.key"), *own.layout.config.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_killed_component_comes_back_and_nothing_is_lost(own: EmbeddedPool, component: str) -> None:
    name = f"before-{component}"
    ask(own, lambda cluster: cluster.create(config_map(name)))
    before = {one.name: one for one in own.status().components}[component]
    psutil.Process(before.pid).kill()

    def back() -> bool:
        now = {one.name: one for one in own.status().components}[component]
        return now.state == "running" and now.pid != before.pid and now.restarts > before.restarts and own.ready()

    until(back, f"{component} runs again")
    assert ask(own, lambda cluster: cluster.read("v1", "ConfigMap", "default", name))["data"] == {"a": "1"}
    ask(own, lambda cluster: cluster.create(config_map(f"after-{component}")))


def test_a_pool_whose_api_server_hangs_is_not_called_one_that_does_not_run(
    own: EmbeddedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPOOL_DATA", str(own.layout.root.parents[1]))
    server = psutil.Process({one.name: one.pid for one in own.status().components}["kube-apiserver"])
    server.suspend()
    try:
        with pytest.raises(CommandFailed) as failed:
            Target(estate=None, kubeconfig=None, context=None, pool=own.name).credentials()
    finally:
        server.resume()
    assert failed.value.code == "not_ready"


def test_no_proxy_of_the_environment_is_asked_for_the_way_to_this_machine(
    own: EmbeddedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in every network that has one: it would answer that it knows no such address, and the pool would never be ready."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    own.stop()
    own.start()
    ask(own, lambda cluster: cluster.apply(config_map("direct")))
    assert own.stored("/registry/configmaps/default/direct")


def test_a_start_that_fails_quotes_the_component_that_does_not_stay_up_and_tells_of_a_full_disk(
    own: EmbeddedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {one.name: one for one in own.status().components}["etcd"]
    psutil.Process(before.pid).kill()
    until(lambda: {one.name: one.restarts for one in own.status().components}["etcd"] > before.restarts, "it is noted")
    assert own._what_fails().startswith("etcd says\n{")
    monkeypatch.setattr("commonpool.embedded.pool.LEAST_FREE", 1 << 62)
    assert f"MB are free in {own.layout.root}; etcd says" in own._what_fails()
    until(own.ready, "it stands again")


def test_a_start_on_a_busy_machine_is_waited_for_and_no_component_blamed_that_only_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, waits = EmbeddedPool("slow", tmp_path), ComponentStatus("kube-controllers", 0, "starting", 0, 0)
    slow.layout.root.mkdir(parents=True)
    found = replace(slow.status(), components=(ComponentStatus("kube-apiserver", 1, "running", 0, 0), waits))
    monkeypatch.setattr(EmbeddedPool, "status", lambda self: found)
    assert slow._what_fails().startswith("kube-apiserver says")
    ready = time.monotonic() + 0.5
    monkeypatch.setattr("commonpool.embedded.pool.api_ready", lambda layout, ports: time.monotonic() > ready)
    with subprocess.Popen(["sleep", "60"]) as supervisor:
        slow._await_ready(supervisor, Ports(1, 2, 3, 4, 5), 0.1)
        ready = time.monotonic() + 60
        found = replace(found, components=(replace(waits, last_words="no room"),))
        with pytest.raises(StartFailed, match=r"not ready after 0 s: kube-apiserver says"):
            slow._await_ready(supervisor, Ports(1, 2, 3, 4, 5), 0.1)
        supervisor.kill()


def test_what_a_component_says_of_itself_is_without_its_time_and_place() -> None:
    line = '{"time":"2026-11-27","source":{"file":"root.go"},"msg":"Failed to list nodes","err":"nodes is forbidden"}'
    assert message(line) == "Failed to list nodes: nodes is forbidden"
    assert [message(one) for one in ("out of paper", '["x"]', "{}")] == ["out of paper", '["x"]', "{}"]


def test_a_killed_supervisor_leaves_nothing_behind_and_the_next_start_finds_all_data(own: EmbeddedPool) -> None:
    ask(own, lambda cluster: cluster.create(config_map("before-supervisor")))
    pids = [one.pid for one in own.status().components]
    supervisor = own.processes.supervisor()
    assert supervisor is not None
    supervisor.kill()
    until(
        lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids), "all end"
    )
    assert not own.status().running
    assert {(one.state, one.pid) for one in own.status().components} == {("stopped", 0)}, "whoever has that pid now"
    own.start()
    assert ask(own, lambda cluster: cluster.read("v1", "ConfigMap", "default", "before-supervisor")) is not None


def test_secrets_are_encrypted_at_rest_and_config_maps_show_that_the_look_is_right(own: EmbeddedPool) -> None:
    canary = "canary-4a1f77"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"},
              "stringData": {"password": f"secret-{canary}"}}  # fmt: skip
    ask(own, lambda cluster: cluster.create(secret))
    ask(own, lambda cluster: cluster.create({**config_map("c"), "data": {"word": f"plain-{canary}"}}))
    stored = b"".join(path.read_bytes() for path in (own.layout.root / "etcd").rglob("*") if path.is_file())
    assert f"plain-{canary}".encode() in stored
    assert f"secret-{canary}".encode() not in stored
    assert f"secret-{canary}" not in own.audit_log.read_text(encoding="utf-8")


def test_every_write_is_in_the_audit_log(own: EmbeddedPool) -> None:
    ask(own, lambda cluster: cluster.create(config_map("audited")))
    until(lambda: '"name":"audited"' in own.audit_log.read_text(encoding="utf-8"), "the write is on record")


def test_identities_of_kubernetes_itself_are_not_given_out(own: EmbeddedPool, tmp_path: Path) -> None:
    for user, groups in (
        ("system:admin", ()),
        ("somebody", ("system:masters",)),
        ("system:node:rs-01", ("system:nodes",)),
    ):
        with pytest.raises(IdentityRefused):
            own.issue_kubeconfig(user, groups, tmp_path / "kubeconfig")
    assert not (tmp_path / "kubeconfig").exists()


def test_certificates_are_renewed_before_they_expire(own: EmbeddedPool) -> None:
    own.stop()
    authority = Authority(own.layout.pki, "ca")
    pair = Pair(own.layout.pki / "apiserver.crt", own.layout.pki / "apiserver.key")
    for path in (pair.certificate, pair.key):
        path.unlink()
    authority._leaf("apiserver", "apiserver", (), ("127.0.0.1", "localhost"), RENEW_BEFORE_DAYS - 1)
    short = pair.expires
    own.start()
    assert pair.expires - short > datetime.timedelta(days=300)
    assert own.ready()


def test_certificates_pass_a_verifier_that_wants_every_word_of_the_standard(own: EmbeddedPool) -> None:
    """As Python's own does from 3.13 on, without which it takes no pool for ready."""
    ports = own._ports()
    assert ports is not None
    for authority, port in (("ca.crt", ports.api), ("etcd-ca.crt", ports.etcd)):
        context = ssl.create_default_context(cafile=str(own.layout.pki / authority))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(own.layout.pki / "etcd-client.crt", own.layout.pki / "etcd-client.key")
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            assert secured.getpeercert()


def test_two_pools_stand_side_by_side(own: EmbeddedPool, embedded_pool: EmbeddedPool) -> None:
    assert own.status().ready
    assert embedded_pool.status().ready
    assert own.status().url != embedded_pool.status().url
    ask(own, lambda cluster: cluster.apply(config_map("mine")))
    assert ask(embedded_pool, lambda cluster: cluster.read("v1", "ConfigMap", "default", "mine")) is None


def test_starting_what_runs_changes_nothing(own: EmbeddedPool) -> None:
    until(lambda: all(one.state == "running" for one in own.status().components), "all components run")
    before = [one.pid for one in own.status().components]
    own.start()
    assert [one.pid for one in own.status().components] == before


def test_two_starts_at_once_make_one_pool(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom commonpool.embedded import EmbeddedPool\n"
        "EmbeddedPool('twice', Path(sys.argv[1])).start()"
    )
    pool = EmbeddedPool("twice", tmp_path)
    try:
        starting = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
        assert [process.wait(90) for process in starting] == [0, 0]
        supervisors = [process for process in pool.processes.found() if "commonpool.embedded" in process.cmdline()]
        assert len(supervisors) == 1
        assert pool.ready()
    finally:
        pool.reset()
    assert not pool.processes.found()


@pytest.mark.parametrize("name", ["", "../x", "A", "a b", "-a", "a" * 40])
def test_names_that_are_no_folder_of_ours_are_refused(name: str) -> None:
    with pytest.raises(EmbeddedError):
        EmbeddedPool(name)


def test_a_stop_ends_everything_and_a_start_finds_the_same_pool(own: EmbeddedPool) -> None:
    ask(own, lambda cluster: cluster.apply(config_map("kept")))
    url = own.status().url
    assert own.stop()
    assert not own.processes.found()
    assert not own.stop(), "stopping what does not run is no error"
    own.start()
    assert own.status().url == url
    assert ask(own, lambda cluster: cluster.read("v1", "ConfigMap", "default", "kept")) is not None


def test_signals_reach_only_the_pools_own_processes(own: EmbeddedPool, embedded_pool: EmbeddedPool) -> None:
    other = {process.pid for process in embedded_pool.processes.found()}
    assert other
    assert not other & {process.pid for process in own.processes.found()}


def test_a_run_that_waits_in_vain_says_what_does_not_stay_up(
    own: EmbeddedPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPOOL_DATA", str(own.layout.root.parents[1]))
    own.start()
    stages = own.layout.config / "kwok.yaml"
    whole = stages.read_text(encoding="utf-8")
    stages.write_text("kind: Nothing\n", encoding="utf-8")
    psutil.Process({one.name: one.pid for one in own.status().components}["kwok"]).kill()
    (tmp_path / "Pulumi.yaml").write_text("name: waits\nruntime: python\n", encoding="utf-8")
    (tmp_path / "__main__.py").write_text(WAITING, encoding="utf-8")
    words = ("up", "--yes", "--skip-preview", "--pool", own.name, "--program", str(tmp_path))
    command_line = [sys.executable, "-m", "commonpool.cli", *words]
    with subprocess.Popen(command_line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        told = next(line for line in run.stderr if "does not stay up" in line)
        assert told.startswith("  warning: kwok does not stay up: ")
        assert f"; commonpool embedded logs --pool {own.name} kwok" in told
        run.send_signal(signal.SIGINT)
        assert any("[interrupted]" in line for line in run.stderr)
    stages.write_text(whole, encoding="utf-8")
    until(lambda: own.status().troubles == [], "it stays up again")


def test_what_does_not_stay_up_is_told_with_its_last_words(
    own: EmbeddedPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of this module's, since it applies an estate: a run that succeeds says that it may not be served."""
    monkeypatch.setenv("COMMONPOOL_DATA", str(own.layout.root.parents[1]))
    own.start()
    program, ends = Place(own.layout).program("envoy-gateway"), tmp_path / "ends"
    whole = program.resolve()
    ends.write_text("#!/bin/sh\necho out of paper\nexit 3\n")
    ends.chmod(0o700)
    program.unlink()
    program.symlink_to(ends)

    def words() -> str:
        return {one.name: one.last_words for one in own.status().components}["envoy-gateway"]

    psutil.Process({one.name: one.pid for one in own.status().components}["envoy-gateway"]).kill()
    until(lambda: words() == "out of paper", "it has ended more than once")
    told = "envoy-gateway does not stay up: out of paper"
    estate = estates.write(tmp_path / "estate", 1)
    behind = {"name": "old", "machines": ["ha-registry-1"], "port": 8080}
    estates.add_service(estate, "waits", endpoint={"protocol": "HTTP"}, backends=[behind])
    assert told in command("embedded", "status", own.name)
    assert f"warning: {told}" in command("up", "--yes", "--skip-preview", "--pool", own.name, "--estate", str(estate))
    assert f"  ! {told}; commonpool embedded logs --pool {own.name} envoy-gateway" in command(
        "status", "--pool", own.name, "--estate", str(estate)
    )
    examined = command("doctor", "--pool", own.name, "--estate", str(estate))
    assert told in examined
    assert "not taken in by the proxy: HTTPRoute waits: the proxy has not looked at it yet" in examined
    assert "envoy-gateway of another version of Commonpool still runs" in examined, "it is not what this one builds"
    program.unlink()
    program.symlink_to(whole)
    until(lambda: words() == "", "it stays up again")
    assert own.status().troubles == []
    monkeypatch.setenv("COMMONPOOL_CACHE", str(tmp_path / "elsewhere"))
    assert own.status().outdated == (), "the same programs are no other version where they lie elsewhere"


def command(*words: str) -> str:
    ended = subprocess.run([sys.executable, "-m", "commonpool.cli", *words], capture_output=True, text=True)
    return ended.stdout + ended.stderr
