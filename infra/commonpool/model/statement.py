"""What a department says about an agreement and signs with its own key: that it agrees, suspends, resumes, terminates.

Canonical form: JSON Canonicalization Scheme (RFC 8785). The agreement's digest is SHA-256 over the canonical form of what
its file says (apiVersion, kind, name, spec); a statement holds that digest, and its signature (Ed25519, RFC 8032) is over
the canonical form of the statement without the signature. So anybody with the manifests and a JCS and an Ed25519 library
checks both, without this program.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from commonpool.model.base import Date, Declared, Name, Text, refusal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Act = Literal["sign", "suspend", "resume", "terminate"]
ACTS: tuple[Act, ...] = ("sign", "suspend", "resume", "terminate")
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
# Points of small order, without the sign: for such a "key" anybody makes signatures that verify over any text.
_NOBODYS = frozenset(
    bytes.fromhex(point)
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        *(low + "ff" * 30 + "7f" for low in ("ec", "ed", "ee")),
    )
)


def _bytes(count: int, word: str) -> Any:  # noqa: ANN401
    def check(value: str) -> str:
        try:
            if len(base64.b64decode(value, validate=True)) == count:
                return value
        except (binascii.Error, ValueError):
            pass
        raise refusal("key-invalid", f"{value[:60]!a} is not {word}", f"write its {count} bytes in base64")

    return AfterValidator(check)


def _somebodys(value: str) -> str:
    raw = base64.b64decode(value)
    if raw[:-1] + bytes([raw[-1] & 0x7F]) in _NOBODYS:
        raise refusal(
            "key-invalid",
            f"{value!a} is a key for which anybody can sign",
            "make a key with `commonpool agreement key`",
        )
    return value


def _moment(value: str) -> str:
    try:
        datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise refusal(
            "time-invalid", f"{value[:40]!a} is not a moment in UTC", 'write it as "2026-12-31T08:00:00Z"'
        ) from None
    return value


Moment = Annotated[str, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]
PublicKey = Annotated[str, _bytes(_KEY_BYTES, "a public key of Ed25519"), AfterValidator(_somebodys)]


class SigningKey(Declared):
    """A key of the department itself; its private half never leaves the department."""

    id: Name = Field(description="Short name of the key; statements name it.")
    public: PublicKey = Field(description="Public key of Ed25519 (RFC 8032), its 32 bytes in base64.")
    since: Date = Field(description="First day on which signatures by it count.")
    until: Date | None = Field(
        default=None, description="Last day on which new signatures by it count; earlier ones stay valid."
    )

    def counts(self, day: str) -> bool:
        """Whether what it signs on a day counts; what is encrypted to it on that day is as well meant for its holder."""
        return self.since <= day <= (self.until or "9999-12-31")


class Statement(Declared):
    """One signed statement; `agreements/statements/*.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["Statement"] = Field(description="Always Statement.")
    agreement: Name = Field(description="Name of the agreement.")
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] = Field(
        description="Digest of the agreement's canonical text, the very one that was read."
    )
    act: Act = Field(description="What is said: sign, suspend, resume or terminate.")
    department: Name = Field(description="Who says it: one of the two parties.")
    at: Moment = Field(description="When, in UTC.")
    reason: Text | None = Field(default=None, description="Why; required for everything but sign.")
    key: Name = Field(description="Key of the department's manifest by which it is signed.")
    signature: Annotated[str, _bytes(_SIGNATURE_BYTES, "a signature of Ed25519")] = Field(
        description="Signature in base64."
    )

    @property
    def message(self) -> bytes:
        """What is signed."""
        return message(self.model_dump(by_alias=True, exclude_none=True))


def canonical(value: Any) -> bytes:  # noqa: ANN401
    """The canonical form of a JSON value (RFC 8785). Raises ValueError for numbers that JSON does not carry exactly."""
    import rfc8785

    return rfc8785.dumps(value)


def text_digest(values: Mapping[str, Any]) -> str:
    """The digest of an agreement, from the plain values of its file: labels and annotations are nobody's promise."""
    text = {
        "apiVersion": values["apiVersion"],
        "kind": values["kind"],
        "metadata": {"name": values["metadata"]["name"]},
        "spec": values["spec"],
    }
    return f"sha256:{hashlib.sha256(canonical(text)).hexdigest()}"


def message(fields: Mapping[str, Any]) -> bytes:
    """The bytes that a statement's signature is over."""
    return canonical({key: value for key, value in fields.items() if key != "signature"})


def verifies(public: str, statement: Statement) -> bool:
    """Whether a statement was signed by the private half of a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
    try:
        key.verify(base64.b64decode(statement.signature), statement.message)
    except InvalidSignature:
        return False
    return True


def now() -> str:
    """This moment, as statements write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def signed(fields: Mapping[str, Any], private: "Ed25519PrivateKey") -> Statement:
    """A statement with its signature; `fields` are those of the file but `signature`."""
    signature = base64.b64encode(private.sign(message(fields))).decode()
    return Statement.model_validate({**fields, "signature": signature})


def public_text(private: "Ed25519PrivateKey") -> str:
    """The public half as manifests write it."""
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()
