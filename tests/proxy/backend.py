"""A backend in a process of its own, which can be killed as backends are: `python backend.py PORT NAME`.

It answers every request with JSON that says who answered and what arrived. What it does next is set over HTTP:
`POST /behave` with {"errors": 0.05} answers that share with 500, {"delay": 0.2} waits before each answer, {"healthy":
false} makes `/healthz` say 503, {"check_host": "a"} to whoever asks it by another name, {"words": "up"} what it says. `?bytes=N&type=T` asks for an answer of that size and type, `?status=N` for that status.
"""

import asyncio
import json
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

START_SECONDS = 60.0


class Backend:
    """A running backend on a loopback port of its own; a restart keeps the port."""

    def __init__(self, name: str) -> None:
        self.name = name
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port: int = one.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._process = subprocess.Popen([sys.executable, str(Path(__file__)), str(self.port), self.name])
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/seen", timeout=1).close()
                return self
            except OSError:
                if time.monotonic() > deadline:
                    self.kill()
                    raise AssertionError(f"backend {self.name} does not start") from None
                time.sleep(0.02)

    def kill(self) -> None:
        """As the kernel or a power cut would: no goodbye to anybody."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def behave(self, **what: Any) -> None:
        request = urllib.request.Request(f"{self.url}/behave", json.dumps(what).encode(), method="POST")
        urllib.request.urlopen(request, timeout=5).close()

    def seen(self) -> int:
        """How many requests it was asked, checks and this one not counted."""
        with urllib.request.urlopen(f"{self.url}/seen", timeout=5) as answer:
            return int(json.load(answer)["seen"])

    def checked(self) -> int:
        """How many checks it has answered."""
        with urllib.request.urlopen(f"{self.url}/seen", timeout=5) as answer:
            return int(json.load(answer)["checked"])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class _Server:
    def __init__(self, name: str) -> None:
        self.name = name
        self.behaviour: dict[str, Any] = {"errors": 0.0, "delay": 0.0, "healthy": True, "check_host": "", "words": "up"}
        self.seen = self.checked = 0

    async def health(self, request: web.Request) -> web.Response:
        self.checked += 1
        healthy = self.behaviour["healthy"] and self.behaviour["check_host"] in ("", request.host)
        found = {"name": self.name, "words": self.behaviour["words"]}
        return web.json_response(found, status=200 if healthy else 503)

    async def behave(self, request: web.Request) -> web.Response:
        self.behaviour |= await request.json()
        return web.json_response(self.behaviour)

    async def count(self, request: web.Request) -> web.Response:
        return web.json_response({"seen": self.seen, "checked": self.checked})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """`?pieces=100` of 8 kB each, ten in a second."""
        found = web.StreamResponse()
        await found.prepare(request)
        for _ in range(int(request.query.get("pieces", "100"))):
            await found.write(b"x" * 8192)
            await asyncio.sleep(0.1)
        return found

    async def answer(self, request: web.Request) -> web.Response:
        self.seen += 1
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        if self.behaviour["delay"]:
            await asyncio.sleep(self.behaviour["delay"])
        failing = random.random() < self.behaviour["errors"]
        found = {
            "name": self.name,
            "method": request.method,
            "path": request.path_qs,
            "host": request.host,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "size": size,
        }
        if "bytes" in request.query:  # so many of them, of any type, or as one JSON field
            kind, content = request.query.get("type", "application/json"), "x" * int(request.query["bytes"])
            text = json.dumps({"name": content}) if kind == "application/json" else content
            return web.Response(text=text, content_type=kind, status=int(request.query.get("status", "200")))
        return web.json_response(found, status=500 if failing else int(request.query.get("status", "200")))


def main(port: int, name: str) -> None:
    server = _Server(name)
    application = web.Application(client_max_size=1 << 30)
    application.router.add_get("/healthz", server.health)
    application.router.add_post("/behave", server.behave)
    application.router.add_get("/seen", server.count)
    application.router.add_get("/stream", server.stream)
    application.router.add_route("*", "/{rest:.*}", server.answer)
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None, reuse_port=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
