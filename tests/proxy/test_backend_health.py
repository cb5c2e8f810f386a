"""Backends outside of the pool are truly watched: one that dies under load, and one whose check is particular."""

from collections.abc import Callable, Iterator

import estates
import pytest

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DeclaredEstate
from proxy.load import Load

RATE = 200
HEALTH = {"path": "/healthz", "interval": "1s", "timeout": "1s", "unhealthyAfter": 2}
IN_FORCE_SECONDS = 10  # two seconds and a bit to take it in and two checks; Envoy's own patience would be 15 and these
ANSWER_SECONDS = 0.05  # so that calls are under way whenever it dies
AT_THE_MOMENT = 5  # calls that may have begun between the count of those under way and the kill


@pytest.fixture
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    yield DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("lost"), 3))


def test_a_backend_killed_under_load_costs_no_read_at_most_the_writes_under_way_and_is_restored(
    estate: DeclaredEstate, start_backend: Callable[[str], Backend]
) -> None:
    dies, stays = start_backend("dies"), start_backend("stays")
    estate.stand_ins["rs-nas-2:8080"] = f"127.0.0.1:{stays.port}"
    both = {"name": "both", "machines": ["ha-registry-1", "rs-nas-2"], "port": 8080}
    host = estate.offer(
        "pair", port=8080, at=dies.port, backends=[both], health=HEALTH, retries={"repeat": "reads", "attempts": 3}
    )
    estate.consume(d1=["pair"])
    estate.up("services", "departments")
    until(lambda: estate.call(host, caller="d1-main").status == 200, "it serves")
    until(lambda: estate.healthy("pair") == 2, "both are healthy")
    for one in (dies, stays):
        one.behave(delay=ANSWER_SECONDS)
    url = f"http://{estate.pool.proxy_address}:{estate.port()}/"
    headers = {"Authorization": f"Bearer {estate.token('d1-main', host)}"}
    with (
        Load(url, host, rate=RATE, headers=headers) as reads,
        Load(url, host, rate=RATE / 4, headers=headers, method="POST") as writes,
    ):
        for load in (reads, writes):
            load.await_answers(50)
        under_way = writes.under_way
        dies.kill()
        until(lambda: estate.healthy("pair") == 1, "the dead one is out")
        alone = reads.outcome.answered_by["stays"]
        until(lambda: reads.outcome.answered_by["stays"] >= alone + 100, "what was under way has been answered")
        last = reads.outcome.answered_by["dies"]
        reads.await_answers(100)
        assert reads.outcome.answered_by["dies"] == last, "all of them by the one that is left"
        dies.start()
        until(lambda: estate.healthy("pair") == 2, "it is back")
        before = reads.outcome.answered_by["dies"]
        until(lambda: reads.outcome.answered_by["dies"] > before, "and is called again")
    assert reads.outcome.failed == 0, reads.outcome
    assert writes.outcome.failed <= under_way + AT_THE_MOMENT, f"{under_way} were under way: {writes.outcome}"


def test_a_check_asks_by_the_declared_host_and_looks_for_the_declared_words(
    estate: DeclaredEstate, start_backend: Callable[[str], Backend]
) -> None:
    """The Host header of checks is what old web servers choose a site by, and a page that says an error may say 200."""
    particular = start_backend("particular")
    particular.behave(check_host="inner.example")
    declared = HEALTH | {"host": "inner.example", "statuses": [200], "body": '"words": "up"'}
    estate.offer("particular", port=8080, at=particular.port, health=declared)
    estate.consume(d1=["particular"])
    estate.up("services", "departments")
    until(lambda: estate.healthy("particular") == 1, "it is asked by the declared name")
    for wrong, right in (
        ({"check_host": "other.example"}, {"check_host": "inner.example"}),
        ({"words": "sorry"}, {"words": "up"}),
    ):
        particular.behave(**wrong)
        until(lambda: estate.healthy("particular") == 0, f"{wrong} takes it out")
        particular.behave(**right)
        until(lambda: estate.healthy("particular") == 1, f"{right} brings it back")


def test_a_changed_check_is_in_force_within_seconds(
    estate: DeclaredEstate, start_backend: Callable[[str], Backend]
) -> None:
    """Also when the backends are the same, of which Envoy therefore hears nothing new."""
    same = start_backend("same")

    def ask_for(words: str, healthy: int) -> None:
        estate.offer("same", port=8080, at=same.port, health=HEALTH | {"body": f'"words": "{words}"'})
        estate.consume(d1=["same"])
        estate.up("services", "departments")
        until(lambda: estate.healthy("same") == healthy, f"{words} is asked for", IN_FORCE_SECONDS)

    ask_for("up", 1)
    ask_for("never said", 0)
    ask_for("up", 1)
