"""How a machine gets its identity: a token that is good for one machine, once, for minutes; and what nodes may do. Pure.

Certificate requests are approved here and by nobody else: only for the machine that the token was made for, only for the
name and group of a node, one for each token. What is renewed later is renewed by the node's own certificate.
"""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

Body = dict[str, Any]
SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
GROUP = "system:bootstrappers:commonpool"
MACHINE = "commonpool.dev/machine"
JOINING = "commonpool.dev/joining"
NOT_READY = "node.kubernetes.io/not-ready"
TOKEN_MINUTES = 15
NODE_USER = "system:node:"
RETIRED_POLICY = "commonpool-retired-machines"
RETIRED_LIST = ("commonpool-system", "retired-machines")  # namespace and name of a ConfigMap: machine to day
_RBAC = "rbac.authorization.k8s.io"
_USAGES = {"digital signature", "key encipherment", "client auth"}


@dataclass(frozen=True)
class Token:
    """A bootstrap token of one machine."""

    machine: str
    identity: str = field(default_factory=lambda: secrets.token_hex(3))
    word: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)

    @property
    def user(self) -> str:
        """As whom the API server knows its bearer."""
        return f"system:bootstrap:{self.identity}"

    @property
    def secret_name(self) -> str:
        """Name of its Secret in kube-system."""
        return f"bootstrap-token-{self.identity}"

    def secret(self, now: datetime) -> Body:
        """Its Secret; the token cleaner removes it when its time is over, whatever became of this run."""
        until = (now + timedelta(minutes=TOKEN_MINUTES)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": self.secret_name, "namespace": "kube-system", "labels": {MACHINE: self.machine}},
            "stringData": {
                "token-id": self.identity,
                "token-secret": self.word,
                "expiration": until,
                "usage-bootstrap-authentication": "true",
                "auth-extra-groups": GROUP,
                "description": f"For {self.machine} to join, once",
            },
        }

    def kubeconfig(self, server: str, authority: bytes) -> str:
        """What the machine asks for its certificate with."""
        cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()}
        values = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "pool",
            "clusters": [{"name": "pool", "cluster": cluster}],
            "users": [{"name": "bootstrap", "user": {"token": f"{self.identity}.{self.word}"}}],
            "contexts": [{"name": "pool", "context": {"cluster": "pool", "user": "bootstrap"}}],
        }
        return json.dumps(values) + "\n"


def public_key(request: Body) -> bytes:
    """The key that a certificate is asked for."""
    return _key_of(x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"])))


def _key_of(asked: x509.CertificateSigningRequest) -> bytes:
    return asked.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def objection(request: Body, token: Token, known: bytes | None = None) -> str:
    """Why a certificate request by this token's bearer is not approved; empty when it is what a joining node asks for.

    `known` is the key that this token was used for before: a kubelet that restarts asks again, with the same key.
    """
    spec = request["spec"]
    if spec["signerName"] != SIGNER:
        return f"it asks for a certificate of {spec['signerName']}"
    if not set(spec.get("usages", ())) <= _USAGES:
        return f"it asks for the usages {', '.join(spec['usages'])}"
    try:
        return _asks_for_more(base64.b64decode(spec["request"]), token, known)
    except Exception:  # a machine wrote it, and what is raised over it has many classes
        return "it is no certificate request"


def _asks_for_more(request: bytes, token: Token, known: bytes | None) -> str:
    asked = x509.load_pem_x509_csr(request)
    # Around and in front of a request others find another one: Kubernetes reads it anew when it signs.
    if asked.public_bytes(Encoding.PEM) != request:
        return "it is not one certificate request and nothing else"
    names = [str(one.value) for one in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(one.value) for one in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if names != [f"system:node:{token.machine}"]:
        return f"it asks for the name {', '.join(names)}, not system:node:{token.machine}"
    if groups != ["system:nodes"]:
        return f"it asks for the groups {', '.join(groups)}"
    if len(list(asked.extensions)):
        return "it asks for more names"
    if not asked.is_signature_valid:
        return "its signature is not by its own key"
    return "this token was used for another key" if known not in (None, _key_of(asked)) else ""


def decision(request: Body, *, approved: bool, words: str, now: datetime) -> Body:
    """The request with our decision in its status."""
    condition = {
        "type": "Approved" if approved else "Denied",
        "status": "True",
        "reason": "CommonpoolMachine",
        "message": words,
        "lastUpdateTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    status = request.get("status") or {}
    return {**request, "status": {**status, "conditions": [*(status.get("conditions") or []), condition]}}


def rights(machines: Sequence[str] = (), *, network: bool) -> list[Body]:
    """Who may ask for certificates, and what each of these machines may do as a node: renew its own, read for kube-proxy.

    A machine's rights are bound to its own user, never to the group of all nodes: with the binding they end.
    """
    found = [_binding("commonpool:bootstrap", "system:node-bootstrapper", _subject("Group", GROUP))]
    for name in machines:
        user = _subject("User", f"{NODE_USER}{name}")
        found += [_binding(binding, role, user) for binding, role in bindings(name, network=network).items()]
    if network:
        read = ["get", "list", "watch"]
        rules = [
            {"apiGroups": [""], "resources": ["nodes", "pods", "namespaces"], "verbs": read},
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": read},
        ]
        role = {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "commonpool:network-agent"},
            "rules": rules,
        }
        found.append(role)
    return found


def bindings(machine: str, *, network: bool = True) -> dict[str, str]:
    """The names of a machine's own ClusterRoleBindings, each with its role."""
    roles = {
        "renewal": "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        "proxier": "system:node-proxier",
    } | ({"network-agent": "commonpool:network-agent"} if network else {})
    return {f"commonpool:node:{machine}:{word}": role for word, role in roles.items()}


def retired_guard(*, closed: bool) -> list[Body]:
    """A policy that refuses every write of a machine that was let go, whatever key it has copied.

    `closed` is what follows when the list of them is gone: nothing of any node passes. In a cluster that has nodes of
    others too that would be an outage by one deletion, so there it is open.
    """
    constraints = {
        "resourceRules": [
            {
                "apiGroups": ["*"],
                "apiVersions": ["*"],
                "resources": ["*/*"],
                "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"],
            }
        ]
    }
    spec: Body = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": constraints,
        "matchConditions": [{"name": "a-node", "expression": f"request.userInfo.username.startsWith('{NODE_USER}')"}],
        "validations": [
            {
                "expression": f"!has(params.data) || !(request.userInfo.username.substring({len(NODE_USER)}) in params.data)",
                "message": "this machine was let go; what it still holds of its credential is worth nothing",
                "reason": "Forbidden",
            }
        ],
    }
    binding = {
        "policyName": RETIRED_POLICY,
        "validationActions": ["Deny"],
        "paramRef": {
            "name": RETIRED_LIST[1],
            "namespace": RETIRED_LIST[0],
            "parameterNotFoundAction": "Deny" if closed else "Allow",
        },
    }
    admission = "admissionregistration.k8s.io/v1"
    meta = {"name": RETIRED_POLICY}
    return [
        {"apiVersion": admission, "kind": "ValidatingAdmissionPolicy", "metadata": meta, "spec": spec},
        {"apiVersion": admission, "kind": "ValidatingAdmissionPolicyBinding", "metadata": meta, "spec": binding},
    ]


def _subject(kind: str, name: str) -> Body:
    return {"apiGroup": _RBAC, "kind": kind, "name": name}


def _binding(name: str, role: str, subject: Body) -> Body:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def without_joining(taints: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The taints of a node but ours."""
    return [dict(taint) for taint in taints if taint.get("key") != JOINING]


def shut(node: Mapping[str, Any]) -> bool:
    """Whether the node controller keeps pods off it still, as it does for a moment after a node has become ready."""
    return any(taint.get("key") == NOT_READY for taint in node.get("spec", {}).get("taints") or ())


def ready(node: Mapping[str, Any]) -> bool:
    """Whether its kubelet says that it is ready."""
    conditions = node.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
