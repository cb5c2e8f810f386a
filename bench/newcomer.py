"""What a newcomer waits for: `make up` in a fresh clone with an empty HOME and no caches, by step; then again.

Nothing of the person's own is touched: clone, home, caches and pool live in a temporary folder that goes at the end. The
package registries are reached as the environment says. Steps are told apart by the lines that `make up` prints.

Usage: `make newcomer`, or `python bench/newcomer.py [--save]`; a quarter of an hour, most of it compiling. `--save` keeps
the figures in bench/results/newcomer.json, from which bench/README.md is made.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "newcomer.json"
OWN = ("HOME", "GOPATH", "GOCACHE", "GOMODCACHE", "VIRTUAL_ENV")
OWN_PREFIXES = ("COMMONPOOL_", "XDG_")
# What ends a step, in order: the first line that looks so.
STEPS = (
    ("the first line on the screen", r""),
    ("Python packages", r" +estate "),
    ("Go modules", r" +building Kubernetes: "),
    ("Kubernetes is built", r" +built +Kubernetes"),
    ("Envoy Gateway is built", r" +built +Envoy Gateway"),
    ("the pool starts", r" +pool +"),
    ("stand-ins start", r" +played "),
    ("the estate is applied", r" +took "),
)
HOSTS, JOINED, AGAIN = "packages for test hosts", "two machines join, built meanwhile", "make up again, nothing changed"
HEADINGS = ["step", "seconds", "since the start"]


@dataclass(frozen=True)
class Step:
    """One step and how many seconds it took."""

    name: str
    seconds: float


def environment(home: Path) -> dict[str, str]:
    """The person's, without what leads to caches and pools that are there already."""
    kept = {key: value for key, value in os.environ.items() if key not in OWN and not key.startswith(OWN_PREFIXES)}
    return kept | {"HOME": str(home)}


def said(command: Sequence[str], clone: Path, home: Path) -> Iterator[tuple[float, str]]:
    """Seconds since the start, and each line of a command. Raises SystemExit with its last lines when it fails."""
    started, lines = time.monotonic(), list[str]()
    with subprocess.Popen(
        command, cwd=clone, env=environment(home), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            yield time.monotonic() - started, line
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{''.join(lines[-15:])}")


def first_up(clone: Path, home: Path) -> tuple[list[Step], bool]:
    """`make up` from nothing, and whether machines join for real after it."""
    steps, waiting, before, moment, line = list[Step](), list(STEPS), 0.0, 0.0, ""
    joining = False
    for moment, line in said(["make", "up"], clone, home):
        joining |= "brought in over SSH" in line
        if waiting and re.match(waiting[0][1], line):
            steps.append(Step(waiting.pop(0)[0], moment - before))
            before = moment
            sys.stderr.write(f"  {steps[-1].name}: {steps[-1].seconds:.1f} s\n")
    if waiting:
        raise SystemExit(f"no line of `make up` ended the step {waiting[0][0]!r}")
    return [*steps, Step(HOSTS, moment - before)], joining


def whole(name: str, command: Sequence[str], clone: Path, home: Path) -> Step:
    """One command from start to end."""
    started = time.monotonic()
    for _ in said(command, clone, home):
        pass
    return Step(name, time.monotonic() - started)


def run() -> list[Step]:
    """The whole path."""
    folder = Path(tempfile.mkdtemp(prefix="commonpool-newcomer-"))
    clone, home = folder / "commonpool", folder / "home"
    home.mkdir()
    try:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        steps, joining = first_up(clone, home)
        if joining:
            hosts = [str(clone / ".venv" / "bin" / "commonpool"), "embedded", "hosts"]
            steps.append(whole(JOINED, hosts, clone, home))
        steps.append(whole(AGAIN, ["make", "up"], clone, home))
    finally:
        subprocess.run(["make", "clean"], cwd=clone, env=environment(home), check=False, capture_output=True)
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)  # Go keeps its modules read-only
        shutil.rmtree(folder, ignore_errors=True)
    return steps


def lines(steps: Sequence[Step]) -> Iterator[list[str]]:
    """The table's rows."""
    since = 0.0
    for step in steps:
        since += step.seconds
        yield [step.name, f"{step.seconds:.1f}", "" if step.name == AGAIN else f"{since:.0f}"]


def main() -> None:
    """Measure, print a table."""
    from commonpool.cli.output import table

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--save", action="store_true")
    chosen = arguments.parse_args()
    steps = run()
    sys.stdout.write(table(HEADINGS, list(lines(steps))) + "\n")
    if chosen.save:
        kept = [{**asdict(step), "seconds": round(step.seconds, 1)} for step in steps]
        RESULTS.write_text(json.dumps({"steps": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
