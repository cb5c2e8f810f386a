"""CASES M5, M7, M9-M11 and the estate as a whole: nothing is ignored, everything is told at once, nothing hangs."""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import estates
import jsonschema_rs
import pytest
import yaml
from commonpool.model import (
    KINDS,
    Estate,
    EstateRefused,
    FieldUnknown,
    explain_field,
    json_schema,
    load_estate,
    warnings,
)
from commonpool.model.document import parse
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
VALID = estates.department("water", 1)


def refused(folder: Path) -> list[tuple[str, int, str]]:
    """(file, line, rule) of every problem."""
    with pytest.raises(EstateRefused) as error:
        load_estate(folder)
    return [(Path(problem.file).name, problem.line, problem.rule) for problem in error.value.problems]


def with_department(folder: Path, text: str, name: str = "water") -> Path:
    estates.write(folder, 0)
    (folder / "departments" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("wаter", "name-invalid"),  # with a Cyrillic a
        ("wa\u200dter", "name-invalid"),
        ("\u202eretaw", "name-invalid"),
        ("-water", "name-invalid"),
        ("w" * 64, "name-invalid"),
        ("Water", "name-invalid"),
        ("../../x", "name-invalid"),
        ("a\\r\\nb", "name-invalid"),
        ("water\\n", "name-invalid"),
        ("kube-water", "name-reserved"),
        ("commonpool", "name-reserved"),
        ("service-x", "name-reserved"),
        ("default", "name-reserved"),
    ],
)
def test_names_that_could_deceive_are_refused(tmp_path: Path, name: str, rule: str) -> None:
    text = VALID.replace("  name: water\n", f'  name: "{name}"\n')
    found = refused(with_department(tmp_path, text))
    assert rule in {one for _, _, one in found}
    with pytest.raises(EstateRefused) as error:
        load_estate(tmp_path)
    assert str(error.value).isprintable() or "\n" in str(error.value)
    assert not set("\u202e\u200d\r") & set(str(error.value))


@pytest.mark.parametrize("display", ["Wаter office", "WATER OFFICE", "Ｗater office", "water  office"])
def test_display_names_that_look_alike_are_refused(tmp_path: Path, display: str) -> None:
    folder = with_department(tmp_path, VALID.replace("Department 1", "Water office"))
    other = estates.department("other", 2).replace("displayName: Department 2", f'displayName: "{display}"')
    (folder / "departments" / "other.yaml").write_text(other, encoding="utf-8")
    assert "name-confusable" in {rule for _, _, rule in refused(folder)}


def test_a_decomposed_name_is_refused(tmp_path: Path) -> None:
    text = VALID.replace("displayName: Department 1", 'displayName: "Cafe\u0301"')
    assert [rule for _, _, rule in refused(with_department(tmp_path, text))] == ["text-normal-form"]


@pytest.mark.parametrize(
    ("old", "new", "rule", "fix"),
    [
        ("spec:", "spce:", "field-unknown", "write spec"),
        ("  contacts:", "  contact:", "field-unknown", "write contacts"),
        ("environment: test", "environment: tset", "value-unknown", "write test"),
        ("protectionLevel: 2", 'protectionLevel: "2"', "type-wrong", ""),
        ("protectionLevel: 2", "protectionLevel: null", "type-wrong", ""),
        ("resources: [{", "resources: null #", "type-wrong", ""),
        ("kind: Department", "kind: Departmnet", "value-unknown", "write Department"),
        ("apiVersion: commonpool.dev/v1", "apiVersion: commonpool.dev/v2", "value-unknown", ""),
        ("environment: test", "environment: te", "value-unknown", "write test"),
        ('budgetItem: "201"', "budgetItem: “201”", "value-out-of-range", 'write "201"'),
        ('budgetItem: "201"', "budgetItem: 201", "type-wrong", 'put it in quotes: "201"'),
    ],
)
def test_a_field_that_is_wrong_is_refused_with_the_edit_that_passes(
    tmp_path: Path, old: str, new: str, rule: str, fix: str
) -> None:
    assert old in VALID
    folder = with_department(tmp_path, VALID.replace(old, new, 1))
    with pytest.raises(EstateRefused) as error:
        load_estate(folder)
    matching = [problem for problem in error.value.problems if problem.rule == rule]
    assert matching
    assert matching[0].line == VALID[: VALID.index(old)].count("\n") + 1
    assert not fix or fix in [problem.fix for problem in matching]


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    estates.write(tmp_path, 3)
    pool = (tmp_path / "pool.yaml").read_text(encoding="utf-8")
    pool = pool.replace("cidr: 10.21.0.0/16", "cidr: 10.20.128.0/17").replace("zone: protected,", "zone: protectd,")
    (tmp_path / "pool.yaml").write_text(pool, encoding="utf-8")
    for number, (old, new) in enumerate(
        [("performance", "performence"), ('review: "2027', 'review: "2029'), ("budgetItem", "budgetitem")]
    ):
        path = tmp_path / "departments" / f"d{number}.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    broken = tmp_path / "departments" / "d2.yaml"
    assert {rule for _, _, rule in refused(tmp_path)} == {"field-unknown"}, "structure first; a misspelt field is there"
    broken.write_text(broken.read_text(encoding="utf-8").replace("budgetitem", "budgetItem"), encoding="utf-8")
    assert {rule for _, _, rule in refused(tmp_path)} == {
        "cidr-overlap",
        "zone-unknown",
        "flavor-unknown",
        "term-order",
    }


def test_parents_in_a_circle_and_strangers_are_refused(tmp_path: Path) -> None:
    estates.write(tmp_path, 3)
    for name, parent in (("d0", "d1"), ("d1", "d0"), ("d2", "nobody")):
        path = tmp_path / "departments" / f"{name}.yaml"
        text = path.read_text(encoding="utf-8").replace("level: city}", f"level: city, parent: {parent}}}")
        path.write_text(text, encoding="utf-8")
    assert sorted(rule for _, _, rule in refused(tmp_path)) == ["department-unknown", "parent-cycle", "parent-cycle"]


def test_a_link_that_leaves_the_estate_is_not_followed(tmp_path: Path) -> None:
    estates.write(tmp_path / "estate", 0)
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: canary\n", encoding="utf-8")
    (tmp_path / "estate" / "departments" / "water.yaml").symlink_to(secret)
    with pytest.raises(EstateRefused) as error:
        load_estate(tmp_path / "estate")
    assert [problem.rule for problem in error.value.problems] == ["file-link"]
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("name", ["departments", "services", "dictionary.yaml", "holidays.yaml", "pool.yaml"])
def test_no_folder_and_no_single_file_is_a_link_out_of_the_estate(tmp_path: Path, name: str) -> None:
    root = estates.write(tmp_path / "estate", 1)
    elsewhere = tmp_path / name
    if (root / name).exists():
        (root / name).rename(elsewhere)
    elif name.endswith(".yaml"):
        elsewhere.write_text("password: canary\n", encoding="utf-8")
    else:
        elsewhere.mkdir()
    (root / name).symlink_to(elsewhere)
    with pytest.raises(EstateRefused) as error:
        load_estate(root)
    assert [problem.rule for problem in error.value.problems] == ["file-link"]
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("moved", "to"),
    [
        ("departments/d0.yaml", "departments/d0.YAML"),
        ("departments/d0.yaml", "departments/d0.Yml"),
        ("departments/d0.yaml", "departments/south/d0.yaml"),
        ("departments", "deparments"),
        ("departments", "Departments"),
    ],
)
def test_a_manifest_at_a_place_where_none_is_looked_for_is_told(tmp_path: Path, moved: str, to: str) -> None:
    """Passed over in silence, what it declares would be given up by the next run."""
    estates.write(tmp_path, 1)
    (tmp_path / to).parent.mkdir(exist_ok=True)
    (tmp_path / moved).rename(tmp_path / to)
    assert [rule for _, _, rule in refused(tmp_path)] == ["file-name"]


@pytest.mark.parametrize(
    "name", ["a\x1b[31m.yaml", "a\x1b[31m.YAML", "a\x1b[31m/x.yaml", "a\n.yml", "link\x1b[8m.yaml"]
)
def test_the_name_of_a_file_gives_no_orders_to_a_terminal(tmp_path: Path, name: str) -> None:
    estates.write(tmp_path, 0)
    path = tmp_path / "departments" / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("/etc/passwd") if name.startswith("link") else path.write_text("a: b\n", encoding="utf-8")
    with pytest.raises(EstateRefused) as error:
        load_estate(tmp_path)
    assert str(error.value).replace("\n", "").isprintable()
    assert not [one for one in error.value.problems if not (one.message + one.fix).isprintable()]


def test_what_is_no_manifest_may_lie_beside_them(tmp_path: Path) -> None:
    estates.write(tmp_path, 1)
    for name in ("departments/README.md", "departments/.hidden/x.yaml", "docs/x.yaml", "ci.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a: b\n", encoding="utf-8")
    assert [one.name for one in load_estate(tmp_path).departments] == ["d0"]


@pytest.mark.parametrize("to", ["departments", "nowhere"])
def test_a_folder_that_is_a_link_to_nothing_is_no_empty_folder(tmp_path: Path, to: str) -> None:
    estates.write(tmp_path, 1)
    (tmp_path / "departments").rename(tmp_path / "before")
    (tmp_path / "departments").symlink_to(to)
    assert "file-link" in {rule for _, _, rule in refused(tmp_path)}


def test_a_link_that_leads_round_and_a_pipe_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    estates.write(tmp_path, 1)
    (tmp_path / "departments" / "round.yaml").symlink_to("round.yaml")
    os.mkfifo(tmp_path / "departments" / "pipe.yaml")
    assert {rule for _, _, rule in refused(tmp_path)} <= {"file-link", "file-unreadable"}


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("displayName: Department 1", 'displayName: "\u3164"', "text-character"),
        ("displayName: Department 1", 'displayName: "Water\u2028office"', "text-character"),
        ('end: "2028-01-01"', 'end: "2028-W01-5"', "date-invalid"),
        ('end: "2028-01-01"', 'end: "20280101xx"', "date-invalid"),
    ],
)
def test_what_looks_like_something_else_is_refused(tmp_path: Path, old: str, new: str, rule: str) -> None:
    assert old in VALID
    assert rule in {one for _, _, one in refused(with_department(tmp_path, VALID.replace(old, new, 1)))}


@pytest.mark.parametrize("name", ["RS_01", "-oProxyCommand=id", "../x", "a b", "{{ x }}", "localhost", "all", "a" * 64])
def test_a_machine_has_a_name_that_everybody_takes_for_one(tmp_path: Path, name: str) -> None:
    """Kubernetes would refuse it in the middle of a run, and ssh or Ansible do something else than reach it."""
    estates.write(tmp_path, 1)
    source = estates.INVENTORIES / "trial-room" / "hosts.yml"
    text = source.read_text(encoding="utf-8").replace("    trial-1:", f'    "{name}":')
    (tmp_path / "hosts.yml").write_text(text, encoding="utf-8")
    pool = tmp_path / "pool.yaml"
    pool.write_text(pool.read_text(encoding="utf-8").replace(str(source), "hosts.yml"), encoding="utf-8")
    assert [rule for _, _, rule in refused(tmp_path)] == ["machine-name"]


@pytest.mark.parametrize(
    ("containers", "rule"),
    [
        ("{maximum: {cpu: 1m, memory: 1Gi}}", "limit-above-maximum"),
        ('{maximum: {cpu: "1", memory: 1Mi}}', "limit-above-maximum"),
        ("{defaultRequest: {cpu: 1u, memory: 64Mi}}", "request-too-small"),
        ('{defaultRequest: {cpu: "1", memory: 1k}}', "request-too-small"),
    ],
)
def test_bounds_of_containers_that_kubernetes_would_refuse_are_refused_before(
    tmp_path: Path, containers: str, rule: str
) -> None:
    text = f"{VALID}      containers: {containers}\n"
    assert [found for _, _, found in refused(with_department(tmp_path, text))] == [rule]


def test_two_files_with_one_name_are_refused(tmp_path: Path) -> None:
    folder = with_department(tmp_path, VALID)
    (folder / "departments" / "other.yaml").write_text(VALID, encoding="utf-8")
    assert {"name-duplicate", "file-name"} <= {rule for _, _, rule in refused(folder)}


@pytest.mark.parametrize(("limits", "told"), [("{}", False), ("{pods: 2000}", False), ("{secrets: 9000}", True)])
def test_a_namespace_that_could_fill_the_store_alone_is_told(tmp_path: Path, limits: str, told: bool) -> None:
    estate = load_estate(with_department(tmp_path, f"{VALID}      objects: {limits}\n"))
    assert ["a full store stops everybody" in words for words in warnings(estate)] == [True] * told


def test_a_services_namespace_that_could_fill_the_store_is_told_as_well(tmp_path: Path) -> None:
    estates.write(tmp_path, 1)
    path = estates.add_service(tmp_path, "register")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("    resources:", "    objects: {secrets: 9000}\n    resources:"), encoding="utf-8")
    assert ["service-register may hold objects" in words for words in warnings(load_estate(tmp_path))] == [True]


def test_ten_thousand_departments_are_accepted_and_one_more_is_warned_of(tmp_path: Path) -> None:
    estates.write(tmp_path, 10_000)
    assert warnings(load_estate(tmp_path)) == []
    (tmp_path / "departments" / "more.yaml").write_text(estates.department("more", 10_001), encoding="utf-8")
    (words,) = warnings(load_estate(tmp_path))
    assert words.startswith("10,001 namespaces are beyond the 10,000")


def mutate(text: str, source: random.Random) -> str:
    """The manifest with one part of it turned into something else."""
    lines = text.split("\n")
    number = source.randrange(len(lines))
    line = lines[number]
    kind = source.randrange(7)
    if kind == 0:
        del lines[number]
    elif kind == 1:
        lines.insert(number, line)
    elif kind == 2:
        lines[number] = " " * source.randrange(9) + line.strip()
    elif kind == 3:
        head, colon, _ = line.partition(":")
        values = [
            "~",
            "[]",
            "{}",
            "-1",
            "no",
            "1e3",
            '""',
            "[[[]]]",
            "*x",
            "!!set {}",
            "0x10",
            "９",
            '"\\u202e"',
            "1" * 50,
        ]
        lines[number] = head + colon + " " + source.choice(values)
    elif kind == 4:
        place = source.randrange(len(line) + 1)
        lines[number] = line[:place] + source.choice("{}[]:,#&*!|>'\"%@`\t\u0085\ufeff\x07é𝔘") + line[place:]
    elif kind == 5:
        other = source.randrange(len(lines))
        lines[number], lines[other] = lines[other], line
    else:
        lines[number] = line.upper()
    return "\n".join(lines)


def test_a_thousand_mutations_never_end_in_a_traceback(tmp_path: Path) -> None:
    source = random.Random(20260101)
    folder = with_department(tmp_path, VALID)
    path = folder / "departments" / "water.yaml"
    accepted = 0
    for _ in range(1000):
        text = VALID
        for _ in range(source.randrange(1, 4)):
            text = mutate(text, source)
        path.write_text(text, encoding="utf-8")
        try:
            estate = load_estate(folder)
        except EstateRefused as error:
            assert error.problems
            assert all(problem.rule and problem.message and problem.line >= 1 for problem in error.problems)
        else:
            accepted += 1
            assert isinstance(estate, Estate)
    assert 0 < accepted < 500, "some mutations are harmless, most are not"


@given(st.binary(max_size=400))
@settings(max_examples=3000, deadline=None)
def test_no_bytes_end_in_a_traceback(content: bytes) -> None:
    from commonpool.model.document import read

    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(content)
        file.flush()
        document = read(Path(file.name), "m.yaml")
    assert document.problems or document.values is not None or content.strip()


@given(st.text(alphabet="abc01:-[]{}#&*!|>'\"%@,.?~ \n\t", max_size=200))
@settings(max_examples=3000, deadline=None)
def test_what_is_read_means_the_same_to_a_plain_yaml_reader_or_is_refused(text: str) -> None:
    document = parse(text, "m")
    if document.problems:
        return
    plain = yaml.load(text, yaml.CSafeLoader)
    if isinstance(plain, (dict, list)):
        assert _loose(document.values) == _loose(plain)


def _loose(value: Any) -> Any:
    """Keys as text: ours always are, YAML 1.1 also makes numbers and booleans of them."""
    if isinstance(value, dict):
        return sorted(repr(_loose(item)) for item in value.values())
    if isinstance(value, list):
        return [_loose(item) for item in value]
    return value


def test_the_schemas_in_the_repository_are_those_of_the_models_and_accept_the_sample() -> None:
    for kind in KINDS:
        stored = json.loads((ROOT / "schemas" / f"{kind.lower()}.json").read_text(encoding="utf-8"))
        assert stored == json_schema(kind), f"schemas/{kind.lower()}.json is old: make schemas"
    folders = {"Department": "departments/*.yaml", "SharedService": "services/*.yaml", "Pool": "pool.yaml"}
    for kind, pattern in folders.items():
        validator = jsonschema_rs.validator_for(json_schema(kind))
        for path in (ROOT / "examples" / "estate").glob(pattern):
            text = path.read_text(encoding="utf-8")
            validator.validate(parse(text, path.name).values)
            head = text.splitlines()[0]
            assert head.startswith("# yaml-language-server: $schema=")
            assert (path.parent / head.partition("=")[2]).resolve().is_file()


def test_every_field_is_explained() -> None:
    def walk(schema: dict[str, Any], node: dict[str, Any], path: str) -> list[str]:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] | node if "$ref" in node else node
        found = []
        for name, field in node.get("properties", {}).items():
            if not field.get("description"):
                found.append(f"{path}.{name}")
            for inner in (field, field.get("items", {}), *field.get("anyOf", ())):
                found += walk(schema, inner, f"{path}.{name}") if "$ref" in inner else []
        return found

    assert [missing for kind in KINDS for missing in walk(json_schema(kind), json_schema(kind), kind.lower())] == []
    assert "hardware class" in explain_field("department.spec.namespaces.resources").lower()
    with pytest.raises(FieldUnknown):
        explain_field("department.spec.nonsense")


def test_reading_the_model_imports_neither_pulumi_nor_a_client() -> None:
    code = "import sys, commonpool.model, commonpool.ledger; print([m for m in ('pulumi', 'kubernetes', 'aiohttp', 'grpc') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_file_of_the_estate_is_read_once_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = estates.write(tmp_path / "estate", 1)
    monkeypatch.chdir(tmp_path)
    for named in (
        root / "departments" / "d0.yaml",
        Path("estate/departments/../departments/d0.yaml"),
        root / "pool.yaml",
    ):
        assert len(load_estate(Path("estate"), [named]).departments) == 1
