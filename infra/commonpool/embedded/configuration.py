"""Flags and files of every component of the embedded pool. Pure: what is written where is decided here, written elsewhere."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.128.0.0/14"
# Of TLS 1.2; those of TLS 1.3 are not a matter of choice.
CIPHERS = ",".join(
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
)
COMPONENTS = ("etcd", "kube-apiserver", "kube-controllers", "kwok")  # of Kubernetes
KWOK_USER = "system:commonpool:kwok"
GATEWAY_USER = "system:commonpool:envoy-gateway"
EXCHANGE_USER = "system:commonpool:exchange"
ENGINE = "engine"  # the account by which services and departments are written; no administrator
ENGINE_USER = "system:serviceaccount:commonpool-system:engine"
KUBELET_CLIENT = "system:commonpool:kubelet-client"  # the API server, when it asks kubelets for logs

_ENTRANCES = ("pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy")


@dataclass(frozen=True)
class Layout:
    """Where an embedded pool keeps what; everything below one folder of mode 0700."""

    root: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def config(self) -> Path:
        """Files that components read."""
        return self.root / "config"

    @property
    def logs(self) -> Path:
        """One log for each component, and the audit log."""
        return self.root / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, JSON lines."""
        return self.logs / "audit.log"

    @property
    def journal(self) -> Path:
        """The pool's evidence: what anybody may read of it."""
        return self.root / "journal"

    @property
    def journal_key(self) -> Path:
        """The private key that seals the evidence."""
        return self.pki / "journal.key"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    def component_kubeconfig(self, component: str) -> Path:
        """The kubeconfig of one component's own identity."""
        return self.config / f"{component}.kubeconfig"


@dataclass(frozen=True)
class Ports:
    """TCP ports, chosen once and kept."""

    etcd: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int


@dataclass(frozen=True)
class Issuer:
    """An OpenID Connect provider; `authority` is the PEM of who vouches for its certificate, the system's where empty."""

    url: str
    audience: str
    authority: str = ""


@dataclass(frozen=True)
class Settings:
    """What a person may choose."""

    address: str = "127.0.0.1"
    port: int = 0  # of the API server; 0 for one that was free at the first start
    issuers: tuple[Issuer, ...] = ()
    username_prefix: str = "oidc:"
    groups_prefix: str = "oidc:"

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Settings":
        """As `dataclasses.asdict` wrote them."""
        return cls(**{**values, "issuers": tuple(Issuer(**one) for one in values["issuers"])})

    @property
    def machine_address(self) -> str:
        """Where machines reach it; empty when no certain address was named, and then no machine can join for real."""
        return "" if self.address in ("localhost", "0.0.0.0") or self.address.startswith("127.") else self.address  # noqa: S104


def arguments(component: str, layout: Layout, ports: Ports, settings: Settings) -> list[str]:
    """The command line of a component, without the binary."""
    if component == "kube-controllers":
        manager, scheduler = (_words(part(layout, ports, settings)) for part in (_controller_manager, _scheduler))
        return [component, *manager, "--", *scheduler]
    flags = {"etcd": _etcd, "kube-apiserver": _apiserver, "kwok": _kwok}[component](layout, ports, settings)
    return [component, *_words(flags)]


def _words(flags: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def _etcd(layout: Layout, ports: Ports, settings: Settings) -> dict[str, str]:
    client, peer = f"https://127.0.0.1:{ports.etcd}", f"https://127.0.0.1:{ports.etcd_peer}"
    pki = layout.pki
    return {
        "name": "commonpool",
        "data-dir": str(layout.root / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"commonpool={peer}",
        "cert-file": str(pki / "etcd.crt"),
        "key-file": str(pki / "etcd.key"),
        "client-cert-auth": "true",
        "trusted-ca-file": str(pki / "etcd-ca.crt"),
        "peer-cert-file": str(pki / "etcd.crt"),
        "peer-key-file": str(pki / "etcd.key"),
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": str(pki / "etcd-ca.crt"),
        "quota-backend-bytes": str(8 << 30),  # the most that etcd advises
        "snapshot-count": "10000",
        "log-level": "warn",
    }


def _apiserver(layout: Layout, ports: Ports, settings: Settings) -> dict[str, str]:
    pki, config = layout.pki, layout.config
    # A loopback address is no endpoint for pods. Beyond it, both are listened on: this machine's own programs use loopback.
    place = (
        {"bind-address": "0.0.0.0", "advertise-address": settings.machine_address}  # noqa: S104
        if settings.machine_address
        else {"bind-address": settings.address, "advertise-address": "127.0.0.1", "endpoint-reconciler-type": "none"}
    )
    return place | {
        "secure-port": str(ports.api),
        "kubelet-client-certificate": str(pki / "kubelet-client.crt"),
        "kubelet-client-key": str(pki / "kubelet-client.key"),
        "kubelet-preferred-address-types": "InternalIP",
        # What was overwritten is kept for one to two of these. One ConfigMap of a megabyte, written over and over, would fill
        # etcd in Kubernetes' own ten minutes, and nobody could write any more.
        "etcd-compaction-interval": "1m0s",
        "etcd-servers": f"https://127.0.0.1:{ports.etcd}",
        "etcd-cafile": str(pki / "etcd-ca.crt"),
        "etcd-certfile": str(pki / "etcd-client.crt"),
        "etcd-keyfile": str(pki / "etcd-client.key"),
        "tls-cert-file": str(pki / "apiserver.crt"),
        "tls-private-key-file": str(pki / "apiserver.key"),
        "tls-min-version": "VersionTLS12",
        "tls-cipher-suites": CIPHERS,
        "client-ca-file": str(pki / "ca.crt"),
        "requestheader-client-ca-file": str(pki / "front-proxy-ca.crt"),
        "requestheader-allowed-names": "front-proxy",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": str(pki / "front-proxy.crt"),
        "proxy-client-key-file": str(pki / "front-proxy.key"),
        "authentication-config": str(config / "authentication.yaml"),
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "admission-control-config-file": str(config / "admission.yaml"),
        "enable-bootstrap-token-auth": "true",
        "encryption-provider-config": str(config / "encryption.yaml"),
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-signing-key-file": str(pki / "service-account.key"),
        "service-account-key-file": str(pki / "service-account.pub"),
        # Else a pod's token for the API server is good for a year, whatever the pod asked for.
        "service-account-extend-token-expiration": "false",
        "service-account-max-token-expiration": "24h0m0s",
        "service-cluster-ip-range": SERVICE_RANGE,
        "audit-policy-file": str(config / "audit.yaml"),
        "audit-log-path": str(layout.audit_log),
        "audit-log-maxsize": "200",
        "audit-log-maxbackup": "10",
        "audit-log-maxage": "180",
        "max-requests-inflight": "800",
        "max-mutating-requests-inflight": "400",
        "profiling": "false",
    }


def _controller_manager(layout: Layout, ports: Ports, settings: Settings) -> dict[str, str]:
    pki, own = layout.pki, str(layout.component_kubeconfig("kube-controller-manager"))
    return {
        "kubeconfig": own,
        "authentication-kubeconfig": own,
        "authorization-kubeconfig": own,
        "bind-address": "127.0.0.1",
        "secure-port": str(ports.controller_manager),
        "leader-elect": "false",
        "controllers": "*,tokencleaner,bootstrapsigner",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(pki / "service-account.key"),
        "root-ca-file": str(pki / "ca.crt"),
        "cluster-signing-cert-file": str(pki / "ca.crt"),
        "cluster-signing-key-file": str(pki / "ca.key"),
        "allocate-node-cidrs": "true",
        "cluster-cidr": POD_RANGE,
        # Instead of 50 s, so that simulated machines need to report twice in it and not four times, which is most of what an
        # idle pool does; one that has joined and dies is noticed by so much later.
        "node-monitor-grace-period": "2m0s",
        "concurrent-namespace-syncs": "20",
        "concurrent-resource-quota-syncs": "10",
        "kube-api-qps": "200",
        "kube-api-burst": "400",
        "profiling": "false",
    }


def _scheduler(layout: Layout, ports: Ports, settings: Settings) -> dict[str, str]:
    own = str(layout.component_kubeconfig("kube-scheduler"))
    return {
        "kubeconfig": own,
        "authentication-kubeconfig": own,
        "authorization-kubeconfig": own,
        "bind-address": "127.0.0.1",
        "secure-port": str(ports.scheduler),
        "leader-elect": "false",
        "profiling": "false",
    }


def _kwok(layout: Layout, ports: Ports, settings: Settings) -> dict[str, str]:
    return {
        "kubeconfig": str(layout.component_kubeconfig("kwok")),
        "config": str(layout.config / "kwok.yaml"),
        "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake",
        "node-lease-duration-seconds": "0",  # a process that follows another would wait until the leases of that one end
        "node-ip": "127.0.0.1",
        "v": "WARN",
    }


def files(layout: Layout, settings: Settings, encryption_key: bytes) -> dict[Path, str]:
    """The configuration files, by path."""
    config = layout.config
    stages = Path(__file__).with_name("kwok.yaml").read_text(encoding="utf-8")
    return {
        config / "authentication.yaml": _yaml(_authentication(settings)),
        config / "admission.yaml": _yaml(_admission()),
        config / "encryption.yaml": _yaml(_encryption(encryption_key)),
        config / "audit.yaml": _yaml(_audit()),
        config / "kwok.yaml": stages,
    }


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False)


def _authentication(settings: Settings) -> dict[str, Any]:
    jwt = [
        {
            "issuer": {
                "url": issuer.url,
                "audiences": [issuer.audience],
                **({"certificateAuthority": issuer.authority} if issuer.authority else {}),
            },
            "claimMappings": {
                "username": {"claim": "sub", "prefix": settings.username_prefix},
                "groups": {"claim": "groups", "prefix": settings.groups_prefix},
            },
        }
        for issuer in settings.issuers
    ]
    # The keys are public: the proxy verifies callers' tokens with them and has no credential to fetch them by.
    public = [{"path": path} for path in ("/livez", "/readyz", "/healthz", "/openid/v1/jwks")]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": public},
        "jwt": jwt,
    }


def _admission() -> dict[str, Any]:
    """A namespace that says nothing is held to the baseline; the platform's own is exempt from nothing."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [
            {
                "name": "PodSecurity",
                "configuration": {
                    "apiVersion": "pod-security.admission.config.k8s.io/v1",
                    "kind": "PodSecurityConfiguration",
                    "defaults": {
                        "enforce": "baseline",
                        "enforce-version": "latest",
                        "warn": "restricted",
                        "warn-version": "latest",
                    },
                    "exemptions": {"namespaces": ["kube-system"]},
                },
            }
        ],
    }


def _encryption(key: bytes) -> dict[str, Any]:
    secretbox = {"keys": [{"name": "key1", "secret": base64.b64encode(key).decode()}]}
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"secretbox": secretbox}, {"identity": {}}]}],
    }


def _audit() -> dict[str, Any]:
    """Every write with its metadata; of reads those of Secrets and what enters pods and machines; no heartbeats."""
    components = [
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        KWOK_USER,
        GATEWAY_USER,
        EXCHANGE_USER,
    ]
    heartbeats = [{"group": "coordination.k8s.io", "resources": ["leases"]}, {"group": "", "resources": ["events"]}]
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "users": components, "resources": heartbeats},
            {"level": "None", "users": components, "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"], "verbs": ["get", "list", "watch"]},
            {
                "level": "None",
                "users": [KWOK_USER],
                "resources": [{"group": "", "resources": ["nodes/status", "pods/status"]}],
            },
            {
                "level": "None",
                "users": [GATEWAY_USER],
                "resources": [
                    {"group": group, "resources": ["*/status"]}
                    for group in ("gateway.networking.k8s.io", "gateway.envoyproxy.io")
                ],
            },
            {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "serviceaccounts/token"]}]},
            # Over WebSockets these are a `get`.
            {"level": "Metadata", "resources": [{"group": "", "resources": list(_ENTRANCES)}]},
            {"level": "Metadata", "verbs": writes},
            {"level": "None"},
        ],
    }


def kubeconfig(server: str, name: str, ca: bytes, certificate: bytes, key: bytes) -> str:
    """A kubeconfig with everything inside, for one client certificate."""

    def encode(content: bytes) -> str:
        return base64.b64encode(content).decode()

    values = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": encode(ca)}}],
        "users": [
            {"name": name, "user": {"client-certificate-data": encode(certificate), "client-key-data": encode(key)}}
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return json.dumps(values, indent=1) + "\n"
