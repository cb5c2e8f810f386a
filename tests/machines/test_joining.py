"""Who gets a certificate: the machine that the token was made for, for its own name and one key; pure."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from commonpool.machines.joining import SIGNER, Token, decision, objection, public_key, ready, without_joining
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN = Token("rs-01")


def request(
    name: str = "system:node:rs-01",
    groups: tuple[str, ...] = ("system:nodes",),
    key: ec.EllipticCurvePrivateKey = KEY,
    names: tuple[str, ...] = (),
    **spec: Any,
) -> dict[str, Any]:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    usages = ["digital signature", "client auth"]
    return {"spec": {"signerName": SIGNER, "usages": usages, "request": base64.b64encode(pem).decode(), **spec}}


def test_what_a_joining_kubelet_asks_for_is_approved() -> None:
    assert objection(request(), TOKEN) == ""
    assert objection(request(), TOKEN, public_key(request())) == "", "a kubelet that restarted asks again"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (request("system:node:rs-02"), "the name system:node:rs-02"),
        (request("kubernetes-admin", ("system:masters",)), "the name kubernetes-admin"),
        (request(groups=("system:masters",)), "the groups system:masters"),
        (request(groups=("system:nodes", "system:masters")), "the groups system:nodes, system:masters"),
        (request(names=("kubernetes",)), "more names"),
        (
            request(signerName="kubernetes.io/kube-apiserver-client"),
            "a certificate of kubernetes.io/kube-apiserver-client",
        ),
        (request(usages=["server auth"]), "the usages server auth"),
        (request(request=base64.b64encode(b"nonsense").decode()), "no certificate request"),
    ],
)
def test_anything_else_is_denied(asked: dict[str, Any], words: str) -> None:
    assert words in objection(asked, TOKEN)


def test_a_token_is_good_for_one_key() -> None:
    other = request(key=ec.generate_private_key(ec.SECP256R1()))
    assert objection(other, TOKEN, public_key(request())) == "this token was used for another key"


def test_the_word_of_a_token_does_not_show() -> None:
    assert TOKEN.word not in repr(TOKEN)
    secret = TOKEN.secret(datetime(2026, 11, 24, 8, tzinfo=UTC))
    assert secret["stringData"]["expiration"] == "2026-11-24T08:15:00Z"


def test_a_decision_keeps_what_was_decided_before() -> None:
    decided = decision(
        {"status": {"conditions": [{"type": "Failed"}]}}, approved=False, words="no", now=datetime.now(UTC)
    )
    assert [one["type"] for one in decided["status"]["conditions"]] == ["Failed", "Denied"]


def test_only_our_taint_is_taken_away() -> None:
    taints = [{"key": "commonpool.dev/joining", "effect": "NoSchedule"}, {"key": "other", "effect": "NoExecute"}]
    assert without_joining(taints) == [taints[1]]
    assert not ready({})
    assert ready({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
