"""Several pools on one machine, and other programs that were there first."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from commonpool.embedded import EmbeddedPool

from proxy.backend import Backend
from proxy.conftest import PORT, Proxy, until
from proxy.declarations import backend, gateway, http_route, plain_fleet


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A second pool, whose Gateway declares the same port."""
    pool = EmbeddedPool("beside", tmp_path_factory.mktemp("pools"))
    pool.start()
    Proxy(pool).apply(*plain_fleet(PORT))
    pool.start()
    yield Proxy(pool)
    pool.reset()


def test_two_pools_serve_the_same_port_without_meeting(
    proxy: Proxy, beside: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    assert proxy.address != beside.address
    for one, name in ((proxy, "here"), (beside, "there")):
        one.apply(backend(name, start_backend(name).port), http_route(name, {name: 1}, host="same.test"))
    assert json.loads(proxy.await_status("same.test", 200))["name"] == "here"
    assert json.loads(beside.await_status("same.test", 200))["name"] == "there"


def test_a_port_that_another_program_holds_is_served_elsewhere_and_told(
    beside: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        held = other.getsockname()[1]
        shared = gateway("held", held)
        route = http_route("held", {"held": 1})
        route["spec"]["parentRefs"][0]["name"] = "held"
        beside.apply(shared, backend("held", start_backend("held").port), route)
        beside.pool.start()
        port = beside.pool.proxy_port(held)
        assert port != held
        assert beside.pool.status().proxy.ports[held] == port
        assert beside.read(shared)["status"]["addresses"] == [{"type": "IPAddress", "value": beside.address}]
        assert json.loads(beside.await_status("held.test", 200, port=port))["name"] == "held"


def restart_gateway(proxy: Proxy) -> None:
    """End Envoy Gateway; the supervisor starts it again, and Envoy goes on meanwhile."""

    def pid() -> int:
        return next(one.pid for one in proxy.pool.status().components if one.name == "envoy-gateway")

    before = pid()
    psutil.Process(before).kill()
    until(lambda: pid() not in (0, before), "it is started again")


def test_a_port_that_is_free_again_is_served_on_itself_once_nobody_is_served_elsewhere(
    beside: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    def route(name: str) -> dict[str, Any]:
        found = http_route(name, {"again": 1})
        found["spec"]["parentRefs"][0]["name"] = "again"
        return found

    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        held = other.getsockname()[1]
        beside.apply(gateway("again", held), backend("again", start_backend("again").port), route("again"))
        until(lambda: beside.pool.proxy_port(held) != held, "it is served elsewhere")
        port = beside.pool.proxy_port(held)
        beside.await_status("again.test", 200, port=port)
    restart_gateway(beside)
    beside.apply(route("later"))
    beside.await_status("later.test", 200, port=port)
    assert beside.pool.proxy_port(held) == port, "those who call there go on"
    declared = list(beside.declared)
    beside.forget()
    until(lambda: beside.ask("again.test", port=port)[0] == 0, "nobody is served there any more")
    restart_gateway(beside)
    beside.apply(*declared)
    beside.await_status("again.test", 200, port=held)
    assert beside.pool.proxy_port(held) == held


def test_a_start_is_over_only_when_the_declared_ports_are_served_routes_or_none(beside: Proxy) -> None:
    beside.forget()
    beside.pool.stop()
    beside.pool.start()
    assert beside.ask("nobody.test")[0] == 404
