"""What bench/proxy.py measured: its figures, kept in bench/results/proxy.json, and the tables of them."""

import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

RESULTS = Path(__file__).resolve().parents[1] / "results" / "proxy.json"
RATES = (500, 2000)
ROUNDS = 30  # new routes, and new services, that are declared among the others
HEADINGS = ["", "job", *(f"P50 / P99 ms at {rate:,}/s" for rate in RATES), "added to direct", "most calls/s", "calls per CPU second", "memory"]  # fmt: skip
MANY = ["", "measured", "to reach"]


@dataclass(frozen=True)
class Row:
    """What one proxy did in all rounds: latencies in ms by rate (P50, P99), what it added at the highest, calls a second."""

    name: str
    job: str
    latencies: dict[str, tuple[float, float]]
    added: tuple[float, float]
    most: float
    per_cpu_second: float
    megabytes: float
    failures: bool


def lines(rows: Iterable[Row]) -> Iterator[list[str]]:
    """The table's rows."""
    for row in rows:
        own = row.per_cpu_second > 0
        yield [
            row.name + (" (failures)" if row.failures else ""),
            row.job,
            *(f"{p50:.2f} / {p99:.2f}" for p50, p99 in row.latencies.values()),
            f"{row.added[0]:+.2f} / {row.added[1]:+.2f}" if own else "",
            f"{row.most:,.0f}",
            f"{row.per_cpu_second:,.0f}" if own else "",
            f"{row.megabytes:.0f} MB" if own else "",
        ]


def many_lines(found: dict[str, float]) -> Iterator[list[str]]:
    """The table's rows, with what is to be reached."""
    yield [f"first `commonpool up` of {found['services']:,.0f} services", f"{found['first']:.1f} s", "≤ 30 s"]
    yield ["until the last one answers, after it", f"{found['last_answers']:.1f} s", ""]
    yield ["`commonpool up` of one changed service", f"{found['changed']:.1f} s", "≤ 2 s"]
    yield ["`commonpool up` that changes nothing", f"{found['unchanged']:.1f} s", ""]
    for word, text in (("route", "one more route"), ("service", "one more service with its callers")):
        measured = f"P50 {found[f'{word}_p50']:.0f} ms, slowest of {ROUNDS} {found[f'{word}_p99']:.0f} ms"
        yield [f"{text}: from the API write to the first answer", measured, "≤ 100 ms, P99 ≤ 400 ms"]
    yield ["Envoy killed, until the last one answers again", f"{found['killed']:.1f} s", "≤ 3 s"]
    yield ["Envoy's memory", f"{found['envoy']:.0f} MB", "≤ 300 MB"]
    yield ["Envoy Gateway's memory", f"{found['envoy_gateway']:.0f} MB", ""]


def save(part: str, found: object) -> None:
    """Keep the figures of one part; the other part's stay."""
    memory = round(psutil.virtual_memory().total / 2**30)
    machine = {"cores": os.cpu_count(), "memoryGiB": memory, "kernel": platform.release()}
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(kept | {"machine": machine, part: found}, indent=1) + "\n", encoding="utf-8")
