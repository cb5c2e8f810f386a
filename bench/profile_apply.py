"""Where the time of a first apply goes, in our process and in the API server.

Ours by a sampling profiler (pyinstrument) around the very command, the API server's by its own CPU profile
(`/debug/pprof/profile`), both during the same run. Own time is summed by what a module is for.

Usage: `python bench/profile_apply.py [DEPARTMENTS] [--save]`.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import apply  # noqa: E402
from commonpool.cli.output import table  # noqa: E402
from commonpool.embedded import binaries  # noqa: E402

RESULT = ROOT / "bench" / "results" / "profile.json"
SECONDS = 20  # of the API server's profile; the run must be longer
# What a frame's file or function belongs to; the first that fits counts.
CLIENT = (
    ("Pulumi SDK: registration, serialization", r"/pulumi/|pulumi_kubernetes|google/protobuf|grpc/"),
    ("components: what a department becomes", r"commonpool/(components|ledger)/|stacks/"),
    ("reading the estate", r"commonpool/model/|yaml/|pydantic"),
    ("engine: decisions, records, index", r"commonpool/engine/(?!wire|cluster|retry|kubeconfig)"),
    ("HTTP: aiohttp, TLS, JSON", r"commonpool/engine/|aiohttp/|ssl\.py|orjson|multidict|yarl"),
    ("event loop", r"asyncio/|selectors\.py|concurrent/"),
    ("imports", r"<frozen importlib|importlib"),
    ("evidence and command line", r"commonpool/"),
    ("else", r""),
)
SERVER = (
    ("garbage collection", r"^runtime\.gcBgMarkWorker$"),
    ("admission policies (CEL)", r"policy/validating\.\(\*dispatcher\)\.Dispatch$|policy/validating\.\(\*validator\)\.Validate$"),
    ("server-side apply: managed fields", r"managedfields\.\(\*FieldManager\)\.Apply$|managedfields\.\(\*FieldManager\)\.UpdateNoErrors$"),
    ("to and from etcd", r"storage/etcd3\.\(\*store\)\.(GuaranteedUpdate|Create|Get)$"),
    ("TLS and HTTP/2", r"^crypto/tls\.\(\*Conn\)\.(Read|Write)$"),
    ("audit", r"audit/log\.\(\*backend\)\.ProcessEvents$|audit\.\(\*Backend.*ProcessEvents$|filters\.WithAudit\.func1$"),
    ("quota", r"resourcequota\.\(\*quotaEvaluator\)\.Evaluate$"),
    ("the patch as a whole", r"handlers\.PatchResource\.func1$"),
)  # fmt: skip


def client_shares(session: dict[str, Any]) -> Counter[str]:
    """Seconds of own time by purpose, waiting left out."""
    found: Counter[str] = Counter()

    def walk(frame: dict[str, Any]) -> None:
        name = f"{frame['identifier']}"
        below = sum(child["time"] for child in frame["children"])
        own = frame["time"] - below
        if own > 0 and not re.search(r"\[await\]|select|poll|epoll", name.partition("\0")[0]):
            path = name.replace("\0", " ")
            found[next(title for title, pattern in CLIENT if re.search(pattern, path))] += own
        for child in frame["children"]:
            walk(child)

    walk(session.get("root_frame", session))
    return found


def server_shares(top: str) -> dict[str, float]:
    """Percent of the API server's CPU by purpose, with everything below; they overlap."""
    cumulative = {}
    for line in top.splitlines():
        match = re.match(r"\s*\S+\s+\S+%\s+\S+%\s+\S+\s+([\d.]+)%\s+(.+?)(?: \(inline\))?$", line)
        if match:
            cumulative[match[2]] = float(match[1])
    return {
        title: max((share for name, share in cumulative.items() if re.search(pattern, name)), default=0.0)
        for title, pattern in SERVER
    }


def profiled(bench: apply.Bench, folder: Path) -> tuple[Counter[str], dict[str, float]]:
    """One first apply under both profilers."""
    program = str(binaries.built(binaries.KUBERNETES) / "kubernetes")
    profile = folder / "api.pb.gz"

    def look() -> None:
        with profile.open("wb") as file:
            words = [program, "kubectl", "--kubeconfig", str(bench.pool.kubeconfig), "get", "--raw"]
            subprocess.run([*words, f"/debug/pprof/profile?seconds={SECONDS}"], check=True, stdout=file)

    looking = threading.Thread(target=look)
    looking.start()
    session = folder / "session.json"
    command = apply.commonpool(bench, "up")
    words = [sys.executable, "-m", "pyinstrument", "-r", "pyinstrument.renderers.JSONRenderer", "-o", str(session)]
    subprocess.run([*words, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    looking.join()
    go = binaries.find_go(ROOT / "tools" / "kubernetes")
    top = [go, "tool", "pprof", "-top", "-cum", "-nodecount=100000", str(profile)]
    said = subprocess.run(top, check=True, capture_output=True, text=True).stdout
    return client_shares(json.loads(session.read_text())), server_shares(said)


def lines(found: Iterable[tuple[str, float]]) -> Iterator[list[str]]:
    """Rows with a bar."""
    for title, share in found:
        yield [title, f"{share:.0f} %", "█" * round(share / 2)]


def main() -> None:
    """Profile, print two tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("departments", nargs="?", type=int, default=400)
    arguments.add_argument("--save", action="store_true", help="keep the figures for bench/README.md")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="commonpool-bench-") as temporary:
        bench = apply.Bench(Path(temporary), chosen.departments, [])
        try:
            bench.fresh()
            ours, theirs = profiled(bench, Path(temporary))
        finally:
            bench.pool.reset()
    whole = sum(ours.values())
    shares = {title: 100 * seconds / whole for title, seconds in ours.most_common()}
    for heading, found in (("our process", shares), ("the API server", theirs)):
        sys.stdout.write(table([heading, "CPU", ""], list(lines(found.items())), left=1) + "\n\n")
    if chosen.save:
        RESULT.parent.mkdir(exist_ok=True)
        kept = {"departments": chosen.departments, "objects": bench.objects, "client": shares, "server": theirs}
        RESULT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
