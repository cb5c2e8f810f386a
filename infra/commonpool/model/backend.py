"""What stands behind a service's name, and how it is known to be alive.

A backend is named by what it is, never by an address: machines of the inventory, the service's own pods, or a service of
another pool. Where a machine is reached stands in the inventory alone.
"""

from typing import Annotated

from pydantic import Field

from commonpool.model.base import Declared, DomainName, Name, Text
from commonpool.model.duration import Duration

Threshold = Annotated[int, Field(ge=1, le=20)]
HexBytes = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,64}$")]


class BackendTls(Declared):
    """TLS towards a backend; its certificate is always checked."""

    server_name: DomainName = Field(description="Name asked for (SNI) and expected in the backend's certificate.")
    certificate_authority: Annotated[str, Field(pattern=r"^-----BEGIN CERTIFICATE-----", max_length=20_000)] | None = (
        Field(default=None, description="Certificates in PEM that vouch for the backend; the system's where none are.")
    )


class PeerService(Declared):
    """A service of another pool."""

    peer: Name = Field(description="Pool, from spec.network.proxy.peers.")
    department: Name = Field(description="Department that offers it there.")
    service: Name = Field(description="Its name there.")


class Backend(Declared):
    """One place where the service runs; exactly one of machines, pods and peer."""

    name: Annotated[Name, Field(max_length=20)] = Field(description="Short name, for instance old or new.")
    machines: list[Name] = Field(
        default=[], max_length=64, description="Machines of the inventory that serve it, equal among themselves."
    )
    pods: bool = Field(default=False, description="The pods of spec.workload.")
    peer: PeerService | None = Field(default=None, description="The same service in another pool.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Port there; the first one of the workload, or the peer's, where nothing is said."
    )
    weight: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1, description="Share of the requests, relative to the other backends; 0 for none."
    )
    priority: Annotated[int, Field(ge=0, le=1)] = Field(
        default=0, description="0 serves; 1 steps in when those of 0 are unhealthy."
    )
    tls: BackendTls | None = Field(default=None, description="TLS towards it; plain text where nothing is said.")


class PassiveHealth(Declared):
    """Taking a backend out by what callers get from it."""

    consecutive_errors: Threshold = Field(default=5, description="Answers of 5xx or broken connections in a row.")
    ejection: Duration = Field(default="30s", description="How long it stays out at first; longer each time.")


class Health(Declared):
    """How backends are watched, whether or not anybody calls."""

    interval: Duration = Field(default="5s", description="Time between two checks of one backend.")
    timeout: Duration = Field(default="2s", description="How long an answer may take.")
    unhealthy_after: Threshold = Field(default=2, description="Failed checks after which it is out.")
    healthy_after: Threshold = Field(default=2, description="Good checks after which it is back.")
    evidence_expires: Duration = Field(
        default="1m",
        description="Age at which the last check proves nothing any more and the backend counts as unknown.",
    )
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=500)] | None = Field(
        default=None, description="HTTP: path that is asked; / where nothing is said."
    )
    host: DomainName | None = Field(
        default=None, description="HTTP: Host header of checks; the service's own name where nothing is said."
    )
    statuses: list[Annotated[int, Field(ge=100, le=599)]] = Field(
        default=[], max_length=20, description="HTTP: statuses of a healthy backend; 200 where nothing is said."
    )
    body: Text | None = Field(default=None, description="HTTP: text that the answer must contain.")
    grpc_service: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$", max_length=200)] | None = Field(
        default=None, description="gRPC: service asked about by grpc.health.v1; the whole server where nothing is said."
    )
    send: HexBytes | None = Field(
        default=None,
        description="TCP: bytes sent, in hexadecimal, again and again on one connection; a connection alone where nothing is said.",
    )
    receive: HexBytes | None = Field(default=None, description="TCP: bytes that the answer must contain.")
    passive: PassiveHealth = Field(default=PassiveHealth(), description="What callers get, watched as well.")
