"""The DNS names of services, `<service>.<offering department>.<pool domain>`, as the pool's own name resolution answers them. Pure.

A name is a Service of type ExternalName that leads to the proxy, so it comes and goes with the routes, in the same run; two
lines in the configuration of CoreDNS, the same for all services, turn the public name into that of the Service.
"""

import re

from commonpool.components import gateway
from commonpool.components.rendering import PROXY_NAMESPACE, Body, body
from commonpool.model import Estate, SharedService

PROXY_SERVICE = "proxy"  # in a cluster Envoy Gateway makes it, by `service-proxy/envoy-gateway.yaml`
PREFIX = "commonpool-"  # of the Services that are names; `workload_guard` keeps it for them
CLUSTER_DOMAIN = "cluster.local"
PROXY = f"{PROXY_SERVICE}.{PROXY_NAMESPACE}.svc.{CLUSTER_DOMAIN}"


def objects(estate: Estate, service: SharedService) -> list[Body]:
    """The record of a service that the proxy serves, while somebody consumes it."""
    if not gateway.consumers(estate, service):
        return []
    name = f"{PREFIX}{service.spec.offered_by}"
    spec = {"type": "ExternalName", "externalName": PROXY}
    return [body("v1", "Service", name, estate.pool, namespace=service.namespace_name, spec=spec)]


def is_name(found: Body) -> bool:
    """Whether an object is such a record."""
    return bool(found["kind"] == "Service" and found["metadata"]["name"].startswith(PREFIX))


def rewriting(domain: str) -> str:
    """What a server block of CoreDNS needs, before `kubernetes`, to answer for the names of a pool's domain."""
    named = re.escape(domain)
    return (
        "rewrite stop {\n"
        rf"    name regex ^([^.]+)\.([^.]+)\.{named}\.$ {PREFIX}{{2}}.service-{{1}}.svc.{CLUSTER_DOMAIN}."
        "\n    answer auto\n}\n"
    )
