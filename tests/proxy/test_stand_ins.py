"""What the embedded pool plays for simulated machines: all of it answers through the proxy, and says what it is."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import estates
import grpc  # type: ignore[import-untyped]
import psutil
import pytest
from commonpool.embedded import stand_in, stand_in_database
from commonpool.model import load_estate

from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, ROOT, DeclaredEstate

WORKLOAD = {
    "image": "registry.jiangnan.example/speech:1",
    "ports": [{"name": "grpc", "port": 9000}],
    "resources": {"cpu": "5m", "memory": "8Mi"},
}


@pytest.fixture(scope="module")
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    """One service on a machine, one in pods and a database, applied without a word about where they are played."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("played"), 3))
    machine = {"machines": ["ha-registry-1"]}
    health = {"interval": "1s", "timeout": "1s"}
    estates.add_service(
        declared.root, "register", endpoint={"protocol": "HTTP"}, backends=[{"name": "old", "port": 8080, **machine}],
        health={**health, "path": "/status", "body": "ready", "statuses": [203]},
    )  # fmt: skip
    estates.add_service(
        declared.root, "speech", endpoint={"protocol": "GRPC"}, backends=[{"name": "main", "pods": True}],
        workload=WORKLOAD, health=health,
    )  # fmt: skip
    estates.add_service(
        declared.root, "database", endpoint={"protocol": "TCP", "port": 15432},
        backends=[{"name": "old", "port": 5432, **machine}], health=health,
    )  # fmt: skip
    declared.consume(d1=["register", "speech", "database"])
    command(declared, "up", "--yes", "--skip-preview", "--stack", "services", "--stack", "departments")
    until(lambda: healthy(declared), "all backends are healthy and said to be stand-ins")
    yield declared


def command(estate: DeclaredEstate, *words: str) -> str:
    """What a command prints that is about the embedded pool, as after `make up`."""
    environment = os.environ | {
        "COMMONPOOL_DATA": str(estate.pool.layout.root.parents[1]),
        "COMMONPOOL_POOL": estate.pool.name,
        "COMMONPOOL_ESTATE": str(estate.root),
    }
    called = [sys.executable, "-m", "commonpool.cli", *words]
    ended = subprocess.run(called, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def healthy(estate: DeclaredEstate) -> bool:
    items = json.loads(command(estate, "service", "list", "-o", "json"))["items"]
    return {(one["health"], one["standIn"]) for item in items for one in item["backends"]} == {("healthy", True)}


def test_every_simulated_backend_is_played_passes_its_checks_and_is_called_a_stand_in(estate: DeclaredEstate) -> None:
    assert "ha-registry-1 (stand-in)" in command(estate, "service", "show", "register")
    assert set(estate.pool.played()) == {"ha-registry-1:8080", "speech/pods:9000", "ha-registry-1:5432"}


def test_curl_with_the_callers_token_reaches_the_stand_in_by_the_stable_name(estate: DeclaredEstate) -> None:
    configuration = command(estate, "service", "credential", "register", "--caller", "d1-main", "--curl")
    url = f"http://register.d0.{DOMAIN}:8080/entries/1"
    ended = subprocess.run(
        ["curl", "-sSK", "-", url], input=configuration, capture_output=True, text=True, check=True, timeout=30
    )
    found = json.loads(ended.stdout)
    assert found["answeredBy"].startswith(
        "a stand-in on this machine for the machine ha-registry-1, which is only simulated"
    )
    assert (found["path"], found["department"]) == ("/entries/1", "d1")


def test_https_is_served_under_the_stable_name_by_a_certificate_of_the_pools(estate: DeclaredEstate) -> None:
    """Refusals over it are the same problem documents, and a certificate of somebody else's is left alone."""
    path = estate.root / "pool.yaml"
    text = path.read_text(encoding="utf-8")
    declared = "    proxy:\n      certificate: served\n"
    path.write_text(
        text.replace("    proxy:\n", declared).replace("httpsPort: 8443", "httpsPort: 8446"), encoding="utf-8"
    )
    try:
        command(estate, "up", "--yes", "--skip-preview", "--stack", "pool")
        configuration = command(estate, "service", "credential", "register", "--caller", "d1-main", "--curl")
        stranger = "\n".join(line for line in configuration.splitlines() if "Authorization" not in line)
        url = f"https://register.d0.{DOMAIN}:8446/entries/1"

        def ask(config: str) -> tuple[str, str]:
            words = ["curl", "-sSK", "-", "-w", "\n%{http_code}", url]
            ended = subprocess.run(words, input=config, capture_output=True, text=True, check=False, timeout=30)
            body, _, status = ended.stdout.rpartition("\n")
            return status, body

        until(lambda: ask(configuration)[0] == "200", "it answers over HTTPS")
        status, body = ask(stranger)
        assert (status, json.loads(body)["title"]) == ("401", "No valid token")
    finally:
        path.write_text(text, encoding="utf-8")
        command(estate, "up", "--yes", "--skip-preview", "--stack", "pool")


def test_no_credential_is_made_for_who_does_not_consume_the_service(estate: DeclaredEstate) -> None:
    with pytest.raises(AssertionError, match=r"no namespace 'd2-main' lists register .*\[not_a_consumer\]"):
        command(estate, "service", "credential", "register", "--caller", "d2-main")


def test_grpc_methods_of_a_stand_in_are_refused_in_its_own_words(estate: DeclaredEstate) -> None:
    host = f"speech.d0.{DOMAIN}"
    metadata = [("authorization", f"Bearer {estate.token('d1-main', host)}")]
    address = f"{estate.pool.proxy_address}:{estate.port()}"
    with (
        grpc.insecure_channel(address, options=[("grpc.default_authority", host)]) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        channel.unary_unary("/speech.Speech/Say")(b"", metadata=metadata, timeout=20)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "a stand-in on this machine for the pods of speech" in refused.value.details()


def test_a_played_database_is_a_real_one_that_can_only_be_read_or_says_that_it_is_none(estate: DeclaredEstate) -> None:
    address, port = estate.pool.proxy_address, estate.port(15432)
    says = "a stand-in on this machine for the machine ha-registry-1"
    if stand_in_database.programs_folder() is None:
        with socket.create_connection((address, port), timeout=10) as connection:
            assert connection.recv(200).decode().startswith(says)
        return

    def query(statement: str) -> str:
        words = ["psql", "-h", address, "-p", str(port), "-U", "reader", "-Atc", statement, "register"]
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
        return ended.stdout + ended.stderr

    assert query("select says from about").startswith(says)
    assert query("select count(*) from residents") == "1000\n"
    assert "permission denied" in query("delete from residents")


def test_a_killed_stand_in_comes_back(estate: DeclaredEstate) -> None:
    before = {one.name: one.pid for one in estate.pool.status().components}["stand-ins"]
    psutil.Process(before).kill()
    host = f"register.d0.{DOMAIN}"
    until(lambda: estate.call(host, caller="d1-main").status != 200, "it is gone")
    until(lambda: estate.call(host, caller="d1-main").status == 200, "it answers again")
    assert {one.name: one.pid for one in estate.pool.status().components}["stand-ins"] != before


def test_a_machine_that_joined_one_with_tls_and_pods_beside_real_nodes_are_not_played(tmp_path: Path) -> None:
    root = estates.write(tmp_path, 1)
    backends: list[dict[str, Any]] = [
        {"name": "simulated", "machines": ["ha-registry-1"], "port": 8080},
        {"name": "with-tls", "machines": ["rs-nas-1"], "port": 8443, "tls": {"serverName": "nas.example"}},
        {"name": "real", "machines": ["rs-nas-2"], "port": 8080},
        {"name": "pods", "pods": True},
    ]
    estates.add_service(root, "mixed", endpoint={"protocol": "HTTP"}, backends=backends, workload=WORKLOAD)
    assert set(stand_in.roles(load_estate(root))) == {"ha-registry-1:8080", "rs-nas-2:8080", "mixed/pods:9000"}
    found = load_estate(root)
    joined = {"rs-nas-2", "nc-01"}
    machines = tuple(
        replace(one, facts=one.facts.model_copy(update={"joined": one.name in joined})) for one in found.machines
    )
    assert set(stand_in.roles(replace(found, machines=machines))) == {"ha-registry-1:8080"}
