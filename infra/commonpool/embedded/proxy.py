"""The service proxy of an embedded pool: what Envoy Gateway and Envoy read, and what the API server must hold for them. Pure.

Every pool has two loopback addresses of its own: two pools on one machine do not collide although listeners keep the
ports that the estate declares. One that another program holds on all addresses is served on a free port instead.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from commonpool.embedded.configuration import EXCHANGE_USER, GATEWAY_USER, Layout
from commonpool.envoy.bootstrap import Identity, bootstrap
from commonpool.proxy.rights import RIGHTS

NAMESPACE = "commonpool-proxy"
GATEWAY_CLASS = "commonpool"
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
COMPONENTS = ("envoy-gateway", "envoy")
EXCHANGE_MODULE = "commonpool.exchange"
EXCHANGE = "exchange"  # a third one, where agreements take out fields or keep evidence
# Callers wait for Envoy; Envoy goes on serving without Envoy Gateway, but knows nothing after a restart of its own.
LONGEST_PAUSE_SECONDS = {"envoy-gateway": 4.0, "envoy": 1.0, EXCHANGE: 1.0}
HEAP_MEGABYTES = 768
WORKERS = min(4, os.cpu_count() or 1)  # threads of Envoy; a pool for one person needs no more
ADMIN_PORT = 19000


@dataclass(frozen=True)
class Rejection:
    """A kind of Envoy's configuration of which the last update was refused; the last good one goes on serving."""

    kind: str
    since: str
    reason: str


@dataclass(frozen=True)
class Place:
    """Where one pool's proxy lives."""

    layout: Layout

    @property
    def folder(self) -> Path:
        """Certificates, configuration, the admin socket."""
        return self.layout.root / "proxy"

    @property
    def admin(self) -> Path:
        """Envoy's admin interface, a socket that only the owner may use."""
        return self.folder / "admin.sock"

    @property
    def control(self) -> str:
        """The address of Envoy Gateway's own servers and of Envoy's metrics."""
        return self._address(1)

    @property
    def exchange(self) -> str:
        """Where Envoy asks about calls under an agreement: a socket that only the owner may use.

        Whoever can ask there can have calls recorded that nobody made, and whoever can answer there decides what passes.
        """
        return f"unix:{self.folder / 'calls.sock'}"

    @property
    def exchange_wanted(self) -> Path:
        """Stands there once an agreement needs the exchange; it costs some memory, so other pools do without."""
        return self.folder / EXCHANGE

    @property
    def listeners(self) -> str:
        """The address on which the Gateways' listeners are served."""
        return self._address(2)

    @property
    def decided_ports(self) -> Path:
        """Where Envoy Gateway notes on which port it serves each declared one."""
        return self.folder / "ports.json"

    @property
    def noted_rejections(self) -> Path:
        """Where Envoy Gateway notes what Envoy refuses now."""
        return self.folder / "rejections.json"

    def ports(self) -> dict[int, int]:
        """Where each declared port is served: on itself, unless another program held it when it was first declared."""
        try:
            decided = json.loads(self.decided_ports.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {int(declared): int(port) for declared, port in sorted(decided.items())}

    def port(self, declared: int) -> int:
        """Where one declared port is served."""
        return self.ports().get(declared, declared)

    def rejections(self) -> tuple[Rejection, ...]:
        """What of the present configuration Envoy refuses."""
        try:
            noted = json.loads(self.noted_rejections.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ()
        return tuple(Rejection(kind, one["since"], one["reason"]) for kind, one in sorted(noted.items()))

    def _address(self, last: int) -> str:
        digest = hashlib.sha256(str(self.layout.root).encode()).digest()
        return f"127.{64 + digest[0] % 128}.{digest[1]}.{last}"

    def program(self, component: str) -> Path:
        """What the supervisor runs: a link into the cache, which stands only once the API server is ready for it."""
        return self.folder / component


def arguments(component: str, place: Place) -> list[str]:
    """The command line of a component, without the binary."""
    if component == EXCHANGE:
        layout = place.layout
        return [
            *("-m", EXCHANGE_MODULE),
            *("--listen", place.exchange),
            *("--kubeconfig", str(layout.component_kubeconfig(EXCHANGE))),
            *("--journal", str(layout.journal), "--key", str(layout.journal_key), "--name", layout.root.name),
        ]
    if component == "envoy-gateway":
        return ["server", "--config-path", str(place.folder / "envoy-gateway.yaml")]
    return [
        "--config-path",
        str(place.folder / "envoy.json"),
        "--disable-hot-restart",  # it shares memory by number, which two pools would do with each other
        "--concurrency",
        str(WORKERS),
        "--drain-time-s",
        "5",
        "--drain-strategy",
        "immediate",
        "--log-level",
        "warning",
    ]


def environment(place: Place) -> dict[str, str]:
    """What Envoy Gateway takes from its environment."""
    return {
        "KUBECONFIG": str(place.layout.component_kubeconfig("envoy-gateway")),
        "ENVOY_GATEWAY_NAMESPACE": NAMESPACE,
        "COMMONPOOL_CONTROL_ADDRESS": place.control,
        "COMMONPOOL_LISTENER_ADDRESS": place.listeners,
        "COMMONPOOL_CERTIFICATES": str(place.folder),
        "COMMONPOOL_PORTS": str(place.decided_ports),
        "COMMONPOOL_REJECTIONS": str(place.noted_rejections),
        # A static program knows users from /etc/passwd alone, and a directory's users are not in it.
        "USER": os.environ.get("USER") or str(os.getuid()),
        "HOME": os.environ.get("HOME") or str(place.folder),
        # Lists that come as watches end with a bookmark, for which a kind that nobody writes waits up to two seconds.
        "KUBE_FEATURE_WatchListClient": "false",
        # A fifth of translating all routes was the search for garbage, twice as often as with this.
        "GOGC": os.environ.get("GOGC", "200"),
    }


def files(place: Place) -> dict[Path, str]:
    """The configuration files, by path."""
    identity = Identity(
        node=f"embedded-{place.layout.root.name}",
        fleet=GATEWAY_CLASS,
        authority=place.folder / "ca.crt",
        certificate=place.folder / "envoy.crt",
        key=place.folder / "envoy.key",
    )
    return {
        place.folder / "envoy-gateway.yaml": yaml.safe_dump(_envoy_gateway(place), sort_keys=False),
        place.folder / "envoy.json": json.dumps(
            bootstrap(identity, place.control, place.admin, HEAP_MEGABYTES), indent=1
        ),
    }


def _envoy_gateway(place: Place) -> dict[str, Any]:
    """Kubernetes resources, and loopback backends because all of it runs on one host."""
    homes = {f"{name}Home": str(place.folder / name) for name in ("config", "data", "state")}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": CONTROLLER},
        "provider": {
            "type": "Custom",
            "custom": {
                "resource": {
                    "type": "Kubernetes",
                    "kubernetes": {
                        "leaderElection": {"disable": True},
                        "client": {"rateLimit": {"qps": 200, "burst": 400}},
                    },
                },
                "infrastructure": {"type": "Host", "host": {**homes, "runtimeDir": str(place.folder / "run")}},
            },
        },
        "extensionApis": {"enableBackend": True, "enableEnvoyPatchPolicy": True},
        "admin": {"address": {"host": place.control, "port": ADMIN_PORT}},
        "logging": {"level": {"default": "warn"}},
    }


def bootstrap_objects(place: Place, hmac: bytes) -> list[dict[str, Any]]:
    """Namespace, rights and certificates, as Envoy Gateway's own chart and `certgen` would make them."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "commonpool:envoy-gateway"},
            "rules": RIGHTS,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "commonpool:envoy-gateway"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "commonpool:envoy-gateway",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": GATEWAY_USER}],
        },
        *_exchange_rights(),
        _secret(
            "envoy",
            "kubernetes.io/tls",
            {
                "ca.crt": (place.folder / "ca.crt").read_bytes(),
                "tls.crt": (place.folder / "envoy.crt").read_bytes(),
                "tls.key": (place.folder / "envoy.key").read_bytes(),
            },
        ),
        _secret("envoy-oidc-hmac", "Opaque", {"hmac-secret": hmac}),
    ]


def _exchange_rights() -> list[dict[str, Any]]:
    """It reads agreements and whose a namespace is, and writes nothing."""
    group, name = "rbac.authorization.k8s.io", "commonpool:exchange"
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [
                {"apiGroups": [""], "resources": ["configmaps", "namespaces"], "verbs": ["get", "list", "watch"]}
            ],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": EXCHANGE_USER}],
        },
    ]


def _secret(name: str, kind: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": kind,
        "data": encoded,
    }
