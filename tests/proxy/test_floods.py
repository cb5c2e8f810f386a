"""Callers who want the proxy's memory or its time, and others who are answered meanwhile (CASES F21); bounded numbers, the real Envoy."""

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import estates
import pytest

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, DeclaredEstate

HOST = f"register.d0.{DOMAIN}"
IDLE, SLOW, RESETS = 800, 100, 3000  # below what a process may open by default
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, HEADERS, RESET, GO_AWAY, PING = 4, 1, 3, 7, 6


@pytest.fixture(scope="module")
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    """`register` of d0, which d1 uses."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("floods"), 3))
    with Backend("old") as old:
        declared.offer("register", port=8080, at=old.port)
        declared.consume(d1=["register"])
        declared.up("services", "departments")
        until(lambda: declared.call(HOST, caller="d1-main").status == 200, "the declared consumer passes")
        yield declared


@pytest.fixture
def connect(estate: DeclaredEstate) -> Iterator[Callable[[], socket.socket]]:
    """Open connections to the proxy, which end with the test."""
    with contextlib.ExitStack() as opened:
        place = (estate.pool.proxy_address, estate.port())
        yield lambda: opened.enter_context(socket.create_connection(place, timeout=20))


def answered(estate: DeclaredEstate, times: int = 20) -> list[int]:
    """What somebody else is told meanwhile."""
    return [estate.call(HOST, caller="d1-main").status for _ in range(times)]


def test_idle_connections_keep_nobody_out(estate: DeclaredEstate, connect: Callable[[], socket.socket]) -> None:
    held = [connect() for _ in range(IDLE)]
    assert answered(estate) == [200] * 20
    assert all(one.fileno() > 0 for one in held)


def test_headers_of_a_megabyte_are_refused_before_anybody_reads_them(
    estate: DeclaredEstate, connect: Callable[[], socket.socket]
) -> None:
    one = connect()
    with contextlib.suppress(ConnectionError):  # it may hang up while it is still being told
        one.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Long: {'a' * (1 << 20)}\r\n\r\n".encode())
    with contextlib.suppress(ConnectionError):
        assert one.recv(4096).split(b"\r\n")[0].split(b" ")[1] == b"431"
    assert answered(estate) == [200] * 20


def test_bodies_that_come_byte_by_byte_keep_nobody_out(
    estate: DeclaredEstate, connect: Callable[[], socket.socket]
) -> None:
    token = estate.token("d1-main", HOST)
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000000\r\n\r\n"
    slow = [connect() for _ in range(SLOW)]
    for one in slow:
        one.sendall(head.encode())
    for one in slow:
        with contextlib.suppress(ConnectionError):  # more of them than may wait for a backend at once
            one.sendall(b"x")
    assert answered(estate) == [200] * 20


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """RFC 9113, 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """RFC 7541, 6.2.2: a field that is not indexed, without Huffman."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def test_streams_that_are_reset_at_once_end_the_connection_that_sends_them(
    estate: DeclaredEstate, connect: Callable[[], socket.socket]
) -> None:
    """CVE-2023-44487."""
    fields = {":method": "GET", ":scheme": "http", ":authority": HOST, ":path": "/"}
    block = b"".join(literal(name, value) for name, value in fields.items())
    one = connect()
    one.sendall(PREFACE + frame(SETTINGS, 0))
    opened, ended = 0, False
    while opened < RESETS and not ended:
        wave = range(opened, opened + 100)
        sent = b"".join(
            frame(HEADERS, 2 * number + 1, block, flags=5) + frame(RESET, 2 * number + 1, struct.pack(">I", 8))
            for number in wave
        )
        opened += 100
        try:
            one.sendall(sent)
            ended = _says_goodbye(one)
        except ConnectionError:
            ended = True
    assert ended, f"{opened} streams were opened and reset, and the connection goes on"
    assert answered(estate) == [200] * 20


def _says_goodbye(one: socket.socket) -> bool:
    """Whether the other side ends the connection, asked by a ping."""
    one.sendall(frame(PING, 0, b"12345678"))
    pending = b""
    while True:
        read = one.recv(1 << 16)
        if not read:
            return True
        pending += read
        while len(pending) >= 9:
            length, kind = int.from_bytes(pending[:3]), pending[3]
            if len(pending) < 9 + length:
                break
            if kind == GO_AWAY:
                return True
            if kind == PING and pending[4] & 1:
                return False
            pending = pending[9 + length :]
