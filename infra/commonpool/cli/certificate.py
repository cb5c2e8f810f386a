"""`commonpool service certificate`: by what a department's system outside of the pool is known to the proxy.

Whoever may read the Secrets of the proxy's namespace may issue them; the key is made here, and is nowhere else. Beside them
stands where the system's services are and who vouches for the proxy: with the three files it needs nothing else of the pool.
"""

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.model import Department, Estate
    from commonpool.model.department import System
    from commonpool.model.proxy import ClientCertificates, Proxy

LEAST, MOST = timedelta(minutes=10), timedelta(days=7)


def make(target: Target, department: str, system: str, folder: Path, span: str, output: Output) -> int:
    """Write `<system>.crt`, `<system>.key` (mode 0600) and `<system>.json` in place of older ones."""
    from commonpool.proxy.certificate import AuthorityUnusable, issue

    estate, lifetime = target.load(), _lifetime(span)
    owner = _owner(estate, department)
    one = _system(owner, system)
    proxy, clients = _settings(estate)
    secrets = asyncio.run(_secrets(target, clients.authority, proxy.certificate or ""))
    authority = _authority(clients.authority, secrets[clients.authority])
    identity = owner.identity(system, estate.pool.spec.network.domain)
    try:
        made = issue(*authority, identity, lifetime, datetime.now(UTC))
    except AuthorityUnusable as error:
        raise CommandFailed(str(error), code="authority_unusable") from error
    vouching = base64.b64decode(secrets[proxy.certificate or ""].get("ca.crt", "")).decode()
    services = _services(target, estate, one, clients.port)
    folder.mkdir(parents=True, exist_ok=True)
    certificate, private, ways = (folder / f"{system}.{ending}" for ending in ("crt", "key", "json"))
    private.unlink(missing_ok=True)
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(made.key)
    certificate.write_bytes(made.certificate)
    ways.write_text(json.dumps({"services": services, "authority": vouching}, indent=1) + "\n", encoding="utf-8")
    if output.structured:
        files = {"certificate": str(certificate), "key": str(private), "ways": str(ways)}
        output.document("ClientCertificate", identity=identity, expires=made.expires.isoformat(), **files)
    else:
        output.data(f"wrote {certificate}, {private} and {ways}: {identity}, until {made.expires:%Y-%m-%d %H:%M} UTC")
    return 0


def _services(target: Target, estate: "Estate", system: "System", port: int) -> dict[str, dict[str, str]]:
    """Where the services are that it lists, by the port for callers with certificates; those whose calls the proxy sees."""
    from commonpool.components import gateway

    listed = [one for name in system.consumes if (one := estate.service(name)) and gateway.is_seen(one)]
    hosts = {service.name: service.host(estate.pool.spec.network.domain) for service in listed}
    return {name: {"host": host, "url": f"https://{_served(target, host, port)}"} for name, host in hosts.items()}


def _served(target: Target, host: str, port: int) -> str:
    """Host and port, or where the embedded pool serves them on this machine."""
    if not target.embedded:
        return f"{host}:{port}"
    from commonpool.embedded import EmbeddedPool

    pool = EmbeddedPool(target.pool)
    return f"{pool.proxy_address}:{pool.proxy_port(port)}"


def _lifetime(span: str) -> timedelta:
    from commonpool.engine.duration import seconds

    try:
        lifetime = timedelta(seconds=seconds(span))
    except ValueError as error:
        raise CommandFailed(f"--for: {error}", code="usage") from error
    if not LEAST <= lifetime <= MOST:
        raise CommandFailed(f"--for {span}: between 10m and 168h", code="usage", next_step="write --for 24h")
    return lifetime


def _owner(estate: "Estate", name: str) -> "Department":
    department = estate.department(name)
    if department is None:
        step = nearest(name, [one.name for one in estate.departments])
        raise CommandFailed(f"there is no department {name!r}", code="department_unknown", next_step=step)
    return department


def _system(department: "Department", name: str) -> "System":
    known = {one.name: one for one in department.spec.systems}
    if name not in known:
        raise CommandFailed(
            f"{department.name} declares no system {name!r}",
            code="system_unknown",
            next_step=nearest(name, list(known)),
        )
    return known[name]


def _settings(estate: "Estate") -> "tuple[Proxy, ClientCertificates]":
    proxy = estate.pool.spec.network.proxy
    if proxy is None or proxy.client_certificates is None:
        raise CommandFailed(
            "this pool knows no systems by certificate",
            code="systems_closed",
            next_step="declare spec.network.proxy.clientCertificates in pool.yaml",
        )
    return proxy, proxy.client_certificates


async def _secrets(target: Target, *names: str) -> dict[str, Mapping[str, Any]]:
    """What Secrets of the proxy's namespace hold, by name; nothing for one that is not there."""
    from commonpool.components.rendering import PROXY_NAMESPACE
    from commonpool.engine import Cluster

    async with await Cluster.connect(target.credentials()) as cluster:
        found = {name: await cluster.read("v1", "Secret", PROXY_NAMESPACE, name) for name in names}
    return {name: (one or {}).get("data") or {} for name, one in found.items()}


def _authority(name: str, data: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Certificate and key."""
    from commonpool.components.rendering import PROXY_NAMESPACE

    if not {"tls.crt", "tls.key"} <= data.keys():
        raise CommandFailed(
            f"there is no authority in the Secret {name} of {PROXY_NAMESPACE}",
            code="authority_missing",
            next_step="`commonpool up` makes it in the embedded pool; elsewhere, cert-manager or you",
        )
    return base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])
