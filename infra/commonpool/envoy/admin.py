"""What a running Envoy says of itself, read from the socket of its admin interface. Changes nothing."""

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 2.0


class NoAnswer(Exception):
    """Envoy does not run, or does not answer in time."""


class Silent(NoAnswer):
    """Envoy runs, and does not answer in time."""


@dataclass(frozen=True)
class Listener:
    """A listener that Envoy was told to have and has not refused."""

    name: str
    address: str
    port: int

    @property
    def of_gateway(self) -> bool:
        """Whether a Gateway declares it; Envoy Gateway names those by namespace, Gateway and listener."""
        return "/" in self.name


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=PATIENCE_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def ask(admin: Path, path: str) -> bytes:
    """The body of a GET that was answered with 200. Raises `NoAnswer`."""
    connection = _SocketConnection(admin)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError as error:
        raise Silent(f"{admin}: no answer within {PATIENCE_SECONDS:.0f} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{admin}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise NoAnswer(f"{path}: {answer.status} {body[:200].decode(errors='replace')}")
    return body


def silent(admin: Path) -> bool:
    """Whether Envoy runs and says nothing: its main thread, which alone takes new configuration, stands still."""
    try:
        ask(admin, "/ready")
    except Silent:
        return True
    except NoAnswer:
        pass
    return False


def serving_ports(admin: Path) -> frozenset[int]:
    """The ports of Gateways on which a caller gets through now; none when Envoy does not run.

    Envoy lists a listener long before its threads accept on it, hence the knock.
    """
    try:
        found = [one for one in listeners(admin) if one.of_gateway]
    except NoAnswer:
        return frozenset()
    return frozenset(one.port for one in found if _accepts(one))


def _accepts(listener: Listener) -> bool:
    try:
        socket.create_connection((listener.address, listener.port), timeout=PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


def listeners(admin: Path) -> tuple[Listener, ...]:
    """The listeners that Envoy has taken over, whether or not it accepts on them yet. Raises `NoAnswer`."""
    found = json.loads(ask(admin, "/listeners?format=json")).get("listener_statuses", ())
    addresses = [(one["name"], one.get("local_address", {}).get("socket_address")) for one in found]
    return tuple(Listener(name, at["address"], at["port_value"]) for name, at in addresses if at)
