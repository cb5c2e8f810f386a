"""Where the time of a first apply goes: our process by what it does, sampled by py-spy, and the servers' beside it.

Usage: `python bench/spent.py [DEPARTMENTS] [--save]`; py-spy is in the dependency group `bench`. Only samples that hold the
interpreter's lock count, so threads that wait cost nothing here. What the API server does inside is not told apart: it
offers no profile, as the CIS benchmark asks of it.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import apply
from commonpool.cli.output import table

RESULTS = apply.RESULTS.with_name("spent.json")
HEADINGS = ["what", "CPU", "of an object", "of all"]
# The innermost frame that one of these words is in decides.
PARTS = (
    ("imports at the start", ("importlib._bootstrap", "runpy")),
    ("JSON, requests and answers", ("engine/wire.py",)),
    ("HTTP and TLS", ("aiohttp/", "sslproto", "ssl.py", "yarl/", "multidict/")),
    ("Pulumi's SDK", ("pulumi/", "grpc/", "protobuf/")),
    ("evidence journal", ("commonpool/journal/", "cli/evidence", "cli/decisions", "cli/journal")),
    ("engine: decisions, records, state", ("commonpool/engine/",)),
    ("rendering of objects", ("commonpool/components/",)),
    ("reading and checking manifests", ("commonpool/model/", "commonpool/ledger/", "pydantic", "yaml/")),
    ("command line", ("commonpool/cli/", "typer/")),
    ("event loop and threads", ("asyncio/", "selectors", "threading", "concurrent/")),
)


def part(stack: str) -> str:
    """What a sampled stack, outermost frame first, is counted as."""
    for frame in reversed(stack.split(";")):
        for name, words in PARTS:
            if any(word in frame for word in words):
                return name
    return "the rest"


def shares(samples: Iterable[str]) -> dict[str, float]:
    """Part by part, of 1."""
    found: Counter[str] = Counter()
    for line in samples:
        stack, _, count = line.rpartition(" ")
        found[part(stack)] += int(count)
    return {name: count / found.total() for name, count in found.most_common()}


def measure(departments: int) -> dict[str, object]:
    """One first apply under the sampler: seconds of CPU by part, the servers' by process."""
    with tempfile.TemporaryDirectory(prefix="commonpool-bench-") as temporary:
        folder = Path(temporary)
        bench = apply.Bench(folder, departments, [])
        try:
            bench.fresh()
            servers = bench.servers()
            before = {name: sum(one.cpu_times()[:2]) for name, one in servers.items()}
            sampled = folder / "samples.txt"
            spy = [sys.executable.replace("python", "py-spy"), "record", "--gil", "--rate", "200", "--format", "raw"]
            bench.measure(apply.OURS, "first", [*spy, "--output", str(sampled), "--", *apply.commonpool(bench, "up")])
            spent = {name: sum(one.cpu_times()[:2]) - before[name] for name, one in servers.items()}
            client = bench.rows[-1].client_cpu
            parts = {name: share * client for name, share in shares(sampled.read_text().splitlines()).items()}
        finally:
            bench.pool.reset()
    return {"departments": departments, "objects": bench.objects, "client": parts, "servers": spent}


def lines(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """The table's rows; seconds of CPU, and what of them falls to one object."""
    objects = int(found["objects"])  # type: ignore[call-overload]
    rows = [(f"our process: {name}", seconds) for name, seconds in found["client"].items()]
    rows += sorted(found["servers"].items(), key=lambda pair: -pair[1])
    total = sum(seconds for _, seconds in rows)
    return [
        [name, f"{seconds:.1f} s", f"{1000 * seconds / objects:.2f} ms", f"{100 * seconds / total:.0f} %"]
        for name, seconds in rows
    ]


def main() -> None:
    """Measure, print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("departments", nargs="?", type=int, default=300)
    arguments.add_argument("--save", action="store_true", help="keep the figures")
    chosen = arguments.parse_args()
    found = measure(chosen.departments)
    sys.stdout.write(table(HEADINGS, lines(found), left=1) + "\n")  # type: ignore[arg-type]
    if chosen.save:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
