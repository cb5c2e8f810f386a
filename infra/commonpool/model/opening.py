"""What an opening to the outside leads to: nothing of the pool's own, however wide the block is that the operators allow.

Addresses of machines, storage, pods and services lie in the same private blocks as what is outside. Who reaches them calls a
service past its consumers and its agreement, or asks a metadata service who the machine is.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from commonpool.model.address import NEVER, Network, block
from commonpool.model.base import Egress, Port
from commonpool.model.pool import Range
from commonpool.model.problem import shown

_METADATA = NEVER["the link-local range, where metadata services answer"]


def shut(cidr: str, ranges: Iterable[Range]) -> list[str]:
    """The blocks inside of an opening that stay closed all the same."""
    opened = block(cidr)
    return [str(own) for own in _own(ranges) if opened is not None and own != opened and _inside(own, opened)]


def objection(egress: Egress, allowed: Sequence[Egress], ranges: Iterable[Range]) -> tuple[str, str, str] | None:
    """Why a namespace may not have this opening: what is said, the rule, and the edit that passes; None where it may."""
    try:
        network = ipaddress.ip_network(egress.cidr, strict=False)
    except ValueError as error:
        return (
            f"{shown(egress.cidr)} is not an address block: {error}",
            "cidr-invalid",
            "write for instance 192.0.2.0/24",
        )
    if str(network) != egress.cidr:
        words = f"{shown(egress.cidr)} is another spelling of {network}, which the API server does not take"
        return words, "cidr-invalid", f"write {network}"
    if any(port.end_port and port.end_port < port.port for port in egress.ports):
        return "a range of ports ends before it begins", "port-order", "write the smaller number as port"
    wide = {base.name: named for base in allowed if (named := _permits(base, egress, network)) is not None}
    if not wide:
        names = ", ".join(f"{base.name} ({base.cidr})" for base in allowed) or "empty"
        return (
            f"egress to {egress.cidr} lies outside of the pool's allow-list: {names}",
            "egress-not-allowed",
            "narrow it to an entry of spec.network.egressAllowList, or ask the pool's operators to add one",
        )
    home = next((own for own in _own(ranges) if _inside(network, own)), None)
    if home is None or any(_inside(named, home) for named in wide.values()):
        return None
    return (
        f"egress to {egress.cidr} lies in {home}, which is no outside: {', '.join(wide)} in the pool's allow-list is wider,"
        " and does not name it",
        "egress-inside",
        "list the service that answers there under consumes, or ask the pool's operators for an entry of"
        f" spec.network.egressAllowList inside {home}",
    )


def _own(ranges: Iterable[Range]) -> Iterator[Network]:
    """The pool's own blocks, and where metadata services answer."""
    for cidr in (*(one.cidr for one in ranges), *_METADATA):
        found = block(cidr)
        if found is not None:
            yield found


def _permits(base: Egress, egress: Egress, network: Network) -> Network | None:
    """The block that an entry of the allow-list names, when this opening lies in it with all of its ports."""
    named = block(base.cidr, strict=False)
    ports = all(any(_covers(wide, port) for wide in base.ports) for port in egress.ports)
    return named if named is not None and ports and _inside(network, named) else None


def _inside(one: Network, other: Network) -> bool:
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


def _covers(wide: Port, narrow: Port) -> bool:
    last_wide, last_narrow = wide.end_port or wide.port, narrow.end_port or narrow.port
    return wide.protocol == narrow.protocol and wide.port <= narrow.port and last_narrow <= last_wide
