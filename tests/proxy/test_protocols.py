"""gRPC, TCP with a real PostgreSQL behind it, HTTP/2, and bodies that are passed on without being held."""

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import estates
import grpc  # type: ignore[import-untyped]
import psutil
import pytest
from commonpool.embedded.certificate import Authority
from commonpool.engine import Cluster, kubeconfig
from commonpool.model import load_estate
from commonpool.proxy.engine import CutOverEngine
from commonpool.proxy.look import Looker
from commonpool.proxy.record import Phase, Record

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, DeclaredEstate
from proxy.moving import STEP

STEPS = [{"weight": 50, **STEP}, {"weight": 100, **STEP}]
PLAN = {"from": "old", "to": "new", "steps": STEPS, "responsible": {"role": "Office"}, "deadline": "2036-12-31"}
HUNDRED_MEGABYTES = 100 * 1024 * 1024


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def grpc_backend(*words: str) -> Iterator[int]:
    port = free_port()
    script = str(Path(__file__).with_name("grpc_backend.py"))
    process = subprocess.Popen([sys.executable, script, str(port), *words])
    yield port
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def grpc_port() -> Iterator[int]:
    with grpc_backend() as port:
        yield port


@pytest.fixture(scope="module")
def failing_grpc_port() -> Iterator[int]:
    with grpc_backend("0.3") as port:
        yield port


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server with TLS of its own: its port, and the certificate that vouches for its name."""
    authority = Authority(tmp_path_factory.mktemp("secure"), "authority")
    pair = authority.server("server", (f"secure.d0.{DOMAIN}",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)

    class Greet(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as wrapped:
                wrapped.sendall(b"from behind its own TLS")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greet) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], authority.pair.certificate
        server.shutdown()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A PostgreSQL of Debian's, with trust for everybody on loopback; its port."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL here; apt-get install postgresql")
    programs, port = folders[-1], free_port()
    data = tmp_path_factory.mktemp("database") / "data"
    as_postgres = ["runuser", "-u", "postgres", "--"] if getpass.getuser() == "root" else []
    if as_postgres:
        data = Path("/tmp") / f"commonpool-database-{os.getpid()}" / "data"  # a folder that its user can reach
        data.parent.mkdir()
        shutil.chown(data.parent, "postgres")
    subprocess.run(
        [*as_postgres, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(data.parent), "-F"]
    process = subprocess.Popen([*as_postgres, str(programs / "postgres"), "-D", str(data), *options], cwd="/")
    yield port
    process.terminate()
    process.wait()
    shutil.rmtree(data.parent)


@pytest.fixture(scope="module")
def estate(
    serving: Proxy,
    tmp_path_factory: pytest.TempPathFactory,
    grpc_port: int,
    failing_grpc_port: int,
    database: int,
    secure: tuple[int, Path],
) -> Iterator[DeclaredEstate]:
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("protocols"), 3))
    with Backend("plain") as plain:
        declared.offer("files", port=8080, at=plain.port, timeouts={"unlimited": True})
        declared.offer(
            "speech", port=9000, at=grpc_port, endpoint={"protocol": "GRPC"}, health={"interval": "1s", "timeout": "1s"}
        )
        declared.offer(
            "database", port=5432, at=database, endpoint={"protocol": "TCP", "port": 15432},
            health={"interval": "1s", "timeout": "1s"},
        )  # fmt: skip
        declared.stand_ins["rs-nas-2:9000"] = f"127.0.0.1:{failing_grpc_port}"
        backends = [{"name": "old", "machines": ["ha-registry-1"], "port": 9000}]
        backends.append({"name": "new", "machines": ["rs-nas-2"], "port": 9000})
        declared.offer(
            "moves", port=9000, at=grpc_port, endpoint={"protocol": "GRPC"}, backends=backends, cutOver=PLAN,
            health={"interval": "1s", "timeout": "1s"},
        )  # fmt: skip
        declared.offer(
            "secure", port=8443, at=secure[0], endpoint={"protocol": "TLS", "port": 15443},
            health={"interval": "1s", "timeout": "1s"},
        )  # fmt: skip
        declared.consume(d1=["files", "speech", "moves", "database", "secure"])
        declared.up("services", "departments")
        until(lambda: declared.call(f"files.d0.{DOMAIN}", caller="d1-main").status == 200, "files serves")
        yield declared


def ask(
    estate: DeclaredEstate,
    method: str,
    message: bytes,
    *,
    caller: str = "d1-main",
    stream: bool = False,
    service: str = "speech",
) -> Any:
    host = f"{service}.d0.{DOMAIN}"
    address = f"{estate.pool.proxy_address}:{estate.port()}"
    metadata = [("authorization", f"Bearer {estate.token(caller, host)}")] if caller else []
    with grpc.insecure_channel(address, options=[("grpc.default_authority", host)]) as channel:
        if stream:
            return [one for one in channel.unary_stream(method)(message, metadata=metadata, timeout=20)]
        return channel.unary_unary(method)(message, metadata=metadata, timeout=20)


def status(estate: DeclaredEstate, caller: str) -> grpc.StatusCode | None:
    try:
        ask(estate, "/tests.Echo/Say", b"x", caller=caller)
    except grpc.RpcError as error:
        code = error.code()
        assert isinstance(code, grpc.StatusCode)
        return code
    return None


def test_grpc_calls_and_streams_pass_with_the_callers_department(estate: DeclaredEstate) -> None:
    until(lambda: status(estate, "d1-main") is None, "the gRPC backend answers")
    assert ask(estate, "/tests.Echo/Say", b"hello") == b"hello"
    assert ask(estate, "/tests.Echo/Who", b"") == b"d1"
    assert ask(estate, "/tests.Echo/Count", b"xxx", stream=True) == [b"0", b"1", b"2"]


def test_grpc_callers_are_refused_in_grpcs_own_words(estate: DeclaredEstate) -> None:
    assert status(estate, "") is grpc.StatusCode.UNAUTHENTICATED
    assert status(estate, "d0-main") is grpc.StatusCode.PERMISSION_DENIED


def test_a_new_grpc_backend_that_fails_with_statuses_of_grpc_is_rolled_back(estate: DeclaredEstate) -> None:
    """For HTTP each of its answers is a 200."""
    service = load_estate(estate.root).service("moves")
    assert service is not None
    ended = threading.Event()
    codes: Counter[str] = Counter()

    def served() -> bool:
        try:
            return bool(ask(estate, "/tests.Echo/Say", b"x", service="moves") == b"x")
        except grpc.RpcError:  # the proxy has not heard of all of the new service yet
            return False

    def call() -> None:
        while not ended.is_set():
            try:
                ask(estate, "/tests.Echo/Say", b"x", service="moves")
                codes["OK"] += 1
            except grpc.RpcError as error:
                codes[error.code().name] += 1

    async def run() -> Record:
        async with await Cluster.connect(kubeconfig.load(estate.pool.kubeconfig)) as cluster:
            look = Looker(cluster, service, [estate.pool.proxy_metrics])
            engine = CutOverEngine(cluster, service, look, lambda progress: None, 0.2)
            assert service.spec.cut_over is not None
            return await engine.run(service.spec.cut_over)

    callers = [threading.Thread(target=call) for _ in range(4)]
    until(served, "the old one answers")
    for caller in callers:
        caller.start()
    try:
        record = asyncio.run(run())
    finally:
        ended.set()
        for caller in callers:
            caller.join()
    assert (record.phase, record.weight) == (Phase.ROLLED_BACK, 0)
    # By the count of failed calls, or because Envoy has taken its only host out over them, whichever is seen first.
    assert record.reason.startswith(("new failed ", "no host of new is healthy")), record.reason
    assert set(codes) == {"OK", "INTERNAL"}, codes


def query(estate: DeclaredEstate, statement: str) -> str:
    command = [
        "psql",
        "-X",
        "-A",
        "-t",
        "-h",
        estate.pool.proxy_address,
        "-p",
        str(estate.port(15432)),
        "-U",
        "postgres",
    ]
    ended = subprocess.run([*command, "-c", statement], capture_output=True, text=True, check=False, timeout=30)
    return ended.stdout.strip() if ended.returncode == 0 else f"failed: {ended.stderr}"


def test_a_real_database_is_reached_through_a_port_of_its_own(estate: DeclaredEstate) -> None:
    until(lambda: query(estate, "select 1") == "1", "the database answers through the proxy")
    assert query(estate, "select count(*), sum(n) from generate_series(1, 100000) n") == "100000|5000050000"


def test_a_database_that_is_switched_off_refuses_connections_and_comes_back(estate: DeclaredEstate) -> None:
    until(lambda: query(estate, "select 1") == "1", "the database answers")
    path = estate.root / "services" / "database.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + '  notice: {message: "Moving", returns: "2027-02-01"}\n', encoding="utf-8")
    estate.up("services")
    until(lambda: query(estate, "select 1").startswith("failed"), "the port is closed")
    path.write_text(text, encoding="utf-8")
    estate.up("services")
    until(lambda: query(estate, "select 1") == "1", "the database answers again")


def greeting(estate: DeclaredEstate, name: str, authority: Path) -> str:
    """What is read by TLS from the service's port of the proxy, or why nothing was."""
    context = ssl.create_default_context(cafile=str(authority))
    address = (estate.pool.proxy_address, estate.port(15443))
    try:
        with (
            socket.create_connection(address, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as wrapped,
        ):
            return wrapped.recv(100).decode()
    except OSError as error:
        return f"failed: {error}"


def test_tls_is_passed_on_unopened_by_the_name_that_the_client_asks_for(
    estate: DeclaredEstate, secure: tuple[int, Path]
) -> None:
    """The client sees the backend's own certificate; the proxy has none for this name."""
    host = f"secure.d0.{DOMAIN}"
    until(lambda: greeting(estate, host, secure[1]) == "from behind its own TLS", "the backend's TLS answers")
    assert greeting(estate, f"another.d0.{DOMAIN}", secure[1]).startswith("failed: ")


def test_http_2_without_tls_reaches_the_same_service(estate: DeclaredEstate) -> None:
    host = f"files.d0.{DOMAIN}"
    token = estate.token("d1-main", host)
    url = f"http://{estate.pool.proxy_address}:{estate.port()}/"
    command = ["curl", "-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}"]
    headers = ["-H", f"Host: {host}", "-H", f"Authorization: Bearer {token}"]
    ended = subprocess.run([*command, *headers, url], capture_output=True, text=True, check=True)
    assert ended.stdout == "2 200"


def test_a_body_of_100_megabytes_is_passed_on_without_being_held(estate: DeclaredEstate) -> None:
    envoy = psutil.Process({one.name: one.pid for one in estate.pool.status().components}["envoy"])
    before = most = envoy.memory_info().rss
    chunk = bytes(1024 * 1024)

    def body() -> Iterator[bytes]:
        nonlocal most
        for _ in range(HUNDRED_MEGABYTES // len(chunk)):
            yield chunk
            with contextlib.suppress(psutil.Error):
                most = max(most, envoy.memory_info().rss)

    answer = estate.call(
        f"files.d0.{DOMAIN}",
        caller="d1-main",
        method="POST",
        body=body(),
        headers={"Content-Length": str(HUNDRED_MEGABYTES)},
    )
    assert (answer.status, answer.json["size"]) == (200, HUNDRED_MEGABYTES)
    assert most - before < HUNDRED_MEGABYTES // 4, f"{(most - before) >> 20} MB more"
