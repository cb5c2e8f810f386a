"""How calls to a service travel: the endpoint, time limits, retries, each consumer's share, and the notice when it is off."""

from typing import Annotated, Literal

from pydantic import Field

from commonpool.model.base import Date, Declared, Text
from commonpool.model.duration import Duration
from commonpool.model.hostname import Hostname

Protocol = Literal["HTTP", "GRPC", "TCP", "TLS"]
WITH_REQUESTS = ("HTTP", "GRPC")  # protocols whose single calls the proxy sees


class Endpoint(Declared):
    """What callers see: `<service>.<department>.<pool domain>`, and the names and the port beside it."""

    protocol: Protocol = Field(
        default="HTTP",
        description="HTTP and GRPC share the proxy's ports and carry the caller's identity; TCP is passed on as it is; "
        "TLS too, by the name that the client asks for.",
    )
    port: Annotated[int, Field(ge=1024, le=65535)] | None = Field(
        default=None, description="TCP and TLS: port of the proxy that is this service's alone."
    )
    hostnames: list[Hostname] = Field(
        default=[],
        max_length=15,
        description="Further names: below the service's own, or in a domain of its department (spec.network.proxy.domains).",
    )


class Timeouts(Declared):
    """How long things may take."""

    connect: Duration = Field(default="2s", description="Connecting to a backend.")
    request: Duration = Field(
        default="30s",
        description="HTTP and GRPC: a whole call with its retries, from its beginning to the last byte of the answer.",
    )
    idle: Duration = Field(default="5m", description="Without any byte in either direction.")
    unlimited: bool = Field(
        default=False, description="HTTP and GRPC: calls may last for ever (streams); request does not hold then."
    )


class Retries(Declared):
    """What the proxy tries again by itself."""

    attempts: Annotated[int, Field(ge=0, le=5)] = Field(default=2, description="Repetitions after the first try.")
    repeat: Literal["unsent", "reads", "all"] = Field(
        default="unsent",
        description="unsent: only what no backend can have seen; reads: GET, HEAD and OPTIONS also when the connection "
        "broke or the answer is 502 to 504, and limits then hold for reads and for the rest each; all: every call, when all of "
        "them may safely arrive twice.",
    )
    budget_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=20, description="Most repetitions under way, in percent of the calls under way."
    )
    timeout: Duration | None = Field(
        default=None, description="For each try; that of the request where nothing is said."
    )


class Share(Declared):
    """Bounds on calls; what lies above is answered with 429 and a Retry-After. One instance of the proxy counts for itself."""

    requests_per_second: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="HTTP and GRPC: calls that begin in a second."
    )
    concurrent: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Calls under way at the same time; connections of TCP and TLS."
    )


class Limits(Declared):
    """What the backends can bear, and how it is divided."""

    total: Share = Field(
        default=Share(), description="What the backends can bear together; the consumers' shares never exceed it."
    )
    per_consumer: Share = Field(
        default=Share(), description="For each calling department; an equal part of the total where nothing is said."
    )


class Notice(Declared):
    """The service is switched off: callers get 503 with these words and the date on which it returns."""

    message: Text = Field(description="What callers are told.")
    returns: Date = Field(description="Day on which it returns.")
