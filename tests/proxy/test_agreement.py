"""An agreement opens the way and closes it: signed by both it admits, at its end or by one side's word it refuses."""

import asyncio
import contextlib
import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import agreements
import estates
import pytest
from commonpool.components.envoy_gateway import VERSION, policy, target
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, kubeconfig
from commonpool.engine.error import Refused
from commonpool.model import load_estate

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.declarations import GATEWAY_API
from proxy.estate import DOMAIN, ROOT, DeclaredEstate

NAME = "permits"
HOST = f"{NAME}.d0.{DOMAIN}"
CONDITIONAL = {"class": "conditional", "conditions": ["Only for its task"]}


@pytest.fixture(scope="module")
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    """`permits` of d0, shared under conditions; d1 and d2 have keys and no agreement yet, d0 calls what is its own."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("agreements"), 3))
    agreements.give_keys(declared.root, "d0", "d1", "d2")
    with Backend("old") as old:
        declared.offer(NAME, port=8080, at=old.port, sharing=CONDITIONAL)
        path = declared.root / "services" / f"{NAME}.yaml"
        path.write_text(
            path.read_text(encoding="utf-8").replace("  consumers: {everyone: true}\n", ""), encoding="utf-8"
        )
        declared.consume(d0=[NAME])
        declared.up("services", "departments")
        until(lambda: declared.call(HOST, caller="d0-main").status == 200, "the owner passes")
        yield declared


def admitted(estate: DeclaredEstate, caller: str = "d1-main") -> int:
    return estate.call(HOST, caller=caller).status


def policy_of(estate: DeclaredEstate) -> dict[str, Any]:
    """The SecurityPolicy of d1's agreement as it would be applied again."""
    where = {"name": f"{NAME}.department.d1", "namespace": f"service-{NAME}"}
    found = Proxy(estate.pool).read({"apiVersion": VERSION, "kind": "SecurityPolicy", "metadata": where})
    metadata = where | {"labels": found["metadata"]["labels"]}
    return {"apiVersion": VERSION, "kind": "SecurityPolicy", "metadata": metadata, "spec": found["spec"]}


def test_what_was_refused_passes_within_one_up_after_both_signed(estate: DeclaredEstate) -> None:
    assert admitted(estate) == 403
    estate.consume(d1=[NAME])
    refused = estate.up("services", "departments", check=False)
    assert refused.returncode == 1
    assert "[agreement-missing]" in refused.stderr
    agreements.agree(estate.root, "permits-for-d1", service=NAME, sign=False)
    agreements.say(estate.root, "permits-for-d1", "d1", "sign")
    refused = estate.up("services", "departments", check=False)
    assert "permits-for-d1 lacks the signature of d0 [agreement-unsigned]" in refused.stderr
    assert admitted(estate) == 403
    agreements.say(estate.root, "permits-for-d1", "d0", "sign")
    estate.up("services", "departments")
    until(lambda: admitted(estate) == 200, "d1 passes under its agreement")
    headers = estate.call(HOST, caller="d1-main", headers={"X-Commonpool-Agreement": "forged"}).json["headers"]
    assert headers["x-commonpool-agreement"] == "permits-for-d1"
    assert admitted(estate, "d2-main") == 403


def test_the_agreements_in_force_stand_beside_the_service_for_the_process_in_the_way(
    estate: DeclaredEstate, proxy: Proxy
) -> None:
    agreements.agree(estate.root, "permits-for-d1", service=NAME, rate={"requestsPerSecond": 100})
    estate.up("services", "departments")
    where = {"name": f"agreements-{NAME}", "namespace": f"service-{NAME}"}
    found = proxy.read({"apiVersion": "v1", "kind": "ConfigMap", "metadata": where})
    assert found["metadata"]["labels"]["commonpool.dev/agreements"] == "true"
    (entry,) = json.loads(found["data"]["agreements.json"])
    assert entry == {
        "agreement": "permits-for-d1", "digest": load_estate(estate.root).texts["permits-for-d1"], "service": NAME,
        "provider": "d0", "consumer": "d1", "items": None, "purpose": "test", "evidence": "none", "volume": None,
        "start": "2026-01-01", "end": "2099-12-31", "recipients": [], "signed": entry["signed"],
    }  # fmt: skip
    assert sorted(one.split("/")[0] for one in entry["signed"]) == ["d0", "d1"]
    assert json.loads(found["data"]["others.json"]) == ["d0"]
    until(lambda: admitted(estate) == 200, "and the call passes with a rate of its own")


def test_a_call_after_the_last_day_is_refused_by_the_proxy_itself_without_any_run(estate: DeclaredEstate) -> None:
    """The rendered term ends some seconds from now, as if the last day's midnight were there; nobody applies anything then."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=12)
    last = date.fromisoformat(load_estate(estate.root).agreements[0].spec.term.end)
    assert policy.midnight(last.isoformat(), days=1) == "2100-01-01T00:00:00+08:00"
    body = policy_of(estate)
    text = json.dumps(body).replace("2100-01-01T00:00:00+08:00", ends.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert admitted(estate) == 200

    async def work() -> None:
        async with await Cluster.connect(kubeconfig.load(estate.pool.kubeconfig)) as cluster:
            await cluster.apply(json.loads(text))

    asyncio.run(work())
    until(lambda: admitted(estate) != 200, "the proxy refuses after the end", 60)
    assert datetime.now(UTC) >= ends
    answer = estate.call(HOST, caller="d1-main", headers={"X-Commonpool-Case": "case-end"})
    assert (answer.status, answer.json["title"]) == (403, "Agreement not in force")
    assert admitted(estate, "d0-main") == 200, "who needs none is not touched"


def validate(estate: DeclaredEstate) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "commonpool.cli", "validate", "--estate", str(estate.root)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_one_sides_word_takes_route_policy_and_credential_away(estate: DeclaredEstate, proxy: Proxy) -> None:
    """Within 2 s after the write is the promise; a busy machine gets more here, and the time is told."""
    agreements.agree(estate.root, "permits-for-d1", service=NAME)
    estate.up("services", "departments")
    until(lambda: admitted(estate) == 200, "d1 passes")
    said = agreements.say(estate.root, "permits-for-d1", "d0", "suspend", at="2026-03-01T00:00:00Z")
    estate.up("services", "departments")
    written = time.monotonic()
    until(lambda: admitted(estate) == 403, "a suspended agreement admits nobody")
    print(f"suspension reached the data plane {time.monotonic() - written:.2f} s after the apply")
    for kind, version in (("NetworkPolicy", "networking.k8s.io/v1"), ("ConfigMap", "v1")):
        with pytest.raises(AssertionError, match="is gone"):
            where = {"name": f"consume-{NAME}", "namespace": "d1-main"}
            proxy.read({"apiVersion": version, "kind": kind, "metadata": where})
    assert validate(estate).returncode == 0, "a suspension is told and refuses nobody's change"
    agreements.say(estate.root, "permits-for-d1", "d1", "resume", at="2026-03-02T00:00:00Z")
    estate.up("services", "departments")
    assert admitted(estate) == 403, "only who suspended resumes"
    said.unlink()
    agreements.say(estate.root, "permits-for-d1", "d1", "terminate", at="2026-03-03T00:00:00Z")
    estate.up("services", "departments")
    assert admitted(estate) == 403
    assert (
        "permits-for-d1 was terminated by d1 on 2026-03-03: The test says so [agreement-ended]"
        in validate(estate).stderr
    )


def test_after_the_last_day_up_closes_the_way_and_validate_says_the_date(estate: DeclaredEstate) -> None:
    for path in (estate.root / "agreements" / "statements").iterdir():
        path.unlink()
    agreements.agree(estate.root, "permits-for-d1", service=NAME)
    estate.up("services", "departments")
    until(lambda: admitted(estate) == 200, "d1 passes")
    agreements.agree(estate.root, "permits-for-d1", service=NAME, term={"start": "2026-01-01", "end": "2026-02-28"})
    ended = estate.up("services", "departments")
    assert "agreement permits-for-d1 ended on 2026-02-28 [agreement-ended]" in ended.stderr
    until(lambda: admitted(estate) == 403, "the way is closed")
    assert "permits-for-d1 ended on 2026-02-28 [agreement-ended]" in validate(estate).stderr


@contextlib.contextmanager
def refusing(pool: EmbeddedPool, version: str, kind: str, resource: str) -> Iterator[None]:
    """The API server refuses every write of a kind in the service's namespace, as somebody's own admission policy would."""
    rule = {
        "apiGroups": [version.partition("/")[0]],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [resource],
    }
    matches = {
        "resourceRules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"service-{NAME}"}},
    }
    admission, name = "admissionregistration.k8s.io/v1", {"name": "tests-refuse"}
    denied = {"matchConstraints": matches, "validations": [{"expression": "false", "message": "not now"}]}
    bound = {"policyName": "tests-refuse", "validationActions": ["Deny"]}
    policies = Proxy(pool)
    policies.apply(
        {"apiVersion": admission, "kind": "ValidatingAdmissionPolicy", "metadata": name, "spec": denied},
        {"apiVersion": admission, "kind": "ValidatingAdmissionPolicyBinding", "metadata": name, "spec": bound},
    )
    try:
        until(lambda: refuses(pool, version, kind), "the policy is in force")
        yield
    finally:
        policies.forget()
        until(lambda: not refuses(pool, version, kind), "the policy is gone")


def refuses(pool: EmbeddedPool, version: str, kind: str) -> bool:
    async def work() -> bool:
        async with await Cluster.connect(kubeconfig.load(pool.kubeconfig)) as cluster:
            where = {"name": "tests-probe", "namespace": f"service-{NAME}"}
            spec = {"targetRefs": [target("HTTPRoute", NAME)]}
            body = {"apiVersion": version, "kind": kind, "metadata": where, "spec": spec}
            try:
                await cluster.apply(body, dry_run=True, field_manager="tests")
            except Refused as error:
                return "not now" in str(error)
            return False

    return asyncio.run(work())


def test_a_route_is_left_as_it_is_while_what_guards_it_is_refused(estate: DeclaredEstate) -> None:
    for path in (estate.root / "agreements" / "statements").glob("*"):
        path.unlink()
    agreements.agree(estate.root, "permits-for-d1", service=NAME, term={"start": "2026-01-01", "end": "2026-02-28"})
    estate.consume(d1=[NAME])
    estate.up("services", "departments")
    where = {"name": NAME, "namespace": f"service-{NAME}"}
    route = {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": where}
    before = Proxy(estate.pool).read(route)
    assert "d1" not in [rule["name"] for rule in before["spec"]["rules"]]
    agreements.agree(estate.root, "permits-for-d1", service=NAME)
    with refusing(estate.pool, VERSION, "SecurityPolicy", "securitypolicies"):
        refused = estate.up("services", check=False)
    assert refused.returncode != 0
    told = f"service-{NAME}.{NAME}: left as it is, because what has to stand before it failed: "
    assert f"{told}service-{NAME}.{NAME}.department.d1 [refused]" in refused.stdout + refused.stderr
    assert Proxy(estate.pool).read(route)["metadata"]["generation"] == before["metadata"]["generation"]
    assert admitted(estate) == 403, "nobody passes without the limit of its agreement"
    estate.up("services", "departments")
    until(lambda: admitted(estate) == 200, "d1 passes under its agreement")
    assert "no changes" in estate.up("services").stdout


class Session:
    """A standing connection through the proxy on which something is asked all the time, and another that lies idle."""

    def __init__(self, address: str, port: int) -> None:
        self.idle = socket.create_connection((address, port), timeout=30)
        self.busy = socket.create_connection((address, port), timeout=30)
        self.ended = 0.0
        self.asked = 0
        assert self.ask(self.idle)
        self.asking = threading.Thread(target=self._keep_asking, daemon=True)
        self.asking.start()

    def ask(self, connection: socket.socket) -> bytes:
        with contextlib.suppress(OSError):
            connection.sendall(b"a question")
            return connection.recv(1024)
        return b""

    def _keep_asking(self) -> None:
        while self.ask(self.busy):
            self.asked += 1
            time.sleep(0.02)
        self.ended = time.monotonic()

    def close(self) -> None:
        self.idle.close()
        self.busy.close()
        self.asking.join(30)


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while content := self.request.recv(1024):
                self.request.sendall(content)


def test_standing_connections_end_with_an_agreement_and_not_with_a_new_one(estate: DeclaredEstate) -> None:
    """A stream of bytes in which the proxy sees no calls. Within 2 s is the promise; a busy machine gets more, and the time is told."""
    for path in (estate.root / "agreements" / "statements").iterdir():
        path.unlink()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        estate.offer(
            "line", port=5433, at=server.server_address[1], sharing=CONDITIONAL,
            endpoint={"protocol": "TCP", "port": 15433}, health={"interval": "1s", "timeout": "1s"},
        )  # fmt: skip
        path = estate.root / "services" / "line.yaml"
        path.write_text(
            path.read_text(encoding="utf-8").replace("  consumers: {everyone: true}\n", ""), encoding="utf-8"
        )
        agreements.agree(estate.root, "line-for-d1", service="line")
        estate.consume(d1=["line"], d2=[])
        estate.up("services", "departments")
        address, port = estate.pool.proxy_address, estate.port(15433)
        until(lambda: answers(address, port), "the line is served")
        session = Session(address, port)
        agreements.agree(estate.root, "line-for-d2", service="line", consumer="d2")
        estate.consume(d2=["line"])
        estate.up("services", "departments")
        before = session.asked
        until(lambda: session.asked > before + 50, "a new agreement cuts nobody's connection")
        agreements.say(estate.root, "line-for-d1", "d0", "suspend", at="2026-03-01T00:00:00Z")
        estate.up("services", "departments")
        written = time.monotonic()
        session.asking.join(60)
        assert session.ended, "the connection in use is cut"
        print(f"a connection in use was cut {session.ended - written:.2f} s after the whole run")
        assert session.ask(session.idle) == b"", "the idle one gives nothing any more"
        session.close()
        until(lambda: answers(address, port), "who still may connects anew")
        server.shutdown()


def answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=5) as connection:
        connection.sendall(b"a question")
        return bool(connection.recv(1024))
    return False


def test_a_signature_over_another_text_is_refused_with_its_place(estate: DeclaredEstate) -> None:
    agreements.agree(estate.root, "permits-for-d1", service=NAME)
    path = estate.root / "agreements" / "permits-for-d1.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("2099-12-31", "2199-12-31"), encoding="utf-8")
    refused = estate.up("services", "departments", check=False)
    assert refused.returncode == 1
    for party in ("d0", "d1"):
        assert f"permits-for-d1.{party}.sign.yaml:1:" in refused.stderr
    assert refused.stderr.count("[signature-text]") == 2
    assert admitted(estate) == 403
