"""Whatever is done to a journal, the verifier names the first record that is not what was written (A1, A2, A3, A6)."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import journals
import orjson
import pytest
from commonpool.journal import Entry, Journal
from commonpool.journal.note import Checkpoint, Note, Signer, Verifier
from commonpool.journal.record import encoded, line_hash
from commonpool.journal.segment import RECORDS, Seal, is_seal, seal_line, segments
from commonpool.journal.tree import Frontier
from commonpool.journal.verification import verify
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import Lines, edit, made, place, sealed_by

GROUPS = [5, 1, 4, 3]  # records 1-5, 6, 7-10, 11-13; record 0 is the journal's own


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return made(tmp_path, GROUPS)


def without(lines: Lines, record: int) -> Lines:
    at = place(lines, record)
    return lines[:at] + lines[at + 1 :]


def doubled(lines: Lines, record: int) -> Lines:
    at = place(lines, record)
    return [*lines[: at + 1], lines[at], *lines[at + 1 :]]


def swapped(lines: Lines, record: int) -> Lines:
    at = place(lines, record)
    return [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]


def flipped(lines: Lines, record: int) -> Lines:
    at = place(lines, record)
    line = lines[at].replace(b'"by":"d1"', b'"by":"d2"')
    return [*lines[:at], line, *lines[at + 1 :]]


@pytest.mark.parametrize("record", [1, 3, 5, 6, 8, 13])
@pytest.mark.parametrize(
    ("change", "rule"),
    [(flipped, "changed"), (without, "deleted"), (doubled, "inserted")],
    ids=["changed", "deleted", "doubled"],
)
def test_a1_a_record_that_is_changed_deleted_or_doubled_is_named(
    journal: Journal, record: int, change: Callable[[Lines, int], Lines], rule: str
) -> None:
    edit(journal.folder, lambda lines: change(lines, record))
    finding = verify(journal.folder).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (record + (rule == "inserted"), rule)


def test_a1_two_records_in_another_order_are_named(journal: Journal) -> None:
    edit(journal.folder, lambda lines: swapped(lines, 8))
    finding = verify(journal.folder).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (8, "reordered")


def test_a1_a_record_that_was_put_in_with_its_chain_made_anew_is_named(journal: Journal) -> None:
    def put_in(lines: Lines) -> Lines:
        at = place(lines, 9)
        own = encoded(Entry("exchange.asked", "nobody"), 9, line_hash(lines[at - 1]))
        moved = journals.changed(lines, 9, seq=10, prev=base64.b64encode(line_hash(own)).decode())
        return [*moved[:at], own, *moved[at:]]

    edit(journal.folder, put_in)
    finding = verify(journal.folder).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (9, "inserted")


def test_a1_a_chain_made_anew_from_a_record_on_does_not_verify_without_the_key(journal: Journal) -> None:
    def anew(lines: Lines) -> Lines:
        return resealed(journals.changed(lines, 3, by="somebody"), Signer.generate(journal.origin), journal.origin)

    edit(journal.folder, anew)
    finding = verify(journal.folder).finding
    assert finding is not None
    assert finding.rule == "signature"


@pytest.mark.parametrize("lost", range(1, 9))
def test_a1_lines_cut_off_at_the_end_show_by_themselves_unless_a_seal_ends_them(tmp_path: Path, lost: int) -> None:
    journal = made(tmp_path, GROUPS)
    head = Checkpoint.parse(Note.parse(journal.checkpoint()).text)
    edit(journal.folder, lambda lines: lines[:-lost])
    alone, held = verify(journal.folder), verify(journal.folder, heads=[head])
    ends_with_a_seal = is_seal(segments(journal.folder)[0].read_bytes().split(b"\n")[-2])
    assert alone.good is ends_with_a_seal
    assert held.finding is not None
    assert held.finding.rule == "truncated"
    assert held.finding.sequence == alone.size


def test_a1_a_head_cut_off_and_a_segment_lost_are_named(tmp_path: Path) -> None:
    journal = made(tmp_path, [RECORDS, RECORDS])
    paths = segments(journal.folder)
    assert len(paths) == 3
    for lost, sequence in ((0, 0), (1, RECORDS)):
        copy = tmp_path / f"copy{lost}"
        shutil.copytree(journal.folder, copy)
        segments(copy)[lost].unlink()
        finding = verify(copy, [journal.verifier]).finding
        assert finding is not None
        assert (finding.sequence, finding.rule) == (sequence, "truncated")


def test_a1_two_chains_spliced_are_named(tmp_path: Path) -> None:
    one, other = (made(tmp_path / name, [RECORDS, 5]) for name in ("one", "other"))
    shutil.copyfile(segments(other.folder)[1], segments(one.folder)[1])
    finding = verify(one.folder).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (RECORDS, "spliced")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a1_any_flipped_bit_of_a_record_is_found_and_nothing_before_it_is_blamed(
    tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "bits"
    if not folder.exists():
        made(folder, GROUPS)
    path = segments(folder / "journal")[0]
    content = path.read_bytes()
    begin = content.index(b"\n") + 1
    at = data.draw(st.integers(begin, len(content) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    line = content.rfind(b"\n", 0, at) + 1
    try:
        path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        finding = verify(folder / "journal").finding
    finally:
        path.write_bytes(content)
    assert finding is not None
    record = content[line : content.index(b"\n", line)]
    if not is_seal(record) and content[at : at + 1] != b"\n":
        assert finding.sequence == orjson.loads(record)["seq"]


def resealed(lines: Lines, signer: Signer, origin: str) -> Lines:
    """The same groups with numbers, chain and seals made anew by whoever holds the signer's key."""
    found: Lines = []
    frontier, previous = Frontier(), b"\0" * 32
    leaves: list[bytes] = []
    for line in lines:
        if is_seal(line):
            found.append(seal_line(signer, origin, frontier, leaves)[:-1])
            leaves = []
            continue
        values = orjson.loads(line) | {"seq": frontier.size, "prev": base64.b64encode(previous).decode()}
        found.append(orjson.dumps(values))
        previous = line_hash(found[-1])
        leaves.append(previous)
        frontier.add(previous)
    return found


def test_a2_a_journal_written_anew_with_the_stolen_key_fails_against_a_head_kept_elsewhere(tmp_path: Path) -> None:
    journal = made(tmp_path, GROUPS)
    signer = Signer.from_pem(journal.origin, (tmp_path / "journal.key").read_bytes())
    heads = [
        Checkpoint.parse(Note.parse(Seal.of(orjson.loads(line)).note).text)
        for line in segments(journal.folder)[0].read_bytes().split(b"\n")
        if is_seal(line)
    ]
    edit(journal.folder, lambda lines: resealed(journals.changed(lines, 8, by="somebody"), signer, journal.origin))
    assert verify(journal.folder).good, "the thief has the key: only what is kept elsewhere can tell"
    finding = verify(journal.folder, heads=heads).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (7, "rewritten"), "the group that was first written anew begins with 7"


def test_a3_a_copy_that_goes_on_by_itself_is_found_by_the_head_of_the_other(tmp_path: Path) -> None:
    journal = made(tmp_path, GROUPS)
    shutil.copytree(journal.folder, tmp_path / "copy")
    shutil.copyfile(tmp_path / "journal.key", tmp_path / "copy.key")
    fork = Journal(tmp_path / "copy", tmp_path / "copy.key")
    fork.append([Entry("up.begun", "fork")] * 2)
    journal.append([Entry("up.begun", "d1")] * 2)
    head = Checkpoint.parse(Note.parse(journal.checkpoint()).text)
    finding = verify(fork.folder, heads=[head]).finding
    assert finding is not None
    assert finding.rule == "rewritten"
    assert "two journals went on" in finding.message


def test_a6_records_verify_with_the_key_of_their_time_after_it_was_changed(tmp_path: Path) -> None:
    journal = made(tmp_path, [3])
    first = journal.verifier
    second = journal.rotate()
    journal.append([Entry("up.begun", "d1")])
    third = journal.rotate()
    journal.append([Entry("up.begun", "d1")])
    verdict = verify(journal.folder, [first])
    assert verdict.good
    assert verdict.keys == tuple(key.identity.hex() for key in (first, second, third))


def test_a6_a_retired_key_seals_nothing_any_more(tmp_path: Path) -> None:
    journal = made(tmp_path, [3])
    thief = Signer.from_pem(journal.origin, (tmp_path / "journal.key").read_bytes())
    journal.rotate()
    journal.append([Entry("up.begun", "d1")])
    sealed_by(thief, journal)
    finding = verify(journal.folder).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (6, "signature")


def test_a6_the_key_in_force_alone_is_enough_to_verify_and_tells_what_is_of_before_it(tmp_path: Path) -> None:
    """Who was given the new key need not have had the old one; and with the old one, stolen, nobody goes back behind it."""
    journal = made(tmp_path, [3])
    first = journal.verifier
    shutil.copytree(journal.folder, tmp_path / "before")
    second = journal.rotate()
    journal.append([Entry("up.begun", "d1")])
    for keys in ([second], [first, second], [first]):
        assert verify(journal.folder, keys).good
    assert verify(tmp_path / "before", [first]).good
    for keys in ([second], [first, second]):
        finding = verify(tmp_path / "before", keys).finding
        assert finding is not None
        assert second.identity.hex() in finding.message


def test_a6_a_key_that_came_with_the_journal_seals_nothing_behind_the_one_that_is_named(tmp_path: Path) -> None:
    journal = made(tmp_path, [3])
    thief = Signer.generate(journal.origin)
    keys = journal.folder / "keys"
    keys.write_text(f"{thief.verifier.text}\n{keys.read_text()}")
    sealed_by(thief, journal)
    finding = verify(journal.folder, [journal.verifier]).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (4, "signature")


def test_a7_a_copy_that_lost_its_end_on_the_way_is_told_by_the_checkpoint_beside_it(tmp_path: Path) -> None:
    from commonpool.journal.export import export

    journal = made(tmp_path, [RECORDS, 7])
    export(journal.folder, tmp_path / "elsewhere")
    assert verify(tmp_path / "elsewhere").good
    segments(tmp_path / "elsewhere")[1].unlink()
    finding = verify(tmp_path / "elsewhere").finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (RECORDS, "truncated")


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b'{"seq":4,"prev":"%s"}',
        b'{"seq":4,"prev":"%s","at":"2026-01-01T00:00:00Z","kind":"exchange.asked","by":"x","data":{"a":1},"data":{}}',
        b'{"seq":4,"prev":"%s","at":"2026-01-01T00:00:00Z","kind": "exchange.asked","by":"x","data":{}}',
        b'{"seq":4,"prev":"%s","at":"2026-01-01T00:00:00Z","kind":"a","by":"x","data":{"a":"b","a":"c"}}',
        b'{"seq":4,"prev":"%s","at":"2026-01-01T00:00:00","kind":"exchange.asked","by":"x","data":{}}',
        b'{"seq":4,"prev":"%s","at":"2026-01-01T08:00:00+08:00","kind":"exchange.asked","by":"x","data":{}}',
    ],
    ids=["no JSON", "no record", "data twice", "hidden from a search", "a key twice", "no zone", "another zone"],
)
def test_a1_what_is_sealed_and_no_record_or_can_be_read_in_two_ways_is_named(tmp_path: Path, line: bytes) -> None:
    """Whoever has the key would show one reading to one department, and another to the next."""
    journal = made(tmp_path, [3])
    sealed_by(Signer.from_pem(journal.origin, (tmp_path / "journal.key").read_bytes()), journal, line)
    finding = verify(journal.folder).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (4, "form")


def test_a6_a_key_that_no_older_key_vouches_for_does_not_count(tmp_path: Path) -> None:
    journal = made(tmp_path, [3])
    signer = Signer.generate(journal.origin)
    (tmp_path / "own.key").write_bytes(signer.pem)
    keys = journal.folder / "keys"
    keys.write_text(f"{keys.read_text()}{signer.verifier.text}\n")
    Journal(journal.folder, tmp_path / "own.key").append([Entry("up.begun", "thief")])
    finding = verify(journal.folder).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (4, "signature")


def test_a7_another_machines_verdict_needs_the_export_and_the_public_key_alone(tmp_path: Path) -> None:
    from commonpool.journal.export import export

    journal = made(tmp_path, [RECORDS * 9, 7])
    assert export(journal.folder, tmp_path / "elsewhere") == RECORDS * 9 + 8
    key = Verifier.parse(journal.verifier.text)
    shutil.rmtree(journal.folder)
    verdict = verify(tmp_path / "elsewhere", [key], processes=2)
    assert (verdict.good, verdict.trusted, verdict.size) == (True, True, RECORDS * 9 + 8)
    assert not verify(tmp_path / "elsewhere", [Signer.generate(journal.origin).verifier]).good
    edit(tmp_path / "elsewhere", lambda lines: flipped(lines, RECORDS * 8 + 5), segment=8)
    finding = verify(tmp_path / "elsewhere", [key], processes=2).finding
    assert finding is not None
    assert (finding.sequence, finding.rule) == (RECORDS * 8 + 5, "changed")
