"""Who may call: declared consumers with the pool's own token, nobody else, whatever they say of themselves (T22, T25, T26)."""

import base64
import ipaddress
import json
import socket
import time
from collections.abc import Iterator

import estates
import pytest
from commonpool.components import envoy_gateway

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, DeclaredEstate

HOST = f"register.d0.{DOMAIN}"


@pytest.fixture(scope="module")
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    """`register` of d0, consumed by d1 and, with one account more, by d2; `other` consumed by nobody."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("callers"), 3))
    with Backend("old") as old:
        declared.offer("register", port=8080, at=old.port)
        declared.offer("other", port=8080, at=old.port)
        declared.consume(d1=["register"], d2=["register"])
        declared.up("services", "departments")
        until(lambda: declared.call(HOST, caller="d1-main").status == 200, "the declared consumer passes")
        yield declared


def test_a_declared_consumer_passes_and_the_backend_is_told_who_it_is(estate: DeclaredEstate) -> None:
    answer = estate.call(HOST, "/a?b=c", caller="d1-main", headers={"X-Commonpool-Case": "case-7"})
    headers = answer.json["headers"]
    assert (answer.status, answer.json["name"], answer.json["path"]) == (200, "old", "/a?b=c")
    assert headers["x-commonpool-department"] == "d1"
    assert headers["x-commonpool-subject"] == "system:serviceaccount:d1-main:default"
    assert headers["x-commonpool-service"] == "register"
    assert headers["x-commonpool-case"] == "case-7"
    assert "authorization" not in headers


@pytest.mark.parametrize(
    "header",
    [
        "x-commonpool-department", "X-Commonpool-Subject", "x-commonpool-audience", "x-commonpool-service", "x-department", "x-forwarded-user",
        "x-remote-user", "x-forwarded-client-cert", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-envoy-internal",
        "x-envoy-original-path", "x-envoy-decorator-operation", "x-ssl-client-cn", "x-auth-request-email",
        "x-forwarded-groups", "x-remote-group", "x-remote-extra-scopes", "remote-groups", "x-webauth-user", "x-ssl-cert", "ssl-client-s-dn",
        "client-cert", "x-client-cert", "x-client-verify", "x-consumer-username", "x-user-id", "x-authenticated-userid",
        "x-goog-iap-jwt-assertion", "x-ms-client-principal-name", "x-amzn-oidc-identity", "cf-access-jwt-assertion",
        "x.commonpool.department", "X-Commonpool.Department", "x~commonpool!subject", "x-remote.user",
    ],
)  # fmt: skip
def test_what_a_caller_says_of_itself_does_not_reach_the_backend(estate: DeclaredEstate, header: str) -> None:
    headers = {header: "forged", "X-Other": "kept", "X-Auth-Token": "a service's own"}
    answer = estate.call(HOST, caller="d1-main", headers=headers)
    assert answer.status == 200
    assert "forged" not in answer.json["headers"].values()
    assert answer.json["headers"]["x-other"] == "kept"
    assert answer.json["headers"]["x-auth-token"] == "a service's own"
    assert estate.call(HOST, headers=headers).status == 401, "it is no token either"


@pytest.mark.parametrize(
    "header",
    [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
        "X-Forwarded-Uri",
        "X-Original-Uri",
        "X-Original-Host",
        "X-Original-Method",
        "X-Host",
        "Proxy",
    ],
)
def test_no_header_makes_another_request_of_the_one_that_is_recorded(estate: DeclaredEstate, header: str) -> None:
    answer = estate.call(HOST, "/innocent", caller="d1-main", headers={header: "forged"})
    assert (answer.status, answer.json["path"]) == (200, "/innocent")
    assert "forged" not in answer.json["headers"].values()


def test_a_caller_does_not_choose_the_address_that_it_calls_from(estate: DeclaredEstate) -> None:
    """By the first of several addresses older applications let somebody in; Envoy's own word is the only one."""
    forged = {"X-Forwarded-For": "10.20.1.1", "Forwarded": "for=10.20.1.1;host=x", "X-Forwarded-Proto": "https"}
    forged |= dict.fromkeys(("X-Real-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP"), "10.20.1.1")
    answer = estate.call(HOST, caller="d1-main", headers=forged)
    assert answer.status == 200
    headers = answer.json["headers"]
    assert "10.20.1.1" not in str(headers)
    assert ipaddress.ip_address(headers["x-forwarded-for"]), "one address, the connection's"
    assert headers["x-forwarded-proto"] == "http"


def test_an_undeclared_caller_gets_403_with_the_reason(estate: DeclaredEstate) -> None:
    answer = estate.call(HOST, caller="d0-main")
    assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json["detail"].startswith(f"system:serviceaccount:d0-main:default is no declared consumer of {HOST}")


def test_another_account_of_a_consuming_namespace_is_not_declared(estate: DeclaredEstate, proxy: Proxy) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "own", "namespace": "d1-main"}}
    proxy.apply(account)
    token = estate.token("d1-main", HOST, account="own")
    answer = estate.call(HOST, headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 403
    assert "system:serviceaccount:d1-main:own" in answer.json["detail"]


def test_tokens_that_are_missing_foreign_tampered_or_for_others_are_refused(estate: DeclaredEstate) -> None:
    good = estate.token("d1-main", HOST)
    head, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    changed = base64.urlsafe_b64encode(json.dumps(claims | {"exp": 4102444800}).encode()).rstrip(b"=").decode()
    refused = {
        "none": None,
        "not a token": "x",
        "for another service": estate.token("d1-main", f"other.d0.{DOMAIN}"),
        "for the API server": estate.token("d1-main", "https://kubernetes.default.svc"),
        "for two at once, which the other could use here": estate.token("d1-main", HOST, f"other.d0.{DOMAIN}"),
        "with another signature": f"{head}.{payload}.{signature[::-1]}",
        "with other claims": f"{head}.{changed}.{signature}",
        "unsigned": f"{unsigned}.{payload}.",
    }
    found = {}
    for what, token in refused.items():
        answer = estate.call(HOST, headers={"Authorization": f"Bearer {token}"} if token else {})
        found[what] = (answer.status, answer.headers.get("content-type"), answer.json.get("status"))
    assert found == dict.fromkeys(refused, (401, "application/problem+json", 401))
    assert estate.call(HOST, f"/?access_token={good}").status == 401, "a token in a query ends up in logs"
    assert estate.call(HOST, headers={"Authorization": f"Bearer {good}"}).status == 200


def test_a_token_for_another_service_passes_by_no_header_and_is_told_what_is_wrong(estate: DeclaredEstate) -> None:
    other = {"Authorization": f"Bearer {estate.token('d1-main', f'other.d0.{DOMAIN}')}"}
    said = {
        "X-Commonpool-Audience": envoy_gateway.audience(HOST),
        "X-Commonpool-Subject": "system:serviceaccount:d1-main:default",
    }
    for headers in ({}, said, said | {"Connection": "x-commonpool-audience"}, {"x-commonpool-audience": "certificate"}):
        answer = estate.call(HOST, headers=other | headers)
        assert (answer.status, answer.json["title"]) == (401, "Token for another service")
        assert f"is not for the audience {HOST}" in answer.json["detail"]
    assert estate.call(HOST, headers=said).status == 401, "and without a token nobody gets that far"


@pytest.mark.parametrize("more", ["a", "ab", "abc"])
def test_names_of_every_length_are_compared_as_envoy_writes_them(estate: DeclaredEstate, more: str) -> None:
    """Base64 pads by the length of what it writes."""
    host = estate.offer(f"register-{more}", port=8080, at=int(estate.stand_ins["ha-registry-1:8080"].split(":")[1]))
    estate.consume(d1=["register", f"register-{more}"])
    estate.up("services", "departments")
    until(lambda: estate.call(host, caller="d1-main").status == 200, "the declared consumer passes")


def test_an_expired_token_is_refused(estate: DeclaredEstate) -> None:
    answer = estate.call(HOST, headers={"Authorization": f"Bearer {estate.expired('d1-main', HOST)}"})
    assert answer.status == 401
    assert "expired" in answer.json["detail"]


def test_a_token_that_is_known_already_is_refused_too_once_its_time_is_over(estate: DeclaredEstate) -> None:
    """Envoy allows clocks to differ by a minute; its memory of verified tokens allows no more."""
    headers = {"Authorization": f"Bearer {estate.expired('d1-main', HOST, 50)}"}
    assert {estate.call(HOST, headers=headers).status for _ in range(10)} == {200}
    until(lambda: estate.call(HOST, headers=headers).status == 401, "ten seconds later it is over")


@pytest.mark.parametrize("host", [HOST.upper(), f"{HOST}.", f"{HOST}:8080"])
def test_other_spellings_of_the_name_lead_to_the_owner_and_need_a_token_too(estate: DeclaredEstate, host: str) -> None:
    headers = {"Authorization": f"Bearer {estate.token('d1-main', HOST)}"}
    assert estate.call(host, headers=headers).status == 200
    assert estate.call(host).status == 401


@pytest.mark.parametrize(
    "host", [f"x.{HOST}", f"d0.{DOMAIN}", DOMAIN, "127.0.0.1", "localhost", "", f"{HOST}.evil.test"]
)
def test_names_that_nobody_owns_lead_nowhere(estate: DeclaredEstate, host: str) -> None:
    headers = {"Authorization": f"Bearer {estate.token('d1-main', HOST)}"}
    assert estate.call(host, headers=headers).status in (0, 400, 404)


def test_a_name_that_is_nobodys_is_told(estate: DeclaredEstate) -> None:
    answer = estate.call(f"x.{HOST}")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json["title"] == "No such service"
    assert f"x.{HOST}" in answer.json["detail"]


def test_a_service_that_nobody_consumes_admits_nobody(estate: DeclaredEstate) -> None:
    assert estate.call(f"other.d0.{DOMAIN}", caller="d1-main").status == 403


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("//admin", "/admin"), ("/a/../admin", "/admin"), ("/a/./b", "/a/b"), ("/a/%2e%2e/admin", "/admin"), ("/a/..%2fadmin", None),
        ("/admin%2f", None), ("/admin%5c", None), ("/admin%00", None), ("/a%2Fb", None),
    ],
)  # fmt: skip
def test_a_path_means_the_same_to_proxy_and_backend_or_is_refused(
    estate: DeclaredEstate, path: str, seen: str | None
) -> None:
    answer = estate.call(HOST, path, caller="d1-main")
    assert (answer.status, answer.json["path"] if answer.status == 200 else None) == (200 if seen else 400, seen)


def raw(estate: DeclaredEstate, request: str) -> str:
    """The status line that comes back for these very bytes."""
    token = estate.token("d1-main", HOST)
    with socket.create_connection((estate.pool.proxy_address, estate.port()), timeout=10) as connection:
        connection.sendall(request.replace("TOKEN", token).replace("HOST", HOST).encode())
        return connection.recv(200).partition(b"\r\n")[0].decode()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: HOST\r\nHost: evil.test\r\nAuthorization: Bearer TOKEN\r\n\r\n", "404"),
        ("GET http://HOST/ HTTP/1.1\r\nHost: evil.test\r\nAuthorization: Bearer TOKEN\r\n\r\n", "200"),
        ("GET http://evil.test/ HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\n\r\n", "404"),
        ("POST / HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\nx_commonpool_subject: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: HOST\r\nX-A: b\x00c\r\nAuthorization: Bearer TOKEN\r\n\r\n", "400"),
        ("CONNECT HOST:22 HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\n\r\n", "4"),
    ],
    ids=["two hosts", "absolute form", "absolute form of another", "two lengths", "underscores", "NUL", "CONNECT"],
)  # fmt: skip
def test_a_request_that_could_be_read_in_two_ways_is_refused(
    estate: DeclaredEstate, request_: str, status: str
) -> None:
    assert raw(estate, request_).split(" ")[1].startswith(status)


def test_a_call_and_its_refusal_are_recorded_with_caller_service_backend_and_outcome(estate: DeclaredEstate) -> None:
    def lines(case: str) -> list[dict[str, object]]:
        found = [line for line in estate.pool.logs("envoy", 500) if case in line]
        return [json.loads(line[line.index("{") :]) for line in found]

    for case, caller in (("case-pass", "d1-main"), ("case-deny", "d0-main")):
        estate.call(HOST, "/secret?name=x", caller=caller, headers={"X-Commonpool-Case": case})
        until(lambda case=case: bool(lines(case)), f"{case} is in the log")  # type: ignore[misc]
    passed, denied = lines("case-pass")[0], lines("case-deny")[0]
    assert (passed["department"], passed["service"], passed["status"], passed["path"]) == (
        "d1",
        "register",
        200,
        "/secret",
    )
    assert str(passed["backend"]).startswith("127.0.0.1:")
    assert passed["caller"] == "system:serviceaccount:d1-main:default"
    assert (denied["caller"], denied["host"], denied["status"]) == ("system:serviceaccount:d0-main:default", HOST, 403)
    assert denied["backend"] is None


def test_a_revoked_consumer_is_refused_soon_after_the_apply(estate: DeclaredEstate) -> None:
    """Within 2 s is the promise; a busy machine gets more here, and the time is told."""
    assert estate.call(HOST, caller="d2-main").status == 200
    estate.consume(d2=[])
    estate.up("services", "departments")
    applied = time.monotonic()
    until(lambda: estate.call(HOST, caller="d2-main").status == 403, "the revoked consumer is refused")
    print(f"revocation reached the data plane {time.monotonic() - applied:.2f} s after the apply")
    assert estate.call(HOST, caller="d1-main").status == 200
    estate.consume(d2=["register"])
    estate.up("services", "departments")
    until(lambda: estate.call(HOST, caller="d2-main").status == 200, "and passes again")


def test_what_a_line_under_consumes_brings_comes_and_goes_with_it(estate: DeclaredEstate, proxy: Proxy) -> None:
    bodies = [
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "consume-register", "namespace": "d2-main"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "consume-register", "namespace": "d2-main"}},
    ]  # fmt: skip
    policy, how = (proxy.read(body) for body in bodies)
    assert policy["spec"]["egress"][0]["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert (how["data"]["HOST"], how["data"]["AUDIENCE"], how["data"]["URL"]) == (HOST, HOST, f"http://{HOST}:8080")
    token = json.loads(how["data"]["volume.json"])["projected"]["sources"][0]["serviceAccountToken"]
    assert token == {"audience": HOST, "expirationSeconds": 3600, "path": "token"}
    estate.consume(d2=[])
    estate.up("services", "departments")
    for body in bodies:
        with pytest.raises(AssertionError, match="is gone"):
            proxy.read(body)
    estate.consume(d2=["register"])
    estate.up("services", "departments")
    assert [proxy.read(body)["metadata"]["name"] for body in bodies] == ["consume-register", "consume-register"]
