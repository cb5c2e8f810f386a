"""The evaluation: the same bytes for everybody who has the journal and the files, and what it proposes."""

import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import agreements
import estates
import pytest
from commonpool.cli import run
from commonpool.evaluation import Formula, Period, Source, evaluate
from commonpool.evaluation.proposal import changed
from commonpool.evaluation.score import Effect, Evaluation, shown
from commonpool.journal import Entry, Journal, Record, record
from commonpool.journal.export import export
from commonpool.journal.note import Signer
from commonpool.journal.query import records
from commonpool.model import Estate, load_estate

PERIOD = Period(date(2026, 1, 1), date(2026, 12, 31))
AT = "2026-06-01T00:00:00Z"


def asked(consumer: str, agreement: str = "", provider: str = "d0", at: str = AT) -> Record:
    data = {"consumer": consumer, "provider": provider, "agreement": agreement}
    return Record(0, b"", at, "exchange.asked", consumer, data)


def seen(department: str, requested: str, promised: str = "4", at: str = AT) -> Record:
    amounts = {"promised": {"cpu": promised, "memory": "8Gi"}, "requested": {"cpu": requested, "memory": "0"}}
    return Record(0, b"", at, "usage.seen", "office", {"department": department, **amounts})


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    """d0 offers a service; d1 and d2 each have an agreement on it that keeps digests."""
    root = estates.write(tmp_path / "estate", 4)
    agreements.give_keys(root, "d0", "d1", "d2")
    estates.add_service(root, "people", endpoint={"protocol": "HTTP"}, backends=[{"name": "old", "machines": ["ha-registry-1"], "port": 8080}])  # fmt: skip
    for name in ("d1", "d2"):
        agreements.agree(root, f"people-for-{name}", consumer=name, service="people", evidence="digest")
    return load_estate(root).as_of(PERIOD.last)


def judged(estate: Estate, *found: Record) -> Evaluation:
    source = Source("test", len(found), "root")
    return evaluate(estate, found, PERIOD, formula=Formula.load(), sources=[source], catalogue="sha256:0")


def points(result: Evaluation, department: str) -> dict[str, str | None]:
    (line,) = [one for one in result.lines if one.facts.department == department]
    return {name: shown(share.points) for name, share in line.facts.shares.items() if share.judged}


def test_an_agreement_that_is_used_counts_and_one_that_is_not_counts_against_its_consumer(estate: Estate) -> None:
    result = judged(estate, asked("d1", "people-for-d1"), asked("d1", "people-for-d1"))
    assert points(result, "d1") == {"use": "100.0"}
    assert points(result, "d2") == {"use": "0.0"}
    assert points(result, "d0") == {"sharing": "100.0"}
    (line,) = [one for one in result.lines if one.facts.department == "d0"]
    assert (line.facts.served, line.facts.months) == (2, {"2026-06": 2})


def test_idle_reservation_is_the_mean_of_what_was_seen_against_the_target(estate: Estate) -> None:
    result = judged(estate, seen("d3", "1"), seen("d3", "2"), seen("d1", "0"), seen("d2", "4"))
    assert points(result, "d3") == {"reservation": "75.0"}, "a quarter and a half of 4 cores, of the target 50 %"
    assert points(result, "d1")["reservation"] == "0.0"
    assert points(result, "d2")["reservation"] == "100.0"


def test_one_record_of_many_refusals_counts_as_those_it_stands_for(estate: Estate) -> None:
    data = {"consumer": "d1", "provider": "d0"}
    once = [Record(0, b"", AT, "exchange.refused", "d1", data)] * 64
    many = [Record(0, b"", AT, "exchange.refused", "d1", {**data, "times": times}) for times in (128, 256)]
    (line,) = [one for one in judged(estate, *once, *many).lines if one.facts.department == "d1"]
    assert line.facts.refused == 256


def test_what_a_department_states_after_the_period_changes_nothing_in_it(estate: Estate) -> None:
    agreements.say(estate.root, "people-for-d2", "d2", "terminate", at="2027-01-03T00:00:00Z")
    later = load_estate(estate.root).as_of(PERIOD.last)
    assert points(judged(later), "d2") == {"use": "0.0"}
    assert load_estate(estate.root).as_of(date(2027, 1, 3)).standings["people-for-d2"].state == "terminated"


def test_an_answer_that_is_missing_at_the_end_of_its_last_day_is_late_in_that_period_and_in_no_other(
    estate: Estate,
) -> None:
    """Else it would be open in the one, and due in none of the others."""
    root = estate.root
    request = {"apiVersion": "commonpool.dev/v1", "kind": "SharingRequest", "metadata": {"name": "wanted"},
               "spec": {"consumer": "d2", "service": "people", "items": ["name"], "purpose": {"code": "test", "description": "A task"},
                        "basis": {"law": "A law", "article": "1"}, "submitted": "2026-03-02"}}  # fmt: skip
    (root / "requests").mkdir(exist_ok=True)
    (root / "requests" / "wanted.yaml").write_text(json.dumps(request), encoding="utf-8")
    found = load_estate(root)
    due = found.request_clock(found.requests[0]).due.day
    for first, last, expected in (
        (date(2026, 1, 1), due, "0.0"),
        (due + timedelta(1), PERIOD.last, None),
        (date(2026, 1, 1), due - timedelta(1), None),
    ):
        period = Period(first, last)
        result = evaluate(found.as_of(last), [], period, formula=Formula.load(), sources=[], catalogue="sha256:0")
        assert points(result, "d0").get("answering") == expected


def test_what_lies_outside_of_the_period_does_not_count(estate: Estate) -> None:
    late = asked("d1", "people-for-d1", at="2027-01-01T00:00:00Z")
    assert points(judged(estate, late), "d1") == {"use": "0.0"}


def test_whom_nothing_judges_gets_no_score_and_nothing_follows(estate: Estate) -> None:
    (line,) = [one for one in judged(estate).lines if one.facts.department == "d3"]
    assert (line.score, line.effect) == (None, Effect(0, 0))


def test_weights_of_what_does_not_apply_go_to_the_rest(estate: Estate) -> None:
    result = judged(estate, asked("d1", "people-for-d1"), seen("d1", "0"))
    (line,) = [one for one in result.lines if one.facts.department == "d1"]
    assert shown(line.score) == "42.9", "15 of 35"
    assert line.effect == Effect(-10, -5)


def test_the_formula_has_a_version_and_its_weights_are_a_hundred() -> None:
    formula = Formula.load()
    assert formula.version == "2026.1"
    assert sum(one.weight for one in formula.indicators) == 100
    assert [least for least, _ in formula.effects] == [85, 60, 0]


@pytest.mark.parametrize(
    ("percent", "before", "after"),
    [
        (-10, 'guaranteed: {cpu: "40", memory: 160Gi}', "guaranteed: {cpu: 36000m, memory: 147456Mi}"),
        (10, "guaranteed: {cpu: 100m, memory: 128Mi}", "guaranteed: {cpu: 110m, memory: 140Mi}"),
        (-10, "guaranteed: {cpu: 1m, memory: 1Mi}", "guaranteed: {cpu: 1m, memory: 1Mi}"),
        (-10, 'burst: {cpu: "16"}', 'burst: {cpu: "16"}'),
    ],
)  # fmt: skip
def test_only_what_is_guaranteed_changes(percent: int, before: str, after: str) -> None:
    text = f"resources:\n  - {{flavor: standard, {before}}}  # why\n"
    assert changed(text, percent) == text.replace(before, after)


@pytest.fixture
def journal(tmp_path: Path, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal of this year with exchanges and what was seen."""
    made = Journal.open(tmp_path / "journal", tmp_path / "journal.key", "test")
    made.append(
        [
            Entry(one.kind, one.actor, one.data)
            for one in (asked("d1", "people-for-d1"), seen("d1", "1"), seen("d2", "0"))
        ]
    )
    return made


def written(tmp_path: Path, estate: Estate, journal: Path, name: str) -> dict[str, bytes]:
    year = datetime.now(UTC).year
    words = [
        "--from",
        f"{year}-01-01",
        "--to",
        f"{year}-12-31",
        "--estate",
        str(estate.root),
        "--journal",
        str(journal),
    ]
    assert run(["evaluate", *words, "--write", str(tmp_path / name)]) == 0
    return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}


def test_recomputed_from_the_exported_journal_everything_has_the_same_bytes(
    tmp_path: Path, estate: Estate, journal: Journal
) -> None:
    first = written(tmp_path, estate, journal.folder, "one")
    export(journal.folder, tmp_path / "exported")
    shutil.copytree(estate.root, tmp_path / "elsewhere")
    again = written(tmp_path, replace(estate, root=tmp_path / "elsewhere"), tmp_path / "exported", "two")
    assert set(first) == {
        "evaluation.json", "evaluation.html", "evaluation.pdf", "proposal.patch", "pull-request.md"
    }  # fmt: skip
    assert first == again
    found = json.loads(first["evaluation.json"])
    assert found["journals"][0]["records"] == 4
    assert first["evaluation.pdf"].startswith(b"%PDF-")
    assert b"NotoSansSC" in first["evaluation.pdf"]


@pytest.mark.parametrize("end", [b"\n", b"", b"\r\n"], ids=["LF", "no end", "CRLF"])
def test_the_proposed_patch_applies_and_the_estate_stays_valid(
    tmp_path: Path, estate: Estate, journal: Journal, end: bytes
) -> None:
    path = estate.root / "departments" / "d2.yaml"
    text = path.read_bytes().rstrip(b"\n") + b"\n"
    path.write_bytes(text.replace(b"\n", end) if end == b"\r\n" else text[:-1] + end)
    found = written(tmp_path, estate, journal.folder, "one")
    assert b"departments/d2.yaml" in found["proposal.patch"]
    applied = subprocess.run(["git", "apply", "-"], cwd=estate.root, input=found["proposal.patch"], capture_output=True)
    assert applied.returncode == 0, applied.stderr
    changed_ = load_estate(estate.root).department("d2")
    assert changed_ is not None
    assert str(changed_.spec.namespaces[0].resources[0].guaranteed.cpu) == "36m"
    assert "| d2 | 0.0 | -10 % |" in found["pull-request.md"].decode()


YEAR = ["evaluate", "--from", "2026-01-01", "--to", "2026-12-31"]


def test_a_journal_of_another_key_than_those_that_are_named_is_no_basis(
    tmp_path: Path, estate: Estate, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*YEAR, "--estate", str(estate.root), "--journal", str(journal.folder), "--key"]
    assert run([*words, journal.verifier.text]) == 0
    assert "name its own with --key" not in capsys.readouterr().err
    other = Journal.open(tmp_path / "other", tmp_path / "other.key", "test")
    for key in (other.verifier, Signer.generate(journal.origin).verifier):
        assert run([*words, key.text]) == 1
        told = " ".join(capsys.readouterr().err.split())
        assert (f"the journal {journal.origin}" if key == other.verifier else key.identity.hex()) in told


def test_each_journal_counts_once_and_in_no_order(
    tmp_path: Path, estate: Estate, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    export(journal.folder, tmp_path / "copy")
    other = Journal.open(tmp_path / "other", tmp_path / "other.key", "test")
    words = [*YEAR, "--estate", str(estate.root), "-o", "json"]
    both = [["--journal", str(one.folder)] for one in (journal, other)]
    found = []
    for one, two in (both, both[::-1]):
        assert run([*words, *one, *two]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
    assert run([*words, *both[0], "--journal", str(tmp_path / "copy")]) == 1
    assert "count twice" in capsys.readouterr().out


def test_a_journal_without_a_record_in_the_period_is_the_same_whatever_is_recorded_later(
    estate: Estate, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--from", "2025-01-01", "--to", "2025-12-31", "--estate", str(estate.root), "-o", "json"]
    found = []
    for _ in range(2):
        assert run([*words, "--journal", str(journal.folder)]) == 0
        found.append(capsys.readouterr().out)
        journal.append([Entry("up.begun", "d1")])
    assert found[0] == found[1]


def test_a_journal_that_does_not_verify_is_no_basis(
    tmp_path: Path, estate: Estate, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next((journal.folder / "segments").iterdir())
    path.write_bytes(path.read_bytes().replace(b'"by":"d1"', b'"by":"d2"'))
    code = run(["evaluate", "--from", "2026-01-01", "--to", "2026-12-31", "--estate", str(estate.root), "--journal", str(journal.folder)])  # fmt: skip
    assert code == 1
    assert "record 1" in capsys.readouterr().err


def test_the_table_is_a_document_too(estate: Estate, journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--from", "2026-01-01", "--to", "2026-12-31", "--estate", str(estate.root), "--journal", str(journal.folder)]  # fmt: skip
    assert run([*words, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["formula"]) == ("Evaluation", "2026.1")
    assert list(records(journal.folder))


def test_a_clock_that_ran_ahead_for_a_moment_cuts_nothing_off(
    estate: Estate, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded then is told as it stands, outside of the period; what came after it counts."""
    moment = datetime(2026, 6, 1, tzinfo=UTC)

    class Clock:
        """The writer's."""

        @staticmethod
        def now(zone: tzinfo) -> datetime:
            return moment.astimezone(zone)

    monkeypatch.setattr(record, "datetime", Clock)
    made = Journal.open(tmp_path / "set" / "journal", tmp_path / "set" / "journal.key", "test")
    call = Entry("exchange.asked", "d1", {"consumer": "d1", "provider": "d0", "agreement": "people-for-d1"})
    for year, calls in ((2026, 1), (2027, 1), (2026, 2), (2027, 3)):
        moment = moment.replace(year=year)
        made.append([call] * calls)
    monkeypatch.undo()
    words = ["evaluate", "--from", "2026-01-01", "--to", "2026-12-31", "--estate", str(estate.root), "--journal", str(made.folder)]  # fmt: skip
    assert run([*words, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [one["records"] for one in found["journals"]] == [5]
    assert {one["department"]: one["calls"]["made"] for one in found["departments"]}["d1"] == 3


PROGRESS = """\
apiVersion: commonpool.dev/v1
kind: Progress
metadata: {name: d3}
spec:
  systems:
    - name: old
      title: An old system
      milestones:
        - {name: one, title: One, due: "2026-03-01", responsible: {role: Office}, done: "2026-02-01", percent: 100, effect: "Much"}
        - {name: two, title: Two, due: "2026-04-01", responsible: {role: Office}, done: "2026-05-01", percent: 100, effect: "Some"}
        - {name: three, title: Three, due: "2027-04-01", responsible: {role: Office}}
  rectifications:
    - {number: R-1, problem: Found, opened: "2026-01-05", due: "2026-02-05", responsible: {role: Office}}
"""


def test_promises_and_clocks_count_by_the_day_on_which_they_were_due(estate: Estate) -> None:
    (estate.root / "progress").mkdir()
    (estate.root / "progress" / "d3.yaml").write_text(PROGRESS, encoding="utf-8")
    again = load_estate(estate.root).as_of(PERIOD.last)
    assert points(judged(again), "d3") == {"progress": "33.3"}, "one of three was done in time; the fourth is not due"
    sample = load_estate(estates.SAMPLE).as_of(PERIOD.last)
    assert points(judged(sample), "personnel-bureau")["answering"] == "100.0"
    assert points(judged(sample), "market-supervision")["correction"] == "100.0"
