"""Names by which callers reach a service: one spelling each, so that two manifests cannot mean the same name differently.

Lower case, ASCII, no trailing dot, no port; a wildcard only as the whole first label. What else a resolver or a proxy
would take for the same name is refused here, and who owns which name is decided in `hostname_check`.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from commonpool.model.base import refusal
from commonpool.model.problem import shown

LONGEST = 253  # characters of a DNS name (RFC 1035)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})+", re.ASCII)


def _hostname(value: str) -> str:
    plain = value.strip().rstrip(".").lower()
    plain = re.sub(r":[0-9]+$", "", plain)
    if value != plain and _HOSTNAME.fullmatch(plain):
        raise refusal(
            "hostname-spelling",
            f"{shown(value)} is not how the name is spelt here: lower case, no final dot, no port",
            f"write {plain}",
        )
    if not value.isascii():
        raise refusal(
            "hostname-invalid", f"{value[:80]!a} is not ASCII", f"write {_punycode(plain)}" if _punycode(plain) else ""
        )
    if not _HOSTNAME.fullmatch(value) or len(value) > LONGEST:
        raise refusal(
            "hostname-invalid",
            f"{value[:80]!a} is not a host name of two or more labels, or *. before one",
            "write for instance archive.example.org",
        )
    for label in value.split("."):
        if label.startswith("xn--"):
            _decoded(label)
    return value


def _punycode(value: str) -> str:
    try:
        return value.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _decoded(label: str) -> str:
    try:
        return label.encode("ascii").decode("idna")
    except UnicodeError:
        raise refusal("hostname-invalid", f"{label[:80]!a} is not valid Punycode", "take it out") from None


def readable(name: str) -> str:
    """A host name as browsers show it, Punycode decoded."""
    return ".".join(_decoded(label) if label.startswith("xn--") else label for label in name.split("."))


def covers(pattern: str, name: str) -> bool:
    """Whether a name, or every name that a wildcard stands for, is reached by a pattern: `*.a.b` covers `c.a.b`, `d.c.a.b`, `*.a.b`."""
    if not pattern.startswith("*."):
        return pattern == name
    return name.removeprefix("*.").endswith(pattern[1:]) or name == pattern


def inside(name: str, domain: str) -> bool:
    """Whether a name is a domain or lies below it."""
    plain = name.removeprefix("*.")
    return plain == domain or plain.endswith(f".{domain}")


Hostname = Annotated[
    str, AfterValidator(_hostname), Field(json_schema_extra={"pattern": f"^{_HOSTNAME.pattern}$", "maxLength": LONGEST})
]
