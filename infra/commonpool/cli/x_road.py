"""`commonpool service x-road`: the X-Road server beside a department's own clients. It asks no cluster for anything."""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output


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


def serve(client: str, system: Path | None, mounted: Path | None, place: Place, output: Output) -> int:
    """Serve until it is ended; by the certificate of a system, or by what is mounted in a pod."""
    from commonpool.exchange.x_road_server import Certified, Mounted, NoCredential
    from commonpool.exchange.x_road_server import serve as serve_ways

    if len(client.split("/")) not in (3, 4):
        raise CommandFailed(f"--client {client}: it is INSTANCE/CLASS/MEMBER or …/SUBSYSTEM", code="usage")
    if (system is None) == (mounted is None):
        raise CommandFailed("name either --system or, in a pod, --consume", code="usage")

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        if mounted is not None:
            await serve_ways(place.address, place.port, client, Mounted(mounted), output.data)
        elif system is not None:
            ways = Certified(system)
            await ways.find("")  # what cannot be used is said now, and not to the first client
            await serve_ways(place.address, place.port, client, ways, output.data)

    try:
        asyncio.run(work())
    except asyncio.CancelledError:
        return 0
    except NoCredential as error:
        step = "`commonpool service certificate` writes all three files"
        raise CommandFailed(str(error), code="certificate_unusable", next_step=step) from error
    except OSError as error:
        raise CommandFailed(
            f"{place.address}:{place.port} cannot be had: {error.strerror}", code="address_taken"
        ) from error
    return 0
