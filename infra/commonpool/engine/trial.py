"""What an API server would answer to somebody: one request, by itself or in another's name, with what its headers say.

The client of the inner loop keeps bodies alone. Here warnings, the audit number and the clock count, and one request at a
time is enough, so this is the standard library's own client. Nothing is repeated: the first answer is the answer.
"""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from commonpool.engine.error import Unreachable
from commonpool.engine.kubeconfig import Credentials
from commonpool.engine.wire import tls

SECONDS = 30.0
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Verdict:
    """An answer; `audit` is the request's number in the audit log, `moment` the server's clock, to the second."""

    status: int
    body: dict[str, Any] = field(repr=False)
    warnings: tuple[str, ...] = ()
    audit: str = ""
    moment: datetime | None = None

    @property
    def passed(self) -> bool:
        """Whether it would be done."""
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """The server's own, of a refusal."""
        return str(self.body.get("message", f"HTTP {self.status}"))


def ask(
    credentials: Credentials,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    kind: str = "application/json",
    user: str = "",
    group: str = "",
) -> Verdict:
    """Send it once; as `user` of `group` where one is named. Raises `Unreachable` when nothing is answered. Blocks."""
    request = urllib.request.Request(credentials.server + path, method=method)  # noqa: S310 (a server of a kubeconfig)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", kind)
    if credentials.token:
        request.add_header("Authorization", f"Bearer {credentials.token}")
    asked = (("Impersonate-User", user), ("Impersonate-Group", group)) if user else credentials.impersonate
    for name, value in asked:
        request.add_header(name, value)
    context = tls(credentials)
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=context if isinstance(context, ssl.SSLContext) else None),
        urllib.request.ProxyHandler({"https": credentials.proxy} if credentials.proxy else {}),
    ]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=SECONDS) as response:
            return _verdict(response.status, response.read(), response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return _verdict(error.code, error.read(), error.headers)
    except OSError as error:
        raise Unreachable(f"{credentials.server} does not answer ({error})") from error


def _verdict(status: int, content: bytes, headers: Message) -> Verdict:
    try:
        body = json.loads(content)
    except ValueError:
        body = {"message": content[:256].decode(errors="replace")}
    date = headers.get("Date")
    return Verdict(
        status,
        body if isinstance(body, dict) else {},
        tuple(_text(warning) for warning in headers.get_all("Warning") or ()),
        headers.get("Audit-Id", ""),
        parsedate_to_datetime(date) if date else None,
    )


def _text(warning: str) -> str:
    """The words of a Warning header (RFC 7234, section 5.5): `299 - "words"`."""
    return warning.partition('"')[2].rpartition('"')[0].replace('\\"', '"') or warning
