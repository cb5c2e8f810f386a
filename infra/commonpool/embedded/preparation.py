"""Everything that must lie in a pool's folder before its components start: ports, certificates, configuration."""

import json
import secrets
import socket
from dataclasses import asdict, replace
from pathlib import Path

from commonpool.embedded import proxy, whole_file
from commonpool.embedded.certificate import Authority, Pair, signing_key
from commonpool.embedded.configuration import (
    ENGINE,
    ENGINE_USER,
    EXCHANGE_USER,
    GATEWAY_USER,
    KUBELET_CLIENT,
    KWOK_USER,
    Layout,
    Ports,
    Settings,
    files,
    kubeconfig,
)

CLIENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("commonpool:admin", ("system:masters",)),
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    "kwok": (KWOK_USER, ()),
    "envoy-gateway": (GATEWAY_USER, ()),
    "exchange": (EXCHANGE_USER, ()),
    ENGINE: (ENGINE_USER, ("system:serviceaccounts", "system:serviceaccounts:commonpool-system")),
}


def settle(layout: Layout, wanted: Settings | None) -> tuple[Ports, Settings]:
    """Ports and settings of a pool: chosen at its first start and kept; `wanted` replaces the settings."""
    path = layout.root / "pool.json"
    for folder in (layout.root, layout.pki, layout.config, layout.logs, proxy.Place(layout).folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = wanted or kept_settings(layout)
    ports = Ports(**json.loads(path.read_text(encoding="utf-8"))["ports"]) if path.exists() else free_ports()
    if settings.port:
        ports = replace(ports, api=settings.port)
    path.write_text(json.dumps({"ports": asdict(ports), "settings": asdict(settings)}), encoding="utf-8")
    return ports, settings


def kept_settings(layout: Layout) -> Settings:
    """What was chosen at an earlier start."""
    path = layout.root / "pool.json"
    if not path.exists():
        return Settings()
    return Settings.from_json(json.loads(path.read_text(encoding="utf-8"))["settings"])


def free_ports() -> Ports:
    """Ports that nobody listens on now; all are held at once, so that none is given out twice."""
    sockets = [socket.socket() for _ in range(5)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return Ports(*(one.getsockname()[1] for one in sockets))
    finally:
        for one in sockets:
            one.close()


def prepare(layout: Layout, ports: Ports, settings: Settings) -> bool:
    """Make or renew certificates and write every file that differs. Returns whether a certificate was renewed."""
    place = proxy.Place(layout)
    before = _written(layout.pki, place.folder)
    authority = Authority(layout.pki, "ca")
    etcd = Authority(layout.pki, "etcd-ca")
    loopback = ("127.0.0.1", "localhost")
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1")
    extra = (settings.machine_address or socket.gethostname(),)
    authority.server("apiserver", (*loopback, *names, *extra))
    authority.client("kubelet-client", KUBELET_CLIENT)
    etcd.server("etcd", loopback)
    etcd.client("etcd-client", "kube-apiserver")
    Authority(layout.pki, "front-proxy-ca").client("front-proxy", "front-proxy")
    signing_key(layout.pki, "service-account")
    # A CA of the proxy's own, so that nothing else of this pool is let in at the xDS server, nor the other way round.
    between = Authority(place.folder, "ca")
    between.server("tls", ("envoy-gateway",))
    between.client("envoy", "envoy")
    server = f"https://127.0.0.1:{ports.api}"
    wanted = proxy.files(place) | files(layout, settings, random_key(layout.pki / "encryption.key"))
    for name, (user, groups) in CLIENTS.items():
        pair = authority.client(name, user, groups)
        path = layout.kubeconfig if name == "admin" else layout.component_kubeconfig(name)
        wanted[path] = _kubeconfig(server, layout, pair)
    for path, content in wanted.items():
        write_private(path, content)
    after = _written(layout.pki, place.folder)
    return bool(before) and any(after[path] != moment for path, moment in before.items())


def _written(*folders: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.glob("*.crt")}


def _kubeconfig(server: str, layout: Layout, pair: Pair) -> str:
    ca = (layout.pki / "ca.crt").read_bytes()
    return kubeconfig(
        server, f"commonpool-{layout.root.name}", ca, pair.certificate.read_bytes(), pair.key.read_bytes()
    )


def write_private(path: Path, content: str) -> None:
    """Write a file of mode 0600 whole or not at all; one that is the same already is not touched."""
    if path.exists() and path.read_text(encoding="utf-8") == content:
        return
    whole_file.write(path, content.encode(), 0o600)


def random_key(path: Path) -> bytes:
    """32 random bytes, made at first use."""
    if not path.exists():
        write_private(path, secrets.token_hex(32))
    return bytes.fromhex(path.read_text(encoding="utf-8"))
