"""Traffic through a real Envoy, told what to do by a real Envoy Gateway."""

import asyncio
import ipaddress
import json
from collections.abc import Callable

from commonpool.embedded import proxy_start
from commonpool.embedded.proxy import Place
from commonpool.engine import Cluster, kubeconfig

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.declarations import backend, gateway, http_route
from proxy.load import Load


def test_a_route_to_a_host_outside_of_the_pool_answers(proxy: Proxy, start_backend: Callable[[str], Backend]) -> None:
    legacy = start_backend("legacy")
    proxy.apply(backend("plain", legacy.port), http_route("plain", {"plain": 1}))
    found = json.loads(proxy.await_status("plain.test", 200, "/a?b=c"))
    assert (found["name"], found["path"], found["host"]) == ("legacy", "/a?b=c", "plain.test")
    assert proxy.ask("nobody.test")[0] == 404


def test_envoy_listens_on_the_pools_own_loopback_addresses_only(proxy: Proxy) -> None:
    until(lambda: proxy.ask("nobody.test")[0] == 404, "Envoy listens")  # as `start` saw; it may have been killed since
    found = {at.laddr for at in proxy.component("envoy").net_connections(kind="inet") if at.status == "LISTEN"}
    assert all(ipaddress.ip_address(address).is_loopback and address != "127.0.0.1" for address, _ in found), found


def until_another(proxy: Proxy, pid: int) -> None:
    def another() -> bool:
        found = {one.name: one for one in proxy.pool.status().components}["envoy-gateway"]
        return found.state == "running" and found.pid != pid

    until(another, "another Envoy Gateway runs")


def test_a_listener_without_its_certificate_is_not_waited_for(proxy: Proxy) -> None:
    """A pool that declares HTTPS has a certificate once it has a service; until then each `up` would wait for the port."""
    body = gateway("bare", 9443)
    reference = {"kind": "Secret", "name": "missing"}
    body["spec"]["listeners"][0] |= {"protocol": "HTTPS", "tls": {"mode": "Terminate", "certificateRefs": [reference]}}
    proxy.apply(body)

    async def missing() -> set[int]:
        async with await Cluster.connect(kubeconfig.load(proxy.pool.kubeconfig)) as cluster:
            return await proxy_start.missing_ports(Place(proxy.pool.layout), cluster)

    until(lambda: asyncio.run(missing()) == set(), "nothing is waited for")


def test_envoy_goes_on_serving_while_envoy_gateway_is_killed_again_and_again(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    legacy = start_backend("legacy")
    proxy.serve("steady", legacy.port)
    envoy = proxy.component("envoy").pid
    with Load(proxy.url, "steady.test", rate=100) as load:
        for _ in range(3):
            before = proxy.component("envoy-gateway")
            before.kill()
            load.await_answers(100)
            until_another(proxy, before.pid)
        # A change that was declared meanwhile arrives.
        proxy.apply(http_route("later", {"steady": 1}))
        proxy.await_status("later.test", 200)
        load.await_answers(100)
    assert load.outcome.failed == 0, load.outcome
    assert proxy.component("envoy").pid == envoy


def test_a_killed_envoy_comes_back_and_serves_what_it_served(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    legacy = start_backend("legacy")
    proxy.serve("back", legacy.port)
    before = proxy.component("envoy")
    before.kill()
    before.wait()
    proxy.await_status("back.test", 200)
    assert proxy.component("envoy").pid != before.pid


def test_traffic_goes_on_while_envoy_gateway_is_silent_for_longer_than_envoy_trusts_its_connection(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    """Frozen, not killed: no connection is closed, and Envoy's keepalive notices after at most 35 s. Later is like then."""
    legacy = start_backend("legacy")
    proxy.serve("silent", legacy.port)
    frozen = proxy.component("envoy-gateway")
    with Load(proxy.url, "silent.test", rate=50) as load:
        frozen.suspend()
        try:
            proxy.apply(http_route("afterwards", {"silent": 1}))
            load.await_answers(40 * 50, 120)
            assert proxy.ask("afterwards.test")[0] == 404, "nobody told Envoy"
        finally:
            frozen.resume()
        proxy.await_status("afterwards.test", 200)
    assert load.outcome.failed == 0, load.outcome


def test_traffic_goes_on_for_the_whole_minute_for_which_envoy_gateway_is_killed(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    """Without its program, the supervisor cannot start another one; what was declared meanwhile arrives when it can."""
    legacy = start_backend("legacy")
    proxy.serve("killed", legacy.port)
    program = Place(proxy.pool.layout).program("envoy-gateway")
    away, gateway = program.with_suffix(".away"), proxy.component("envoy-gateway")
    with Load(proxy.url, "killed.test", rate=50) as load:
        program.rename(away)
        try:
            gateway.kill()
            proxy.apply(http_route("killed-later", {"killed": 1}))
            load.await_answers(60 * 50, 180)
            found = {one.name: one for one in proxy.pool.status().components}["envoy-gateway"]
            assert (found.pid, proxy.ask("killed-later.test")[0]) == (0, 404), "nobody has told Envoy"
        finally:
            away.rename(program)
        proxy.await_status("killed-later.test", 200)
    assert load.outcome.failed == 0, load.outcome


def test_both_killed_at_once_come_back_and_serve_what_they_served(
    proxy: Proxy, start_backend: Callable[[str], Backend]
) -> None:
    legacy = start_backend("legacy")
    proxy.serve("both", legacy.port)
    before = [proxy.component(name) for name in ("envoy-gateway", "envoy")]
    for one in before:
        one.kill()
    for one in before:
        one.wait()
    proxy.await_status("both.test", 200)
    proxy.apply(http_route("both-later", {"both": 1}))
    proxy.await_status("both-later.test", 200)
