"""How fast a pool of N departments is applied: ours, kubectl, and a bare loop of server-side applies as the floor.

Every way is the command that its user would type, about the same objects, each on an API server of its own that starts
empty, one after the other, in one run; only the ratios mean something. `pulumi up` is measured where the Pulumi CLI is on
PATH. What the server spends is the API server and etcd together. Nobody waits for readiness: kubectl does not either.

Usage: `make bench`, or `python bench/apply.py [DEPARTMENTS ...] [--only ours] [--save]`. The estates are those of
bench/province.py. `--save` keeps the figures in bench/results/apply.json, from which bench/README.md is made.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import own_pool  # noqa: E402
import province  # noqa: E402
from commonpool.cli.output import table  # noqa: E402
from commonpool.components import department  # noqa: E402
from commonpool.embedded import EmbeddedPool, binaries  # noqa: E402
from commonpool.engine import Cluster, kubeconfig  # noqa: E402
from commonpool.model import load_estate  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "apply.json"
PARALLEL = 48
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
SERVER = ("kube-apiserver", "etcd")
KUBECTL, BARE, OURS, PULUMI = "kubectl apply --server-side", "bare loop", "commonpool up", "pulumi up"
PLAIN = "commonpool up --program, as anybody's"
DISTRIBUTED = "the distribution's kubectl apply --server-side"


@dataclass(frozen=True)
class Row:
    """One measured command: seconds, MB; `stored` is etcd's file, `writes` the client's as the audit log has them."""

    way: str
    act: str
    departments: int
    objects: int
    wall: float
    client_cpu: float
    client_peak: float
    server_cpu: float
    server_peak: float
    stored: float
    writes: int


@dataclass
class Bench:
    """One estate of some size, as files for every way, and the pool that the commands meet."""

    folder: Path
    departments: int
    rows: list[Row]

    def __post_init__(self) -> None:
        self.pool = EmbeddedPool("bench", self.folder / "pools")
        self.estate = province.write(self.folder / "estate", self.departments)
        self.bodies = self.folder / "bodies.json"
        self.manifests = self.folder / "manifests.yaml"
        self.declare()

    def declare(self) -> None:
        """Write what the estate's departments become, Namespaces first, for those who take plain manifests."""
        estate = load_estate(self.estate)
        found = [body for one in estate.departments for body in department.objects(estate, one)]
        found.sort(key=lambda body: str(body["kind"]) != "Namespace")
        self.objects = len(found)
        self.bodies.write_bytes(orjson.dumps(found))
        self.manifests.write_text(yaml.dump_all(found, Dumper=yaml.CSafeDumper, allow_unicode=True), encoding="utf-8")

    def change_one(self) -> None:
        """Let the first department ask for another environment."""
        path = min((self.estate / "departments").iterdir())
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        manifest["spec"]["namespaces"][0]["environment"] = "staging"
        path.write_text(yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False), encoding="utf-8")
        self.declare()

    def fresh(self) -> None:
        """An empty API server."""
        self.pool.reset()
        self.pool.start()
        own_pool.make_catalogue(self.pool)

    def measure(self, way: str, act: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Run a command to its end and note what it and the server spent."""
        log = self.pool.audit_log.stat()
        before, started = self._server_cpu(), time.monotonic()
        with (self.folder / "said.txt").open("w+b") as said:
            process = subprocess.Popen(
                list(command), stdout=said, stderr=subprocess.STDOUT, cwd=ROOT, env=os.environ | (environment or {})
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = time.monotonic() - started
            if process.returncode:
                said.seek(0)
                raise SystemExit(f"{' '.join(command[:4])} … failed:\n{said.read().decode()[-2000:]}")
        row = Row(
            way, act, self.departments, self.objects, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024,
            self._server_cpu() - before, self._server_peak(), self._stored(), self._writes(log),
        )  # fmt: skip
        self.rows.append(row)
        sys.stderr.write(f"  {self.departments:>5} {way}, {act}: {wall:.1f} s\n")

    def servers(self) -> dict[str, psutil.Process]:
        """The API server and etcd, by name."""
        return {one.name: psutil.Process(one.pid) for one in self.pool.status().components if one.name in SERVER}

    def _server(self) -> list[psutil.Process]:
        return list(self.servers().values())

    def _server_cpu(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self._server())

    def _server_peak(self) -> float:
        """MB; exact, as the kernel keeps it for each process."""
        lines = (line for one in self._server() for line in Path(f"/proc/{one.pid}/status").read_text().splitlines())
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    def _stored(self) -> float:
        return sum(path.stat().st_size for path in self.pool.layout.root.rglob("member/snap/db")) / 2**20

    def _writes(self, before: os.stat_result) -> int:
        time.sleep(0.5)  # the log is written in the background
        found = 0
        for path in self.pool.layout.logs.glob("audit*.log"):
            same = path.stat().st_ino == before.st_ino
            if not same and path.stat().st_mtime < before.st_mtime:
                continue
            with path.open("rb") as log:
                log.seek(before.st_size if same else 0)
                found += sum(_is_write(orjson.loads(line)) for line in log)
        return found


def _is_write(event: dict[str, Any]) -> bool:
    agent = event.get("userAgent", "")
    ours = agent.startswith(("commonpool", "kubectl", "pulumi"))
    resource = event.get("objectRef", {}).get("resource", "")
    return ours and event["verb"] in WRITES and resource != "selfsubjectreviews" and "dryRun" not in event["requestURI"]


def commonpool(bench: Bench, verb: str, *source: str) -> list[str]:
    """Our command about the departments' stack; `source` says whose program it is when it is not ours."""
    words = [str(ROOT / ".venv" / "bin" / "commonpool"), verb, "--stack", "departments"]
    quick = ["--yes", "--skip-preview"] if verb == "up" else ["--yes"]
    about = source or ("--estate", str(bench.estate))
    return [*words, *about, "--kubeconfig", str(bench.pool.kubeconfig), *quick, "--no-wait"]


def ours(bench: Bench) -> None:
    """First, nothing changed, one changed, all gone."""
    bench.measure(OURS, "first", commonpool(bench, "up"))
    bench.measure(OURS, "no change", commonpool(bench, "up"))
    bench.change_one()
    bench.measure(OURS, "one changed", commonpool(bench, "up"))
    bench.measure(OURS, "destroy", commonpool(bench, "destroy"))


def plain(bench: Bench) -> None:
    """The same stack as somebody else's program: a process of its own, each object through Pulumi's SDK and gRPC."""
    config = ["-c", f"commonpool:estate={bench.estate}", "-c", "commonpool:program=departments"]
    command = commonpool(bench, "up", "--program", str(ROOT), *config)
    bench.measure(PLAIN, "first", command)
    bench.measure(PLAIN, "no change", command)


def kubectl(bench: Bench) -> None:
    """What the user would do otherwise, with the kubectl of the server's own version."""
    _kubectl(bench, KUBECTL, [str(binaries.built(binaries.KUBERNETES) / "kubernetes"), "kubectl"])


def distributed(bench: Bench) -> None:
    """The same with the kubectl that Debian ships, which is years older."""
    subprocess.run(
        ["apt-get", "download", "-q", "kubernetes-client"], cwd=bench.folder, check=True, capture_output=True
    )
    package = next(bench.folder.glob("kubernetes-client_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(package), str(bench.folder / "debian")], check=True)
    _kubectl(bench, DISTRIBUTED, [str(bench.folder / "debian" / "usr" / "bin" / "kubectl")])


def _kubectl(bench: Bench, way: str, program: list[str]) -> None:
    apply = [*program, "apply", "--server-side", "-f", str(bench.manifests)]
    environment = {"KUBECONFIG": str(bench.pool.kubeconfig)}
    bench.measure(way, "first", apply, environment)
    bench.measure(way, "no change", apply, environment)
    bench.change_one()
    bench.measure(way, "one changed", apply, environment)
    bench.measure(
        way,
        "destroy",
        [*program, "delete", "--wait=false", "--ignore-not-found", "-f", str(bench.manifests)],
        environment,
    )


def bare(bench: Bench) -> None:
    """Nothing but the requests, as many at a time as ours."""
    words = [sys.executable, __file__, "--bare-loop", str(bench.bodies), str(bench.pool.kubeconfig)]
    bench.measure(BARE, "first", words)


def bare_loop(bodies: Path, config: Path) -> None:
    """The floor's process."""

    async def go() -> None:
        limit = asyncio.Semaphore(PARALLEL)
        found = orjson.loads(bodies.read_bytes())
        async with await Cluster.connect(kubeconfig.load(config)) as cluster:

            async def one(body: dict[str, Any]) -> None:
                async with limit:
                    await cluster.apply(body)

            for wanted in (True, False):
                await asyncio.gather(*(one(body) for body in found if (body["kind"] == "Namespace") is wanted))

    asyncio.run(go())


def pulumi(bench: Bench) -> None:
    """The CLI with its file backend, where there is one."""
    backend = bench.folder / "pulumi"
    backend.mkdir()
    environment = {
        "PULUMI_BACKEND_URL": backend.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "bench",
        "KUBECONFIG": str(bench.pool.kubeconfig),
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    subprocess.run(["pulumi", "stack", "init", "departments"], cwd=ROOT, env=os.environ | environment, check=True)
    config = ["--config", f"commonpool:estate={bench.estate}", "--config", "commonpool:program=departments"]
    command = ["pulumi", "up", "--yes", "--skip-preview", "--stack", "departments", *config]
    bench.measure(PULUMI, "first", command, environment)
    bench.measure(PULUMI, "no change", command, environment)
    bench.change_one()
    bench.measure(PULUMI, "one changed", command, environment)
    bench.measure(PULUMI, "destroy", ["pulumi", "destroy", "--yes", "--stack", "departments"], environment)


WAYS: dict[str, Callable[[Bench], None]] = {
    "kubectl": kubectl,
    "distributed": distributed,
    "bare": bare,
    "ours": ours,
    "plain": plain,
    "pulumi": pulumi,
}
NEEDS = {"pulumi": "pulumi", "distributed": "apt-get"}


def run(departments: int, ways: Sequence[str]) -> list[Row]:
    """All ways about one size."""
    rows: list[Row] = []
    for way in ways:
        with tempfile.TemporaryDirectory(prefix="commonpool-bench-") as temporary:
            bench = Bench(Path(temporary), departments, rows)
            try:
                bench.fresh()
                WAYS[way](bench)
            finally:
                bench.pool.reset()
    return rows


def lines(rows: Sequence[Row]) -> Iterator[list[str]]:
    """The table's rows: kubectl's time by that of the row for the same act and size, and the rate as part of the bare loop's."""
    rival = {(row.departments, row.act): row.wall for row in rows if row.way == KUBECTL}
    floor = {(row.departments, row.act): row.wall for row in rows if row.way == BARE}
    for row in rows:
        other, least = (walls.get((row.departments, row.act)) for walls in (rival, floor))
        yield [
            f"{row.way}, {row.act}", f"{row.departments:,}", f"{row.objects:,}", f"{row.wall:.1f} s",
            f"{row.objects / row.wall:.0f}/s" if row.act == "first" else "", f"{other / row.wall:.1f}" if other else "",
            f"{100 * least / row.wall:.0f} %" if least else "", f"{row.writes:,}",
            f"{row.client_cpu:.1f} s", f"{row.client_peak:.0f} MB", f"{row.server_cpu:.1f} s", f"{row.server_peak:.0f} MB",
        ]  # fmt: skip


HEADINGS = ["", "departments", "objects", "wall", "rate", "× kubectl", "of the bare loop", "writes", "client CPU",
            "client peak", "server CPU", "server peak"]  # fmt: skip


def save(rows: Sequence[Row]) -> None:
    """Keep these figures; those of the same size and way from before are replaced."""
    kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    new = {(row.departments, row.way) for row in rows}
    old = [one for one in kept if (one["departments"], one["way"]) not in new]
    machine = {
        "cores": os.cpu_count(),
        "memoryGiB": round(psutil.virtual_memory().total / 2**30),
        "kernel": platform.release(),
    }
    order = (KUBECTL, DISTRIBUTED, BARE, OURS, PLAIN, PULUMI)
    found = sorted(
        [*old, *(asdict(row) for row in rows)], key=lambda one: (one["departments"], order.index(one["way"]))
    )
    RESULTS.parent.mkdir(exist_ok=True)
    rounded = [
        {key: round(value, 2) if isinstance(value, float) else value for key, value in one.items()} for one in found
    ]
    RESULTS.write_text(json.dumps({"machine": machine, "rows": rounded}, indent=1) + "\n")


def main() -> None:
    """Measure, print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("departments", nargs="*", type=int, default=[100])
    arguments.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), help="these ways alone")
    arguments.add_argument("--save", action="store_true", help="keep the figures")
    arguments.add_argument("--bare-loop", nargs=2, type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.bare_loop:
        bare_loop(*chosen.bare_loop)
        return
    ways = [way for way in chosen.only if way not in NEEDS or shutil.which(NEEDS[way])]
    rows = [row for departments in chosen.departments for row in run(departments, ways)]
    sys.stdout.write(table(HEADINGS, list(lines(rows)), left=1) + "\n")
    for way in set(chosen.only) - set(ways):
        sys.stdout.write(f"{way}: not measured, {NEEDS[way]} is not on PATH\n")
    if chosen.save:
        save(rows)


if __name__ == "__main__":
    main()
