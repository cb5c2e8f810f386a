"""Backends that nobody calls, and backends that nobody is to call any more."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import estates
import pytest

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.declarations import backend, http_route
from proxy.estate import DeclaredEstate
from proxy.load import Load

INTERVAL, UNHEALTHY_AFTER = 1.0, 2
CHECK = {"type": "HTTP", "interval": "1s", "timeout": "1s", "http": {"path": "/healthz"}}
PATIENCE = 20.0  # seconds; a check a minute would take a hundred


@pytest.fixture
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    yield DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("uncalled"), 3))


def test_a_backend_that_nobody_has_called_is_out_within_its_declared_checks_and_back(
    estate: DeclaredEstate, start_backend: Callable[[str], Backend]
) -> None:
    """The first call ever finds it out already: 503, and not a broken connection."""
    quiet = start_backend("quiet")
    health: dict[str, Any] = {"path": "/healthz", "interval": f"{INTERVAL:.0f}s", "timeout": "1s"}
    host = estate.offer("quiet", port=8080, at=quiet.port, health=health | {"unhealthyAfter": UNHEALTHY_AFTER})
    estate.consume(d1=["quiet"])
    estate.up("services", "departments")

    until(lambda: estate.healthy("quiet") == 1, "it is known and healthy")
    quiet.behave(healthy=False)
    began = time.monotonic()
    until(lambda: estate.healthy("quiet") == 0, "it is out without a call", PATIENCE)
    quiet.behave(healthy=True)
    until(lambda: estate.healthy("quiet") == 1, "it is back without a call", PATIENCE)
    assert time.monotonic() - began < 60, "as often as is declared, not once a minute"
    assert quiet.seen() == 0
    assert estate.call(host, caller="d1-main").status == 200


def test_a_backend_that_is_out_is_asked_more_often_than_one_that_serves(
    estate: DeclaredEstate, start_backend: Callable[[str], Backend]
) -> None:
    """A check that came late once, as when Envoy starts on a busy machine, is not to keep callers out for minutes."""
    late = start_backend("late")
    late.behave(healthy=False)
    health: dict[str, Any] = {
        "path": "/healthz",
        "interval": "60s",
        "timeout": "1s",
        "healthyAfter": 2,
        "evidenceExpires": "3m",
    }
    estate.offer("late", port=8080, at=late.port, health=health)
    estate.consume(d1=["late"])
    estate.up("services", "departments")
    until(lambda: late.checked() > 0, "it has been asked once")
    late.behave(healthy=True)
    until(lambda: estate.healthy("late") == 1, "it is back before its declared interval is over", 50)


def test_taking_a_backend_away_at_once_loses_no_call(proxy: Proxy, start_backend: Callable[[str], Backend]) -> None:
    """Weights of 0, and references that are gone, in one step and again and again, while half of the calls go there."""
    old, new = start_backend("old"), start_backend("new")
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "split"}
    policy = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": "split", "namespace": "default"},
        "spec": {"targetRefs": [target], "healthCheck": {"active": CHECK, "panicThreshold": 0}},
    }
    proxy.apply(backend("stays", old.port), backend("goes", new.port), policy)
    proxy.apply(split(1, 1))
    proxy.await_status("split.test", 200)
    with Load(proxy.url, "split.test", rate=500) as load:
        for gone in (0, None) * 5:
            proxy.apply(split(1, 1))
            load.await_answers(300)
            proxy.apply(split(1, gone))
            load.await_answers(300)
    failed = {status: count for status, count in load.outcome.statuses.items() if status != 200}
    assert (failed, dict(load.outcome.errors)) == ({}, {}), load.outcome
    assert load.outcome.answered_by["new"] > 100


def split(stays: int, goes: int | None) -> dict[str, Any]:
    """Each with a header of its own, which makes Envoy keep them apart, as it does while a service moves."""
    found = http_route("split", {"stays": stays} if goes is None else {"stays": stays, "goes": goes})
    for one in found["spec"]["rules"][0]["backendRefs"]:
        said = {"set": [{"name": "x-commonpool-backend", "value": one["name"]}]}
        one["filters"] = [{"type": "RequestHeaderModifier", "requestHeaderModifier": said}]
    return found
