"""An HTTP server for tests that answers what the test says, request by request, and can hang up at any point."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = tuple[int, dict[str, Any] | bytes, dict[str, str]]
HANG_UP = "hang up after the request was read"
SILENCE = "never answer"
CUT = "begin a stream, and hang up when nothing has happened on it for a moment"
CUT_SECONDS = 0.2


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class FaultServer:
    """`script` is called with every request and says what happens to it."""

    script: Callable[[Asked], Answer | str]
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""
    delay: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(method, path, headers, json.loads(data) if data else None)
        self.asked.append(asked)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
            answer = self.script(asked)
            if answer == SILENCE:
                await reader.read()
            if answer == CUT:
                writer.write(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
                await asyncio.sleep(CUT_SECONDS)
            if isinstance(answer, str):
                return False
        finally:
            self.at_once -= 1
        status, content, extra = answer
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(raw)}"]
        lines += [f"{name}: {value}" for name, value in extra.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
        await writer.drain()
        return True


@asynccontextmanager
async def faults(script: Callable[[Asked], Answer | str], *, delay: float = 0.0) -> AsyncIterator[FaultServer]:
    """Listen on loopback while the block runs."""
    server = FaultServer(script, delay=delay)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def ok(body: dict[str, Any] | bytes) -> Answer:
    """200 with a body."""
    return 200, body, {}


def status(code: int, reason: str = "", message: str = "", **extra: Any) -> Answer:
    """A Kubernetes Status."""
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message, **extra}, {}
