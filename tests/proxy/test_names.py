"""Names of services, asked of a real CoreDNS as the embedded pool configures it, which reads from a real API server."""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator

import estates
import pytest
from commonpool.components.names import PROXY
from commonpool.embedded import binaries
from commonpool.embedded.hosts.keeper import proxy_place
from commonpool.embedded.node_archive import MODULES
from commonpool.engine import Cluster, kubeconfig
from commonpool.engine.error import Refused
from commonpool.machines import dns

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, ROOT, DeclaredEstate

PLACE = "192.0.2.10"  # where pods would reach the proxy; nothing is sent there
NO_SUCH_NAME = 3


@pytest.fixture(scope="module")
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    """`register` of d0, consumed by d1; `other` by nobody; and the proxy's own place, as for pods of test hosts."""
    declared, proxy = (
        DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("names"), 3)),
        Proxy(serving.pool),
    )
    with Backend("old") as old:
        declared.offer("register", port=8080, at=old.port)
        declared.offer("other", port=8080, at=old.port)
        declared.consume(d1=["register"])
        declared.up("pool", "services", "departments")
        proxy.apply(*proxy_place(PLACE))
        yield declared
        proxy.forget()


@pytest.fixture(scope="module")
def server(estate: DeclaredEstate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A CoreDNS with the embedded pool's configuration; only its ports, its credentials and how long it remembers differ."""
    folder, ports = tmp_path_factory.mktemp("coredns"), [free_port() for _ in range(3)]
    [text] = [one["data"]["Corefile"] for one in dns.objects("coredns", DOMAIN) if one["kind"] == "ConfigMap"]
    assert "\n" + printed(estate) + "\n" in "\n".join(line.removeprefix("    ") for line in text.splitlines())
    for before, after in (
        (".:5353 {\n", f".:{ports[0]} {{\n"),
        ("health :8080", f"health 127.0.0.1:{ports[1]}"),
        ("ready :8181", f"ready 127.0.0.1:{ports[2]}"),
        ("        ttl 30\n", f"        ttl 1\n        kubeconfig {estate.pool.kubeconfig}\n"),
        ("    cache 30\n", "    cache 1\n"),
        ("    forward . /etc/resolv.conf\n", ""),
        ("    loop\n", ""),
    ):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    (folder / "Corefile").write_text(text)
    program = binaries.built(MODULES["dns"]) / "dns"
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([program, "-conf", folder / "Corefile"], stdout=log, stderr=log)
        try:
            until(lambda: running.poll() is not None or resolve(ports[0], PROXY)[0] == 0, "CoreDNS answers")
            assert running.poll() is None, (folder / "log").read_text()
            yield ports[0]
        finally:
            running.terminate()
            running.wait()


def printed(estate: DeclaredEstate) -> str:
    """What `commonpool service dns` says."""
    command = [sys.executable, "-m", "commonpool.cli", "service", "dns", "--estate", str(estate.root)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def resolve(port: int, name: str) -> tuple[int, list[str]]:
    """(response code, IPv4 addresses) of a question of type A; -1 when nobody answers."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    question = struct.pack(">6H", uuid.uuid4().int & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(2)
        try:
            one.sendto(question, ("127.0.0.1", port))
            answer = one.recv(4096)
        except OSError:
            return -1, []
    assert answer[:2] == question[:2]
    assert answer[12 : 12 + len(labels)].lower() == labels.lower(), "an answer to another question"
    at, found = 12 + len(labels) + 4, []
    for _ in range(struct.unpack(">H", answer[6:8])[0]):
        at = _after_name(answer, at)
        kind, _, _, length = struct.unpack(">2HIH", answer[at : at + 10])
        if kind == 1:
            found.append(socket.inet_ntoa(answer[at + 10 : at + 10 + length]))
        at += 10 + length
    return answer[3] & 0xF, found


def _after_name(answer: bytes, at: int) -> int:
    while answer[at] and answer[at] < 0xC0:
        at += answer[at] + 1
    return at + (2 if answer[at] else 1)


def test_the_name_of_a_consumed_service_leads_to_the_proxy(server: int) -> None:
    assert resolve(server, f"register.d0.{DOMAIN}") == (0, [PLACE])
    assert resolve(server, f"REGISTER.d0.{DOMAIN}") == (0, [PLACE])


@pytest.mark.parametrize(
    "name", [f"other.d0.{DOMAIN}", f"register.d1.{DOMAIN}", f"nothing.d0.{DOMAIN}", f"x.register.d0.{DOMAIN}"]
)
def test_names_that_nobody_may_call_do_not_resolve(server: int, name: str) -> None:
    assert resolve(server, name)[1] == []


def test_the_name_comes_and_goes_with_the_line_under_consumes(server: int, estate: DeclaredEstate) -> None:
    name = f"register.d0.{DOMAIN}"
    estate.consume(d1=[])
    estate.up("services", "departments")
    until(lambda: resolve(server, name) == (NO_SUCH_NAME, []), "the name is gone")
    estate.consume(d1=["register"])
    estate.up("services", "departments")
    until(lambda: resolve(server, name) == (0, [PLACE]), "the name is back")


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("commonpool-d1", {"ports": [{"port": 80}]}),
        ("commonpool-d1", {"type": "ExternalName", "externalName": "elsewhere.example"}),
        ("other", {"type": "ExternalName", "externalName": "proxy.commonpool-proxy.svc.cluster.local"}),
    ],
)
def test_nobody_takes_a_name_or_leads_it_elsewhere(estate: DeclaredEstate, name: str, spec: dict[str, object]) -> None:
    """Not even an administrator: the names of a department's services are written as the manifest says, or not at all."""
    metadata = {"name": name, "namespace": "service-register"}

    async def create() -> None:
        async with await Cluster.connect(kubeconfig.load(estate.pool.kubeconfig)) as cluster:
            await cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})

    with pytest.raises(Refused, match=r"DNS names of shared services|only Services of type ClusterIP"):
        asyncio.run(create())


def test_the_names_that_resolve_are_listed(estate: DeclaredEstate) -> None:
    command = [sys.executable, "-m", "commonpool.cli", "service", "dns", "--estate", str(estate.root), "-o", "json"]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert found["names"] == [f"register.d0.{DOMAIN}"]
