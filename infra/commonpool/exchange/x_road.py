"""The headers of X-Road's REST protocol (PR-REST, version 1), so that a client of an X-Road security server works unchanged. Pure.

`/r1/{instance}/{class}/{member}/{subsystem}/{service}/path` becomes `/path` of the service that the host names; the client
that the headers name must be the department that the token proves. Answers carry the identifiers that X-Road clients read.
"""

import base64
import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

CLIENT, IDENTITY, ISSUE, USER = "x-road-client", "x-road-id", "x-road-issue", "x-road-userid"
PARTY = "x-road-represented-party"
ERROR = "x-road-error"
_PATH = re.compile(r"/r1/([^/?]+)/([^/?]+)/([^/?]+)/([^/?]+)/([^/?]+)(/[^?]*)?(\?.*)?")
_LONGEST = 255  # characters of one header, as the protocol bounds X-Road-Id


class Misused(Exception):
    """The request says that it is X-Road's, and is not of its form."""


@dataclass(frozen=True)
class Message:
    """What an X-Road client says of a request."""

    identity: str
    client: str = ""
    issue: str = ""
    party: str = ""
    user: str = ""
    service: str = ""  # as the path named it
    path: str = ""  # what the backend gets; empty when the path is not X-Road's

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self | None:
        """None for an ordinary request. Raises `Misused`."""
        match = _PATH.fullmatch(headers.get(":path", ""))
        if match is None and not any(name.startswith("x-road-") for name in headers):
            return None
        for name in (CLIENT, IDENTITY, ISSUE, USER, PARTY):
            if len(headers.get(name, "")) > _LONGEST:
                raise Misused(f"{name} is longer than {_LONGEST} characters")
        client = headers.get(CLIENT, "")
        if match and not client:
            raise Misused("X-Road-Client is missing")
        if client and len(client.split("/")) not in (3, 4):
            raise Misused("X-Road-Client is instance/class/member or instance/class/member/subsystem")
        path = (match[6] or "/") + (match[7] or "") if match else ""
        return cls(
            identity=headers.get(IDENTITY) or str(uuid.uuid4()),
            client=client,
            issue=headers.get(ISSUE, ""),
            party=headers.get(PARTY, ""),
            user=headers.get(USER, ""),
            service="/".join(match.group(1, 2, 3, 4, 5)) if match else "",
            path=path,
        )

    @property
    def member(self) -> str:
        """The organisation that the client header names."""
        return self.client.split("/")[2] if self.client else ""

    def evidence(self) -> dict[str, str]:
        """For the record of the exchange."""
        found = {
            "id": self.identity,
            "client": self.client,
            "issue": self.issue,
            "representedParty": self.party,
            "user": self.user,
        }
        return {key: value for key, value in found.items() if value}

    def answer(self, request_hash: bytes) -> dict[str, str]:
        """The headers of the answer."""
        found = {
            CLIENT: self.client,
            "x-road-service": self.service,
            IDENTITY: self.identity,
            "x-road-request-id": str(uuid.uuid4()),
            "x-road-request-hash": base64.b64encode(request_hash).decode(),
            ISSUE: self.issue,
            PARTY: self.party,
            USER: self.user,
        }
        return {key: value for key, value in found.items() if value}


def request_hash(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """SHA-512 over the request line, the X-Road headers and the body's digest."""
    lines = [f"{method} {path}", *(f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-road-"))]
    return hashlib.sha512("\n".join(lines).encode() + b"\n" + body).digest()
