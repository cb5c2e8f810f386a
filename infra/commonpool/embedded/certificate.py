"""The embedded pool's own certificate authorities and the certificates they sign; nothing here is trusted elsewhere."""

import contextlib
import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from commonpool.embedded import whole_file

AUTHORITY_DAYS = 3650
AUTHORITY_BITS = 2048
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
LEAF_DAYS = 365
RENEW_BEFORE_DAYS = 30
RENEW_AUTHORITY_BEFORE_DAYS = LEAF_DAYS + RENEW_BEFORE_DAYS  # what it signs must not outlive it


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def expires(self) -> datetime.datetime:
        """End of validity, UTC."""
        return self.read().not_valid_after_utc

    @property
    def hosts(self) -> set[str]:
        """Names and addresses that it serves under."""
        return subject_names(self.read())

    @property
    def names_authority(self) -> bool:
        """Whether it says which key signed it (RFC 5280, 4.2.1.1): Python verifies none without that from 3.13 on."""
        return any(isinstance(one.value, x509.AuthorityKeyIdentifier) for one in self.read().extensions)

    def signed_by(self, key: bytes) -> bool:
        """Whether it names this key as the one that signed it: an authority that was given up is made anew with another."""
        named = self.read().extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        return named.key_identifier == key

    def stands(self, now: datetime.datetime) -> bool:
        """Whether it can be read, holds now and is not about to expire, and is one that every verifier takes."""
        if not (self.certificate.exists() and self.key.exists()):
            return False
        with contextlib.suppress(ValueError):  # a disk that was full left a part of it
            begun = self.read().not_valid_before_utc <= now  # not so when a clock that ran ahead was set right
            return begun and self.names_authority and self.expires - now > datetime.timedelta(days=RENEW_BEFORE_DAYS)
        return False

    def read(self) -> x509.Certificate:
        """The certificate. Raises OSError or ValueError when it cannot be read."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes())


class Authority:
    """One CA in a folder: `<name>.crt` and `<name>.key`."""

    def __init__(self, folder: Path, name: str) -> None:
        """Made at first use."""
        self.folder, self.name = folder, name
        self.pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        now = _now()
        if not self.pair.certificate.exists():
            # The API server verifies a client's certificate at every request: RSA takes a quarter of ECDSA's time there.
            self._sign(rsa.generate_private_key(65537, AUTHORITY_BITS), now)
        elif not self._stands(now):
            # By the same key and name: what it signed holds on, also for who has the former certificate, to that one's end.
            self._sign(self._signer(), now)

    def _stands(self, now: datetime.datetime) -> bool:
        own, ahead = self.pair.read(), datetime.timedelta(days=RENEW_AUTHORITY_BEFORE_DAYS)
        return own.not_valid_before_utc <= now and own.not_valid_after_utc - now > ahead

    def _sign(self, key: _Key, now: datetime.datetime) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"commonpool {self.name}")])
        builder = (
            _builder(subject, subject, key.public_key(), now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        _write(self.pair, builder.sign(key, hashes.SHA256()), key)

    def _signer(self) -> _Key:
        signer = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
        assert isinstance(signer, _Key)  # older pools have the latter
        return signer

    def client(self, name: str, user: str, groups: tuple[str, ...] = (), days: int = LEAF_DAYS) -> Pair:
        """A client certificate: the user is the common name, the groups are the organizations."""
        return self._leaf(name, user, groups, (), days)

    def server(self, name: str, hosts: tuple[str, ...]) -> Pair:
        """A certificate that serves (and, for etcd's peers, also calls) under these names and addresses."""
        return self._leaf(name, name, (), hosts, LEAF_DAYS)

    def _leaf(self, name: str, user: str, groups: tuple[str, ...], hosts: tuple[str, ...], days: int) -> Pair:
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        now = _now()
        authority = self.pair.read()
        signer_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        if pair.stands(now) and pair.hosts.issuperset(hosts) and pair.signed_by(signer_id.digest):
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])
        builder = (
            _builder(x509.Name(attributes), authority.subject, key.public_key(), now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer_id), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        _write(pair, builder.sign(self._signer(), hashes.SHA256()), key)
        return pair


def subject_names(certificate: x509.Certificate) -> set[str]:
    """Names and addresses that a certificate serves under."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def signing_key(folder: Path, name: str) -> tuple[Path, Path]:
    """(private, public) key files for service account tokens, made at first use."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    if not private.exists():
        _private(private, ec.generate_private_key(ec.SECP256R1()))
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    written = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if not public.exists() or public.read_bytes() != written:  # whoever made the key may have been killed before this
        whole_file.write(public, written, 0o644)
    return private, public


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=10))  # clocks of neighbours differ
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not sign,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(pair: Pair, certificate: x509.Certificate, key: _Key) -> None:
    _private(pair.key, key)
    whole_file.write(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _private(path: Path, key: _Key) -> None:
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    whole_file.write(path, content, 0o600)
