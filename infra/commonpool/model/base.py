"""What every declared thing is built from: strict models, names, texts, dates, amounts."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from commonpool.model.problem import spelt
from commonpool.model.quantity import Quantity

API_VERSION = "commonpool.dev/v1"
RESERVED_PREFIXES = ("kube-", "openshift-", "commonpool", "service-", "system-")
RESERVED_NAMES = frozenset({"default", "kube", "all", "none", "pool", "system"})
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", re.ASCII)
_REGISTRY = re.compile(
    r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*", re.ASCII
)  # a path as images have it: no `..`, no empty part
_SPOKEN_DAY = re.compile(r"\s*([0-9]{4})\D{1,3}([0-9]{1,2})\D{1,3}([0-9]{1,2})\D{,2}")
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200c\u200d\u200e\u200f\ufeff")
_BLANK = frozenset(
    "\u034f\u115f\u1160\u2800\u3164\uffa0"
)  # letters and marks by their category, and nothing to the eye


class Declared(BaseModel):
    """A part of a manifest: unknown keys refused, no value converted, nothing changed after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel, defer_build=True)


def refusal(rule: str, message: str, fix: str = "") -> PydanticCustomError:
    """A validation error that carries our rule and the edit that passes."""
    return PydanticCustomError(rule, "{message}", {"message": message, "fix": fix})


def _name(limit: int, reserved: bool) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not _NAME.fullmatch(value) or len(value) > limit:
            fix = suggestion(value, limit)
            raise refusal(
                "name-invalid",
                f"{spelt(value[:80])} is not a name: 1 to {limit} of a-z, 0-9 and '-', starting and ending with a letter or digit"
                " (RFC 1123)",
                f"write {fix}" if fix else "write it in these letters, for instance in pinyin",
            )
        if reserved and (value.startswith(RESERVED_PREFIXES) or value in RESERVED_NAMES):
            raise refusal("name-reserved", f"{value!r} is reserved for the platform", "choose a name of your own")
        return value

    return check


def suggestion(value: str, limit: int) -> str:
    """The nearest name that would be accepted; empty when there is none."""
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:limit].strip("-")


def _text(value: str) -> str:
    if not value.strip():
        raise refusal("text-empty", "the text is empty")
    if not unicodedata.is_normalized("NFC", value):
        raise refusal("text-normal-form", "the text is not in Unicode normal form C", "save it in NFC")
    if value.isprintable() and _BLANK.isdisjoint(value):  # nearly all are; it leaves out every category below
        return value
    for mark in value:
        hidden = unicodedata.category(mark) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and mark != "\n"
        if hidden or mark in _DIRECTION or mark in _BLANK:
            raise refusal("text-character", f"the text holds the invisible character U+{ord(mark):04X}", "take it out")
    return value


def _pattern(expression: re.Pattern[str], rule: str, words: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not expression.fullmatch(value):
            fix = meant(value, expression.fullmatch)
            raise refusal(rule, f"{spelt(value[:80])} is not {words}", f"write {fix}" if fix else "")
        return value

    return check


def meant(value: str, fits: Callable[[str], object]) -> str:
    """The text that was probably meant: with ordinary marks, without what is around it, in the other case; else empty."""
    plain = unicodedata.normalize("NFKC", value).strip(" \t\n\"'“”‘’【】<>")
    return next((text for text in (plain, plain.upper(), plain.lower()) if text != value and fits(text)), "")


def _group(value: str) -> str:
    if value.startswith("system:"):
        raise refusal(
            "group-reserved",
            f"{value[:80]!a} is a group of Kubernetes itself",
            "name a group of your identity provider",
        )
    return _pattern(_GROUP, "group-invalid", "a group name (letters, digits, . _ / : @ -)")(value)


def _date(value: str) -> str:
    try:
        if date.fromisoformat(value).isoformat() != value:  # it reads 20261231 and 2026-W53-4 too
            raise ValueError
    except ValueError:
        day = _day(value)
        fix = f'write "{day}"' if day else 'write it as "2026-12-31"'
        raise refusal("date-invalid", f"{spelt(value[:40])} is not a date", fix) from None
    return value


def _day(value: str) -> str:
    """The date that was meant by `2026/1/5` or `2026年1月5日`; empty when none can be told."""
    match = _SPOKEN_DAY.fullmatch(unicodedata.normalize("NFKC", value))
    try:
        return date(*map(int, match.groups())).isoformat() if match else date.fromisoformat(value).isoformat()
    except ValueError:
        return ""


def _decimal(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", value, re.ASCII):
        raise refusal("decimal-invalid", f"{str(value)[:40]!a} is not a decimal number in quotes", 'write it as "1.5"')
    return value


def _positive(value: Quantity) -> Quantity:
    if not value:
        fix = "write more, or take out the whole entry that it is in"
        raise refusal("quantity-zero", "the amount is zero", fix)
    return value


Name = Annotated[
    str, AfterValidator(_name(63, False)), Field(json_schema_extra={"pattern": f"^{_NAME.pattern}$", "maxLength": 63})
]
OwnName = Annotated[
    str, AfterValidator(_name(40, True)), Field(json_schema_extra={"pattern": f"^{_NAME.pattern}$", "maxLength": 40})
]
DomainName = Annotated[str, AfterValidator(_pattern(_DOMAIN, "domain-invalid", "a DNS name in lower case"))]
GroupName = Annotated[str, AfterValidator(_group), Field(max_length=200)]
Registry = Annotated[
    str, AfterValidator(_pattern(_REGISTRY, "registry-invalid", "host[:port][/path], without scheme or tag"))
]
Text = Annotated[str, AfterValidator(_text), Field(max_length=500)]
Date = Annotated[str, AfterValidator(_date), Field(json_schema_extra={"format": "date"})]
Decimal = Annotated[
    str, AfterValidator(_decimal), Field(json_schema_extra={"pattern": r"^[0-9]{1,12}(\.[0-9]{1,6})?$"})
]
Amount = Annotated[Quantity, AfterValidator(_positive)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Level = Literal["nation", "province", "city"]
BusinessClass = Literal[
    "enforcement-and-service",
    "monitoring-and-warning",
    "policy-and-decision",
    "internal-administration",
    "finance",
    "open-government",
    "emergency-response",
]
Environment = Literal["production", "staging", "test", "development"]
ProtectionLevel = Annotated[int, Field(ge=1, le=5)]


class Metadata(Declared):
    """Name and labels of a declared thing."""

    name: OwnName = Field(description="Its name: unique in the estate, and the file's name without its ending.")
    labels: dict[str, str] = Field(default={}, description="Labels, for instance to split departments over stacks.")
    annotations: dict[str, str] = Field(
        default={}, description="Notes for people and tools; nothing here acts on them."
    )


class Contact(Declared):
    """How to reach a role: an office, a rota or a mailbox, so that the entry outlives the person who holds it."""

    role: Text = Field(description="The office or rota, for instance 'Network operations duty desk'.")
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=200)] | None = Field(
        default=None, description="Mailbox of the role.", examples=["it@water.example"]
    )
    phone: Annotated[str, Field(pattern=r"^\+?[0-9][0-9 -]{3,24}$")] | None = Field(
        default=None, description="Telephone of the role, international form preferred.", examples=["+86 555 0100 100"]
    )


class Resources(Declared):
    """CPU in cores and memory in bytes, as Kubernetes quantities."""

    cpu: Amount = Field(description="Cores, for instance 8 or 500m.")
    memory: Amount = Field(description="Bytes, for instance 32Gi.")


class Port(Declared):
    """One port or a range of them."""

    port: Annotated[int, Field(ge=1, le=65535)] = Field(description="Port number, the first of a range with endPort.")
    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="Transport protocol.")
    end_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(default=None, description="Last port of the range.")


class Egress(Declared):
    """One destination outside the pool."""

    name: Name = Field(description="Short name; becomes part of the network policy's name.")
    cidr: str = Field(description="Destination network, for instance 192.0.2.0/24.")
    ports: list[Port] = Field(min_length=1, max_length=50, description="Ports that are opened.")
    reason: Text = Field(description="Why; read by reviewers and auditors.")
