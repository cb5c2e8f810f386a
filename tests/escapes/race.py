"""Many creates at once at the edge of a quota, over several namespaces of one department, and the count of what was too many (T15, T16)."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from urllib.parse import urlsplit

from escapes.attempts import CORE, pod, thing
from escapes.caller import Caller

IDLE = "nobody"  # a scheduler that does not exist: pods are admitted and counted, and stay where they are


@dataclass
class Round:
    """One round: how many were let in where, beside how many the quota has room for."""

    asked: int
    room: dict[str, int]
    admitted: dict[str, int]
    refused: int
    others: list[str] = field(default_factory=list)  # neither admitted nor refused by the quota
    recorded: dict[str, int] = field(default_factory=dict)  # what the quota itself says is used

    @property
    def too_many(self) -> int:
        """Pods that no quota had room for."""
        return sum(max(0, count - self.room[space]) for space, count in self.admitted.items())

    @property
    def missed(self) -> int:
        """Room that nobody got although many asked: the next who asks gets it."""
        return sum(max(0, self.room[space] - count) for space, count in self.admitted.items())


class Line:
    """A connection that is kept, one for each thread: 200 requests at once are 200 in the API server, not 200 handshakes."""

    def __init__(self, caller: Caller) -> None:
        self.caller, self._local = caller, threading.local()
        self._context = ssl.create_default_context(cadata=caller.authority)
        if caller.certificate:
            self._context.load_cert_chain(caller.certificate, caller.key)

    def post(self, path: str, body: object) -> tuple[int, str]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = HTTPSConnection(
                urlsplit(self.caller.server).netloc, context=self._context, timeout=120
            )
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def prepare(administrator: Caller, spaces: dict[str, int]) -> None:
    """Namespaces with room for so many pods of one core each; quotas as the product writes them."""
    for space, room in spaces.items():
        administrator.send("POST", f"{CORE}/namespaces", thing("v1", "Namespace", space))
        hard = {
            "requests.cpu": str(room),
            "requests.memory": f"{room}Mi",
            "limits.memory": f"{room}Mi",
            "pods": "10000",
        }
        quota = thing("v1", "ResourceQuota", "guaranteed", space, spec={"hard": hard})
        administrator.send("POST", f"{CORE}/namespaces/{space}/resourcequotas", quota)
        deadline = time.monotonic() + 60
        while not used(administrator, space) and time.monotonic() < deadline:
            time.sleep(0.05)
        while administrator.send("GET", f"{CORE}/namespaces/{space}/serviceaccounts/default").status != 200:
            assert time.monotonic() < deadline


def used(administrator: Caller, space: str) -> dict[str, str]:
    body = administrator.send("GET", f"{CORE}/namespaces/{space}/resourcequotas/guaranteed").body
    return dict(body.get("status", {}).get("used") or {})


def rounds(administrator: Caller, spaces: dict[str, int], count: int, asked: int = 200) -> Iterator[Round]:
    """So many rounds of `asked` creates at once, spread over the namespaces; everything is deleted in between."""
    line = Line(administrator)
    places = list(spaces)
    with ThreadPoolExecutor(asked) as pool:
        for number in range(count):
            barrier = threading.Barrier(asked)

            def one(index: int, number: int = number, barrier: threading.Barrier = barrier) -> tuple[str, int, str]:
                space = places[index % len(places)]
                body = pod(f"r{number}-{index}", space, schedulerName=IDLE)
                amounts = {"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"memory": "1Mi"}}
                body["spec"]["containers"][0]["resources"] = amounts
                barrier.wait(120)
                return space, *line.post(f"{CORE}/namespaces/{space}/pods", body)

            answers = list(pool.map(one, range(asked)))
            admitted = {
                space: len(administrator.send("GET", f"{CORE}/namespaces/{space}/pods").body["items"])
                for space in spaces
            }
            others = [words[:200] for _, status, words in answers if status != 201 and "exceeded quota" not in words]
            refused = sum(status == 403 and "exceeded quota" in words for _, status, words in answers)
            recorded = {space: int(used(administrator, space).get("requests.cpu", "0")) for space in spaces}
            yield Round(asked, dict(spaces), admitted, refused, others, recorded)
            _empty(administrator, spaces)


def _empty(administrator: Caller, spaces: dict[str, int]) -> None:
    deadline = time.monotonic() + 120
    for space in spaces:
        administrator.send("DELETE", f"{CORE}/namespaces/{space}/pods?gracePeriodSeconds=0")
    while any(used(administrator, space).get("requests.cpu") != "0" for space in spaces):
        assert time.monotonic() < deadline, "the quota does not let go of what was deleted"
        time.sleep(0.1)
