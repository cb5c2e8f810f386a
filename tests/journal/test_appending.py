"""What is recorded stands on the disk before anybody acts on it, whoever writes beside, dies or finds no room (A4, A8, F9)."""

import asyncio
import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commonpool.journal import Entry, Journal, JournalDamaged, JournalUnavailable
from commonpool.journal import journal as writing
from commonpool.journal.error import JournalMissing, KeyNotInForce
from commonpool.journal.export import export
from commonpool.journal.note import Signer
from commonpool.journal.query import last, newest, records
from commonpool.journal.recorder import Recorder
from commonpool.journal.segment import RECORDS, segments
from commonpool.journal.tree import Frontier, consistency, is_consistent, leaf_hash, root
from commonpool.journal.verification import verify
from journals import edit, flipped_bit, made

WRITER = """
import sys
from pathlib import Path
from commonpool.journal import Entry, Journal
folder, key, name, count = sys.argv[1:]
journal = Journal(Path(folder), Path(key))
for number in range(int(count)):
    journal.append([Entry("up.begun", name, {"number": number})])
"""


def test_a3_writers_beside_each_other_make_one_chain_and_lose_nothing(tmp_path: Path) -> None:
    journal = made(tmp_path, [])
    places = (str(journal.folder), str(tmp_path / "journal.key"))
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, *places, f"w{number}", "60"]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert verify(journal.folder).good
    for number in range(3):
        own = [one.data["number"] for one in records(journal.folder) if one.actor == f"w{number}"]
        assert own == list(range(60))


def test_a_journal_goes_on_over_segments_and_reopens_from_the_last_one(tmp_path: Path) -> None:
    journal = made(tmp_path, [RECORDS - 3, 10, RECORDS])
    assert [path.stem for path in segments(journal.folder)] == ["000000000000", "000000004096", "000000008192"]
    Journal(journal.folder, tmp_path / "journal.key").append([Entry("up.begun", "d1")])
    verdict = verify(journal.folder)
    assert (verdict.good, verdict.size) == (True, 2 * RECORDS + 9)
    assert [one.sequence for one in records(journal.folder, RECORDS - 2)] == list(range(RECORDS - 2, verdict.size))
    newest_record = last(journal.folder, "up.begun")
    assert newest_record is not None
    assert newest_record.sequence == verdict.size - 1


KILLED = """
import sys
from pathlib import Path
from commonpool.journal import Entry, Journal
journal = Journal(Path(sys.argv[1]), Path(sys.argv[2]))
number = 0
while True:
    journal.append([Entry("up.begun", "d1", {"number": number + place}) for place in range(3)])
    number += 3
    print(number, flush=True)
"""


def test_a4_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    journal = made(tmp_path, [])
    acknowledged = 0
    for _ in range(4):
        command = [sys.executable, "-c", KILLED, str(journal.folder), str(tmp_path / "journal.key")]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(15)]
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split("\n")[:-1]
        writer.wait()
        acknowledged += max([*told, *map(int, rest)])
        kept = sum(1 for _ in records(journal.folder, kinds=("up.begun",)))
        assert kept >= acknowledged
        acknowledged = kept
    journal.append([Entry("up.ended", "d1")])
    assert verify(journal.folder).good


def test_a4_what_no_seal_covers_was_never_acknowledged_and_is_taken_away_with_a_record(tmp_path: Path) -> None:
    journal = made(tmp_path, [2])
    path = segments(journal.folder)[0]
    with path.open("ab") as file:
        file.write(b'{"seq":3,"prev":"forged or torn')
    assert not verify(journal.folder).good
    journal.append([Entry("up.begun", "d1")])
    assert verify(journal.folder).good
    found = list(records(journal.folder))
    assert [one.kind for one in found[3:]] == ["journal.recovered", "up.begun"]
    assert found[3].data == {"bytesWithoutSeal": 31}


def test_a4_who_writes_already_completes_the_rotation_of_somebody_who_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would go on to seal with a key that counts no more, and the journal would never verify again."""
    writer = made(tmp_path, [2])
    other = Journal(writer.folder, tmp_path / "journal.key")

    def killed(successor: Signer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(other, "_succeed", killed)
    with pytest.raises(KeyboardInterrupt):
        other.rotate()
    writer.append([Entry("exchange.asked", "d1")])
    verdict = verify(writer.folder)
    assert (verdict.good, len(verdict.keys)) == (True, 2), verdict.finding
    assert not (tmp_path / "journal.key.next").exists()


def test_a4_a_rotation_that_was_cut_short_is_completed_or_never_was(tmp_path: Path) -> None:
    journal = made(tmp_path, [1])
    old = (tmp_path / "journal.key").read_bytes()
    journal.rotate()
    new = (tmp_path / "journal.key").read_bytes()
    (tmp_path / "journal.key").write_bytes(old)
    (tmp_path / "journal.key.next").write_bytes(new)
    lines = (journal.folder / "keys").read_text().splitlines()
    (journal.folder / "keys").write_text(f"{lines[0]}\n")
    Journal(journal.folder, tmp_path / "journal.key").append([Entry("up.begun", "d1")])
    assert verify(journal.folder).good
    assert (tmp_path / "journal.key").read_bytes() == new
    (tmp_path / "journal.key.next").write_bytes(Signer.generate(journal.origin).pem)
    Journal(journal.folder, tmp_path / "journal.key").append([Entry("up.begun", "d1")])
    assert not (tmp_path / "journal.key.next").exists()
    assert verify(journal.folder).good


def test_f9_a_full_disk_refuses_the_act_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    journal = made(tmp_path, [3])
    before = newest(journal.folder)
    size = segments(journal.folder)[0].stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        with pytest.raises(JournalUnavailable):
            journal.append([Entry("up.begun", "d1")] * 5, grace=0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert newest(journal.folder) == before
    assert verify(journal.folder).good
    assert journal.append([Entry("up.begun", "d1")])[0].sequence == 4
    assert verify(journal.folder).good


def test_f9_a_commit_for_whose_end_there_is_no_room_leaves_no_beginning_that_would_stand_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new segment needs more room than the rest of the old one: the same calls would be recorded, and counted, again."""
    journal = made(tmp_path, [RECORDS - 3])
    calls = [Entry("exchange.asked", "d1", {"call": number}) for number in range(5)]

    def full(path: Path, content: bytes, mode: int) -> None:
        path.write_bytes(content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(writing, "_write_new", full)
        with pytest.raises(JournalUnavailable):
            journal.append(calls, grace=0.1)
        assert verify(journal.folder).good
    journal.append(calls)
    assert [one.data.get("call") for one in records(journal.folder, RECORDS - 2)] == list(range(5))
    assert verify(journal.folder).good


def test_no_journal_is_made_where_the_key_of_one_stands(tmp_path: Path) -> None:
    """Its disk is not mounted, it was moved, its old segments were put away: with its key lost, nobody could go on with it."""
    journal = made(tmp_path, [RECORDS + 3])
    key = tmp_path / "journal.key"
    before = key.read_bytes()
    journal.folder.rename(tmp_path / "away")
    with pytest.raises(JournalMissing, match="key is there"):
        Journal.open(journal.folder, key, "test")
    assert not journal.folder.exists()
    (tmp_path / "away").rename(journal.folder)
    first = segments(journal.folder)[0]
    first.rename(tmp_path / first.name)
    for stays in (key, key.with_name("put.away")):
        key.rename(stays)
        with pytest.raises(JournalMissing, match="000000004096"):
            Journal.open(journal.folder, key, "test")
    stays.rename(key)
    (tmp_path / first.name).rename(first)
    assert key.read_bytes() == before
    Journal.open(journal.folder, key, "test").append([Entry("up.begun", "d1")])
    assert verify(journal.folder).good


def test_a3_many_who_open_a_journal_that_is_not_there_yet_make_one(tmp_path: Path) -> None:
    """The first `up` of a pool and the exchange that starts beside it."""
    for number in range(10):
        folder, key = tmp_path / str(number) / "journal", tmp_path / str(number) / "journal.key"
        with ThreadPoolExecutor(8) as pool:
            for opened in [pool.submit(Journal.open, folder, key, "test") for _ in range(8)]:
                opened.result().append([Entry("up.begun", "d1")])
        assert verify(folder, processes=1).size == 9


@pytest.mark.parametrize("step", range(4))
def test_a4_a_journal_whose_maker_was_killed_is_made_by_the_next_one(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, key = tmp_path / "journal", tmp_path / "journal.key"
    whole, steps = writing._write_new, iter(range(4))

    def killed(path: Path, content: bytes, mode: int) -> None:
        if next(steps) == step:
            raise KeyboardInterrupt
        whole(path, content, mode)

    with monkeypatch.context() as death:
        death.setattr(writing, "_write_new", killed)
        if step == 3:  # everything is written, and only the key is not in its place yet
            death.setattr(Journal, "_finish_rotation", lambda _: killed(key, b"", 0))
        with pytest.raises(KeyboardInterrupt):
            Journal.open(folder, key, "test")
    Journal.open(folder, key, "test").append([Entry("up.begun", "d1")])
    verdict = verify(folder)
    assert (verdict.good, verdict.size) == (True, 2)
    assert (folder / "keys").read_text().count("\n") == 1
    assert not key.with_name("journal.key.next").exists()


def test_a_key_that_is_not_in_force_seals_nothing(tmp_path: Path) -> None:
    """Key and journal come back from backups of different times: one seal by the wrong key, and it never verifies again."""
    journal = made(tmp_path, [3])
    key = tmp_path / "journal.key"
    old = key.read_bytes()
    journal.rotate()
    journal.append([Entry("up.begun", "d1")])
    new = key.read_bytes()
    key.write_bytes(old)
    with pytest.raises(KeyNotInForce):
        Journal(journal.folder, key).append([Entry("up.begun", "d1")])
    assert verify(journal.folder).size == 6
    key.write_bytes(new)
    Journal(journal.folder, key).append([Entry("up.begun", "d1")])
    assert verify(journal.folder).size == 7


def test_who_writes_already_goes_on_with_the_journal_that_was_put_in_the_place_of_its_own(tmp_path: Path) -> None:
    journal = made(tmp_path / "one", [3])
    other = made(tmp_path / "other", [1])
    for name in ("journal", "journal.key"):
        (tmp_path / "one" / name).rename(tmp_path / "one" / f"{name}.before")
        (tmp_path / "other" / name).rename(tmp_path / "one" / name)
    journal.append([Entry("up.begun", "d1")])
    assert journal.origin == other.origin
    assert verify(journal.folder, [other.verifier]).size == 3


def test_who_writes_already_notices_that_the_end_was_cut_off(tmp_path: Path) -> None:
    """What it had recorded is gone, and its next records would have their numbers."""
    journal = made(tmp_path, [3])
    length = segments(journal.folder)[0].stat().st_size
    journal.append([Entry("exchange.asked", "d1")] * 2)
    whole = segments(journal.folder)[0].read_bytes()
    os.truncate(segments(journal.folder)[0], length + 10)  # half a line is left of it, which is evidence too
    with pytest.raises(JournalDamaged, match="ends with record 3, and this process has seen record 5"):
        journal.append([Entry("exchange.asked", "d1")])
    assert segments(journal.folder)[0].stat().st_size == length + 10
    segments(journal.folder)[0].write_bytes(whole)
    assert journal.append([Entry("exchange.asked", "d1")])[0].sequence == 6


def test_half_of_a_line_is_no_damage_while_its_writer_is_at_it(tmp_path: Path) -> None:
    """A verifier that cries wolf on a pool in use is not listened to when it matters."""
    journal = made(tmp_path, [3])
    path = segments(journal.folder)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    descriptor = os.open(journal.folder / "lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    found: list[bool] = []
    reader = threading.Thread(target=lambda: found.append(verify(journal.folder).good))
    reader.start()
    reader.join(0.3)
    assert reader.is_alive(), "it waits for whoever writes"
    assert (newest(journal.folder).split("\n")[1], export(journal.folder, tmp_path / "copy")) == ("1", 1)
    path.write_bytes(whole)
    os.close(descriptor)
    reader.join()
    assert found == [True]


def test_a_damaged_journal_is_not_gone_on_with(tmp_path: Path) -> None:
    journal = made(tmp_path, [3, 3])
    edit(journal.folder, lambda lines: flipped_bit(lines, 5))
    with pytest.raises(JournalDamaged):
        Journal(journal.folder, tmp_path / "journal.key").append([Entry("up.begun", "d1")])


@pytest.mark.parametrize(
    "text",
    ["a\nb", 'a","seq":7,"x":"', "\x1b[2J\x1b[31mred", "\u202ereversed", "\ud800 alone", "\0", "x" * 10_000_000],
    ids=["newline", "JSON", "escape", "direction", "surrogate", "NUL", "10 MB"],
)
def test_a8_whatever_stands_in_a_field_it_is_one_bounded_record(tmp_path: Path, text: str) -> None:
    journal = made(tmp_path, [])
    journal.append([Entry(text, text, {"field": text, text: [text[:1000]] * 5000, "deep": _deep(100)})])
    lines = segments(journal.folder)[0].read_bytes().split(b"\n")
    assert len(lines) == 6, "header, record, seal, record, seal, end"
    assert len(lines[3]) <= 64 << 10
    assert b"\x1b" not in lines[3]
    assert verify(journal.folder).size == 2


def _deep(levels: int) -> object:
    return [_deep(levels - 1)] if levels else "bottom"


def test_what_waits_together_is_sealed_together(tmp_path: Path) -> None:
    journal = made(tmp_path, [])

    async def work() -> None:
        async with Recorder(journal) as recorder:
            await asyncio.gather(*(recorder.record(Entry("up.begun", str(number))) for number in range(200)))

    asyncio.run(work())
    verdict = verify(journal.folder)
    assert (verdict.good, verdict.size) == (True, 201)
    seals = segments(journal.folder)[0].read_bytes().count(b'{"seal":')
    assert seals < 20


def test_an_act_is_refused_when_its_evidence_stays_impossible_and_goes_on_when_it_comes_in_time(tmp_path: Path) -> None:
    journal = made(tmp_path, [])
    hidden = tmp_path / "away"

    async def work() -> None:
        async with Recorder(journal, grace=0.2) as recorder:
            journal.folder.rename(hidden)
            with pytest.raises(JournalUnavailable):
                await recorder.record(Entry("up.begun", "refused"))
        async with Recorder(journal, grace=30.0) as recorder:
            waiting = asyncio.create_task(recorder.record(Entry("up.begun", "waits")))
            await asyncio.sleep(0.1)
            hidden.rename(journal.folder)
            await waiting

    asyncio.run(work())
    assert [one.actor for one in records(journal.folder)][1:] == ["waits"]
    assert verify(journal.folder).good


@pytest.mark.parametrize("total", [1, 2, 3, 7, 8, 13, 64])
def test_the_tree_proves_that_one_head_goes_on_from_another_and_only_then(total: int) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(total)]
    frontier = Frontier()
    for number, leaf in enumerate(leaves):
        frontier.add(leaf)
        assert frontier.root() == root(leaves[: number + 1])
    for size in range(1, total + 1):
        proof = consistency(leaves, size)
        old, new = (size, root(leaves[:size])), (total, root(leaves))
        assert is_consistent(old, new, proof)
        assert not is_consistent((size, leaves[0] if size > 1 else b"x" * 32), new, proof)
        assert not is_consistent(old, (total, b"x" * 32), proof)
        assert not is_consistent(old, new, [*proof, b"x" * 32])


def test_the_tree_is_that_of_the_standard() -> None:
    """The roots of the RFC 6962 test vectors that certificate-transparency-go publishes."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [leaf_hash(bytes.fromhex(one)) for one in inputs]
    assert root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
