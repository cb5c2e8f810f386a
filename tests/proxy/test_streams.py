"""Calls that do not end by themselves: kept open by the caller, turned into something else, or with something behind their end."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import estates
import pytest

from proxy import frames
from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, DeclaredEstate

SPEECH = f"spoken.d0.{DOMAIN}"
HOST = f"short.d0.{DOMAIN}"
ENDLESS = f"endless.d0.{DOMAIN}"
UPGRADE = {"websocket": "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "anything": ""}


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend("old") as old:
        yield old


@pytest.fixture(scope="module")
def speaking() -> Iterator[frames.Service]:
    with frames.serving() as one:
        yield one


@pytest.fixture(scope="module")
def estate(
    serving: Proxy, tmp_path_factory: pytest.TempPathFactory, backend: Backend, speaking: frames.Service
) -> Iterator[DeclaredEstate]:
    """`short`, whose calls last two seconds at most, `endless`, whose calls may last for ever, and one of gRPC; d1 calls all."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("streams"), 2))
    declared.offer("short", port=8080, at=backend.port, timeouts={"request": "2s"})
    declared.offer("endless", port=8080, at=backend.port, timeouts={"unlimited": True})
    declared.offer(
        "spoken",
        machine="rs-nas-2",
        port=9000,
        at=speaking.port,
        endpoint={"protocol": "GRPC"},
        health={"interval": "1s", "timeout": "1s"},
    )
    declared.consume(d1=["short", "endless", "spoken"])
    declared.up("services", "departments")
    for host in (HOST, ENDLESS):
        until(lambda host=host: declared.call(host, caller="d1-main").status == 200, f"{host} serves")  # type: ignore[misc]
    yield declared


def begun(estate: DeclaredEstate, host: str) -> socket.socket:
    """A call whose body goes on and on."""
    one = socket.create_connection((estate.pool.proxy_address, estate.port()), timeout=10)
    token = estate.token("d1-main", host)
    head = f"POST /a HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    one.sendall(head.encode())
    return one


def answered(one: socket.socket, seconds: float) -> bytes:
    """What comes back while a byte is sent ten times a second, nothing if nothing does."""
    deadline = time.monotonic() + seconds
    one.settimeout(0.1)
    while time.monotonic() < deadline:
        one.sendall(b"1\r\nx\r\n")
        try:
            return one.recv(4096)
        except TimeoutError:
            continue
    return b""


def test_a_call_that_its_caller_keeps_open_ends_when_the_service_says(estate: DeclaredEstate) -> None:
    """Else it would outlive its agreement, and its line in the manifest, for as long as the caller likes."""
    with closing(begun(estate, HOST)) as one:
        began = time.monotonic()
        answer = answered(one, 8)
        assert 1 < time.monotonic() - began < 7
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 "), answer
    assert json.loads(body)["type"] == "https://commonpool.dev/problems/call-too-long"
    with closing(begun(estate, ENDLESS)) as one:
        assert answered(one, 4) == b"", "calls of this service may last for ever"
        one.sendall(b"0\r\n\r\n")
        one.settimeout(10)
        assert one.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("protocol", UPGRADE)
@pytest.mark.parametrize("caller", ["d1-main", ""])
def test_a_call_becomes_nothing_else_and_the_caller_is_told_so(
    estate: DeclaredEstate, backend: Backend, protocol: str, caller: str
) -> None:
    before = backend.seen()
    token = f"Authorization: Bearer {estate.token(caller, ENDLESS)}\r\n" if caller else ""
    head = f"GET /a HTTP/1.1\r\nHost: {ENDLESS}\r\n{token}Connection: Upgrade\r\nUpgrade: {protocol}\r\n"
    with socket.create_connection((estate.pool.proxy_address, estate.port()), timeout=10) as one:
        one.sendall(f"{head}{UPGRADE[protocol]}\r\n".encode())
        answer = http.client.HTTPResponse(one)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["title"]) == (403, "No upgrade")
    assert backend.seen() == before


@pytest.mark.parametrize("target", [f"{ENDLESS}:80", "127.0.0.1:22", f"{ENDLESS}:443"])
def test_the_proxy_is_no_way_to_somewhere_else(estate: DeclaredEstate, backend: Backend, target: str) -> None:
    before, token = backend.seen(), estate.token("d1-main", ENDLESS)
    with socket.create_connection((estate.pool.proxy_address, estate.port()), timeout=10) as one:
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nAuthorization: Bearer {token}\r\n\r\n"
        one.sendall(head.encode())
        assert one.recv(4096).split(b" ")[1] in (b"403", b"404")
    assert backend.seen() == before


def test_neither_trailers_nor_words_about_the_connection_change_who_calls(estate: DeclaredEstate) -> None:
    token = estate.token("d1-main", ENDLESS)
    head = f"POST /a HTTP/1.1\r\nHost: {ENDLESS}\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n"
    head += (
        "Connection: close, x-commonpool-department, x-commonpool-subject\r\nTrailer: x-commonpool-department\r\n\r\n"
    )
    with socket.create_connection((estate.pool.proxy_address, estate.port()), timeout=10) as one:
        one.sendall(f"{head}3\r\nabc\r\n0\r\nx-commonpool-department: forged\r\nx-user: forged\r\n\r\n".encode())
        answer = http.client.HTTPResponse(one)
        answer.begin()
        found = json.loads(answer.read())
    assert (answer.status, found["size"]) == (200, 3)
    assert (found["headers"]["x-commonpool-department"], found["headers"]["x-commonpool-subject"]) == (
        "d1",
        "system:serviceaccount:d1-main:default",
    )
    assert "forged" not in found["headers"].values()


def test_what_stands_behind_a_requests_end_reaches_no_backend(estate: DeclaredEstate, speaking: frames.Service) -> None:
    """Some servers put it among the headers, where it would say who calls."""
    address = (estate.pool.proxy_address, estate.port())
    token = estate.token("d1-main", SPEECH)
    forged = [("x-commonpool-department", "forged"), ("x-user", "forged"), ("other", "also")]
    until(lambda: bool(frames.call(address, SPEECH, token, [])), "the backend answers")
    assert frames.call(("127.0.0.1", speaking.port), SPEECH, token, forged)
    assert b"x-user" in speaking.behind[-1], "it would show"
    before = len(speaking.behind)
    assert frames.call(address, SPEECH, token, forged)
    assert len(speaking.behind) > before
    assert set(speaking.behind[before:]) == {b""}
