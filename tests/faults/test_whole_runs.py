"""Whole runs under faults (CASES F3 to F8): they end as declared or say clearly why not, and nothing is done twice."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fault_harness as harness
import grpc  # type: ignore[import-untyped]
import pytest
import yaml
from commonpool.embedded import EmbeddedPool, binaries
from commonpool.engine import Program, up
from commonpool.engine.error import LockHeld, LockLost
from programs import BARE, Stack, messages

MANY = """
for number in range(config.require_int("number")):
    config_map(f"c{number}", {"n": config.require("value")})
"""


@pytest.fixture(scope="module")
def shaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPool]:
    """A pool of this file's own, because it is stopped and killed."""
    pool = EmbeddedPool("faults", tmp_path_factory.mktemp("pools"))
    pool.start()
    yield pool
    pool.reset()


@pytest.fixture
def stack(shaken: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(shaken, tmp_path, fresh, BARE)


def proven(stack: Stack, number: int, value: str) -> None:
    """What is declared stands, once, and a second run finds nothing to do."""
    again = stack.up(MANY, number=str(number), value=value)
    assert (again.problems, again.counts, again.unchanged) == ((), {}, number + 1)
    refreshed = stack.refresh()
    assert (refreshed.counts, refreshed.unchanged) == ({}, number + 1)


def test_f5_an_api_server_that_stands_still_and_one_that_dies_mid_run_are_waited_for(
    stack: Stack, shaken: EmbeddedPool
) -> None:
    def stand_still() -> None:
        with harness.stopped(harness.pid_of(shaken, "kube-apiserver")):
            threading.Event().wait(10)

    watching = harness.when(stack.notes, lambda notes: "c20" in notes, stand_still)
    first = stack.up(MANY, number="150", value="1")
    watching.join()
    assert first.problems == (), messages(first)
    proven(stack, 150, "1")
    stack.notes.clear()
    kill = lambda: os.kill(harness.pid_of(shaken, "kube-apiserver"), signal.SIGKILL)  # noqa: E731
    watching = harness.when(stack.notes, lambda notes: "c20" in notes, kill)
    second = stack.up(MANY, number="150", value="2")
    watching.join()
    assert second.problems == (), messages(second)
    proven(stack, 150, "2")


def test_f6_a_killed_store_is_waited_for_and_a_full_one_is_a_clear_error_with_nothing_claimed(
    stack: Stack, shaken: EmbeddedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = lambda: os.kill(harness.pid_of(shaken, "etcd"), signal.SIGKILL)  # noqa: E731
    watching = harness.when(stack.notes, lambda notes: "c20" in notes, kill)
    first = stack.up(MANY, number="100", value="1")
    watching.join()
    assert first.problems == (), messages(first)
    proven(stack, 100, "1")
    monkeypatch.setattr(
        "commonpool.engine.retry.BROKEN_SECONDS", 3.0
    )  # 25 otherwise: a person hears within half a minute
    with full(shaken):
        try:
            refused = messages(stack.up(MANY, number="100", value="2"))
        except Exception as error:
            refused = str(error)
        assert "no space" in refused or "space exceeded" in refused
        assert stack.refresh().counts == {}
    assert stack.up(MANY, number="100", value="2").problems == ()
    proven(stack, 100, "2")


class full:
    """The store raises its NOSPACE alarm, as it does when its quota is used up."""

    def __init__(self, pool: EmbeddedPool) -> None:
        self.pool = pool

    def alarm(self, action: int) -> None:
        """1 raises it, 2 takes it back."""
        pki = self.pool.layout.pki
        credentials = grpc.ssl_channel_credentials(
            (pki / "etcd-ca.crt").read_bytes(),
            (pki / "etcd-client.key").read_bytes(),
            (pki / "etcd-client.crt").read_bytes(),
        )
        with grpc.secure_channel(f"127.0.0.1:{self.port()}", credentials) as channel:
            call = channel.unary_unary("/etcdserverpb.Maintenance/Alarm")
            call(bytes([8, action, 24, 1]), timeout=20)

    def port(self) -> int:
        """Where the store listens."""
        words = Path(f"/proc/{harness.pid_of(self.pool, 'etcd')}/cmdline").read_bytes().decode().split("\x00")
        address = next(word for word in words if word.startswith("--listen-client-urls="))
        return int(address.rpartition(":")[2])

    def __enter__(self) -> None:
        self.alarm(1)

    def __exit__(self, *_: object) -> None:
        self.alarm(2)


def test_f7_answers_that_get_lost_during_a_whole_run_lose_nothing_and_double_nothing(
    stack: Stack, shaken: EmbeddedPool, tmp_path: Path
) -> None:
    source = MANY + 'config_map("auto", {"n": config.require("value")}, named=False)\n'
    with harness.losing_answers(shaken, tmp_path, 0.2) as (cutter, through):
        direct, stack.kubeconfig = stack.kubeconfig, through
        for value in ("1", "2"):
            result = stack.up(source, number="100", value=value)
            assert result.problems == (), messages(result)
        stack.kubeconfig = direct
        assert cutter.cuts >= 3
    again = stack.up(source, number="100", value="2")
    assert (again.problems, again.counts, again.unchanged) == ((), {}, 102)
    assert stack.destroy().counts == {"delete": 102}


def test_f8_a_storm_of_429_from_priority_and_fairness_is_waited_out(
    stack: Stack, shaken: EmbeddedPool, tmp_path: Path, fresh: str
) -> None:
    """The API server itself turns away what is beyond a handful of requests at a time, for the engine's account alone."""
    account = crowded_account(fresh)
    for body in account:
        stack.ask(lambda cluster, body=body: cluster.create(body))  # type: ignore[misc]
    direct, stack.kubeconfig = stack.kubeconfig, token_of(stack, shaken, fresh, tmp_path)
    try:
        first = stack.up(MANY, number="100", value="1")
        assert first.problems == (), messages(first)
        assert turned_away(shaken, fresh) > 10
    finally:
        stack.kubeconfig = direct
        for body in account[:3]:
            key = (body["apiVersion"], body["kind"], "", body["metadata"]["name"])
            stack.ask(lambda cluster, key=key: cluster.delete(*key))  # type: ignore[misc]
    proven(stack, 100, "1")


def crowded_account(name: str) -> list[dict[str, Any]]:
    """A service account that may do everything, but only a few requests at a time: another level takes nearly all seats.

    The levels and the schema come first.
    """
    api = "flowcontrol.apiserver.k8s.io/v1"
    reject = {"limitResponse": {"type": "Reject"}, "lendablePercent": 0, "borrowingLimitPercent": 0}
    small, large = (
        {"type": "Limited", "limited": {**reject, "nominalConcurrencyShares": shares}} for shares in (1, 300)
    )
    subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    schema = {
        "priorityLevelConfiguration": {"name": name},
        "matchingPrecedence": 100,
        "rules": [
            {"subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "default"}}],
             "resourceRules": [rule]}
        ],
    }  # fmt: skip
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    return [
        {"apiVersion": api, "kind": "FlowSchema", "metadata": {"name": name}, "spec": schema},
        {"apiVersion": api, "kind": "PriorityLevelConfiguration", "metadata": {"name": name}, "spec": small},
        {"apiVersion": api, "kind": "PriorityLevelConfiguration", "metadata": {"name": f"{name}-rest"}, "spec": large},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": role,
            "subjects": [subject],
        },
    ]


def token_of(stack: Stack, pool: EmbeddedPool, account: str, folder: Path) -> Path:
    """A kubeconfig of that account."""
    path = f"/api/v1/namespaces/default/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = stack.ask(lambda cluster: cluster.request("POST", path, body))
    document = yaml.safe_load(pool.kubeconfig.read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": answer["status"]["token"]}
    found = folder / "crowded.kubeconfig"
    found.write_text(yaml.safe_dump(document), encoding="utf-8")
    return found


def turned_away(pool: EmbeddedPool, flow: str) -> int:
    """How many requests of that flow were refused so far, by the API server's own count."""
    kubectl = [str(binaries.built(binaries.KUBERNETES) / "kubernetes"), "kubectl", "--kubeconfig", str(pool.kubeconfig)]
    text = subprocess.run([*kubectl, "get", "--raw", "/metrics"], check=True, capture_output=True, text=True).stdout
    pattern = rf'^apiserver_flowcontrol_rejected_requests_total{{.*flow_schema="{flow}".*}} (\S+)$'
    return int(sum(float(value) for value in re.findall(pattern, text, re.M)))


def test_f3_of_two_runs_at_once_exactly_one_has_the_stack_twenty_times_over(stack: Stack) -> None:
    """The loser says who won, and what stands is what the winner declared."""
    source = 'config_map("a", {"v": config.require("v")})'
    assert stack.up(source, v="first").problems == ()
    for turn in range(20):
        endings = _both(stack, {who: stack.load(source, v=f"{turn}-{who}") for who in ("x", "y")})
        winners = [who for who, ending in endings.items() if ending == "won"]
        assert len(winners) in (1, 2), endings  # two: one after the other
        assert all(ending == "won" or "lock" in ending for ending in endings.values()), endings
        live = stack.read("v1", "ConfigMap", stack.name, "a")
        assert live["data"]["v"] in {f"{turn}-{who}" for who in winners}
        assert live["metadata"]["uid"] in {record.uid for record in stack.state().records.values()}


def _both(stack: Stack, programs: dict[str, Program]) -> dict[str, str]:
    """Run both at the same moment; how each ended."""
    start = threading.Barrier(2)
    endings: dict[str, str] = {}

    def one(who: str) -> None:
        start.wait()
        try:
            result = stack.run(up, programs[who])
            endings[who] = messages(result) or "won"
        except (LockHeld, LockLost) as error:
            endings[who] = f"{error.code}: {error}"

    threads = [threading.Thread(target=one, args=(who,)) for who in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return endings
