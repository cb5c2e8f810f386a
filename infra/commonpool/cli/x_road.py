"""`commonpool service x-road`: the X-Road server beside a department's own clients."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from commonpool.cli.credential import Caller
from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.engine import Cluster
    from commonpool.exchange.x_road_server import Ways


@dataclass(frozen=True)
class Place:
    """Where it listens."""

    address: str
    port: int

    @classmethod
    def of(cls, text: str) -> "Place":
        """From `127.0.0.1:8080`."""
        address, _, port = text.rpartition(":")
        if not address or not port.isdigit() or int(port) > 65535:
            raise CommandFailed(f"--listen {text}: it is ADDRESS:PORT", code="usage")
        return cls(address.strip("[]"), int(port))


def serve(
    target: Target, client: str, caller: Caller | None, mounted: Path | None, place: Place, output: Output
) -> int:
    """Serve until it is ended; by what is mounted in a pod, else by asking the cluster as `caller`."""
    if len(client.split("/")) not in (3, 4):
        raise CommandFailed(f"--client {client}: it is INSTANCE/CLASS/MEMBER or …/SUBSYSTEM", code="usage")
    if (caller is None) == (mounted is None):
        raise CommandFailed("name either --caller or --consume", code="usage")

    async def work() -> None:
        from commonpool.exchange import x_road_server

        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        say = output.data
        if mounted is not None:
            await x_road_server.serve(place.address, place.port, client, x_road_server.Mounted(mounted), say)
            return
        from commonpool.engine import Cluster

        assert caller is not None
        async with await Cluster.connect(target.credentials()) as cluster:
            await x_road_server.serve(place.address, place.port, client, _asking(target, cluster, caller), say)

    try:
        asyncio.run(work())
    except asyncio.CancelledError:
        return 0
    except OSError as error:
        raise CommandFailed(
            f"{place.address}:{place.port} cannot be had: {error.strerror}", code="address_taken"
        ) from error
    return 0


def _asking(target: Target, cluster: "Cluster", caller: Caller) -> "Ways":
    from commonpool.engine.error import EngineError
    from commonpool.exchange.x_road_server import TOKEN_SECONDS, Asked, NoCredential

    async def read(service: str) -> Mapping[str, str] | None:
        try:
            found = await cluster.read("v1", "ConfigMap", caller.namespace, f"consume-{service}")
        except EngineError as error:
            raise NoCredential(f"what {caller.namespace} consumes cannot be read: {error}") from error
        return None if found is None else found["data"]

    async def ask(audience: str) -> tuple[str, float]:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS},
        }
        path = f"/api/v1/namespaces/{caller.namespace}/serviceaccounts/{caller.account}/token"
        try:
            status = (await cluster.request("POST", path, body))["status"]
        except EngineError as error:
            raise NoCredential(f"no token of {caller.namespace} can be had: {error}") from error
        return str(status["token"]), datetime.fromisoformat(status["expirationTimestamp"]).timestamp()

    return Asked(read, ask, _reached(target))


def _reached(target: Target) -> Callable[[str], str]:
    """Where a declared URL is served: at itself, or by the embedded pool on this machine."""
    if not target.embedded:
        return str
    from commonpool.embedded import EmbeddedPool

    pool = EmbeddedPool(target.pool)

    def reached(url: str) -> str:
        return f"http://{pool.proxy_address}:{pool.proxy_port(urlsplit(url).port or 80)}"

    return reached
