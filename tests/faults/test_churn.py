"""Change after change with faults in between, held against a model of what should stand and against what the API server recorded (CASES F23).

A few turns in the tests; `COMMONPOOL_CHURN_SECONDS` goes on for as long as one likes, with other chances every time.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fault_harness as harness
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster
from programs import BARE, Stack, messages

SOURCE = """
for key, value in sorted(config.require_object("wanted").items()):
    config_map(key, {"value": str(value)})
"""
TURNS = 5  # of a short run: one with each fault, and what follows


@dataclass
class History:
    """What a model of the run knows: what is declared, and every write that must have happened, by (verb, name)."""

    wanted: dict[str, int] = field(default_factory=dict)
    stands: dict[str, int] = field(default_factory=dict)
    declared: Counter[tuple[str, str]] = field(default_factory=Counter)
    reported: Counter[tuple[str, str]] = field(default_factory=Counter)
    unheard: Counter[tuple[str, str]] = field(default_factory=Counter)

    def change(self, chance: random.Random) -> None:
        """Some come, some change, some go."""
        for number in chance.sample(range(30), 8):
            name = f"c{number}"
            if name in self.wanted and chance.random() < 0.4:
                del self.wanted[name]
            else:
                self.wanted[name] = chance.randrange(1000)

    def due(self) -> Counter[tuple[str, str]]:
        """The writes between what stands and what is wanted."""
        gone = [("delete", name) for name in self.stands.keys() - self.wanted.keys()]
        come = [("create", name) for name in self.wanted.keys() - self.stands.keys()]
        both = self.wanted.keys() & self.stands.keys()
        return Counter(gone + come + [("update", name) for name in both if self.wanted[name] != self.stands[name]])

    def done(self) -> None:
        """What was wanted stands."""
        self.declared += self.due()
        self.stands = dict(self.wanted)


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh, BARE)


def turn(stack: Stack, history: History) -> None:
    """One run to its end, and what it says it did."""
    result = stack.up(SOURCE, wanted=json.dumps(history.wanted))
    assert result.problems == (), messages(result)
    writes = {"create": "create", "update": "update", "delete": "delete", "adopt": "create"}
    history.reported += Counter(
        (writes[str(one.operation)], one.name)
        for one in result.changes
        if one.kind == "ConfigMap" and str(one.operation) in writes
    )


def killed(stack: Stack, history: History, chance: random.Random) -> None:
    """A run of its own process that is killed somewhere; the next one goes on, and nobody heard what this one did."""
    history.unheard += history.due()
    stack.load(SOURCE, wanted=json.dumps(history.wanted))
    where = ["--program", str(stack.folder), "--kubeconfig", str(stack.pool.kubeconfig), "-c", f"name={stack.name}"]
    words = ["up", "--yes", "--skip-preview", *where, "-c", f"wanted={json.dumps(history.wanted)}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "commonpool.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(chance.uniform(0.8, 3.0))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def recorded(stack: Stack) -> Counter[tuple[str, str]]:
    """Writes of ConfigMaps of this stack that succeeded, from the audit log; a repeated request that found it done is none."""
    verbs = {(201, "patch"): "create", (201, "create"): "create", (200, "patch"): "update", (200, "delete"): "delete"}
    found: Counter[tuple[str, str]] = Counter()
    with stack.pool.audit_log.open("rb") as file:
        for line in file:
            if stack.name.encode() not in line:
                continue
            event = json.loads(line)
            about, status = event.get("objectRef", {}), event.get("responseStatus", {}).get("code")
            if (
                not event.get("userAgent", "").startswith("commonpool")
                or about.get("resource") != "configmaps"
                or about.get("namespace") != stack.name
                or "dryRun" in event["requestURI"]
            ):
                continue
            if (status, event["verb"]) in verbs:
                found[verbs[status, event["verb"]], about.get("name") or event["requestURI"]] += 1
    return found


def standing(stack: Stack) -> dict[str, int]:
    async def work(cluster: Cluster) -> list[dict[str, Any]]:
        items, _ = await cluster.list_objects("v1", "ConfigMap", namespace=stack.name)
        return items

    return {
        one["metadata"]["name"]: int(one["data"]["value"])
        for one in stack.ask(work)
        if one["metadata"]["name"] != "kube-root-ca.crt"
    }


def test_f23_whatever_happens_between_what_was_declared_stands_and_every_write_is_accounted_for(
    stack: Stack, tmp_path: Path
) -> None:
    given_time = os.environ.get("COMMONPOOL_CHURN_SECONDS")
    chance = random.Random(None if given_time else 20261126)
    end = time.monotonic() + float(given_time or 0)
    history, number = History(), 0
    with harness.losing_answers(stack.pool, tmp_path, 0.1) as (_, through):
        while number < TURNS or time.monotonic() < end:
            history.change(chance)
            fault = number % 4
            stack.kubeconfig = through if fault == 1 else stack.pool.kubeconfig
            if fault == 2:
                killed(stack, history, chance)
            elif fault == 3:
                apiserver = harness.pid_of(stack.pool, "kube-apiserver")
                still = threading.Thread(target=_stand_still, args=(apiserver,))
                still.start()
                turn(stack, history)
                still.join()
                history.done()
            else:
                turn(stack, history)
                history.done()
            number += 1
            if fault == 2:  # the next run declares more, and carries over what the killed one left
                continue
            assert standing(stack) == history.stands, f"turn {number}"
        stack.kubeconfig = stack.pool.kubeconfig
        turn(stack, history)
        history.done()
    assert standing(stack) == history.stands
    _accounted(history, recorded(stack))
    assert stack.refresh().counts == {}


def _stand_still(pid: int) -> None:
    with harness.stopped(pid):
        threading.Event().wait(1)


def _accounted(history: History, seen: Counter[tuple[str, str]]) -> None:
    """Nothing lost, nothing twice: every report is in the log, and the log holds nothing else.

    Of a killed run nobody heard; its writes may be in the log, and then the next run had less to report. An update whose
    answer was lost is sent again and changes nothing the second time; a creation or a deletion happens once.
    """
    assert history.reported - seen == Counter(), "reported, and not in the log"
    known = history.reported + history.unheard
    again = {("update", name) for verb, name in known if verb == "create"}  # sent once more: the answer was lost
    unexplained = {key for key in seen if key not in known and key not in again}
    assert unexplained == set(), "in the log, and neither reported nor begun by a run that was killed"
    for verb in ("create", "delete"):
        for key in seen:
            if key[0] == verb:
                assert seen[key] <= known[key], f"{key} twice"
    made = Counter(name for (verb, name), count in seen.items() for _ in range(count) if verb == "create")
    gone = Counter(name for (verb, name), count in seen.items() for _ in range(count) if verb == "delete")
    assert made - gone == Counter(history.stands.keys()), "what was made and not deleted is what stands"
