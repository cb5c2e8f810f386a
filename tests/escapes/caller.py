"""Somebody who asks the API server over plain HTTP, by any verb and with any body, and keeps what it answers."""

import json
import ssl
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Answer:
    """What came back; `audit` is the request's number in the audit log, `flow` the identity of the FlowSchema it came by."""

    status: int
    body: dict[str, Any]
    audit: str
    warnings: tuple[str, ...] = ()
    flow: str = ""

    @property
    def words(self) -> str:
        return str(self.body.get("message", ""))


@dataclass
class Caller:
    """One identity at one API server: a client certificate (PEM files), a token, or neither."""

    name: str
    server: str
    authority: str
    certificate: Path | None = None
    key: Path | None = None
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._context = ssl.create_default_context(cadata=self.authority)
        if self.certificate:
            self._context.load_cert_chain(self.certificate, self.key)

    @classmethod
    def of_kubeconfig(cls, name: str, path: Path) -> "Caller":
        """The identity of a kubeconfig with everything inside."""
        import base64

        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        cluster, user = values["clusters"][0]["cluster"], values["users"][0]["user"]
        folder = Path(tempfile.mkdtemp(prefix="caller-", dir=path.parent))  # which goes with its pool
        parts = {}
        for word in ("certificate", "key"):
            parts[word] = folder / word
            parts[word].touch(mode=0o600)
            parts[word].write_bytes(base64.b64decode(user[f"client-{word}-data"]))
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(name, cluster["server"], authority, parts["certificate"], parts["key"])

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request, once."""
        request = urllib.request.Request(self.server + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", kind)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        for word, value in (self.headers | (headers or {})).items():
            request.add_header(word, value)
        try:
            with urllib.request.urlopen(request, context=self._context, timeout=30) as response:
                return _answer(response.status, response.read(), response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read(), error.headers)


def _answer(status: int, content: bytes, headers: Any) -> Answer:
    try:
        body = json.loads(content)
    except ValueError:
        body = {"message": content.decode(errors="replace")[:500]}
    found = body if isinstance(body, dict) else {"items": body}
    flow = headers.get("X-Kubernetes-PF-FlowSchema-UID", "")
    return Answer(status, found, headers.get("Audit-Id", ""), tuple(headers.get_all("Warning") or ()), flow)
