"""How well the pool's walls hold, and what they cost: attacks by group, the race on a quota, the latency that rules add.

One run on an embedded pool of its own, which it deletes. Usage: `make guards`, or `python bench/guards.py [--rounds 50]
[--requests 800] [--save]`. Latencies are of one machine under its own load: only the difference means something.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from commonpool.cli.output import table  # noqa: E402
from commonpool.embedded import EmbeddedPool  # noqa: E402
from escapes import race  # noqa: E402
from escapes.attempts import ADMISSION, CATALOGUE, CORE, OWN, pod, thing  # noqa: E402
from escapes.caller import Caller  # noqa: E402
from escapes.ground import Ground, attack, differences, stand  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "guards.txt"
PEOPLE = ("admin", "developer", "account", "nobody", "mistake")
BINDINGS = {
    "ValidatingAdmissionPolicyBinding": f"{ADMISSION}/validatingadmissionpolicybindings",
    "MutatingAdmissionPolicyBinding": f"{ADMISSION}/mutatingadmissionpolicybindings",
}
SETTLING_SECONDS = 3.0  # until every part of the API server knows that a binding came or went


def attacks(ground: Ground) -> str:
    """Every attempt of the catalogue by everybody; the person with a mistaken binding only what policies guard."""
    rows, total = [], Counter[str]()
    for group in CATALOGUE:
        attempts = ground.attempts(group)
        before = ground.state()
        tried = survived = 0
        by: Counter[str] = Counter()
        for person in PEOPLE:
            chosen = [one for one in attempts if person != "mistake" or not one.by_roles]
            outcome = attack(ground.people[person], chosen)
            tried, survived, by = tried + outcome.tried, survived + len(outcome.survived), by + outcome.by
        changed = len(list(differences(before, ground.state())))
        policies = sum(count for name, count in by.items() if name.startswith("commonpool-"))
        cells = {
            "tried": tried,
            "roles": by["roles"] + by["authentication"],
            "policies": policies,
            "survived": survived,
            "changed": changed,
        }
        others = tried - survived - cells["roles"] - policies
        total.update(cells | {"others": others})
        rows.append([group, tried, cells["roles"], policies, others, survived, changed])
    rows.append(["all", *(total[word] for word in ("tried", "roles", "policies", "others", "survived", "changed"))])
    headings = ["group", "tried", "refused by roles", "by our rules", "by others", "survived", "objects changed"]
    return table(headings, [[str(cell) for cell in row] for row in rows])


def quota_race(administrator: Caller, rounds: int) -> str:
    """200 creates at once over three namespaces of 21 places."""
    spaces = {"race-a": 7, "race-b": 3, "race-c": 11}
    race.prepare(administrator, spaces)
    found = list(race.rounds(administrator, spaces, rounds))
    for space in spaces:
        administrator.send("DELETE", f"{CORE}/namespaces/{space}")
    over, missed = sum(one.too_many for one in found), sum(one.missed for one in found)
    asked, admitted = sum(one.asked for one in found), sum(sum(one.admitted.values()) for one in found)
    strange = sum(len(one.others) for one in found)
    return (
        f"{rounds} rounds, {asked:,} creates at once for {rounds * 21:,} places: {admitted:,} admitted,"
        f" {over} too many, {missed} places missed, {strange} answers that were neither yes nor no"
    )


def latency(ground: Ground, requests: int) -> str:
    """The same dry runs with and without the rules, in blocks that take turns: how long they take, and the API server's CPU time.

    The latter is what other work on the machine does not stretch.
    """
    line = race.Line(ground.people["developer"])
    works: dict[str, tuple[str, Any]] = {
        "ConfigMap": (f"{CORE}/namespaces/{OWN}/configmaps?dryRun=All", thing("v1", "ConfigMap", "fast", OWN, data={"a": "b"})),
        "Service": (f"{CORE}/namespaces/{OWN}/services?dryRun=All", thing("v1", "Service", "fast", OWN, spec={"ports": [{"port": 80}]})),
        "Pod": (f"{CORE}/namespaces/{OWN}/pods?dryRun=All", pod("fast")),
    }  # fmt: skip
    saved = {kind: ground.read(path)["items"] for kind, path in BINDINGS.items()}
    times: dict[tuple[str, bool], list[float]] = {(name, on): [] for name in works for on in (True, False)}
    server = psutil.Process(next(one.pid for one in ground.pool.status().components if one.name == "kube-apiserver"))
    spent = dict.fromkeys(times, 0.0)
    blocks = 8
    for block in range(blocks * 2):
        on = block % 4 in (0, 3)
        _switch(ground.administrator, saved, on=on)
        for name, (path, body) in works.items():
            for _ in range(5):  # connections and caches are warm
                _post(line, path, body)
            before = sum(server.cpu_times()[:2])
            times[name, on] += [_post(line, path, body) for _ in range(requests // blocks)]
            spent[name, on] += (sum(server.cpu_times()[:2]) - before) * 1000
    _switch(ground.administrator, saved, on=True)
    rows = []
    for name in works:
        cells = [name]
        for part in (50, 99):
            having, lacking = (statistics.quantiles(times[name, on], n=100)[part - 1] for on in (True, False))
            cells += [f"{lacking:.2f}", f"{having:.2f}", f"{having - lacking:+.2f}"]
        having, lacking = (spent[name, on] / len(times[name, on]) for on in (True, False))
        rows.append([*cells, f"{lacking:.2f}", f"{having:.2f}", f"{having - lacking:+.2f}"])
    headings = [
        "create of a",
        "P50 without",
        "with",
        "added",
        "P99 without",
        "with",
        "added",
        "CPU without",
        "with",
        "added",
    ]
    return (
        table(headings, rows)
        + f"\n(ms, {len(times['Pod', True])} requests each way, in {blocks * 2} blocks that take turns)"
    )


def _post(line: race.Line, path: str, body: object) -> float:
    """Milliseconds until the answer."""
    began = time.perf_counter()
    status, words = line.post(path, body)
    if status != 201:
        raise SystemExit(words)
    return (time.perf_counter() - began) * 1000


def _switch(administrator: Caller, saved: dict[str, list[dict[str, Any]]], *, on: bool) -> None:
    for kind, path in BINDINGS.items():
        for item in saved[kind]:
            metadata = {word: item["metadata"].get(word) for word in ("name", "labels", "annotations")}
            if on:
                body = item | {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": metadata}
                administrator.send("POST", path, body)
            else:
                administrator.send("DELETE", f"{path}/{metadata['name']}")
    time.sleep(SETTLING_SECONDS)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=50)
    arguments.add_argument("--requests", type=int, default=800)
    arguments.add_argument(
        "--save", action="store_true", help="keep what is printed in bench/results, for the handbook"
    )
    wanted = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="commonpool-guards-") as temporary:
        folder = Path(temporary)
        pool = EmbeddedPool("guards", folder / "pools")
        pool.start()
        try:
            (folder / "estate").mkdir()
            ground = stand(pool, folder / "estate")
            found = [attacks(ground), quota_race(ground.administrator, wanted.rounds), latency(ground, wanted.requests)]
        finally:
            pool.reset()
    text = "\n\n".join(found) + "\n"
    sys.stdout.write(text)
    if wanted.save:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
