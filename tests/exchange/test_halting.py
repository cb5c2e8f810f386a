"""Without a time that somebody vouches for nothing is accepted past the limit, and everything again when it is back (A5)."""

import asyncio
from datetime import date
from pathlib import Path

import pytest
from commonpool.exchange import server
from commonpool.exchange.server import Processor, keep_stamping
from commonpool.exchange.terms import Book
from commonpool.exchange.vault import Vault
from commonpool.exchange.volume import Volume
from commonpool.journal import Entry, Journal, JournalUnavailable
from commonpool.journal.recorder import Recorder
from commonpool.journal.timestamp import Stamping


def test_a5_calls_are_refused_past_the_limit_and_pass_when_the_service_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STAMP_LOOK_SECONDS", 0.01)
    journal = Journal.open(tmp_path / "journal", tmp_path / "journal.key", "test")
    stamping = Stamping(journal, "http://127.0.0.1:1/", every=0, limit=0)  # nobody listens there, and the limit is over

    async def work() -> None:
        async with Recorder(journal) as recorder:
            processor = Processor(Book(), recorder, Vault(tmp_path / "bodies"), Volume(date(2026, 1, 1)))
            task = asyncio.create_task(keep_stamping(processor, stamping))
            while not processor.halted:
                await asyncio.sleep(0.01)
            with pytest.raises(JournalUnavailable, match="nothing more is accepted"):
                await processor.record(Entry("exchange.asked", "d1"))
            monkeypatch.setattr(stamping, "keep_up", lambda: "")
            while processor.halted:
                await asyncio.sleep(0.01)
            assert (await processor.record(Entry("exchange.asked", "d1"))).sequence == 1
            task.cancel()

    asyncio.run(work())
