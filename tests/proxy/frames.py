"""HTTP/2 by its frames (RFC 9113), as far as a call of gRPC with trailers needs it: libraries of gRPC neither send nor show them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1
_SERVING = b"\0\0\0\0\x02\x08\x01"  # HealthCheckResponse{status: SERVING}, framed


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def block(fields: list[tuple[str, str]]) -> bytes:
    """Fields as literals that nobody remembers (RFC 7541, 6.2.2)."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(text: str) -> bytes:
    left = len(text) - 127
    if left < 0:
        return bytes([len(text)]) + text.encode()
    found = bytearray([127])
    while left >= 128:
        found.append(left % 128 + 128)
        left //= 128
    return bytes([*found, left]) + text.encode()


def frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind, flags, stream, content) of what comes; settings and pings are answered."""
    stream = connection.makefile("rb")
    while len(head := stream.read(9)) == 9:
        content = stream.read(int.from_bytes(head[:3], "big"))
        kind, flags, number = head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
        if kind in (SETTINGS, PING) and not flags & ACK:
            connection.sendall(frame(kind, ACK, 0, content if kind == PING else b""))
        yield kind, flags, number, content


@dataclass
class Service:
    """Says to everything that it serves, and keeps what stood behind the end of each call, encoded; nothing is b""."""

    port: int = 0
    behind: list[bytes] = field(default_factory=list)

    def answer(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            connection.recv(len(PREFACE), socket.MSG_WAITALL)
            connection.sendall(frame(SETTINGS, 0, 0))
            seen: dict[int, int] = {}
            for kind, flags, number, content in frames(connection):
                seen[number] = seen.get(number, 0) + (kind == HEADERS)
                if kind not in (DATA, HEADERS) or not flags & END_STREAM:
                    continue
                self.behind.append(content if kind == HEADERS and seen[number] > 1 else b"")
                head = block([(":status", "200"), ("content-type", "application/grpc")])
                connection.sendall(
                    frame(HEADERS, END_HEADERS, number, head)
                    + frame(DATA, 0, number, _SERVING)
                    + frame(HEADERS, END_HEADERS | END_STREAM, number, block([("grpc-status", "0")]))
                )


@contextmanager
def serving() -> Iterator[Service]:
    """A running one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Service(server.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=found.answer, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield found


def call(address: tuple[str, int], host: str, token: str, trailers: list[tuple[str, str]]) -> bytes:
    """The messages of a call's answer, as they are framed."""
    head = [(":method", "POST"), (":scheme", "http"), (":authority", host), (":path", "/tests.Echo/Any")]
    head += [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", f"Bearer {token}")]
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(
            PREFACE
            + frame(SETTINGS, 0, 0)
            + frame(HEADERS, END_HEADERS, 1, block(head))
            + frame(DATA, 0, 1, bytes(5))
            + frame(HEADERS, END_HEADERS | END_STREAM, 1, block(trailers))
        )
        found = b""
        for kind, flags, number, content in frames(connection):
            found += content if (kind, number) == (DATA, 1) else b""
            if number == 1 and flags & END_STREAM and kind in (DATA, HEADERS):
                break
        return found
