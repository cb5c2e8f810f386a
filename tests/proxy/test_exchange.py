"""Calls under an agreement: the agreed fields only, evidence of each call and denial, and no call without evidence."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import agreements
import estates
import psutil
import pyrage  # type: ignore[import-untyped]
import pytest
from commonpool.components import envoy_gateway
from commonpool.components.gateway import EXCHANGE_HEADER
from commonpool.exchange.audit import unsigned
from commonpool.exchange.vault import opened
from commonpool.journal import Record
from commonpool.journal.query import records
from commonpool.journal.verification import verify
from commonpool.model import load_estate
from cryptography.hazmat.primitives import serialization

from proxy import systems
from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.declarations import ENVOY_GATEWAY
from proxy.estate import DOMAIN, Answer, DeclaredEstate
from proxy.test_stand_ins import command

HOST = f"people.d0.{DOMAIN}"
NAMESPACE = "service-people"
SPOKEN = {"interval": "1s", "timeout": "1s"}
MODE = {"body": "FullDuplexStreamed", "attributes": ["xds.route_name"]}


def today(days: int = 0) -> str:
    return (datetime.now(UTC) + timedelta(hours=8, days=days)).date().isoformat()


def terms(**other: Any) -> dict[str, Any]:
    """An agreement of d1 on `people`."""
    found = {
        "agreement": "people-for-d1",
        "digest": "sha256:" + "1" * 64,
        "service": "people",
        "provider": "d0",
        "consumer": "d1",
        "items": ["name", "headers.x-commonpool-department"],
        "purpose": "budget",
        "evidence": "digest",
        "start": today(-1),
        "end": today(1),
    }
    return found | other


def in_force(*agreements: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "agreements-people", "namespace": NAMESPACE, "labels": {"commonpool.dev/agreements": "true"}
        },
        "data": {
            "agreements.json": json.dumps(agreements),
            "others.json": '["d2"]',
            "audiences.json": json.dumps([envoy_gateway.audience(HOST), envoy_gateway.CERTIFIED]),
        },
    }  # fmt: skip


def through(proxy: Proxy, routes: list[str]) -> list[dict[str, Any]]:
    """The way through the exchange for the service's routes."""
    reference = {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "exchange"}
    targets = [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name} for name in routes]
    asked = {
        "backendRefs": [reference], "failOpen": False, "messageTimeout": "10s",
        "processingMode": {"request": MODE, "response": MODE | {"attributes": ["response.code_details"]}},
    }  # fmt: skip
    return [
        {
            "apiVersion": ENVOY_GATEWAY,
            "kind": "Backend",
            "metadata": {"name": "exchange", "namespace": NAMESPACE},
            "spec": {
                "endpoints": [{"unix": {"path": proxy.pool.exchange.removeprefix("unix:")}}],
                "appProtocols": ["gateway.envoyproxy.io/h2c"],
            },
        },
        {
            "apiVersion": ENVOY_GATEWAY,
            "kind": "EnvoyExtensionPolicy",
            "metadata": {"name": "people", "namespace": NAMESPACE},
            "spec": {"targetRefs": targets, "extProc": [asked]},
        },
    ]


class Exchanging:
    """The estate, its calls, and what the journal says of them."""

    def __init__(self, estate: DeclaredEstate, proxy: Proxy, backend: Backend) -> None:
        self.estate, self.proxy, self.backend, self.seen = estate, proxy, backend, backend.seen
        self.first = 0

    @property
    def journal(self) -> Path:
        return self.estate.pool.layout.journal

    def agree(self, *agreements: dict[str, Any]) -> None:
        """Put agreements in force, and wait until the exchange knows them."""
        self.proxy.apply(in_force(*agreements))
        time.sleep(0.3)
        self.first = verify(self.journal).size

    def call(self, path: str = "/", caller: str = "d1-main", **options: Any) -> Answer:
        return self.estate.call(HOST, path, caller=caller, **options)

    def records(self) -> list[Record]:
        return list(records(self.journal, self.first, kinds=("exchange.",)))


@pytest.fixture(scope="module")
def exchange(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchanging]:
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("exchange"), 3))
    proxy = Proxy(serving.pool)
    serving.pool.enable_exchange()
    with Backend("old") as old:
        declared.offer("people", port=8080, at=old.port)
        declared.offer(
            "speech", port=9000, at=old.port, endpoint={"protocol": "GRPC"}, health=SPOKEN
        )  # nobody calls it
        declared.consume(d1=["people", "speech"])
        declared.up("services", "departments")
        one = Exchanging(declared, proxy, old)
        until(lambda: one.call().status == 200, "the consumer passes")
        proxy.apply(in_force(terms()), *through(proxy, ["people"]))
        until(
            lambda: one.call().body == b'{"name":"old","headers":{"x-commonpool-department":"d1"}}',
            "the exchange filters",
        )
        yield one
        proxy.forget()


def test_a_field_outside_the_agreement_is_absent_and_the_call_leaves_its_evidence(exchange: Exchanging) -> None:
    exchange.agree(terms())
    answer = exchange.call("/people/1?id=110101")
    assert (answer.status, answer.body) == (200, b'{"name":"old","headers":{"x-commonpool-department":"d1"}}')
    asked, answered = exchange.records()
    assert (asked.kind, asked.actor) == ("exchange.asked", "system:serviceaccount:d1-main:default")
    assert (asked.data["agreement"], asked.data["purpose"], asked.data["path"]) == (
        "people-for-d1",
        "budget",
        "/people/1",
    )
    assert "110101" not in json.dumps(dict(asked.data)), "what is asked for may be a person's number"
    assert (answered.kind, answered.data["asked"], answered.data["status"]) == (
        "exchange.answered",
        asked.sequence,
        200,
    )
    assert answered.data["answer"]["bytes"] == len(answer.body)
    assert answered.data["fieldsTakenOut"] > 4
    assert verify(exchange.journal).good


@pytest.mark.parametrize("kind", ["application/grpc-web", "application/grpc-web-text", "application/grpc-web+proto"])
def test_a_caller_cannot_have_the_answer_put_where_nobody_takes_fields_out(exchange: Exchanging, kind: str) -> None:
    """gRPC-Web moves what is no gRPC into a header, and a gRPC service anywhere would turn it on for all."""
    exchange.agree(terms())
    answer = exchange.call("/people/1", headers={"Content-Type": kind})
    assert (answer.status, answer.body) == (200, b'{"name":"old","headers":{"x-commonpool-department":"d1"}}')
    assert "people" not in str(answer.headers)
    assert exchange.records()[-1].data["answer"]["bytes"] == len(answer.body)


@pytest.mark.parametrize("evidence", ["digest", "none"])
def test_an_agreement_whose_last_day_is_over_is_refused_with_a_record(exchange: Exchanging, evidence: str) -> None:
    exchange.agree(terms(end=today(-1), evidence=evidence))
    answer = exchange.call()
    assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json["type"].endswith("agreement-not-in-force")
    (refused,) = exchange.records()
    assert (refused.kind, refused.data["reason"]) == ("exchange.refused", "agreement-not-in-force")


@pytest.mark.parametrize("caller", ["d0", "d2"])
def test_a_call_that_the_route_or_the_list_denies_is_recorded(exchange: Exchanging, caller: str) -> None:
    """The route denies d2, which is listed as in no need of an agreement; d0 is not even listed."""
    exchange.agree(terms())
    assert exchange.call(caller=f"{caller}-main").status == 403
    (denied,) = exchange.records()
    assert (denied.kind, denied.actor, denied.data["consumer"], denied.data["status"]) == (
        "exchange.denied", f"system:serviceaccount:{caller}-main:default", caller, 403,
    )  # fmt: skip


def test_a_consumer_of_some_fields_is_told_why_the_proxy_refuses(exchange: Exchanging) -> None:
    exchange.agree(terms())
    exchange.backend.behave(healthy=False)
    try:
        until(lambda: exchange.call().status == 503, "no backend is healthy")
        assert exchange.call().json["type"].rpartition("/")[2] == "no-healthy-backend"
    finally:
        exchange.backend.behave(healthy=True)
        until(lambda: exchange.call().status == 200, "it is healthy again")


def test_a_token_for_another_service_counts_as_no_call_and_is_recorded(exchange: Exchanging) -> None:
    exchange.agree(terms(volume=1))
    token = exchange.estate.token("d1-main", f"other.d0.{DOMAIN}")
    answer = exchange.estate.call(HOST, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status, answer.json["type"].rpartition("/")[2]) == (401, "token-for-another-service")
    (denied,) = exchange.records()
    assert (denied.kind, denied.data["reason"]) == ("exchange.denied", "token-for-another-service")
    assert exchange.call().status == 200, "the one call of the day is still there"


def test_an_agreement_that_is_gone_admits_nobody_although_the_route_is_still_open(exchange: Exchanging) -> None:
    exchange.agree()
    answer = exchange.call()
    assert (answer.status, answer.json["type"].rpartition("/")[2]) == (403, "not-a-consumer")


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/?bytes=5000000", 502, "answer-too-large"),
        ("/?bytes=100&type=text/csv", 502, "answer-not-filterable"),
        ("/?bytes=100&type=text/html&status=404", 404, "service-error"),
    ],
)
def test_what_cannot_be_filtered_never_passes_unfiltered(
    exchange: Exchanging, path: str, status: int, reason: str
) -> None:
    exchange.agree(terms())
    answer = exchange.call(path)
    assert (answer.status, answer.json["type"].rpartition("/")[2]) == (status, reason)
    assert b"xxx" not in answer.body
    asked, refused = exchange.records()
    assert (refused.kind, refused.data["asked"], refused.data["reason"]) == ("exchange.refused", asked.sequence, reason)


def test_the_volume_of_a_day_is_kept_also_when_the_exchange_starts_anew(exchange: Exchanging) -> None:
    """The records of the calls are what is counted, whatever the agreement keeps beside them."""
    exchange.agree(terms(agreement="few-for-d1", items=None, evidence="none", volume=2))
    seen = exchange.seen()
    assert [exchange.call().status for _ in range(2)] == [200, 200]
    answer = exchange.call()
    assert (answer.status, answer.json["type"].rpartition("/")[2]) == (429, "volume-exceeded")
    assert 0 < int({name.lower(): value for name, value in answer.headers.items()}["retry-after"]) <= 86_400
    assert [record.kind for record in exchange.records()] == [
        "exchange.asked", "exchange.answered", "exchange.asked", "exchange.answered", "exchange.refused",
    ]  # fmt: skip
    pid = {one.name: one.pid for one in exchange.estate.pool.status().components}["exchange"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: exchange.call().status == 429, "it is back, and has forgotten none")
    assert exchange.seen() == seen + 2
    exchange.agree(terms())
    assert exchange.call().status == 200, "another agreement has its own"


def test_bodies_stream_in_both_directions_where_no_field_is_taken_out(exchange: Exchanging) -> None:
    exchange.agree(terms(items=None))
    answer = exchange.call("/?bytes=20000000", method="POST", body=b"y" * 3_000_000)
    assert (answer.status, len(answer.body)) == (200, 20_000_012)
    _, answered = exchange.records()
    assert answered.data["request"]["bytes"] == 3_000_000
    assert answered.data["answer"] == {"bytes": len(answer.body), "sha256": hashlib.sha256(answer.body).hexdigest()}


def test_kept_bodies_open_for_the_two_departments_and_for_nobody_else(exchange: Exchanging) -> None:
    provider, consumer, operator = (pyrage.x25519.Identity.generate() for _ in range(3))
    recipients = [str(one.to_public()) for one in (provider, consumer)]
    exchange.agree(terms(evidence="body", recipients=recipients))
    answer = exchange.call("/people/1", method="POST", body=b"a question")
    _, answered = exchange.records()
    name = answered.data["bodies"].removeprefix("sha256:")
    content = (exchange.journal / "bodies" / f"{name}.age").read_bytes()
    assert hashlib.sha256(content).hexdigest() == name
    for identity in (provider, consumer):
        assert opened(content, str(identity)) == (b"a question", answer.body)
    with pytest.raises(ValueError, match="does not open it"):
        opened(content, str(operator))
    assert answer.body not in content

    exchange.agree(terms(evidence="body"))
    assert exchange.call().json["type"].endswith("no-recipients"), (
        "kept bodies that the operator could read are not kept"
    )


def test_an_x_road_client_works_unchanged_and_cannot_name_another(exchange: Exchanging) -> None:
    exchange.agree(terms(items=["name", "path"]))
    headers = {"X-Road-Client": "JX/GOV/d1/budget", "X-Road-Id": "a-1", "X-Road-Issue": "case 7",
               "X-Road-Represented-Party": "GOV/d9", "X-Road-UserId": "EE7"}  # fmt: skip
    answer = exchange.call("/r1/JX/GOV/d0/registers/people/v1/persons?name=x", headers=headers)
    assert (answer.status, answer.json["path"]) == (200, "/v1/persons?name=x")
    found = {name.lower(): value for name, value in answer.headers.items()}
    assert (found["x-road-id"], found["x-road-client"]) == ("a-1", "JX/GOV/d1/budget")
    assert found["x-road-service"] == "JX/GOV/d0/registers/people"
    assert found["x-road-request-id"]
    assert len(base64.b64decode(found["x-road-request-hash"])) == 64
    asked, _ = exchange.records()
    assert asked.data["xRoad"] == {
        "id": "a-1", "client": "JX/GOV/d1/budget", "issue": "case 7", "representedParty": "GOV/d9", "user": "EE7"
    }  # fmt: skip
    other = exchange.call("/r1/JX/GOV/d0/registers/people/", headers={**headers, "X-Road-Client": "JX/GOV/d2/x"})
    assert (other.status, other.json["type"].rpartition("/")[2]) == (403, "x-road-client")
    bad = exchange.call("/r1/JX/GOV/d0/registers/people/")
    assert (bad.status, bad.json["detail"]) == (400, "X-Road-Client is missing")


@contextlib.contextmanager
def x_road_server(exchange: Exchanging, folder: Path) -> Iterator[str]:
    """The server beside a client of d1's system `desk`; its address. It knows three files, and no cluster."""
    command(exchange.estate, "service", "certificate", "d1", "desk", "--write", str(folder))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    words = ["service", "x-road", "--client", "JX/GOV/d1", "--listen", "127.0.0.1:0"]
    called = [sys.executable, "-m", "commonpool.cli", *words, "--system", str(folder / "desk.json")]
    with subprocess.Popen(called, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().removeprefix("http://").removesuffix("/r1/")
        finally:
            process.terminate()
            assert process.wait(30) == 0


@pytest.fixture
def outside(exchange: Exchanging) -> Iterator[None]:
    """d1 has a system outside of the pool that calls `people`."""
    with systems.way_in(exchange.estate, 8449):
        systems.declare(exchange.estate, "d1", ["people"])
        exchange.estate.up("services", "departments")
        exchange.proxy.apply(*through(exchange.proxy, ["people"]))
        yield
    exchange.estate.up("services", "departments")
    exchange.proxy.apply(*through(exchange.proxy, ["people"]))


def test_an_x_road_client_that_knows_nothing_of_the_pool_is_served_by_the_server_beside_it(
    exchange: Exchanging, outside: None, tmp_path: Path
) -> None:
    exchange.agree(terms(items=["name", "path"]))
    path = "/r1/JX/GOV/d0/registers/people/v1/persons?name=x%2Fy"
    with x_road_server(exchange, tmp_path) as address:

        def ask(path: str, **headers: str) -> Answer:
            connection = http.client.HTTPConnection(address, timeout=15)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", path, body=b"a question", headers=named)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

        until(lambda: ask(path, X_Road_Client="JX/GOV/d1/budget").status == 200, "the system is let in")
        exchange.agree(terms(items=["name", "path"]))
        answer = ask(path, X_Road_Client="JX/GOV/d1/budget", X_Road_Issue="case 7", x_road_id="b-2")
        assert (answer.status, answer.json) == (200, {"name": "old", "path": "/v1/persons?name=x%2Fy"})
        assert answer.headers["x-road-id"] == "b-2", "however it was spelled"
        assert answer.headers["x-road-service"] == "JX/GOV/d0/registers/people"
        asked, answered = exchange.records()
        assert asked.actor == f"spiffe://{DOMAIN}/department/d1/system/desk"
        assert asked.data["xRoad"] == {
            "id": answer.headers["x-road-id"], "client": "JX/GOV/d1/budget", "issue": "case 7"
        }  # fmt: skip
        assert answered.data["request"]["bytes"] == 10
        for client, kind in {"JX/GOV/d2/budget": "Server.ClientProxy.UnknownMember", "d1": "Client.BadRequest"}.items():
            refused = ask(path, X_Road_Client=client)
            assert (refused.headers["x-road-error"], refused.json["type"]) == (kind, kind)
            assert refused.status == (400 if kind.startswith("Client") else 500)
        other = ask("/r1/JX/GOV/d0/registers/peoples/", X_Road_Client="JX/GOV/d1/budget")
        assert other.headers["x-road-error"] == "Server.ServerProxy.UnknownService"
        assert len(exchange.records()) == 2, "what this server refuses does not reach the pool"
        exchange.agree()
        over = ask(path, X_Road_Client="JX/GOV/d1/budget")
        assert (over.status, over.headers["x-road-error"]) == (500, "Server.ServerProxy.AccessDenied")
        assert "no agreement of d1 on people is in force" in over.json["message"]


def test_f9_no_call_passes_without_its_evidence_and_all_do_again_when_it_can_be_written(exchange: Exchanging) -> None:
    exchange.agree(terms())
    hidden = exchange.journal.with_name("away")
    seen = exchange.seen()
    exchange.journal.rename(hidden)
    try:
        answer = exchange.call()
        assert (answer.status, answer.json["type"].rpartition("/")[2]) == (503, "evidence-unavailable")
        assert exchange.seen() == seen, "the service was not asked either"
    finally:
        hidden.rename(exchange.journal)
    assert exchange.call().status == 200
    assert verify(exchange.journal).good


def test_agreements_that_cannot_be_read_admit_nobody(exchange: Exchanging) -> None:
    exchange.agree(terms(evidence="everything"))
    answer = exchange.call()
    assert (answer.status, answer.json["type"].rpartition("/")[2]) == (503, "agreements-unreadable")
    exchange.agree(terms())
    assert exchange.call().status == 200


def test_a_killed_exchange_lets_nothing_through_and_comes_back(exchange: Exchanging) -> None:
    exchange.agree(terms())
    pid = {one.name: one.pid for one in exchange.estate.pool.status().components}["exchange"]
    os.kill(pid, signal.SIGKILL)
    found = set()

    def back() -> bool:
        answer = exchange.call()
        found.add((answer.status, b"path" in answer.body))
        return answer.status == 200

    until(back, "calls pass again")
    assert (200, True) not in found
    assert found - {(200, False)}, "while it was away the calls failed"
    assert verify(exchange.journal).good


def test_nobody_else_on_the_machine_asks_the_exchange_or_answers_in_its_place(exchange: Exchanging) -> None:
    """Whoever reached it would have calls recorded that nobody made."""
    pid = {one.name: one.pid for one in exchange.estate.pool.status().components}["exchange"]
    assert not [one for one in psutil.Process(pid).net_connections("inet") if one.status == psutil.CONN_LISTEN]
    socket = Path(exchange.estate.pool.exchange.removeprefix("unix:"))
    assert socket.is_socket()
    for path in (socket, socket.parent, exchange.estate.pool.layout.root):
        assert path.stat().st_mode & 0o077 == 0, path


def private(department: str) -> str:
    """A department's signing key as its people hold it."""
    form = serialization.PrivateFormat.OpenSSH
    return (
        agreements.key(department)
        .private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        .decode()
    )


def test_a_transfer_under_way_is_stopped_when_its_agreement_goes(exchange: Exchanging) -> None:
    exchange.agree(terms(items=None))
    found: list[Answer] = []
    begun = threading.Event()
    transfer = threading.Thread(target=lambda: found.append(exchange.call("/stream?pieces=600", begun=begun)))
    transfer.start()
    assert begun.wait(timeout=15), "the answer begins; before its head has gone, it could still be refused"
    exchange.proxy.apply(in_force())
    transfer.join(timeout=30)
    assert not transfer.is_alive(), "a minute's transfer ends long before its end"
    (answer,) = found
    assert answer.status == 0, "the caller sees that it broke off, and takes no part for the whole"
    reasons = [record.data.get("reason") for record in exchange.records()]
    assert reasons[-1] == "agreement-over"


def test_an_agreement_file_filters_within_one_up_and_what_is_kept_opens_for_its_two_departments(
    serving: Proxy, tmp_path: Path
) -> None:
    """From the files to the caller: nothing here is applied by hand. Last, because its estate has no service `people`."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path / "estate", 3))
    agreements.give_keys(declared.root, "d0", "d1", "d2")
    host = f"records.d0.{DOMAIN}"
    with Backend("old") as old:
        declared.offer("records", port=8080, at=old.port)
        declared.consume(d1=["records"], d2=["records"])
        agreements.agree(declared.root, "records-for-d1", service="records", items=["name"], evidence="body")
        declared.up("services", "departments")
        until(lambda: declared.call(host, caller="d1-main").body == b'{"name":"old"}', "d1 gets what is agreed")
        assert "path" in declared.call(host, caller="d2-main").json, "the service is open to d2 without an agreement"
        journal = serving.pool.layout.journal
        *_, asked, answered = records(journal, kinds=("exchange.asked", "exchange.answered"))
        assert asked.data["signed"] == ["d0/office", "d1/office"]
        assert asked.data["text"] == load_estate(declared.root).texts["records-for-d1"]
        assert unsigned(load_estate(declared.root), [asked, answered], journal) == (1, None)
        content = (journal / "bodies" / f"{answered.data['bodies'].removeprefix('sha256:')}.age").read_bytes()
        for department in ("d0", "d1"):
            assert opened(content, private(department))[1] == b'{"name":"old"}'
        with pytest.raises(ValueError, match="does not open it"):
            opened(content, private("d2"))
        policy = {"apiVersion": ENVOY_GATEWAY, "kind": "EnvoyExtensionPolicy"}
        Proxy(serving.pool).delete(policy | {"metadata": {"name": "records", "namespace": "service-records"}})
        until(lambda: declared.call(host, caller="d1-main").status == 403, "nobody passes beside the exchange")
        assert "path" in declared.call(host, caller="d2-main").json, "who needs no agreement does"
        forged = declared.call(host, caller="d1-main", headers={EXCHANGE_HEADER: "records-for-d1"})
        assert forged.status == 403, "nor does who says to have been there"
        declared.up("services")
        until(lambda: declared.call(host, caller="d1-main").body == b'{"name":"old"}', "it is mended")
        agreements.say(declared.root, "records-for-d1", "d0", "terminate")
        declared.consume(d1=[])
        declared.up("services", "departments")
        until(lambda: declared.call(host, caller="d1-main").status == 403, "and nothing after one side ended it")


def test_calls_above_the_share_leave_no_evidence_and_are_none_of_the_day(serving: Proxy, tmp_path: Path) -> None:
    """They would fill the journal, which all calls need, as fast as somebody can send them."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path / "estate", 3))
    agreements.give_keys(declared.root, "d0", "d1")
    host = f"permits.d0.{DOMAIN}"
    with Backend("old") as old:
        declared.offer("permits", port=8080, at=old.port)
        declared.consume(d1=["permits"])
        rate = {"requestsPerSecond": 2, "requestsPerDay": 1000}
        agreements.agree(
            declared.root, "permits-for-d1", service="permits", items=["name"], evidence="digest", rate=rate
        )
        declared.up("services", "departments")
        until(lambda: declared.call(host, caller="d1-main").status == 200, "d1 is let in")
        journal, statuses = serving.pool.layout.journal, list[int]()
        first = verify(journal).size

        def call() -> int:
            statuses.append(declared.call(host, caller="d1-main").status)
            return statuses.count(429)

        until(lambda: call() >= 20, "calls above the share are refused")
        asked = [one for one in records(journal, first, kinds=("exchange.asked",)) if one.data["service"] == "permits"]
        assert len(asked) == statuses.count(200) < len(statuses)
        assert verify(journal).size == first + 2 * len(asked)
        declared.consume(d1=[])
        declared.up("services", "departments")
