"""Which API server to speak to, and as whom: a kubeconfig read by its documented form.

Client certificates, tokens and CA data are read here; exec plugins and legacy auth providers are what the official
`kubernetes` package does well, so they are left to it (and it is imported only then).
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from commonpool.engine.error import CredentialRefused, EngineError, Unreachable


@dataclass(frozen=True)
class Credentials:
    """One context, resolved. Certificate material is PEM bytes; `origin` names file and context for messages."""

    server: str
    origin: str
    namespace: str = "default"
    ca: bytes = b""
    client_certificate: bytes = b""
    client_key: bytes = b""
    token: str = ""
    token_file: str = ""
    server_name: str = ""
    insecure: bool = False
    proxy: str = ""

    def __repr__(self) -> str:
        """Never shows key or token: representations end in logs."""
        return f"Credentials({self.origin} -> {self.server})"


def load(path: Path | None = None, context: str | None = None) -> Credentials:
    """Read a kubeconfig: the given file, else those of `KUBECONFIG`, else `~/.kube/config`.

    Raises `EngineError` naming the file when there is none, and the contexts when the wanted one is not among them.
    """
    files = [path] if path else _default_files()
    documents = [(file, _read(file)) for file in files if path or file.exists()]
    if not documents:
        raise EngineError(f"no kubeconfig: none of {', '.join(map(str, files))} exists; name one with --kubeconfig")
    chosen = context or next((data["current-context"] for _, data in documents if data.get("current-context")), "")
    file, entry = _named(documents, "contexts", chosen, "context")
    cluster_file, cluster = _named(documents, "clusters", entry.get("cluster", ""), "cluster")
    user_file, user = _named(documents, "users", entry.get("user", ""), "user") if entry.get("user") else (file, {})
    if user.get("exec") or user.get("auth-provider"):
        return _through_official_client(file, chosen, cluster, entry)
    return Credentials(
        server=str(cluster["server"]).rstrip("/"),
        origin=f"{file} (context {chosen})",
        namespace=entry.get("namespace") or "default",
        ca=_material(cluster, "certificate-authority", cluster_file),
        client_certificate=_material(user, "client-certificate", user_file),
        client_key=_material(user, "client-key", user_file),
        token=user.get("token", ""),
        token_file=user.get("tokenFile", ""),
        server_name=cluster.get("tls-server-name", ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        proxy=cluster.get("proxy-url", ""),
    )


def _default_files() -> list[Path]:
    listed = os.environ.get("KUBECONFIG", "")
    return [Path(part) for part in listed.split(os.pathsep) if part] or [Path.home() / ".kube" / "config"]


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise EngineError(f"kubeconfig {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise EngineError(f"kubeconfig {file} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise EngineError(f"kubeconfig {file} is empty")
    return values


def _named(
    documents: list[tuple[Path, dict[str, Any]]], section: str, name: str, field: str
) -> tuple[Path, dict[str, Any]]:
    for file, data in documents:
        for item in data.get(section) or ():
            if item.get("name") == name:
                return file, item.get(field) or {}
    known = sorted(item.get("name", "") for _, data in documents for item in data.get(section) or ())
    files = ", ".join(str(file) for file, _ in documents)
    raise EngineError(f"kubeconfig {files} has no {field} {name!r}; it has {', '.join(known) or 'none'}")


def _material(values: Mapping[str, Any], key: str, file: Path) -> bytes:
    if values.get(f"{key}-data"):
        return base64.b64decode(values[f"{key}-data"])
    if not values.get(key):
        return b""
    place = Path(values[key])
    place = place if place.is_absolute() else file.parent / place
    try:
        return place.read_bytes()
    except OSError as error:
        raise EngineError(f"kubeconfig {file}: {key} {place}: {error.strerror}") from error


def _through_official_client(
    file: Path, context: str, cluster: Mapping[str, Any], entry: Mapping[str, Any]
) -> Credentials:
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        config.load_kube_config(config_file=str(file), context=context, client_configuration=settings)
    except config.ConfigException as error:
        raise CredentialRefused(f"kubeconfig {file} (context {context}): {error}") from error
    if not settings.host:
        raise Unreachable(f"kubeconfig {file} (context {context}) names no server")
    bearer = settings.api_key.get("authorization", "") if settings.api_key else ""
    return Credentials(
        server=settings.host.rstrip("/"),
        origin=f"{file} (context {context})",
        namespace=entry.get("namespace") or "default",
        ca=_material(cluster, "certificate-authority", file),
        client_certificate=Path(settings.cert_file).read_bytes() if settings.cert_file else b"",
        client_key=Path(settings.key_file).read_bytes() if settings.key_file else b"",
        token=bearer.removeprefix("Bearer "),
        server_name=cluster.get("tls-server-name", ""),
        insecure=not settings.verify_ssl,
    )
