"""`commonpool service credential`: by what a caller is known to a service, for trying it out as that caller.

Pods do not need it: Kubernetes gives them their tokens. It asks the cluster for the same token that a pod of the namespace
would get, with whatever rights the person has who runs it.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output
from commonpool.cli.service import find, served_at
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.model import Estate, SharedService


@dataclass(frozen=True)
class Caller:
    """A namespace that lists the service, and an account of its pods."""

    namespace: str
    account: str = "default"


def show(target: Target, name: str, caller: Caller, seconds: int, output: Output, *, curl: bool) -> int:
    """Print the token alone; as a configuration for curl with `curl`; everything there is to know in JSON."""
    estate = target.load()
    service = find(estate, name)
    _check(estate, service, caller)
    host = service.host(estate.pool.spec.network.domain)
    answer = asyncio.run(_request(target, caller, host, seconds))
    token, expires = str(answer["status"]["token"]), str(answer["status"]["expirationTimestamp"])
    port, served = served_at(target, estate, service)
    if output.structured:
        subject = f"system:serviceaccount:{caller.namespace}:{caller.account}"
        found = {"service": name, "subject": subject, "audience": host, "token": token, "expires": expires}
        output.document("Credential", **found, url=f"http://{host}:{port}/", servedAt=served or None)
    elif curl:
        output.data("\n".join([*configuration(host, port, served, token), *_secured(target, estate, host)]))
    else:
        output.data(token)
    return 0


def configuration(host: str, port: int, served: str, token: str) -> list[str]:
    """Lines for `curl --config -`: the token, out of sight of `ps`, and where the stable name is served. Pure."""
    found = [f'header = "Authorization: Bearer {token}"']
    # Where it is served is known here, so no proxy of the environment is to be asked for the way.
    return [*found, f'connect-to = "{host}:{port}:{served}"', 'noproxy = "*"'] if served else found


def _secured(target: Target, estate: "Estate", host: str) -> list[str]:
    """The same for HTTPS, where the embedded pool serves it: where, and who vouches for its certificate."""
    proxy = estate.pool.spec.network.proxy
    if proxy is None or proxy.certificate is None or not target.embedded:
        return []
    from commonpool.embedded import EmbeddedPool, https

    pool = EmbeddedPool(target.pool)
    at = f"{pool.proxy_address}:{pool.proxy_port(proxy.https_port)}"
    return [f'connect-to = "{host}:{proxy.https_port}:{at}"', f'cacert = "{https.authority(pool.layout)}"']


def _check(estate: "Estate", service: "SharedService", caller: Caller) -> None:
    from commonpool.components import gateway

    if not gateway.is_seen(service):
        raise CommandFailed(
            f"callers of {service.name} need no credential of the pool: the proxy passes its connections on as they are",
            code="credential_not_needed",
        )
    known = {
        namespace: {account for other, account in one.accounts if other == namespace}
        for one in gateway.consumers(estate, service)
        for namespace, _ in one.accounts
    }
    if caller.namespace not in known:
        raise CommandFailed(
            f"no namespace {caller.namespace!r} lists {service.name} under consumes",
            code="not_a_consumer",
            next_step=nearest(caller.namespace, sorted(known)) if known else "",
        )
    if caller.account not in known[caller.namespace]:
        accounts = sorted(known[caller.namespace])
        raise CommandFailed(
            f"{caller.namespace} has no account {caller.account!r} that may call {service.name}",
            code="not_a_consumer",
            next_step=nearest(caller.account, accounts),
        )


async def _request(target: Target, caller: Caller, audience: str, seconds: int) -> dict[str, Any]:
    from commonpool.engine import Cluster

    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience], "expirationSeconds": seconds},
    }
    async with await Cluster.connect(target.credentials()) as cluster:
        path = f"/api/v1/namespaces/{caller.namespace}/serviceaccounts/{caller.account}/token"
        return dict(await cluster.request("POST", path, body))
