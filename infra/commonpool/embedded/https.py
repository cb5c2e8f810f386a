"""The certificate by which an embedded pool's proxy serves HTTPS under the stable names of services.

Signed by an authority of its own, whose certificate callers are given; in a cluster whoever runs the proxy makes the Secret,
and one that somebody else made here is left alone.
"""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509

from commonpool.components import gateway
from commonpool.embedded.certificate import Authority, Pair, subject_names
from commonpool.embedded.configuration import Layout
from commonpool.embedded.proxy import NAMESPACE
from commonpool.embedded.proxy_start import MANAGER
from commonpool.model import Estate

if TYPE_CHECKING:
    from commonpool.engine.cluster import Cluster

LABEL = "commonpool.dev/issued-by"


def authority(layout: Layout) -> Path:
    """The certificate, in PEM, that vouches for the proxy's."""
    return layout.pki / "https-ca.crt"


def names(estate: Estate) -> tuple[str, ...]:
    """What the certificate must stand for: each offering department's names, and the further ones of services. Pure."""
    domain = estate.pool.spec.network.domain
    seen = [service for service in estate.services if gateway.is_seen(service)]
    own = {f"*.{service.spec.offered_by}.{domain}" for service in seen}
    more = {name for service in seen if service.spec.endpoint for name in service.spec.endpoint.hostnames}
    return tuple(sorted(own | more))


async def issue(layout: Layout, cluster: "Cluster", secret: str, hosts: tuple[str, ...]) -> bool:
    """Make the Secret, or renew it when names are new or its time is nearly over; returns whether it was written."""
    before = await cluster.read("v1", "Secret", NAMESPACE, secret)
    if before is not None and LABEL not in before["metadata"].get("labels", {}):
        return False
    signer = Authority(layout.pki, "https-ca")
    wanted = _secret(secret, signer.server("https", hosts), signer)
    if before is not None and before.get("data") == wanted["data"]:
        return False
    await cluster.apply(wanted, field_manager=MANAGER)
    return True


async def found_authority(layout: Layout, cluster: "Cluster", secret: str) -> bool:
    """Make the Secret with the authority of callers' certificates where there is none; returns whether it was written."""
    if await cluster.read("v1", "Secret", NAMESPACE, secret) is not None:
        return False
    own = Authority(layout.pki, "clients-ca")
    await cluster.apply(_secret(secret, own.pair, own), field_manager=MANAGER)
    return True


async def renew(layout: Layout, cluster: "Cluster") -> list[str]:
    """Renew what was made here and is nearly over, under the names that it has; returns what was written."""
    found, _ = await cluster.list_objects("v1", "Secret", namespace=NAMESPACE, selector=LABEL)
    written = []
    for one in found:
        name, data = one["metadata"]["name"], one["data"]
        if data["tls.crt"] == data["ca.crt"]:
            own = Authority(layout.pki, "clients-ca")
            wanted = _secret(name, own.pair, own)
        else:
            signer = Authority(layout.pki, "https-ca")
            hosts = subject_names(x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"])))
            wanted = _secret(name, signer.server("https", tuple(sorted(hosts))), signer)
        if data != wanted["data"]:
            await cluster.apply(wanted, field_manager=MANAGER)
            written.append(name)
    return written


def _secret(name: str, pair: Pair, vouching: Authority) -> dict[str, Any]:
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": vouching.pair.certificate}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {LABEL: "embedded-pool"}},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()},
    }
