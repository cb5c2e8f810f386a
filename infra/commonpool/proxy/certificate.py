"""Certificates by which the proxy knows systems outside of the pool: short-lived, named by SPIFFE ID, signed by an authority of their own. Pure.

A certificate says who somebody is, and never what it may call: that stands in the manifest, and ends with its line there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SKEW = timedelta(minutes=5)  # by which clocks of neighbours differ


class AuthorityUnusable(Exception):
    """What should sign cannot: the message says why."""


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes
    expires: datetime


def issue(authority: bytes, key: bytes, identity: str, lifetime: timedelta, now: datetime) -> Issued:
    """A certificate of a client; never longer than its authority. Raises `AuthorityUnusable`."""
    signer, issuer = _signer(authority, key)
    expires = min(now + lifetime, issuer.not_valid_after_utc)
    if expires <= now:
        raise AuthorityUnusable(f"the authority's own certificate ended on {issuer.not_valid_after_utc:%Y-%m-%d}")
    own = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.rpartition("/")[2])]))
        .issuer_name(issuer.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(expires)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(certificate.public_bytes(serialization.Encoding.PEM), pem, expires)


def _signer(authority: bytes, key: bytes) -> tuple[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        issuer = x509.load_pem_x509_certificate(authority)
        signer = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise AuthorityUnusable(f"the authority cannot be read: {error}") from error
    if not isinstance(signer, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise AuthorityUnusable("the authority signs with RSA or ECDSA, as Envoy verifies")
    return signer, issuer


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
