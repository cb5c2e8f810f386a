"""What bringing machines in costs: for the first, the third, and one more beside fifty; and against plain ansible-playbook.

Real test hosts on a LAN of their own and an embedded pool, both deleted at the end; it needs root. Usage: `make fleet`, or
`python bench/machines.py [--light 10] [--inventory 50] [--save]`; `--save` keeps the figures in bench/results/machines.json,
from which bench/README.md is made. One machine is controller, control plane and every host at once, so only the ratios
travel; its load stands beside them.
"""

import argparse
import contextlib
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
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "machines")]

from commonpool.cli.output import table  # noqa: E402
from commonpool.embedded.hosts import GATEWAY, Lan, Shape, why_not  # noqa: E402
from room import INSIDE, Room  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "machines.json"
NODES = ("first", "second", "third", "more")
DOWNLOAD = "Install packages of the distribution"  # by the distribution, over somebody's line: not ours
LIGHT: dict[str, Any] = {"commonpool_role": "backend"}
NO_CHANGE = "survey and bring in, no change"
FLEET = f"{NO_CHANGE}, nodes too"
PLAIN = {
    "plain ansible-playbook: the same by Ansible's own modules": [str(ROOT / "bench" / "usual.yml")],
    "plain ansible-playbook: our two playbooks": ["commonpool.pool.survey", "commonpool.pool.onboard"],
}
HEADINGS = ["", "machines", "time", "packages apart", "", "goal", "load"]


@dataclass(frozen=True)
class Row:
    """One measured act on some machines: seconds without those for packages, which stand apart; load before it began."""

    act: str
    machines: int
    seconds: float
    packages: float
    load: float


INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
ENOUGH = 1024  # the hosts share this kernel, and its 128 are too few for a dozen of systemd and four kubelets


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Enough instances of inotify for all hosts."""
    before = int(INSTANCES.read_text())
    INSTANCES.write_text(str(max(before, ENOUGH)))
    try:
        yield
    finally:
        INSTANCES.write_text(str(before))


def events(room: Room, since: float) -> Iterator[dict[str, Any]]:
    """What Ansible told since then, in seconds of the epoch."""
    for path in room.machines.glob("runs/*/artifacts/*/job_events/*[0-9a-f].json"):
        if path.stat().st_mtime >= since:
            yield json.loads(path.read_text(encoding="utf-8"))


def timed(room: Room, *words: str) -> float:
    """Seconds that a command takes, which must succeed."""
    began = time.monotonic()
    answer = room.machine(*words, timeout=1000)
    if answer.code:
        raise SystemExit(f"{' '.join(words)}:\n{answer.output}{answer.talk}")
    return time.monotonic() - began


def joined(room: Room, name: str) -> tuple[float, float]:
    """Seconds from the first SSH to a machine until it is Ready and open; and how many of them were packages."""
    before = time.time()
    timed(room, "onboard", name, "--yes")
    ended, first, packages = time.time(), time.time(), 0.0
    for event in events(room, before):
        data = event["event_data"]
        if event["event"] == "runner_on_start":
            first = min(first, datetime.fromisoformat(event["created"]).timestamp())
        elif event["event"] == "runner_on_ok" and data.get("task") == DOWNLOAD:
            packages += float(data["duration"])
    return ended - first - packages, packages


def _settings(room: Room) -> Path:
    """What the nodes have been given, by machine."""
    target = room.folder / "settings"
    for name in NODES:
        (target / name).mkdir(parents=True, exist_ok=True)
        for pattern in ("etc/commonpool/*.*", "etc/systemd/system/commonpool-*.service"):
            for path in room.lan.hosts[name].root.glob(pattern):
                shutil.copy2(path, target / name)
    return target


def plain(room: Room, names: Sequence[str], playbooks: Sequence[str]) -> float:
    """Seconds of playbooks, with the variables of our last run, by ansible-playbook as it comes: 5 forks, no pipelining."""
    began = time.monotonic()
    settings = _settings(room)
    survey, onboard = sorted((room.machines / "runs").iterdir())[-2:]
    for playbook in playbooks:
        run = survey if playbook.endswith("survey") else onboard
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")), playbook,
            "--inventory", str(room.estate / "hosts.yml"), "--inventory", str(run / "inventory"),
            "--extra-vars", f"@{run / 'variables.json'}", "--limit", ",".join(names), "--private-key", str(room.lan.key),
            "--extra-vars", f"usual_settings={settings}",
        ]  # fmt: skip
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(room.folder),
            "ANSIBLE_COLLECTIONS_PATH": str(run / "collections"),
        }
        with room.lan.entered():
            result = subprocess.run(command, env=environment, cwd=room.folder, capture_output=True, text=True)
        if result.returncode or "changed=1" in result.stdout:
            raise SystemExit(result.stdout[-3000:] + result.stderr[-1000:])
    return time.monotonic() - began


def inventory(room: Room, light: Sequence[str], total: int) -> None:
    """The machines that are there, and as many that are only declared as make the total."""
    there = {name: INSIDE for name in NODES} | dict.fromkeys(light, LIGHT)
    absent = {
        f"declared-{number}": {**LIGHT, "ansible_host": f"10.77.8.{number}"} for number in range(total - len(there))
    }
    room.declare(there | absent)


def measured(room: Room, light: Sequence[str], total: int) -> Iterator[Row]:
    """Every act in its order; each row is yielded once it is known."""

    def row(act: str, machines: int, measure: Callable[[], tuple[float, float]]) -> Row:
        load = os.getloadavg()[0]
        found = Row(act, machines, *measure(), load)
        sys.stderr.write(f"  {act}: {found.seconds:.1f} s\n")
        return found

    inventory(room, (), 0)
    for name in NODES[:3]:
        yield row(name, 1, lambda name=name: joined(room, name))  # type: ignore[misc]
    inventory(room, light, total)
    yield row(f"one more, {total} in the inventory", 1, lambda: joined(room, "more"))
    yield row("survey", len(light), lambda: (timed(room, "survey", *light), 0.0))
    timed(room, "onboard", *light, "--yes")
    yield row(NO_CHANGE, len(light), lambda: (timed(room, "onboard", *light, "--yes"), 0.0))
    fleet = [*NODES, *light]
    yield row(FLEET, len(fleet), lambda: (timed(room, "onboard", *fleet, "--yes"), 0.0))
    for act, playbooks in PLAIN.items():
        yield row(act, len(fleet), lambda playbooks=playbooks: (plain(room, fleet, playbooks), 0.0))  # type: ignore[misc]


def lines(rows: Sequence[Row]) -> Iterator[list[str]]:
    """The table's rows: each node beside the first, plain Ansible beside ours, and what the goal was."""
    first, ours = rows[0].seconds, next(row.seconds for row in rows if row.act == FLEET)
    goals = ("≤ 90 s", "", "within 15 %", "within 10 %", "≤ 10 s", "≤ 15 s", "", "≥ 2 times", "")
    for number, (row, goal) in enumerate(zip(rows, goals, strict=True)):
        beside = f"{row.seconds / first - 1:+.0%}" if 0 < number < len(NODES) else ""
        beside = f"{row.seconds / ours:.1f} times ours" if row.act in PLAIN else beside
        packages = f"{row.packages:.1f} s" if number < len(NODES) else ""
        yield [row.act, str(row.machines), f"{row.seconds:.1f} s", packages, beside, goal, f"{row.load:.1f}"]


def save(rows: Sequence[Row]) -> None:
    """Keep the figures of this run."""
    memory = round(psutil.virtual_memory().total / 2**30)
    machine = {"cores": os.cpu_count(), "memoryGiB": memory, "kernel": platform.release()}
    kept = [{**asdict(row), "seconds": round(row.seconds, 2), "packages": round(row.packages, 2)} for row in rows]
    RESULTS.write_text(json.dumps({"machine": machine, "rows": kept}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--light", type=int, default=10)
    arguments.add_argument("--inventory", type=int, default=50)
    arguments.add_argument("--save", action="store_true", help="keep the figures")
    wanted = arguments.parse_args()
    if reason := why_not():
        raise SystemExit(reason)
    light = [f"light-{number}" for number in range(wanted.light)]
    with watching(), tempfile.TemporaryDirectory(prefix="commonpool-fleet-") as temporary:
        lan = Lan(Path(temporary) / "lan")
        room = Room(lan, Path(temporary) / "room")
        try:
            lan.add({name: Shape() for name in (*NODES, *light)})
            inventory(room, light, 0)
            if room.command("embedded", "start", "--listen", GATEWAY, timeout=1000).code:
                raise SystemExit("the embedded pool does not start")
            timed(room, "trust", "--yes")
            rows = list(measured(room, light, wanted.inventory))
        finally:
            room.command("embedded", "reset", "--yes")
            lan.clean()
    sys.stdout.write(table(HEADINGS, list(lines(rows))) + "\n")
    if wanted.save:
        save(rows)


if __name__ == "__main__":
    main()
