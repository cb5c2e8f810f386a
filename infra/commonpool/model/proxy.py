"""The pool's service proxy: where it listens, whose names it serves, and which other pools it reaches."""

from typing import Annotated

from pydantic import Field

from commonpool.model.base import Declared, DomainName, Name

ListenPort = Annotated[int, Field(ge=1024, le=65535)]


class OwnedDomain(Declared):
    """A domain outside of the pool's own, and the department whose services may use names in it."""

    domain: DomainName = Field(description="The domain; everything below it belongs to the department too.")
    department: Name = Field(description="Department that owns it.")


class PeerPool(Declared):
    """Another pool whose services can stand behind ours."""

    name: Name = Field(description="Short name.")
    domain: DomainName = Field(description="Its DNS domain; its services are `<service>.<department>.<domain>`.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=8443, description="Port of its proxy, with TLS.")
    certificate_authority: Annotated[str, Field(pattern=r"^-----BEGIN CERTIFICATE-----", max_length=20_000)] | None = (
        Field(default=None, description="Certificates in PEM that vouch for it; the system's where none are.")
    )


class TraceCollector(Declared):
    """Where traces go, by OpenTelemetry over gRPC."""

    host: DomainName = Field(description="Host name of the collector.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=4317, description="Port of the collector.")
    percent: Annotated[int, Field(ge=1, le=100)] = Field(default=10, description="Share of the calls that are traced.")


class ClientCertificates(Declared):
    """The way in for systems outside of the pool, known by certificates that the pool issues (mutual TLS)."""

    port: ListenPort = Field(
        default=8444, description="Port for HTTP/1.1, HTTP/2 and gRPC over TLS, with a certificate of the caller's."
    )
    authority: Name = Field(
        description="Secret in the proxy's namespace with the authority that signs them: ca.crt, tls.crt and tls.key, as "
        "cert-manager keeps one. The embedded pool makes it when it is missing."
    )


class Proxy(Declared):
    """The service proxy (Gateway API); without this section the pool has none, and no service may have backends."""

    http_port: ListenPort = Field(default=8080, description="Port for HTTP/1.1, HTTP/2 and gRPC in plain text.")
    https_port: ListenPort = Field(default=8443, description="Port for the same over TLS.")
    certificate: Name | None = Field(
        default=None,
        description="Secret in the proxy's namespace with the certificate for httpsPort; no TLS where nothing is said. "
        "The embedded pool makes it when it is missing.",
    )
    client_certificates: ClientCertificates | None = Field(
        default=None,
        description="Callers outside of the pool, the `systems` of departments; none where nothing is said.",
    )
    connections: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        default=20_000, description="Most connections of callers to one instance; further ones are closed."
    )
    domains: list[OwnedDomain] = Field(
        default=[], max_length=200, description="Names outside of the pool's domain, each with its one owner."
    )
    peers: list[PeerPool] = Field(default=[], max_length=50, description="Other pools.")
    traces: TraceCollector | None = Field(
        default=None, description="Where traces go; none are made where nothing is said."
    )
