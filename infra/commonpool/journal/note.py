"""Signed notes and checkpoints, as transparency logs sign their heads (C2SP `signed-note`, `tlog-checkpoint`). Pure.

A checkpoint says in three lines which log is meant, how many records it holds and what their Merkle root is. Any tool that
reads these formats checks ours; nothing here is particular to this product.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from commonpool.journal.error import KeyUnusable, NoteDamaged

ED25519 = 0x01  # the algorithm byte of signed-note; others are refused by name, never skipped
_MARK = "— "  # an em dash begins every signature line


@dataclass(frozen=True)
class Verifier:
    """A public key under the name of who signs."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `name+keyid+key`, signed-note's vkey. Raises `KeyUnusable`."""
        try:
            name, _, encoded = text.strip().split("+", 2)
            kind, *public = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise KeyUnusable(f"{text.strip()[:80]!r} is no public key of the form name+id+base64") from error
        if kind != ED25519 or len(public) != 32:
            raise KeyUnusable(f"the key of {name} is not Ed25519 (algorithm {kind}); this version verifies no other")
        found = cls(name, bytes(public))
        if found.text != text.strip():
            raise KeyUnusable(f"the key of {name} does not have the id that stands before it")
        return found

    @property
    def identity(self) -> bytes:
        """Four bytes that say which key signed; a hint, not a proof."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """As it is handed on."""
        encoded = base64.b64encode(bytes([ED25519]) + self.public).decode()
        return f"{self.name}+{self.identity.hex()}+{encoded}"

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether it signed the content."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, content)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A private key under the name of who signs."""

    name: str
    key: Ed25519PrivateKey

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, name: str, pem: bytes) -> Self:
        """As `pem` wrote it. Raises `KeyUnusable`."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError) as error:
            raise KeyUnusable(f"the private key of {name} cannot be read: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnusable(f"the private key of {name} is not Ed25519")
        return cls(name, key)

    @property
    def pem(self) -> bytes:
        """PKCS #8, without a password: the file's mode protects it."""
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, form, plain)

    @property
    def verifier(self) -> Verifier:
        """The public part."""
        return Verifier(self.name, self.key.public_key().public_bytes_raw())

    def line(self, text: str) -> str:
        """The signature line for a text that ends in a newline."""
        signature = self.verifier.identity + self.key.sign(text.encode())
        return f"{_MARK}{self.name} {base64.b64encode(signature).decode()}\n"

    def sign(self, text: str) -> str:
        """The note: text, an empty line, the signature."""
        return f"{text}\n{self.line(text)}"


@dataclass(frozen=True)
class Signature:
    """One signature line of a note."""

    name: str
    identity: bytes
    content: bytes


@dataclass(frozen=True)
class Note:
    """A text and who claims to have signed it; nothing is verified yet."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Split text from signatures. Raises `NoteDamaged`."""
        text, separator, tail = note.rpartition("\n\n")
        if not separator or not tail.endswith("\n"):
            raise NoteDamaged("a signed note has a text, an empty line and signatures")
        found = []
        for line in tail[:-1].split("\n"):
            words = line.removeprefix(_MARK).split(" ")
            try:
                content = base64.b64decode(words[1], validate=True)
            except (IndexError, binascii.Error) as error:
                raise NoteDamaged(f"{line[:80]!r} is no signature line") from error
            if not line.startswith(_MARK) or len(words) != 2 or len(content) <= 4:
                raise NoteDamaged(f"{line[:80]!r} is no signature line")
            found.append(Signature(words[0], content[:4], content[4:]))
        return cls(f"{text}\n", tuple(found))

    def signed_by(self, verifier: Verifier) -> bool:
        """Whether this very key signed it under this very name."""
        return any(
            (one.name, one.identity) == (verifier.name, verifier.identity)
            and verifier.verifies(one.content, self.text.encode())
            for one in self.signatures
        )


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: which one, how many records, their Merkle root."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the text of a note; lines after the third are extensions and mean nothing here. Raises `NoteDamaged`."""
        lines = text.split("\n")
        try:
            size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
        except (IndexError, ValueError) as error:
            raise NoteDamaged("a checkpoint has the lines origin, size and root") from error
        if not lines[0] or lines[1] != str(size) or size < 0 or len(root) != 32:
            raise NoteDamaged("a checkpoint has the lines origin, size and root")
        return cls(lines[0], size, root)

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"
