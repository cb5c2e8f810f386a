"""A real Kubernetes control plane on this machine.

etcd, API server, controller manager, scheduler, and KWOK for machines that have not joined for real. What it refuses: to
listen beyond loopback unless told, and to give out identities of Kubernetes itself.
"""

from commonpool.embedded.configuration import Issuer, Settings
from commonpool.embedded.error import EmbeddedError
from commonpool.embedded.pool import EmbeddedPool, pool_names
from commonpool.embedded.status import ComponentStatus, EmbeddedStatus, ProxyStatus

__all__ = [
    "ComponentStatus",
    "EmbeddedError",
    "EmbeddedPool",
    "EmbeddedStatus",
    "Issuer",
    "ProxyStatus",
    "Settings",
    "pool_names",
]
