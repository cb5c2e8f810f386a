"""How much each consumer may use, what a switched-off service says, and what its backends' health does (F21, part 3 and 6)."""

import threading
from collections import Counter
from collections.abc import Iterator

import estates
import pytest

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, Answer, DeclaredEstate

CALLS = 40


@pytest.fixture(scope="module")
def old() -> Iterator[Backend]:
    with Backend("old") as backend:
        yield backend


@pytest.fixture(scope="module")
def new() -> Iterator[Backend]:
    with Backend("new") as backend:
        yield backend


@pytest.fixture(scope="module")
def estate(
    serving: Proxy, tmp_path_factory: pytest.TempPathFactory, old: Backend, new: Backend
) -> Iterator[DeclaredEstate]:
    """Services with different bounds, all consumed by d1 and d2."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("shares"), 3))
    declared.stand_ins["rs-nas-2:8080"] = f"127.0.0.1:{new.port}"
    first = {"name": "old", "machines": ["ha-registry-1"], "port": 8080}
    second = {"name": "new", "machines": ["rs-nas-2"], "port": 8080, "priority": 1}
    declared.offer("rate", port=8080, at=old.port, limits={"perConsumer": {"requestsPerSecond": 5}})
    declared.offer("crowd", port=8080, at=old.port, limits={"total": {"concurrent": 4}})
    declared.offer(
        "asleep", port=8080, at=old.port, notice={"message": '维护中 100%: "moving"', "returns": "2027-02-01"}
    )
    declared.offer("steps-in", port=8080, at=old.port, backends=[first, second])
    declared.offer("alone", port=8080, at=old.port, retries={"repeat": "reads"})
    services = ["rate", "crowd", "asleep", "steps-in", "alone"]
    declared.consume(d1=services, d2=services)
    declared.up("services", "departments")
    for name in ("rate", "crowd", "steps-in", "alone"):
        until(lambda name=name: call(declared, name).status == 200, f"{name} serves")  # type: ignore[misc]
    yield declared


def call(estate: DeclaredEstate, name: str, caller: str = "d1-main", method: str = "GET") -> Answer:
    return estate.call(f"{name}.d0.{DOMAIN}", caller=caller, method=method)


def test_a_consumer_above_its_rate_gets_429_and_another_is_untouched(estate: DeclaredEstate) -> None:
    until(lambda: call(estate, "rate", "d2-main").status == 200, "d2 has a token and a share")
    answers = [call(estate, "rate") for _ in range(CALLS)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert {answer.status for answer in answers} <= {200, 429}
    assert (refused[0].headers["retry-after"], refused[0].headers["content-type"]) == ("1", "application/problem+json")
    assert refused[0].json["detail"].startswith("system:serviceaccount:d1-main:default sends more calls")
    assert call(estate, "rate", "d2-main").status == 200


def test_a_consumer_with_too_many_calls_under_way_gets_429_and_another_is_untouched(
    estate: DeclaredEstate, old: Backend
) -> None:
    """The total of 4 is divided: 2 for each."""
    assert {call(estate, "crowd", caller).status for caller in ("d1-main", "d2-main")} == {200}
    old.behave(delay=0.5)
    found: Counter[int] = Counter()
    ended = threading.Event()
    headers: list[str] = []

    def ask() -> None:
        while not ended.is_set():
            answer = call(estate, "crowd")
            found[answer.status] += 1
            if answer.status == 429:
                headers.append(answer.headers["retry-after"])

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: found[429] >= 1, "calls above the share are refused while others are under way")
        others = {call(estate, "crowd", "d2-main").status for _ in range(5)}
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        old.behave(delay=0.0)
    assert (others, set(found), set(headers)) == ({200}, {200, 429}, {"1"})


def test_a_service_that_is_off_answers_with_its_owners_words_and_the_date_of_its_return(estate: DeclaredEstate) -> None:
    until(lambda: call(estate, "asleep").status == 503, "the notice is served")
    answer = call(estate, "asleep")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "Sun, 31 Jan 2027 16:00:00 GMT"
    assert answer.json == {
        "type": "https://commonpool.dev/problems/switched-off",
        "title": "The service is switched off",
        "status": 503,
        "detail": '维护中 100%: "moving"',
        "returns": "2027-02-01",
        "service": "asleep",
    }
    assert call(estate, "asleep", "d0-main").status == 403, "others are not told even that"


def test_another_backend_steps_in_while_the_first_is_unhealthy(estate: DeclaredEstate, old: Backend) -> None:
    assert call(estate, "steps-in").json["name"] == "old"
    old.behave(healthy=False)
    try:
        until(lambda: call(estate, "steps-in").json.get("name") == "new", "the new one steps in")
        until(lambda: call(estate, "alone").status == 503, "one that has nothing behind it says so")
        answer = call(estate, "alone")
        assert (answer.headers["content-type"], answer.headers["retry-after"]) == ("application/problem+json", "5")
        assert answer.json["title"] == "No healthy backend"
    finally:
        old.behave(healthy=True)
    until(lambda: call(estate, "steps-in").json.get("name") == "old", "the first one is back")
    until(lambda: call(estate, "alone").status == 200, "and serves again")


def test_reads_are_repeated_and_writes_are_not(estate: DeclaredEstate, old: Backend) -> None:
    host = f"alone.d0.{DOMAIN}"
    for method, wanted in (("GET", 3), ("POST", 1)):
        before = old.seen()
        answer = estate.call(host, "/?status=502", caller="d1-main", method=method)
        assert (answer.status, old.seen() - before) == (502, wanted)
