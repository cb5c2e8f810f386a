"""`commonpool service certificate`: by what a department's system outside of the pool is known to the proxy.

Whoever may read the authority's Secret may issue them; the key is made here, and is nowhere else.
"""

import asyncio
import base64
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.model import Department, Estate

LEAST, MOST = timedelta(minutes=10), timedelta(days=7)


def make(target: Target, department: str, system: str, folder: Path, span: str, output: Output) -> int:
    """Write `<system>.crt` and `<system>.key` (mode 0600) in place of older ones."""
    from commonpool.proxy.certificate import AuthorityUnusable, issue

    estate, lifetime = target.load(), _lifetime(span)
    identity = _owner(estate, department, system).identity(system, estate.pool.spec.network.domain)
    authority, key = asyncio.run(_authority(target, _secret(estate)))
    try:
        made = issue(authority, key, identity, lifetime, datetime.now(UTC))
    except AuthorityUnusable as error:
        raise CommandFailed(str(error), code="authority_unusable") from error
    folder.mkdir(parents=True, exist_ok=True)
    certificate, private = folder / f"{system}.crt", folder / f"{system}.key"
    private.unlink(missing_ok=True)
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(made.key)
    certificate.write_bytes(made.certificate)
    if output.structured:
        files = {"certificate": str(certificate), "key": str(private)}
        output.document("ClientCertificate", identity=identity, expires=made.expires.isoformat(), **files)
    else:
        output.data(f"wrote {certificate} and {private}: {identity}, until {made.expires:%Y-%m-%d %H:%M} UTC")
    return 0


def _lifetime(span: str) -> timedelta:
    from commonpool.engine.duration import seconds

    try:
        lifetime = timedelta(seconds=seconds(span))
    except ValueError as error:
        raise CommandFailed(f"--for: {error}", code="usage") from error
    if not LEAST <= lifetime <= MOST:
        raise CommandFailed(f"--for {span}: between 10m and 168h", code="usage", next_step="write --for 24h")
    return lifetime


def _owner(estate: "Estate", name: str, system: str) -> "Department":
    department = estate.department(name)
    if department is None:
        step = nearest(name, [one.name for one in estate.departments])
        raise CommandFailed(f"there is no department {name!r}", code="department_unknown", next_step=step)
    known = [one.name for one in department.spec.systems]
    if system not in known:
        raise CommandFailed(
            f"{name} declares no system {system!r}", code="system_unknown", next_step=nearest(system, known)
        )
    return department


def _secret(estate: "Estate") -> str:
    proxy = estate.pool.spec.network.proxy
    if proxy is None or proxy.client_certificates is None:
        raise CommandFailed(
            "this pool knows no systems by certificate",
            code="systems_closed",
            next_step="declare spec.network.proxy.clientCertificates in pool.yaml",
        )
    return proxy.client_certificates.authority


async def _authority(target: Target, secret: str) -> tuple[bytes, bytes]:
    """Certificate and key."""
    from commonpool.components.rendering import PROXY_NAMESPACE
    from commonpool.engine import Cluster

    async with await Cluster.connect(target.credentials()) as cluster:
        found = await cluster.read("v1", "Secret", PROXY_NAMESPACE, secret)
    data = (found or {}).get("data") or {}
    if not {"tls.crt", "tls.key"} <= data.keys():
        raise CommandFailed(
            f"there is no authority in the Secret {secret} of {PROXY_NAMESPACE}",
            code="authority_missing",
            next_step="`commonpool up` makes it in the embedded pool; elsewhere, cert-manager or you",
        )
    return base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])
