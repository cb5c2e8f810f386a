"""Test hosts: real machines in miniature on this one, with systemd, sshd, a network and a root file system of their own.

Two of them join the sample estate for real where this machine allows it; the tests make many, of every shape.
"""

from commonpool.embedded.hosts.error import HostFailed
from commonpool.embedded.hosts.host import Host, Shape, run
from commonpool.embedded.hosts.lan import GATEWAY, Lan, why_not

__all__ = ["GATEWAY", "Host", "HostFailed", "Lan", "Shape", "run", "why_not"]
