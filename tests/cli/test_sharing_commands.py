"""From a wish to an agreement in force, from a wrong record to its correction: the commands as people use them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commonpool.cli import agreement as commands
from commonpool.model import load_estate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def estate(tmp_path: Path) -> Path:
    """A copy of the sample."""
    shutil.copytree(ROOT / "examples" / "estate", tmp_path / "estate")
    pool = tmp_path / "estate" / "pool.yaml"
    text = pool.read_text(encoding="utf-8").replace("../../inventories", str(ROOT / "inventories"))
    pool.write_text(text, encoding="utf-8")
    return tmp_path / "estate"


def run(estate: Path, *words: str, fails: bool = False) -> str:
    """What a command prints, both streams."""
    command = [sys.executable, "-m", "commonpool.cli", *words, "--estate", str(estate)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode != 0) is fails, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def document(estate: Path, *words: str) -> dict[str, Any]:
    found, _ = json.JSONDecoder().raw_decode(run(estate, *words, "--output", "json"))  # messages stand behind it
    return dict(found)


def key_line(path: Path) -> str:
    """Make a key; its public half as a manifest lists it."""
    command = [sys.executable, "-m", "commonpool.cli", "agreement", "key", str(path)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return made.stdout.strip().removeprefix("- ")


TASK = ("--purpose", "flood", "--description", "Warn people", "--law", "防洪法", "--article", "第四十五条")


def test_a_request_ends_in_an_agreement_that_both_sides_sign(estate: Path, tmp_path: Path) -> None:
    asked = run(
        estate, "request", "new", "grades", "--consumer", "water-bureau", "--dataset", "civil-servants", "--item", "grade",
        "--collect", "DE-0006", *TASK,
    )  # fmt: skip
    assert "personnel-bureau answers: due " in asked
    assert "DE-0006 is held by personnel-bureau already (dataset civil-servants, item phone)" in asked
    assert document(estate, "request", "list")["items"][1]["clock"]["state"] == "open"
    run(estate, "request", "decide", "grades", "--grant", "--by", "Data office", "--end", "2099-12-31")
    states = {one["metadata"]["name"]: one["state"] for one in document(estate, "agreement", "list")["items"]}
    assert states["grades"] == "draft"
    key = tmp_path / "water.pem"
    line = key_line(key)
    assert key.stat().st_mode & 0o777 == 0o600
    sign = ("agreement", "sign", "grades", "--department", "water-bureau", "--key", str(key))
    assert "is none of water-bureau" in run(estate, *sign, fails=True)
    manifest = estate / "departments" / "water-bureau.yaml"
    text = manifest.read_text(encoding="utf-8").replace("  term:", f"  keys: [{line}]\n  term:", 1)
    manifest.write_text(text, encoding="utf-8")
    assert "lacks the signature of personnel-bureau" in run(estate, *sign)
    assert "lacks personnel-bureau" in run(estate, "agreement", "verify", "grades", fails=True)
    assert "said this already" in run(estate, *sign, fails=True)


def test_a_refusal_needs_its_reason_and_what_is_granted_anyway_needs_no_request(estate: Path) -> None:
    new = ("request", "new", "x", "--consumer", "water-bureau", *TASK)
    assert "shared with everybody" in run(estate, *new, "--dataset", "companies", fails=True)
    assert "granted to water-bureau without a request" in run(estate, *new, "--service", "address-lookup", fails=True)
    assert "精神卫生法 第四条" in run(estate, *new, "--dataset", "mental-health-patients", fails=True)
    run(estate, *new, "--dataset", "civil-servants")
    assert "gives its reason" in run(estate, "request", "decide", "x", "--refuse", "--by", "Office", fails=True)
    run(estate, "request", "decide", "x", "--refuse", "--by", "Office", "--reason", "Not its task: no law says so")
    assert "refused on" in run(estate, "request", "show", "x")
    assert "answered already" in run(
        estate, "request", "decide", "x", "--refuse", "--by", "O", "--reason", "R", fails=True
    )


def test_items_are_asked_for_that_somebody_can_grant(estate: Path) -> None:
    new = ("request", "new", "x", "--consumer", "transport-department", *TASK)
    told = run(estate, *new, "--dataset", "civil-servants", "--item", "nothing", fails=True)
    assert "dataset 'civil-servants' has no item 'nothing' [item-unknown]" in told
    told = run(estate, *new, "--dataset", "residents", "--item", "name", fails=True)
    assert "single items cannot be had of 'residents-register' (TCP)" in told
    assert "agreement new NAME --dataset water-levels" in run(estate, *new, "--dataset", "water-levels", fails=True)


def test_who_lists_a_service_first_can_still_ask_agree_and_sign(estate: Path, tmp_path: Path) -> None:
    """What a refusal says to run must run while the refusal stands."""
    path = estate / "departments" / "transport-department.yaml"
    text = path.read_text(encoding="utf-8").replace("consumes: [", "consumes: [company-register, ", 1)
    for department in ("market-supervision", "transport-department"):
        line = key_line(tmp_path / f"{department}.pem")
        if department == "transport-department":
            text = text.replace("  term:", f"  keys: [{line}]\n  term:", 1)
        else:
            other = estate / "departments" / f"{department}.yaml"
            keyed = other.read_text(encoding="utf-8").replace("  keys: [", f"  keys: [{line}, ", 1)
            other.write_text(keyed, encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    assert "[service-not-offered]" in run(estate, "validate", fails=True)
    new = ("agreement", "new", "trucks", "--dataset", "companies", "--consumer", "transport-department", *TASK)
    run(estate, *new, "--item", "name", "--end", "2099-12-31")
    assert "draft" in run(estate, "agreement", "show", "trucks")
    assert "transport-department [agreement-unsigned]" in run(estate, "validate", fails=True)
    sign = ("agreement", "sign", "trucks", "--department")
    told = run(estate, *sign, "market-supervision", "--key", str(tmp_path / "market-supervision.pem"))
    assert "agreement sign trucks --department transport-department" in told, "who signs next"
    run(estate, *sign, "transport-department", "--key", str(tmp_path / "transport-department.pem"))
    run(estate, "validate")
    verb = ("trucks", "--reason", "A look", "--department")
    run(estate, "agreement", "suspend", *verb, "market-supervision", "--key", str(tmp_path / "market-supervision.pem"))
    theirs = ("transport-department", "--key", str(tmp_path / "transport-department.pem"))
    assert "only market-supervision takes that back" in run(estate, "agreement", "resume", *verb, *theirs, fails=True)


def test_what_a_department_says_last_counts_although_its_clock_ran_ahead_before(estate: Path) -> None:
    """A suspension that is dated tomorrow would else outlast the word that takes it back today."""
    found = load_estate(estate)
    said = {one.at for one in found.statements.values() if one.department == "policy-research"}
    assert commands._after(found, "companies-for-research", "policy-research", "1999-01-01T00:00:00Z") > max(said)
    later = "2999-01-01T00:00:00Z"
    assert commands._after(found, "companies-for-research", "policy-research", later) == later
    assert commands._after(found, "companies-for-research", "nobody", "1999-01-01T00:00:00Z") == "1999-01-01T00:00:00Z"


def test_a_wrong_record_is_answered_disputed_and_decided(estate: Path) -> None:
    run(
        estate, "correction", "new", "moved", "--dataset", "companies", "--item", "address.division", "--record", "330500000999",
        "--found-by", "water-bureau", "--description", "It moved",
    )  # fmt: skip
    run(estate, "correction", "answer", "moved", "--result", "rejected", "--by", "Office", "--reason", "It did not")
    run(estate, "correction", "dispute", "moved", "--reason", "We saw it")
    assert "correction moved of companies: disputed" in run(estate, "progress", "report")
    run(
        estate,
        "correction",
        "answer",
        "moved",
        "--result",
        "corrected",
        "--by",
        "Governance office",
        "--reason",
        "It did",
    )
    assert "corrected after a dispute" in run(estate, "correction", "list")
    items = document(estate, "correction", "list")["items"]
    assert [one["state"] for one in items] == ["corrected", "corrected after a dispute"]


def test_what_was_written_is_told_as_a_document_too(estate: Path, tmp_path: Path) -> None:
    correction = (
        "correction", "new", "moved", "--dataset", "companies", "--item", "name", "--record", "3305",
        "--found-by", "water-bureau", "--description", "It moved",
    )  # fmt: skip
    (draft,) = document(estate, *correction, "--dry-run")["items"]
    assert draft["file"].endswith("corrections/moved.yaml")
    assert not (estate / "corrections" / "moved.yaml").exists()
    assert document(estate, *correction)["state"] == "open"
    answered = document(
        estate, "correction", "answer", "moved", "--result", "corrected", "--by", "Office", "--reason", "So it was"
    )
    assert answered["state"] == "corrected"
    month = answered["spec"]["submitted"][:7]
    report = document(estate, "progress", "report", "--month", month)
    assert "moved" in {one["metadata"]["name"] for one in report["corrections"]}
    new = ("--consumer", "water-bureau", "--dataset", "civil-servants", *TASK)
    assert document(estate, "request", "new", "wish", *new)["clock"]["state"] == "open"
    decide = ("request", "decide", "wish", "--grant", "--end", "2099-12-31", "--by")
    drafts = document(estate, *decide, "Office", "--dry-run")["items"]
    assert [Path(one["file"]).parent.name for one in drafts] == ["agreements", "requests"]
    assert document(estate, *decide, "Office")["spec"]["decision"]["outcome"] == "granted"
    assert document(estate, "agreement", "list")["items"][-1]["metadata"]["name"] == "wish"
    run(estate, "request", "new", "other", *new)
    assert run(estate, "request", "decide", "other", "--grant", "--end", "2099-12-31", "--by", "", fails=True)
    assert not (estate / "agreements" / "other.yaml").exists(), "neither is written when one is refused"
    file = tmp_path / "catalogue.csv"
    file.write_text(run(estate, "dataset", "export", "--form", "csv"), encoding="utf-8")
    imported = document(estate, "dataset", "import", str(file), "--replace", "--dry-run")
    assert (imported["written"], "companies" in imported["datasets"]) == (False, True)


def test_what_is_late_is_on_the_scoreboard_and_in_the_months_report(estate: Path) -> None:
    path = estate / "progress" / "market-supervision.yaml"
    text = path.read_text(encoding="utf-8").replace('due: "2027-09-30"', 'due: "2026-09-30"')
    path.write_text(text, encoding="utf-8")
    listed = document(estate, "progress", "list")
    assert [(one["done"], one["total"], one["percent"], one["late"]) for one in listed["systems"]] == [(1, 2, 67, 1)]
    (late,) = listed["late"]
    assert (late["kind"], late["name"], late["department"]) == (
        "milestone",
        "old-register/into-the-pool",
        "market-supervision",
    )
    report = run(estate, "progress", "report", "--month", "2026-10")
    assert "ticket 整改〔2026〕0007号 closed on 2026-10-22" in report
    assert "milestone old-register/into-the-pool: market-supervision is 18 working days late since 2026-09-30" in report
    assert "correction company-moved of companies: corrected, answered in time" in report


@pytest.mark.parametrize("form", ["dcat", "csv"])
def test_the_catalogue_comes_back_from_its_export_as_it_was(estate: Path, tmp_path: Path, form: str) -> None:
    before = {one["name"]: one for one in document(estate, "dataset", "list")["items"]}
    file = tmp_path / f"catalogue.{'csv' if form == 'csv' else 'json'}"
    file.write_text(run(estate, "dataset", "export", "--form", form), encoding="utf-8")
    assert "stand in the estate already" in run(estate, "dataset", "import", str(file), fails=True)
    agreed = [estate / "agreements", estate / "requests", estate / "corrections"]
    for folder in agreed:
        shutil.move(folder, tmp_path / folder.name)
    shutil.rmtree(estate / "datasets")
    # Who reads by an agreement alone has nothing to read without it.
    for department, service in (("personnel-bureau", "residents-register"), ("policy-research", "company-register")):
        path = estate / "departments" / f"{department}.yaml"
        text = path.read_text(encoding="utf-8").replace(f", {service}]", "]").replace(f"[{service}]", "[]")
        path.write_text(text, encoding="utf-8")
    assert "0 datasets" in run(estate, "dataset", "list")
    run(estate, "dataset", "import", str(file))
    assert {one["name"]: one for one in document(estate, "dataset", "list")["items"]} == before
    shown = document(estate, "dataset", "show", "mental-health-patients")["spec"]
    assert shown["sharing"]["basis"] == {"law": "中华人民共和国精神卫生法", "article": "第四条"}
    assert run(estate, "dataset", "export", "--form", form) == file.read_text(encoding="utf-8") or form == "csv"


def test_a_table_in_another_encoding_is_refused_with_the_way_out(estate: Path, tmp_path: Path) -> None:
    file = tmp_path / "catalogue.csv"
    file.write_bytes("名称,江河水位\n".encode("gb18030"))
    told = run(estate, "dataset", "import", str(file), fails=True)
    assert "is not UTF-8 at byte 0 [import_invalid]" in told
    assert "iconv -f GB18030" in told


def test_an_import_with_one_bad_line_writes_nothing(estate: Path, tmp_path: Path) -> None:
    file = tmp_path / "catalogue.csv"
    text = run(estate, "dataset", "export", "--form", "csv")
    file.write_text(text.replace("water-levels", "water-again").replace("每月", "每世纪"), encoding="utf-8")
    names = sorted(path.name for path in (estate / "datasets").iterdir())
    assert "更新周期 '每世纪' is none of 实时" in run(estate, "dataset", "import", str(file), fails=True)
    assert sorted(path.name for path in (estate / "datasets").iterdir()) == names


@pytest.mark.parametrize(
    ("suffix", "content", "words"),
    [
        ("json", b"[" * 200_000, "import_invalid"),
        ("json", b'{"dcat:dataset": [{"cp:name": "a\\u0000b", "dct:identifier": "a"}]}', "name_invalid"),
        ("json", b'{"dcat:dataset": [{"cp:name": "../a", "dct:identifier": "a"}]}', "name_invalid"),
        ("csv", "信息资源分类".encode("gb18030"), "import_invalid"),
        ("csv", b'"' + b"x" * 200_000 + b'"', "import_invalid"),
    ],
)
def test_a_file_made_to_break_the_import_is_refused_in_words(
    estate: Path, tmp_path: Path, suffix: str, content: bytes, words: str
) -> None:
    file = tmp_path / f"catalogue.{suffix}"
    file.write_bytes(content)
    assert words in run(estate, "dataset", "import", str(file), "--budget-item", "x", fails=True)
