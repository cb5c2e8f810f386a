"""Which addresses may stand behind a service: those of the pool's own machines, never the pool's inner workings.

Addresses come from the inventory alone, and still each is looked at: an inventory is a file that people edit, and a proxy
that is sent to loopback, to a metadata service or into the pod network speaks with the pool's own trust (CVE-2021-25740).
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from commonpool.model.pool import Range

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NEVER = {
    "the unspecified range": ("0.0.0.0/8", "::/128"),
    "the loopback range": ("127.0.0.0/8", "::1/128"),
    "the link-local range, where metadata services answer": ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"),
    "the multicast range": ("224.0.0.0/4", "ff00::/8"),
    "the reserved range": ("240.0.0.0/4",),
    "the range of IPv4 addresses in IPv6 disguise": ("::ffff:0:0/96", "64:ff9b::/96"),
}
# A disk is exported to the machines' addresses, and the proxy is at one of them: by a service at the port of NFS, whoever may
# call that would mount what is every department's.
RESERVED_PORTS = dict.fromkeys((2379, 2380, 6443, 10250, 10255, 10256, 10257, 10259), "of Kubernetes itself")
RESERVED_PORTS |= dict.fromkeys((111, 2049), "by which disks are exported to machines")
_ALLOWED = ("machines", "storage")


def objection(address: str, ranges: Iterable[Range]) -> str:
    """Why an address cannot be a backend; empty when it can."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "is not an IP address; a name could be pointed elsewhere later"
    for words, networks in NEVER.items():
        if any(_within(found, network) for network in networks):
            return f"lies in {words}"
    homes = [one for one in ranges if _within(found, one.cidr)]
    if not any(one.purpose in _ALLOWED for one in homes):
        where = (
            f"in range {homes[0].name!r}, which is for {homes[0].purpose}" if homes else "in none of the pool's ranges"
        )
        return f"lies {where}"
    return ""


def allowed(ranges: Iterable[Range]) -> list[str]:
    """The blocks in which backends may stand."""
    return [one.cidr for one in ranges if one.purpose in _ALLOWED]


def _within(address: Address, cidr: str) -> bool:
    network = block(cidr)
    return network is not None and address.version == network.version and address in network


@lru_cache(maxsize=1024)
def block(cidr: str, *, strict: bool = True) -> Network | None:
    """A block of addresses; None for what is none, and `pool_check` says so. Any address in it spells it unless `strict`."""
    try:
        return ipaddress.ip_network(cidr, strict=strict)
    except ValueError:
        return None
