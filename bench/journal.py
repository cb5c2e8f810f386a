"""How fast evidence is written and verified: records a second with group commit, what one record adds to an act, verification.

Every record is signed for and on the disk before it counts. Usage: `make bench`, or `python bench/journal.py [RECORDS]`.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from commonpool.cli.output import table
from commonpool.journal import Entry, Journal
from commonpool.journal.recorder import Recorder
from commonpool.journal.verification import verify

CALLERS = 64  # acts under way at a time
RATE, SECONDS = 500, 10
ENTRY = {
    "service": "register",
    "agreement": "civil-affairs-to-finance",
    "path": "/people/1",
    "answer": "sha256:" + "0" * 64,
}


def entry(number: int) -> Entry:
    """What an exchange leaves."""
    return Entry("exchange.answered", "system:serviceaccount:d1-main:default", {**ENTRY, "number": number})


async def flood(journal: Journal, records: int) -> float:
    """Seconds for so many records by callers that each wait for theirs."""
    async with Recorder(journal) as recorder:

        async def caller(count: int) -> None:
            for number in range(count):
                await recorder.record(entry(number))

        began = time.monotonic()
        await asyncio.gather(*(caller(records // CALLERS) for _ in range(CALLERS)))
        return time.monotonic() - began


async def steadily(journal: Journal) -> list[float]:
    """What each record takes, in seconds, sorted, at a rate that does not wait for answers."""
    waited: list[float] = []
    async with Recorder(journal) as recorder:

        async def one(number: int) -> None:
            began = time.monotonic()
            await recorder.record(entry(number))
            waited.append(time.monotonic() - began)

        began = time.monotonic()
        tasks = []
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            tasks.append(asyncio.create_task(one(number)))
        await asyncio.gather(*tasks)
    return sorted(waited)


def bare(folder: Path) -> list[float]:
    """The disk alone: one write and one sync after the other, in seconds, sorted."""
    found = []
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(500):
        os.write(descriptor, b"x" * 400)
        began = time.monotonic()
        os.fdatasync(descriptor)
        found.append(time.monotonic() - began)
    os.close(descriptor)
    return sorted(found)


def main() -> None:
    """Measure, print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("records", nargs="?", type=int, default=200_000)
    count = arguments.parse_args().records
    rows = []
    with tempfile.TemporaryDirectory(prefix="commonpool-bench-") as temporary:
        folder = Path(temporary)
        disk = bare(folder)
        rows.append(["the disk alone, one sync", f"P50 {disk[250] * 1e3:.2f} ms, P99 {disk[495] * 1e3:.2f} ms"])
        journal = Journal.open(folder / "journal", folder / "journal.key", "bench")
        written = count // 20
        rows.append(
            [
                f"{CALLERS} callers, each waits for its own",
                f"{written / asyncio.run(flood(journal, written)):,.0f} records/s",
            ]
        )
        waited = asyncio.run(steadily(journal))
        middle, worst = (waited[int(len(waited) * part)] * 1e3 for part in (0.5, 0.99))
        rows.append([f"added at {RATE} records/s", f"P50 {middle:.2f} ms, P99 {worst:.2f} ms"])
        for _ in range(count // 500):
            journal.append([entry(number) for number in range(500)])
        began = time.monotonic()
        verdict = verify(journal.folder, [journal.verifier])
        took = time.monotonic() - began
        if not verdict.good:
            raise SystemExit(f"the journal does not verify: {verdict.finding}")
        rows.append([f"verified, {verdict.size:,} records", f"{took:.1f} s, {verdict.size / took:,.0f} records/s"])
    print(table(["journal", "measured"], rows, left=2))


if __name__ == "__main__":
    main()
