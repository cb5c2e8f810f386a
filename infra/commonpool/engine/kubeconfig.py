"""Which API server to speak to, and as whom: a kubeconfig read by its documented form.

Client certificates, tokens, CA data, proxies and impersonation are read here. Exec plugins and legacy auth providers
are what the official `kubernetes` package does well, so they are left to it (and it is imported only then).
Anything in a user's entry that we would have to ignore is refused: it might be what limits its rights.
"""

import base64
import binascii
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from commonpool.engine.error import CredentialRefused, KubeconfigInvalid

_LOOPBACK = ("://127.", "://localhost", "://[::1]")


@dataclass(frozen=True)
class Credentials:
    """One context, resolved. Certificate material is PEM bytes; `origin` names file and context for messages."""

    server: str
    origin: str
    namespace: str = "default"
    ca: bytes = b""
    ca_origin: str = ""
    client_certificate: bytes = b""
    client_key: bytes = b""
    token: str = ""
    token_file: str = ""
    plugin: Mapping[str, Any] | None = None  # an exec plugin's entry, to ask it again when its token has expired
    server_name: str = ""
    insecure: bool = False
    proxy: str = ""
    compress: bool = True
    impersonate: tuple[tuple[str, str], ...] = ()
    entry: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Never shows key or token: representations end in logs."""
        return f"Credentials({self.origin} -> {self.server})"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person must be told before anything is sent; empty when all is well."""
        found = []
        if self.insecure:
            found.append(
                f"{self.origin} sets insecure-skip-tls-verify: whoever stands between here and {self.server} can read "
                "and change everything, credentials included; replace it by certificate-authority-data"
            )
        if self.server.startswith("http://") and not any(mark in self.server for mark in _LOOPBACK):
            found.append(f"{self.origin} speaks to {self.server} without TLS: credentials and Secrets travel readable")
        return tuple(found)

    @property
    def renewable(self) -> bool:
        """Whether a token that the server refuses can be fetched again."""
        return bool(self.token_file or self.plugin)

    def renewed_token(self) -> str:
        """The token as its file or plugin gives it now. May take seconds. Raises `CredentialRefused`."""
        if self.token_file:
            return _token_from(Path(self.token_file), self.origin)
        return str(_ask_plugin(self.plugin or {}, self.origin).get("token", ""))

    def describe(self) -> str:
        """The credential in words, with its expiry where it shows: `the client certificate of /home/a/config (…)`."""
        if self.plugin:
            return f"what the plugin {self.plugin.get('command', '?')} gave for {self.origin}"
        if self.token_file:
            return f"the token in {self.token_file} of {self.origin}"
        if self.token:
            return f"the token of {self.origin}"
        if self.client_certificate:
            return f"the client certificate of {self.origin}{_expiry(self.client_certificate)}"
        return f"a request without any credential; {self.origin} names none"


def load(path: Path | None = None, context: str | None = None, cluster: str | None = None) -> Credentials:
    """Read a kubeconfig: the given file, else those of `KUBECONFIG` merged, else `~/.kube/config`.

    `cluster` stands in for the one that the context names.
    Raises `KubeconfigInvalid` naming the file when there is none, the contexts when the wanted one is not among them, and
    the field when something in it cannot be used; `CredentialRefused` when a plugin gives no credential.
    """
    files = [path] if path else _default_files()
    documents = [(file, _read(file)) for file in files if path or file.exists()]
    if not documents:
        raise KubeconfigInvalid(
            f"no kubeconfig: none of {', '.join(map(str, files))} exists; name one with --kubeconfig"
        )
    chosen = context or next((data["current-context"] for _, data in documents if data.get("current-context")), "")
    file, entry = _named(documents, "contexts", chosen, "context")
    called = cluster or entry.get("cluster", "")
    cluster_file, found = _named(documents, "clusters", called, "cluster")
    user_file, user = _named(documents, "users", entry.get("user", ""), "user") if entry.get("user") else (file, {})
    origin = f"{file} (context {chosen})"
    if not found.get("server"):
        raise KubeconfigInvalid(f"kubeconfig {cluster_file}: cluster {called!r} names no server")
    authority = _material(found, "certificate-authority", cluster_file)
    common: dict[str, Any] = {
        "server": str(found["server"]).rstrip("/"),
        "origin": origin,
        "namespace": entry.get("namespace") or "default",
        "ca": authority,
        "ca_origin": _ca_origin(found, cluster_file) if authority else "",
        "server_name": found.get("tls-server-name", ""),
        "insecure": found.get("insecure-skip-tls-verify") is True,
        "proxy": _proxy(found, cluster_file),
        "compress": found.get("disable-compression") is not True and not _is_loopback(str(found["server"])),
        "impersonate": _impersonation(user, user_file),
    }
    return Credentials(**common, **_identity(user, user_file, origin, files if len(files) > 1 else [file], chosen))


def _identity(user: Mapping[str, Any], file: Path, origin: str, files: list[Path], context: str) -> dict[str, Any]:
    """The part of the credentials that says who we are."""
    if user.get("username") or user.get("password"):
        raise KubeconfigInvalid(
            f"kubeconfig {file}: users.user.username: API servers since 1.19 know no passwords; use a token"
        )
    if user.get("exec"):
        plugin = {**user["exec"], "folder": str(file.parent)}
        answer = _ask_plugin(plugin, origin)
        return {
            "plugin": plugin,
            "token": answer.get("token", ""),
            "client_certificate": answer.get("clientCertificateData", "").encode(),
            "client_key": answer.get("clientKeyData", "").encode(),
        }
    if user.get("auth-provider"):
        return {"token": _from_provider(files, context, origin)}
    token_file = str(_beside(user["tokenFile"], file)) if user.get("tokenFile") else ""
    certificate, key = _material(user, "client-certificate", file), _material(user, "client-key", file)
    if bool(certificate) != bool(key):
        missing = "client-key" if certificate else "client-certificate"
        raise KubeconfigInvalid(
            f"kubeconfig {file}: the user of {origin} has no {missing}; certificate and key go together"
        )
    # The file goes before the inline token, as in kubectl: what is written by a rotation is newer.
    return {
        "client_certificate": certificate,
        "client_key": key,
        "token": _token_from(Path(token_file), origin) if token_file else user.get("token", ""),
        "token_file": token_file,
    }


def _default_files() -> list[Path]:
    listed = os.environ.get("KUBECONFIG", "")
    return [Path(part) for part in listed.split(os.pathsep) if part] or [Path.home() / ".kube" / "config"]


def _read(file: Path) -> dict[str, Any]:
    try:
        # The C loader where there is one: certificates make these files long.
        values = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except OSError as error:
        raise KubeconfigInvalid(f"kubeconfig {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        # Without the parser's own words: they quote the line, and the line may hold a key.
        mark = getattr(error, "problem_mark", None)
        raise KubeconfigInvalid(f"kubeconfig {file}{f':{mark.line + 1}' if mark else ''} is not YAML") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise KubeconfigInvalid(f"kubeconfig {file} is not a mapping")
    for section in ("contexts", "clusters", "users"):
        entries = values.get(section) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise KubeconfigInvalid(f"kubeconfig {file}: {section} is not a list of mappings")
    return values


def _named(
    documents: list[tuple[Path, dict[str, Any]]], section: str, name: str, key: str
) -> tuple[Path, dict[str, Any]]:
    """The first entry of that name, which wins as it does in kubectl."""
    for file, data in documents:
        for item in data.get(section) or ():
            if name and item.get("name") == name:
                values = item.get(key) or {}
                if not isinstance(values, dict):
                    raise KubeconfigInvalid(f"kubeconfig {file}: {section} {name!r} is not a mapping")
                return file, values
    known = sorted(str(item.get("name", "")) for _, data in documents for item in data.get(section) or ())
    files = ", ".join(str(file) for file, _ in documents)
    wanted = f"{key} {name!r}" if name else f"current-context; name a {key} with --context"
    raise KubeconfigInvalid(f"kubeconfig {files} has no {wanted}; it has {', '.join(known) or 'none'}")


def _beside(name: str, file: Path) -> Path:
    return Path(name) if Path(name).is_absolute() else file.parent / name


def _material(values: Mapping[str, Any], key: str, file: Path) -> bytes:
    if values.get(f"{key}-data"):
        try:
            return base64.b64decode(values[f"{key}-data"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise KubeconfigInvalid(f"kubeconfig {file}: {key}-data is not base64") from error
    if not values.get(key):
        return b""
    place = _beside(str(values[key]), file)
    try:
        return place.read_bytes()
    except OSError as error:
        raise KubeconfigInvalid(f"kubeconfig {file}: {key} {place}: {error.strerror}") from error


def _ca_origin(cluster: Mapping[str, Any], file: Path) -> str:
    if cluster.get("certificate-authority-data"):
        return f"certificate-authority-data in {file}"
    return str(_beside(str(cluster["certificate-authority"]), file))


def _proxy(cluster: Mapping[str, Any], file: Path) -> str:
    """As in kubectl: the one that the kubeconfig names, else that of the environment, which is never for this machine."""
    proxy, origin = str(cluster.get("proxy-url") or ""), f"kubeconfig {file}: proxy-url"
    if not proxy and not _is_loopback(str(cluster["server"])):
        proxy, origin = _environment_proxy(str(cluster["server"])), "HTTPS_PROXY"
    if proxy and not proxy.startswith(("http://", "https://")):
        raise KubeconfigInvalid(f"{origin} {proxy.partition(':')[0]}: only http and https proxies are spoken")
    return proxy


def _environment_proxy(server: str) -> str:
    scheme = server.partition(":")[0]
    if scheme not in urllib.request.getproxies_environment():
        return ""
    from requests.utils import get_environ_proxies  # it knows the networks that NO_PROXY may name

    return str(get_environ_proxies(server).get(scheme, ""))


def _impersonation(user: Mapping[str, Any], file: Path) -> tuple[tuple[str, str], ...]:
    if user.get("as-user-extra"):
        raise KubeconfigInvalid(f"kubeconfig {file}: as-user-extra is not supported")
    if not user.get("as") and (user.get("as-groups") or user.get("as-uid")):
        raise KubeconfigInvalid(f"kubeconfig {file}: as-groups and as-uid need `as`")
    headers = [("Impersonate-User", str(user["as"]))] if user.get("as") else []
    headers += [("Impersonate-Uid", str(user["as-uid"]))] if user.get("as-uid") else []
    return (*headers, *(("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()))


def _is_loopback(server: str) -> bool:
    return any(mark in server for mark in _LOOPBACK)


def _token_from(file: Path, origin: str) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CredentialRefused(f"{origin}: tokenFile {file}: {error.strerror}") from error


def _ask_plugin(plugin: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
    """What an exec plugin answers (client.authentication.k8s.io), through the official client."""
    from kubernetes.config import ConfigException
    from kubernetes.config.exec_provider import ExecProvider
    from kubernetes.config.kube_config import ConfigNode

    command = plugin.get("command", "")
    settings = {key: value for key, value in plugin.items() if key != "folder"}
    try:
        answer = ExecProvider(ConfigNode("exec", settings), plugin.get("folder")).run()  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, KeyError, ValueError) as error:
        hint = f" ({plugin['installHint'].strip()})" if plugin.get("installHint") else ""
        raise CredentialRefused(f"the plugin {command!r} of {origin} gives no credential: {error}{hint}") from error
    if not answer.get("token") and not answer.get("clientCertificateData"):
        raise CredentialRefused(f"the plugin {command!r} of {origin} gives neither a token nor a certificate")
    return dict(answer)


def _from_provider(files: list[Path], context: str, origin: str) -> str:
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=os.pathsep.join(map(str, files)), context=context, client_configuration=settings
        )
    except (config.ConfigException, OSError, ValueError) as error:
        raise CredentialRefused(f"the auth-provider of {origin} gives no credential: {error}") from error
    bearer = str((settings.api_key or {}).get("authorization", "")).removeprefix("Bearer ")
    if not bearer:
        # The official client logs the reason and goes on without a credential; we do not.
        raise CredentialRefused(f"the auth-provider of {origin} gives no credential")
    return bearer


def _expiry(certificate: bytes) -> str:
    from cryptography import x509

    try:
        ends = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except ValueError:
        return ""
    return f", which is valid until {ends.isoformat()}"
