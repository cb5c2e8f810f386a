"""The process that answers for simulated machines: `python -m commonpool.embedded.stand_in_server FOLDER`.

It follows the pool's note of what is played (`stand_in.Stage`), opens and closes ports as that changes, and ends when
nothing is played any more. Every answer says that it comes from a stand-in. It knows nothing of what a real backend does:
HTTP tells what arrived beside the dataset's fields without content, gRPC has no method but the health check, and TCP says
one sentence.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from aiohttp import web

from commonpool.embedded.configuration import Layout
from commonpool.embedded.stand_in import HEADER, Role, Stage
from commonpool.embedded.stand_in_database import Database
from commonpool.exchange.fields import Tree, tree

PAUSE_SECONDS = 0.2
NO_CONTENT = "(stand-in)"  # the value of every field
_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}
_HEALTH = "/grpc.health.v1.Health/Check"
_SHOWN = ("x-commonpool-department", "x-commonpool-subject", "x-commonpool-case", "x-commonpool-backend")
Close = Callable[[], Awaitable[None]]


async def play(stage: Stage) -> None:
    """Follow the note until there is none."""
    open_: dict[str, tuple[Role, Close]] = {}
    try:
        while wanted := stage.played():
            for key, (role, close) in list(open_.items()):
                if wanted.get(key) != role:
                    await close()
                    del open_[key]
            for key in wanted.keys() - open_.keys():
                try:
                    open_[key] = (wanted[key], await OPEN[wanted[key].protocol](stage, wanted[key]))
                except OSError as error:
                    print(f"{key}: {error}", flush=True)
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        for _, close in open_.values():
            await close()


async def _http(stage: Stage, role: Role) -> Close:
    server = web.Server(partial(_answer, role))
    listener = await asyncio.get_running_loop().create_server(server, role.address, role.port)

    async def close() -> None:
        listener.close()
        await server.shutdown(1.0)

    return close


async def _answer(role: Role, request: web.BaseRequest) -> web.StreamResponse:
    headers = {HEADER: "yes"}
    check = role.checks.get(request.path)
    if check is not None and "x-commonpool-department" not in request.headers:
        status, text = check
        return web.Response(status=status, text=f"{text}\n{role.says}\n", headers=headers)
    arrived = {name.removeprefix("x-commonpool-"): request.headers[name] for name in _SHOWN if name in request.headers}
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
    words: dict[str, Any] = {"answeredBy": role.says, "method": request.method, "path": request.path_qs, **arrived}
    if size:
        words["bytes"] = str(size)
    words |= _record(tree(role.items))
    text = json.dumps(words, ensure_ascii=False, indent=2) + "\n"
    return web.Response(text=text, content_type="application/json", headers=headers)


def _record(fields: Tree) -> dict[str, Any]:
    """A record with every field of the dataset, so that it shows which of them an agreement lets pass."""
    return {name: _record(below) if below else NO_CONTENT for name, below in fields.items()}


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, role: Role) -> None:
        self.role = role

    def service(self, details: Any) -> Any:  # noqa: ANN401
        if details.method == _HEALTH:
            return grpc.unary_unary_rpc_method_handler(self._health)
        return grpc.stream_stream_rpc_method_handler(self._refuse)

    async def _health(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401
        return _SERVING

    async def _refuse(self, requests: Any, context: Any) -> None:  # noqa: ANN401
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, self.role.says, ((HEADER, "yes"),))


async def _grpc(stage: Stage, role: Role) -> Close:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Methods(role),))
    server.add_insecure_port(f"{role.address}:{role.port}")
    await server.start()
    return partial(server.stop, 1.0)


async def _tcp(stage: Stage, role: Role) -> Close:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if role.receive:
                while await reader.read(1024):
                    writer.write(bytes.fromhex(role.receive))
                    await writer.drain()
            else:
                writer.write(f"{role.says}\n".encode())
                await writer.drain()
                await reader.read()
        writer.close()

    listener = await asyncio.start_server(talk, role.address, role.port)

    async def close() -> None:
        listener.close()

    return close


async def _database(stage: Stage, role: Role) -> Close:
    database = Database(stage, role)
    reason = await asyncio.to_thread(database.start)
    if reason:
        print(f"{role.of}: {reason}", flush=True)
        return await _tcp(stage, role)

    async def close() -> None:
        await asyncio.to_thread(database.stop)

    return close


OPEN: dict[str, Callable[[Stage, Role], Awaitable[Close]]] = {
    "HTTP": _http,
    "GRPC": _grpc,
    "TCP": _tcp,
    "DATABASE": _database,
}


async def main(root: Path) -> None:
    """Play until there is nothing to play or somebody ends it."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await play(Stage(Layout(root)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
