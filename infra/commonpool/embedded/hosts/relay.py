"""Connections passed on from an address of the hosts' LAN to a port on loopback, as they are: TLS stays between the ends."""

import asyncio
import contextlib
import socket
import threading

CHUNK = 1 << 16


class Relay:
    """One address; it lives in a thread of its own, as long as the process."""

    def __init__(self, listen: tuple[str, int], target: tuple[str, int]) -> None:
        """Listens at once. Raises OSError where the address is taken."""
        self.target = target
        self.socket = socket.create_server(listen)

    def start(self) -> None:
        """Pass on from now."""
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._pass, sock=self.socket)
        async with server:
            await server.serve_forever()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
