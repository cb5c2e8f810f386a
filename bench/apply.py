"""How fast a pool of N departments is applied: ours, kubectl, and a bare loop of server-side applies as the floor.

Every way applies the same objects to an API server of its own start, one after the other, in one run; only the ratios
mean something. Usage: `make bench`, or `python bench/apply.py [DEPARTMENTS]`.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import estates  # noqa: E402
import own_pool  # noqa: E402
from commonpool.cli.output import table  # noqa: E402
from commonpool.components import department  # noqa: E402
from commonpool.components.unit import units  # noqa: E402
from commonpool.embedded import EmbeddedPool, binaries  # noqa: E402
from commonpool.engine import Cluster, Options, Program, kubeconfig, up  # noqa: E402
from commonpool.model import load_estate  # noqa: E402

PARALLEL = 48


def bodies_of(estate_folder: Path) -> list[dict[str, Any]]:
    """What the departments become, Namespaces first, as plain manifests."""
    estate = load_estate(estate_folder)
    found = [body for one in estate.departments for body in department.objects(estate, one)]
    return sorted(found, key=lambda body: str(body["kind"]) != "Namespace")


def ours(pool: EmbeddedPool, estate_folder: Path) -> dict[str, int]:
    """One run of the departments' stack; returns the counts."""

    async def go() -> dict[str, int]:
        estate = load_estate(estate_folder)
        config: dict[str, Any] = {"commonpool:estate": str(estate_folder), "commonpool:program": "departments"}
        program = Program("commonpool", "departments", ROOT, config, units=units(estate, "departments", config))
        async with await Cluster.connect(kubeconfig.load(pool.kubeconfig)) as cluster:
            result = await up(program, cluster, options=Options(wait=False))
        if result.problems:
            raise SystemExit(f"the run failed: {result.problems[0]}")
        return dict(result.counts)

    return asyncio.run(go())


def kubectl(pool: EmbeddedPool, manifests: Path) -> None:
    """What the user would do otherwise."""
    command = [
        str(binaries.built(binaries.KUBERNETES) / "kubernetes"),
        "kubectl",
        "apply",
        "--server-side",
        "-f",
        str(manifests),
    ]
    environment = os.environ | {"KUBECONFIG": str(pool.kubeconfig)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def bare_loop(pool: EmbeddedPool, bodies: list[dict[str, Any]]) -> None:
    """Nothing but the requests, as many at a time as ours."""

    async def go() -> None:
        limit = asyncio.Semaphore(PARALLEL)
        async with await Cluster.connect(kubeconfig.load(pool.kubeconfig)) as cluster:

            async def one(body: dict[str, Any]) -> None:
                async with limit:
                    await cluster.apply(body)

            for wanted in (True, False):
                await asyncio.gather(*(one(body) for body in bodies if (body["kind"] == "Namespace") is wanted))

    asyncio.run(go())


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Wall and CPU seconds and peak MB of work in a process of its own, so that peaks do not mix."""
    reading, writing = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            used = sum(usage.ru_utime + usage.ru_stime for usage in (own, children))
            peak = max(own.ru_maxrss, children.ru_maxrss) / 1024
            os.write(writing, json.dumps({"cpu": used, "peak": peak}).encode())
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    wall = time.monotonic() - started
    if status:
        raise SystemExit("a measured run failed")
    return {"wall": wall, **json.loads(os.read(reading, 1000))}


def fresh_pool(folder: Path) -> EmbeddedPool:
    """An empty API server."""
    pool = EmbeddedPool("bench", folder)
    pool.reset()
    pool.start()
    own_pool.make_catalogue(pool)
    return pool


def main() -> None:
    """Measure, print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("departments", nargs="?", type=int, default=100)
    count = arguments.parse_args().departments
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="commonpool-bench-") as temporary:
        folder = Path(temporary)
        estate_folder = estates.write(folder / "estate", count)
        bodies = bodies_of(estate_folder)
        manifests = folder / "manifests.yaml"
        manifests.write_text(yaml.dump_all(bodies, Dumper=yaml.CSafeDumper, allow_unicode=True), encoding="utf-8")
        base = 0.0

        def note(title: str, found: dict[str, float], objects: int) -> None:
            nonlocal base
            rate = objects / found["wall"]
            base = base or rate
            rows.append([title, f"{objects:,}", f"{found['wall']:.1f} s", f"{rate:.0f}/s", f"{rate / base:.1f}",
                         f"{found['cpu']:.1f} s", f"{found['peak']:.0f} MB"])  # fmt: skip

        def clean() -> EmbeddedPool:
            return fresh_pool(folder / "pools")

        pool = clean()
        note("kubectl apply --server-side", measured(lambda: kubectl(pool, manifests)), len(bodies))
        pool = clean()
        note("bare loop", measured(lambda: bare_loop(pool, bodies)), len(bodies))
        pool = clean()
        note("commonpool up, first", measured(lambda: ours(pool, estate_folder)), len(bodies))
        note("commonpool up, no change", measured(lambda: ours(pool, estate_folder)), len(bodies))
        (estate_folder / "departments" / "d0.yaml").write_text(estates.department("d0", 0, environment="staging"))
        note("commonpool up, one changed", measured(lambda: ours(pool, estate_folder)), len(bodies))
        pool.reset()
    print(table(["", "objects", "wall", "rate", "x kubectl", "client CPU", "client peak"], rows, left=1))


if __name__ == "__main__":
    main()
