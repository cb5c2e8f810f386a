"""The commands of `commonpool journal`, as a person and as a program call them."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import agreements
import estates
import pytest
from commonpool.cli import evidence, run
from commonpool.cli.target import Target
from commonpool.components.agreement import openssh
from commonpool.exchange.vault import Vault
from commonpool.journal import Entry, Journal, record, segment
from commonpool.model import load_estate
from commonpool.model.statement import public_text
from journals import edit, flipped_bit, made
from set_clock import SetClock

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """The journal of the pool that commands mean here."""
    made_here = made(tmp_path, [5, 3])
    monkeypatch.setenv("COMMONPOOL_JOURNAL", str(made_here.folder))
    return made_here


def document(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = run([*words, "-o", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_verify_says_what_holds_and_what_it_does_not_prove(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["journal", "verify"]) == 0
    printed = capsys.readouterr()
    assert "9 records verify" in printed.out
    assert "not whose it is" in printed.err
    assert "cut-off end would not show" in printed.err
    code, found = document(capsys, "journal", "verify", "--key", journal.verifier.text)
    assert (code, found["kind"], found["records"], found["keyTrusted"]) == (0, "JournalVerdict", 9, True)


def test_verify_tells_where_the_clock_was_set_back_which_is_no_fault_of_the_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    journal = made(tmp_path, [5])
    monkeypatch.setattr(record, "datetime", clock)
    monkeypatch.setenv("COMMONPOOL_JOURNAL", str(journal.folder))
    call = Entry("exchange.asked", "d1")
    for by in (timedelta(days=1), timedelta(days=-1, hours=-1)):
        clock.ahead += by
        journal.append([call] * 3)
    clock.ahead += timedelta(days=1)
    journal.append([call] * (segment.RECORDS - 12))
    clock.ahead -= timedelta(hours=2)
    journal.append([call])
    assert len(segment.segments(journal.folder)) == 2
    assert run(["journal", "verify"]) == 0
    printed = capsys.readouterr().out
    assert "by 90,000 s before record 9: numbers tell the order there, times do not" in printed
    assert re.search(f"by 7,(200|1[0-9]{{2}}) s before record {segment.RECORDS}:", printed), "on a slow machine"
    code, found = document(capsys, "journal", "verify")
    assert (code, found["good"]) == (0, True)
    assert [one["record"] for one in found["clockSetBack"]] == [9, segment.RECORDS]


def test_the_journal_of_a_named_cluster_is_found_by_its_kubeconfig(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPOOL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("COMMONPOOL_JOURNAL", raising=False)
    path = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    words = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "x"}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **words}), encoding="utf-8")
    written = evidence.opened(Target(kubeconfig=path), "harbour")
    assert run(["journal", "verify", "--kubeconfig", str(path)]) == 0
    assert "1 record verifies" in capsys.readouterr().out
    assert evidence.opened(Target(kubeconfig=path)).folder == written.folder, "one cluster, one chain"


def test_the_key_lies_beside_the_journal_also_where_its_name_ends_in_a_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is handed on; a private key in it would be, too."""
    monkeypatch.setenv("COMMONPOOL_JOURNAL", f"{tmp_path / 'journal'}/")
    folder, key = evidence.place(Target())
    assert (folder, key) == (tmp_path / "journal", tmp_path / "journal.key")


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/api/v1/namespaces/d1-main/secrets?fieldManager=commonpool", False),
        ("/api/v1/namespaces/d1-main/secrets/own?fieldManager=commonpool", False),
        ("/api/v1/namespaces/d1-main/configmaps?fieldManager=commonpool", True),
    ],
)
def test_no_digest_of_a_secret_is_kept_also_when_it_is_made(
    path: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []

    async def decided(kind: str, data: Any) -> None:
        found.append(data)

    run_ = evidence.RunEvidence(Target(), "test", list, print)
    monkeypatch.setattr(run_, "decided", decided)
    asyncio.run(run_.before_write("POST", path, b"{}"))
    assert ("sha256" in found[0]) is kept


def test_verify_names_the_first_bad_record_with_file_and_line(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(journal.folder, lambda lines: flipped_bit(lines, 4))
    assert run(["journal", "verify"]) == 1
    out = capsys.readouterr().out
    assert "000000000000.jsonl:7: record 4: it is not what was sealed [changed]" in out
    code, found = document(capsys, "journal", "verify")
    assert (code, found["finding"]["record"], found["finding"]["rule"]) == (1, 4, "changed")


def test_what_is_wrong_with_an_estate_is_told_also_where_its_refusal_cannot_be_recorded(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPOOL_DATA", str(tmp_path / "data"))
    edit(journal.folder, lambda lines: flipped_bit(lines, 8))
    root = estates.write(tmp_path / "estate", 1)
    (root / "departments" / "d0.yaml").write_text("nothing", encoding="utf-8")
    assert run(["up", "--yes", "--estate", str(root)]) == 1
    told = capsys.readouterr().err
    assert "the refusal is not recorded" in told
    assert "[estate_refused]" in told


def test_show_prints_the_last_records_and_no_control_characters(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.append([Entry("up.begun", "some\x1b[31mbody\u202e", {"what": "a\nb"})])
    assert run(["journal", "show", "--kind", "up."]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert r"some\x1b[31mbody\u202e" in out
    code, found = document(capsys, "journal", "show", "--from", "2", "--limit", "3")
    assert (code, [one["sequence"] for one in found["items"]]) == (0, [2, 3, 4])


def test_a_peer_keeps_a_head_and_the_witness_counts_in_verify(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = made(tmp_path / "peer", [2], "peer")
    words = ["journal", "anchor", str(journal.folder), "--journal", str(peer.folder), "--key", journal.verifier.text]
    assert run(words) == 0
    assert "the head of 9 records" in capsys.readouterr().out
    code, found = document(capsys, "journal", "verify", "--witness", str(peer.folder))
    assert (code, found["heads"]) == (0, 1)
    assert run(["journal", "head", "--since", "6"]) == 0
    assert capsys.readouterr().out.startswith("old 6\n")


def test_an_export_verifies_in_a_process_that_has_nothing_else(journal: Journal, tmp_path: Path) -> None:
    target = tmp_path / "handed" / "over"
    assert run(["journal", "export", str(target)]) == 0
    environment = {**os.environ, "COMMONPOOL_DATA": str(tmp_path / "nothing"), "COMMONPOOL_JOURNAL": ""}
    command = [sys.executable, "-m", "commonpool.cli", "journal", "verify", str(target), "--key", journal.verifier.text]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, "9 records verify" in ended.stdout) == (0, True), ended.stderr
    assert run(["journal", "anchor", str(target), "--journal", str(target)]) == 1, "nobody adds to a copy"


def test_a_head_that_was_kept_before_the_key_was_changed_counts_with_the_new_key_alone(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "head").write_text(journal.checkpoint(), encoding="utf-8")
    second = journal.rotate()
    journal.append([Entry("up.begun", "d1")])
    words = ["journal", "verify", "--key", second.text, "--checkpoint", str(tmp_path / "head")]
    code, found = document(capsys, *words)
    assert (code, found["heads"], found["records"]) == (0, 1, 11)


def test_keys_are_listed_and_changed(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["journal", "keys", "--rotate"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run(["journal", "verify", "--key", journal.verifier.text]) == 0


def test_without_a_journal_it_says_what_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMMONPOOL_DATA", str(tmp_path))
    monkeypatch.delenv("COMMONPOOL_JOURNAL", raising=False)
    assert run(["journal", "verify"]) == 1
    assert "commonpool up" in capsys.readouterr().err


def test_an_agreement_that_the_operator_made_up_is_named_by_its_first_exchange(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = estates.write(tmp_path / "estate", 3)
    agreements.give_keys(root, "d0", "d1")
    estates.add_service(root, "people", endpoint={"protocol": "HTTP"}, backends=[{"name": "old", "machines": ["ha-registry-1"], "port": 8080}])  # fmt: skip
    agreements.agree(root, "people-for-d1", service="people", evidence="digest")
    text = load_estate(root).texts["people-for-d1"]
    rests_on = {"provider": "d0", "consumer": "d1", "agreement": "people-for-d1", "text": text}
    made = made_with(tmp_path / "two", rests_on, rests_on)
    words = ["journal", "verify", str(made.folder), "--estate", str(root)]
    assert run(words) == 0
    assert "2 exchanges under agreements that both departments' keys signed" in capsys.readouterr().out
    stranger = {**rests_on, "asked": 1, "openTo": ["ssh-ed25519 AAAA"]}
    opened = made_with(tmp_path / "opened", rests_on)
    opened.append([Entry("exchange.answered", "d1", stranger)])
    assert run(["journal", "verify", str(opened.folder), "--estate", str(root)]) == 1
    assert "record 2: its bodies are open to a key that neither department declares" in capsys.readouterr().out
    for change in ({"text": "sha256:" + "0" * 64}, {"consumer": "d2"}, {"agreement": "made-up"}):
        forged = made_with(tmp_path / next(iter(change)), rests_on, rests_on | change)
        assert run(["journal", "verify", str(forged.folder), "--estate", str(root)]) == 1
        assert "record 2: the keys of" in capsys.readouterr().out


def test_bodies_that_were_kept_and_are_gone_or_another_are_named(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The records stay whole when somebody deletes what they speak of."""
    vault = Vault(journal.folder / "bodies")
    recipients = [openssh(public_text(agreements.key("d1")))]
    for number in range(2):
        kept = vault.keep(b"question", b"answer", recipients)
        journal.append([Entry("exchange.answered", "d1", {"asked": number, "bodies": kept})])
    assert run(["journal", "export", str(tmp_path / "copy")]) == 0
    assert run(["journal", "verify", str(tmp_path / "copy"), "--bodies"]) == 0
    assert "2 calls with bodies that are as they were kept" in capsys.readouterr().out
    path = journal.folder / "bodies" / f"{kept.removeprefix('sha256:')}.age"
    for change in (lambda: path.write_bytes(b"another"), path.unlink):
        change()
        assert run(["journal", "verify"]) == 0
        capsys.readouterr()
        code, found = document(capsys, "journal", "verify", "--bodies")
        assert (code, found["finding"]["record"], found["finding"]["rule"]) == (1, 10, "body")


def made_with(root: Path, *exchanges: dict[str, str]) -> Journal:
    one = made(root, [])
    for data in exchanges:
        one.append([Entry("exchange.asked", "system:serviceaccount:d1-main:default", data)])
    return one
