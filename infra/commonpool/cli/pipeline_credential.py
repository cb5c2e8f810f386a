"""`commonpool credential ci`: a kubeconfig for a pipeline, good for a while and for exactly its job.

The token is made by the API server for an account of the pool's own namespace; nothing is kept here. What it may do stands
in the pool's stack (`commonpool-engine`, and the rule `engine`), so it works on any cluster on which that was applied.
"""

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.engine.kubeconfig import Credentials

LEAST, MOST = 600, 86_400  # seconds; Kubernetes makes no shorter token


def make(target: Target, path: Path, span: str, output: Output, *, preview_only: bool) -> int:
    """Write it with mode 0600; refuses to overwrite anything."""
    from commonpool.components.admission import ENGINE, PREVIEW, SYSTEM_NAMESPACE
    from commonpool.engine.duration import seconds as parse

    try:
        seconds = int(parse(span))
    except ValueError as error:
        raise CommandFailed(f"--for: {error}", code="usage") from error
    if not LEAST <= seconds <= MOST:
        raise CommandFailed(f"--for {span}: between 10m and 24h", code="usage", next_step="write --for 1h")
    if path.exists():
        raise CommandFailed(f"{path} exists", code="file_exists", next_step="name another file, or delete it first")
    account = PREVIEW if preview_only else ENGINE
    credentials = target.credentials()
    token, until = asyncio.run(_token(credentials, SYSTEM_NAMESPACE, account, seconds))
    content = kubeconfig(credentials, account, token)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
    may = "preview and write nothing" if preview_only else "preview and apply services and departments"
    output.say(f"wrote {path}: may {may}, until {until}")
    return 0


async def _token(credentials: "Credentials", namespace: str, account: str, seconds: int) -> tuple[str, str]:
    from commonpool.engine import Cluster
    from commonpool.engine.error import Refused

    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
    async with await Cluster.connect(credentials) as cluster:
        try:
            answer = await cluster.request(
                "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body
            )
        except Refused as error:
            if error.status != 404:
                raise
            raise CommandFailed(
                f"there is no account {account} in {namespace} yet",
                code="pool_missing",
                next_step="commonpool up --stack pool, as an administrator",
            ) from error
    return str(answer["status"]["token"]), str(answer["status"]["expirationTimestamp"])


def kubeconfig(credentials: "Credentials", account: str, token: str) -> str:
    """A kubeconfig with everything inside. Pure."""
    name = f"commonpool-{account}"
    cluster: dict[str, Any] = {"server": credentials.server}
    if credentials.ca:
        cluster["certificate-authority-data"] = base64.b64encode(credentials.ca).decode()
    if credentials.server_name:
        cluster["tls-server-name"] = credentials.server_name
    values = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return json.dumps(values, indent=1) + "\n"
