"""The key that signs tokens is changed while calls go on: the proxy follows by itself, and does not need the API server for what it knows."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import estates
import psutil
import pytest
from commonpool.components.envoy_gateway.fleet import KEYS_SECONDS
from commonpool.embedded.certificate import signing_key

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, DeclaredEstate

HOST = f"keyed.d0.{DOMAIN}"
FOLLOWS = int(KEYS_SECONDS.removesuffix("s")) + 15


@pytest.fixture
def estate(serving: Proxy, tmp_path: Path) -> Iterator[DeclaredEstate]:
    """`keyed` of d0, called by d1; the pool has its own key again afterwards."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path / "estate", 2))
    pki = serving.pool.layout.pki
    kept = {path: path.read_bytes() for path in signing_key(pki, "service-account")}
    with Backend("old") as old:
        declared.offer("keyed", port=8080, at=old.port)
        declared.consume(d1=["keyed"])
        declared.up("services", "departments")
        until(lambda: declared.call(HOST, caller="d1-main").status == 200, "the service answers")
        yield declared
    if any(path.read_bytes() != content for path, content in kept.items()):
        for path, content in kept.items():
            path.write_bytes(content)
        start_anew(declared)
        own = DeclaredEstate(serving.pool, declared.root)
        until(lambda: own.call(HOST, caller="d1-main").status != 401, "the proxy knows the former key", FOLLOWS)


def api_server(estate: DeclaredEstate) -> psutil.Process:
    return psutil.Process({one.name: one.pid for one in estate.pool.status().components}["kube-apiserver"])


def start_anew(estate: DeclaredEstate) -> None:
    """The API server reads its keys when it starts."""
    process = api_server(estate)
    process.kill()
    process.wait()
    until(estate.pool.ready, "the API server is back")


def status(estate: DeclaredEstate, token: str) -> int:
    return estate.call(HOST, headers={"Authorization": f"Bearer {token}"}).status


def made(estate: DeclaredEstate, seconds: int) -> str:
    return asyncio.run(estate._request("d1-main", [HOST], "default", seconds))


def test_a_new_key_counts_and_the_former_one_no_more_within_half_a_minute(
    estate: DeclaredEstate, tmp_path: Path
) -> None:
    stolen = made(estate, 3601)
    for path in signing_key(estate.pool.layout.pki, "service-account"):
        shutil.move(path, tmp_path)
    signing_key(estate.pool.layout.pki, "service-account")
    start_anew(estate)
    began = time.monotonic()
    fresh = made(estate, 3600)
    until(lambda: status(estate, fresh) == 200, "tokens of the new key pass", FOLLOWS)
    assert time.monotonic() - began < FOLLOWS
    assert status(estate, stolen) == 401, "one of the former key that was never seen"
    until(lambda: status(estate, fresh) == 200, "and so it stays")


def test_while_the_api_server_is_away_the_keys_that_are_known_hold(estate: DeclaredEstate) -> None:
    token = made(estate, 3599)
    process = api_server(estate)
    process.suspend()
    try:
        deadline = time.monotonic() + FOLLOWS
        while time.monotonic() < deadline:
            assert status(estate, token) == 200
            time.sleep(1)
    finally:
        process.resume()
    until(estate.pool.ready, "the API server is back")
