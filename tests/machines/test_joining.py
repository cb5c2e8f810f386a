"""Who gets a certificate: the machine that the token was made for, for its own name and one key; pure."""

import asyncio
import base64
import contextlib
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from commonpool.engine import Cluster
from commonpool.engine.error import Stale
from commonpool.machines.approval import approve
from commonpool.machines.joining import SIGNER, Token, decision, objection, public_key, ready, without_joining
from commonpool.machines.onboard import skew
from commonpool.machines.run import Event
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN = Token("rs-01")
PARTY = bytes.fromhex(
    "3006a504a1020c00"
)  # a name of a kind (ediPartyName) that Kubernetes skips, and at which libraries raise


def request(
    name: str = "system:node:rs-01",
    groups: tuple[str, ...] = ("system:nodes",),
    key: ec.EllipticCurvePrivateKey = KEY,
    names: tuple[str, ...] | bytes = (),
    **spec: Any,
) -> dict[str, Any]:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if isinstance(names, bytes):
        builder = builder.add_extension(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names), False)
    elif names:
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
        (request(names=PARTY), "no certificate request"),
    ],
)
def test_anything_else_is_denied(asked: dict[str, Any], words: str) -> None:
    assert words in objection(asked, TOKEN)


@pytest.mark.parametrize(
    "before", ["x{own}{other}", " {own}{other}", "{own}{other}", "x{own}text\n\n{other}", "{other}{own}"]
)
def test_what_others_would_read_as_another_request_is_denied(before: str) -> None:
    """Of such a text encoding/pem of Go takes the second request, and Kubernetes would sign that one."""

    def text(name: str) -> str:
        return base64.b64decode(request(name)["spec"]["request"]).decode()

    both = before.format(own=text("system:node:rs-01"), other=text("system:node:rs-02"))
    assert objection(request(request=base64.b64encode(both.encode()).decode()), TOKEN) != ""


def test_a_token_is_good_for_one_key() -> None:
    other = request(key=ec.generate_private_key(ec.SECP256R1()))
    assert objection(other, TOKEN, public_key(request())) == "this token was used for another key"


def test_an_answer_that_goes_wrong_ends_the_decisions_of_no_machine() -> None:
    asked = {name: Token(name) for name in ("a", "b")}
    bodies = [request(f"system:node:{name}", username=token.user) for name, token in asked.items()]
    api = Api([{**body, "metadata": {"name": name}} for name, body in zip(asked, bodies, strict=True)])
    seen: list[Event] = []

    async def work() -> None:
        deciding = asyncio.create_task(
            approve(cast(Cluster, api), {token.user: token for token in asked.values()}, seen.append)
        )
        while not deciding.done() and api.approved != {"a", "b"}:
            await asyncio.sleep(0.05)
        deciding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await deciding

    asyncio.run(work())
    assert sorted((one.machine, one.state) for one in seen) == [
        (name, state) for name in "ab" for state in ("failed", "ok")
    ]


class Api:
    """An API server that loses its first two approvals."""

    def __init__(self, requests: list[dict[str, Any]]) -> None:
        self.requests, self.lost, self.approved = requests, 2, set[str]()

    async def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if method == "GET":
            return {"items": [one for one in self.requests if one["metadata"]["name"] not in self.approved]}
        if self.lost:
            self.lost -= 1
            raise Stale("somebody else wrote in between")
        self.approved.add(path.split("/")[-2])
        return {}


def test_the_word_of_a_token_does_not_show() -> None:
    assert TOKEN.word not in repr(TOKEN)
    secret = TOKEN.secret(datetime(2026, 11, 24, 8, tzinfo=UTC))
    assert secret["stringData"]["expiration"] == "2026-11-24T08:15:00Z"


def test_a_decision_keeps_what_was_decided_before() -> None:
    decided = decision(
        {"status": {"conditions": [{"type": "Failed"}]}}, approved=False, words="no", now=datetime.now(UTC)
    )
    assert [one["type"] for one in decided["status"]["conditions"]] == ["Failed", "Denied"]


@pytest.mark.parametrize(
    ("server", "fits"),
    [("v1.35.9", False), ("v1.36.0", True), ("v1.36+", True), ("v1.39.1-eks-5e0", True), ("v1.40.0", False)],
)
def test_a_kubelet_is_not_newer_than_its_api_server_nor_much_older(server: str, fits: bool) -> None:
    assert (skew(server, "v1.36.3") == "") is fits


def test_only_our_taint_is_taken_away() -> None:
    taints = [{"key": "commonpool.dev/joining", "effect": "NoSchedule"}, {"key": "other", "effect": "NoExecute"}]
    assert without_joining(taints) == [taints[1]]
    assert not ready({})
    assert ready({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
