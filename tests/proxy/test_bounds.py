"""What keeps the proxy within bounds: who gets at it, what it holds in memory, what it survives."""

import http.client
import os
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commonpool.embedded import binaries
from commonpool.embedded.certificate import Authority, Pair
from commonpool.embedded.proxy import Place
from commonpool.envoy.bootstrap import XDS_PORT

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.declarations import backend, http_route
from proxy.load import Load

BODY = 100 << 20


def test_envoy_takes_its_bootstrap_without_a_word_of_warning(proxy: Proxy) -> None:
    path = Place(proxy.pool.layout).folder / "envoy.json"
    command = [str(binaries.envoy()), "--mode", "validate", "--log-level", "warning", "--config-path", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr.strip()) == (0, "")


def test_the_admin_interface_is_a_socket_of_the_owner_alone(proxy: Proxy) -> None:
    place = Place(proxy.pool.layout)
    assert stat.S_ISSOCK(place.admin.stat().st_mode)
    assert place.admin.stat().st_mode & 0o077 == 0
    connection = http.client.HTTPConnection(place.control, 19002, timeout=5)
    for path, wanted in (("/stats/prometheus", 200), ("/config_dump", 404), ("/quitquitquit", 404)):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == wanted, path


@pytest.mark.parametrize("stranger", ["nobody", "another authority", "another user of this pool"])
def test_envoy_gateway_tells_its_configuration_to_envoy_only(proxy: Proxy, tmp_path: Path, stranger: str) -> None:
    place = Place(proxy.pool.layout)
    context = ssl.create_default_context(cafile=str(place.folder / "ca.crt"))
    pair: Pair | None = None
    if stranger == "another authority":
        pair = Authority(tmp_path, "ca").client("envoy", "envoy")
    elif stranger == "another user of this pool":
        pair = Pair(proxy.pool.layout.pki / "kwok.crt", proxy.pool.layout.pki / "kwok.key")
    if pair:
        context.load_cert_chain(pair.certificate, pair.key)
    context.set_alpn_protocols(["h2"])
    with (
        pytest.raises(OSError),
        socket.create_connection((place.control, XDS_PORT), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="envoy-gateway") as wrapped,
    ):
        wrapped.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while wrapped.recv(4096):  # TLS 1.3 tells a client of a refused certificate only when it reads
            pass
        raise ConnectionAbortedError("closed by the other side")


def test_a_body_of_100_megabytes_streams_without_being_held(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    proxy.apply(backend("large", start_backend("large").port), http_route("large", {"large": 1}))
    proxy.await_status("large.test", 200)
    envoy = proxy.component("envoy")
    before, peak, ended = envoy.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, envoy.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()

    def chunks() -> Iterator[bytes]:
        for _ in range(BODY >> 20):
            yield os.urandom(1 << 20)

    connection = http.client.HTTPConnection(proxy.address, proxy.port, timeout=120)
    connection.request("POST", "/", body=chunks(), headers={"Host": "large.test"}, encode_chunked=True)
    answer = connection.getresponse().read()
    ended.set()
    watcher.join()
    assert f'"size": {BODY}'.encode() in answer
    assert peak - before < BODY // 4, f"{before >> 20} MB, then {peak >> 20} MB"


def test_20_edits_of_a_live_route_lose_no_request(proxy: Proxy, start_backend: Callable[[str], Backend]) -> None:
    one, two = start_backend("one"), start_backend("two")
    proxy.apply(backend("one", one.port), backend("two", two.port), http_route("edited", {"one": 1, "two": 0}))
    proxy.await_status("edited.test", 200)
    with Load(proxy.url, "edited.test", rate=500) as load:
        for weight in range(5, 101, 5):
            proxy.apply(http_route("edited", {"one": 100 - weight, "two": weight}))
            load.await_answers(50)
        until(lambda: two.seen() > 0, "the edits arrive")
    assert load.outcome.failed == 0, load.outcome
    assert sum(load.outcome.statuses.values()) == load.outcome.sent


def test_the_proxy_serves_on_while_the_api_server_is_killed_and_hears_of_changes_again(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    proxy.apply(backend("kept", start_backend("kept").port), http_route("kept", {"kept": 1}))
    proxy.await_status("kept.test", 200)
    with Load(proxy.url, "kept.test", rate=50) as load:
        proxy.component("kube-apiserver").kill()
        load.await_answers(50)
        until(proxy.pool.ready, "the API server is back")
        proxy.apply(http_route("again", {"kept": 1}))
        proxy.await_status("again.test", 200)
    assert load.outcome.failed == 0, load.outcome
