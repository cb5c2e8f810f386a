"""Sharing as the rule: classes with what they need, agreements with what both sides signed, and the states between."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import agreements
import estates
import pytest
import yaml
from commonpool.components import agreement
from commonpool.components.department import objects
from commonpool.components.envoy_gateway import policy
from commonpool.components.unit import units
from commonpool.ledger import Ledger
from commonpool.model import Estate, EstateRefused, load_estate, warnings
from commonpool.model.agreement_check import lapses
from commonpool.model.share import shares
from commonpool.model.statement import Statement, canonical, message, public_text, text_digest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

CONDITIONAL = {"class": "conditional", "conditions": ["Only for its task"]}
EXEMPT = {"class": "not-shared", "basis": {"law": "A law", "article": "1"}, "exemptionEnds": "2099-12-31"}
HTTP = {"endpoint": {"protocol": "HTTP"}, "backends": [{"name": "old", "machines": ["ha-registry-1"], "port": 8080}]}


def dataset(root: Path, name: str, **spec: Any) -> None:
    fields: dict[str, Any] = {
        "displayName": name,
        "code": f"T/{name}",
        "category": "department",
        "classification": "Tests",
        "provider": "d0",
        "abstract": "For the tests",
        "formats": ["json"],
        "items": [{"name": "address.city", "title": "City", "type": "string"}],
        "update": "daily",
        "published": "2026-01-01",
        "filing": {"number": f"F-{name}", "budgetItem": "201"},
        **spec,
    }
    manifest = {"apiVersion": "commonpool.dev/v1", "kind": "Dataset", "metadata": {"name": name}, "spec": fields}
    (root / "datasets").mkdir(exist_ok=True)
    (root / "datasets" / f"{name}.yaml").write_text(json.dumps(manifest), encoding="utf-8")


def service(root: Path, name: str = "permits", **spec: Any) -> None:
    path = estates.add_service(root, name, **{**HTTP, "sharing": CONDITIONAL, **spec})
    if "consumers" not in spec and spec.get("sharing", CONDITIONAL) is not None:
        text = path.read_text(encoding="utf-8").replace("  consumers: {everyone: true}\n", "")
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """d0 offers `permits` under conditions; d0 and d1 have keys."""
    estates.write(tmp_path, 3)
    agreements.give_keys(tmp_path, "d0", "d1")
    service(tmp_path)
    return tmp_path


def rules(root: Path) -> dict[str, str]:
    """Rule and message of every problem."""
    with pytest.raises(EstateRefused) as error:
        load_estate(root)
    return {problem.rule: problem.message for problem in error.value.problems}


def on(root: Path, day: str) -> Estate:
    return replace(load_estate(root), day=date.fromisoformat(day))


def state(root: Path, day: str = "2026-06-01") -> str:
    return on(root, day).standings["a"].state


@pytest.mark.parametrize(
    ("sharing", "rule"),
    [
        ({"class": "not-shared"}, "exemption-missing"),
        ({"class": "not-shared", "basis": EXEMPT["basis"]}, "exemption-missing"),
        ({**EXEMPT, "conditions": ["x"]}, "condition-added"),
        ({"conditions": ["x"]}, "condition-added"),
        ({"class": "conditional"}, "condition-missing"),
        ({**CONDITIONAL, "exemptionEnds": "2099-12-31"}, "exemption-useless"),
    ],
)
def test_a_class_has_what_it_needs_and_nothing_beyond(root: Path, sharing: dict[str, Any], rule: str) -> None:
    dataset(root, "one", sharing=sharing)
    assert set(rules(root)) == {rule}
    (root / "datasets" / "one.yaml").unlink()
    service(root, sharing=sharing)
    assert set(rules(root)) == {rule}


def test_an_exemption_ends_and_is_then_refused_by_validation_without_stopping_others(root: Path) -> None:
    dataset(root, "one", sharing=EXEMPT)
    assert list(lapses(on(root, "2099-12-31"))) == []
    ((problem, over),) = lapses(on(root, "2100-01-01"))
    assert (problem.rule, over) == ("exemption-ended", True)


def test_what_is_shared_without_conditions_is_granted_at_once_and_the_default_is_that(root: Path) -> None:
    service(root, "open", sharing={})
    estates.consume(root, "d2", "open")
    assert load_estate(root).consumers == {"open": {"d2": ("d2-main",)}}


def test_what_is_not_shared_is_refused_with_its_law(root: Path) -> None:
    service(root, "secret", sharing=EXEMPT)
    estates.consume(root, "d1", "secret")
    assert rules(root) == {"service-not-shared": "service 'secret' is not shared by A law, 1, until 2099-12-31"}
    estates.consume(root, "d1")
    estates.consume(root, "d0", "secret")
    assert "secret" in load_estate(root).consumers, "its own department calls it"


def test_a_list_of_consumers_beside_a_class_is_a_further_condition(root: Path) -> None:
    service(root, consumers={"departments": ["d1"]})
    path = root / "services" / "permits.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("  consumers: {everyone: true}\n", "", 1), encoding="utf-8"
    )
    assert set(rules(root)) == {"sharing-consumers"}


def test_the_states_of_an_agreement_follow_from_signatures_statements_and_the_day(root: Path) -> None:
    agreements.agree(root, "a", service="permits", sign=False, term={"start": "2026-03-01", "end": "2026-12-31"})
    assert state(root) == "draft"
    agreements.say(root, "a", "d1", "sign")
    assert state(root) == "proposed"
    agreements.say(root, "a", "d0", "sign")
    assert [state(root, day) for day in ("2026-02-28", "2026-03-01", "2026-12-31", "2027-01-01")] == [
        "signed",
        "in-force",
        "in-force",
        "expired",
    ]
    agreements.say(root, "a", "d0", "suspend", at="2026-04-01T00:00:00Z")
    agreements.say(root, "a", "d1", "resume", at="2026-04-02T00:00:00Z")
    assert state(root) == "suspended", "only who suspended resumes"
    agreements.say(root, "a", "d0", "resume", at="2026-04-03T00:00:00Z")
    assert state(root) == "in-force"
    agreements.say(root, "a", "d1", "terminate", at="2026-04-04T00:00:00Z")
    agreements.say(root, "a", "d0", "resume", at="2026-04-05T00:00:00Z")
    assert state(root) == "terminated"


def test_a_key_counts_from_midnight_in_china_on(root: Path) -> None:
    """Whoever makes a key in the morning there signs with it in the same hour, which is the day before in UTC."""
    agreements.agree(root, "a", service="permits", sign=False)
    agreements.say(root, "a", "d0", "sign", at="2025-12-31T15:59:59Z")
    assert set(rules(root)) >= {"signature-key"}
    agreements.say(root, "a", "d0", "sign", at="2025-12-31T16:00:00Z")
    assert state(root) == "proposed"


@pytest.mark.parametrize(
    ("day", "rule", "over"),
    [("2025-12-31", "agreement-pausing", False), ("2026-06-01", "", None), ("2100-01-01", "agreement-ended", True)],
)
def test_a_lapse_takes_the_grant_away_and_is_told_with_its_place(
    root: Path, day: str, rule: str, over: bool | None
) -> None:
    agreements.agree(root, "a", service="permits")
    estates.consume(root, "d1", "permits")
    estate = on(root, day)
    found = list(lapses(estate))
    assert [(problem.rule, for_good) for problem, for_good in found] == ([(rule, over)] if rule else [])
    assert bool(estate.consumers.get("permits")) is not bool(rule)
    names = [body["metadata"]["name"] for body in objects(estate, estate.departments[1])]
    assert ("consume-permits" in names) is not bool(rule), "network policy and credential come and go with it"
    assert any(rule in words for words in warnings(estate)) if rule else not warnings(estate)


MORE = {"flavor": "performance", "guaranteed": {"cpu": "10m", "memory": "16Mi"}}


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ({"service": "permits", "consumer": "d0"}, "agreement-parties"),
        ({"service": "permit"}, "service-unknown"),
        ({"dataset": "permits"}, "dataset-unknown"),
        ({"service": "permits", "consumer": "d7"}, "department-unknown"),
        ({"service": "permits", "provider": "d2"}, "agreement-provider"),
        ({"service": "permits", "items": ["a b"]}, "item-path"),
        ({"service": "permits", "items": ["a..b"]}, "item-path"),
        ({"service": "permits", "items": []}, "value-out-of-range"),
        ({"service": "permits", "term": {"start": "2027-01-01", "end": "2026-01-01"}}, "term-order"),
        ({"service": "permits", "rate": {"concurrent": 11}}, "limit-exceeded"),
        ({"service": "line", "items": ["a"]}, "agreement-protocol"),
        ({"service": "line", "evidence": "body"}, "agreement-protocol"),
        ({"service": "line", "rate": {"requestsPerSecond": 1}}, "agreement-protocol"),
        ({"service": "calls", "items": ["a"]}, "agreement-protocol"),
        ({"service": "line", "rate": {"requestsPerDay": 1}}, "agreement-protocol"),
        ({"service": "permits", "rate": {"requestsPerDay": 1}, "evidence": "none"}, "agreement-volume"),
        ({"service": "permits", "rate": {"requestsPerDay": 1 << 53}}, "agreement-text"),
        ({"service": "permits", "quota": [{**MORE, "namespace": "mian"}]}, "quota-namespace"),
        ({"service": "permits", "quota": [{**MORE, "namespace": "main", "flavor": "legacy"}]}, "quota-flavor"),
    ],
)
def test_an_agreement_that_cannot_be_kept_is_refused(root: Path, spec: dict[str, Any], rule: str) -> None:
    service(root, limits={"total": {"concurrent": 10}})
    service(root, "line", endpoint={"protocol": "TCP", "port": 15432})
    service(root, "calls", endpoint={"protocol": "GRPC"})
    agreements.agree(root, "a", sign=False, **spec)
    assert set(rules(root)) == {rule}


def test_a_signature_counts_from_the_day_that_it_names_and_an_end_at_once(root: Path) -> None:
    """A key that counts from next year on signs nothing this year, by naming a day of the next one."""
    agreements.agree(root, "a", service="permits", sign=False)
    for party in ("d0", "d1"):
        agreements.say(root, "a", party, "sign", at="2027-03-01T00:00:00Z")
    assert on(root, "2027-02-28").standings["a"].missing == ("d0", "d1")
    assert on(root, "2027-03-01").standings["a"].in_force
    agreements.say(root, "a", "d1", "suspend", at="2027-05-01T00:00:00Z")
    assert on(root, "2027-04-01").standings["a"].state == "suspended"


def test_consumers_do_not_pay_more_than_the_whole_of_a_service(root: Path) -> None:
    agreements.give_keys(root, "d2")
    agreements.agree(root, "a", service="permits", cost={"consumerPercent": 60})
    agreements.agree(root, "b", service="permits", consumer="d2", cost={"consumerPercent": 41})
    assert rules(root) == {"cost-split": "with a the consumers of 'permits' pay 101 % of it"}
    agreements.agree(root, "b", service="permits", consumer="d2", cost={"consumerPercent": 40})
    load_estate(root)


def test_a_quota_of_an_agreement_is_the_namespaces_as_long_as_it_is_in_force(root: Path) -> None:
    agreements.agree(root, "a", service="permits", quota=[{**MORE, "namespace": "main"}])

    def guaranteed() -> dict[str, str]:
        estate = load_estate(root)
        found = objects(estate, estate.departments[1])
        (quota,) = (one for one in found if one["metadata"]["name"] == "guaranteed-performance")
        promised = {row.name: row.promised for row in Ledger.of(estate).departments}["d1"]
        assert promised.to_json() == {
            "cpu": quota["spec"]["hard"]["requests.cpu"],
            "memory": quota["spec"]["hard"]["requests.memory"],
        }
        return dict(quota["spec"]["hard"])

    before = units(load_estate(root), "departments", {})
    assert guaranteed() == {"requests.cpu": "50m", "requests.memory": "80Mi", "limits.memory": "80Mi"}
    agreements.say(root, "a", "d0", "suspend")
    assert guaranteed() == {"requests.cpu": "40m", "requests.memory": "64Mi", "limits.memory": "64Mi"}
    after = units(load_estate(root), "departments", {})
    assert {name for name in before if before[name] != after[name]} == {"d1"}


def test_two_agreements_about_the_same_at_the_same_time_are_refused_and_a_renewal_is_not(root: Path) -> None:
    agreements.agree(root, "a", service="permits", term={"start": "2026-01-01", "end": "2026-12-31"})
    agreements.agree(root, "b", service="permits", term={"start": "2026-12-31", "end": "2027-12-31"})
    assert set(rules(root)) == {"agreement-overlap"}
    agreements.agree(root, "b", service="permits", term={"start": "2027-01-01", "end": "2027-12-31"})
    estate = on(root, "2027-01-01")
    found = estate.terms("permits", "d1")
    assert found is not None
    assert found.name == "b"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"digest": f"sha256:{0:064d}"}, "signature-text"),
        ({"department": "d2"}, "statement-party"),
        ({"agreement": "b"}, "agreement-unknown"),
        ({"key": "operator"}, "signature-key"),
        ({"at": "2025-12-31T15:00:00Z"}, "signature-key"),
        ({"at": "2026-02-01 00:00"}, "time-invalid"),
        ({"at": "2026-02-02T00:00:00Z"}, "signature-invalid"),
        ({"act": "terminate"}, "statement-reason"),
        ({"act": "terminate", "reason": "Forged"}, "signature-invalid"),
        ({"signature": base64.b64encode(bytes(64)).decode()}, "signature-invalid"),
        ({"signature": base64.b64encode(bytes(63)).decode()}, "key-invalid"),
        ({"signature": "no base64"}, "key-invalid"),
    ],
)
def test_a_statement_that_its_department_did_not_sign_is_refused(root: Path, change: dict[str, Any], rule: str) -> None:
    agreements.agree(root, "a", service="permits")
    assert state(root) == "in-force"
    path = root / "agreements" / "statements" / "a.d1.sign.yaml"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    assert set(rules(root)) == {rule}


def test_a_signature_of_the_other_sides_key_is_none(root: Path) -> None:
    agreements.agree(root, "a", service="permits")
    path = root / "agreements" / "statements" / "a.d1.sign.yaml"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["signature"] = base64.b64encode(agreements.key("d0").sign(message(content))).decode()
    path.write_text(json.dumps(content), encoding="utf-8")
    assert set(rules(root)) == {"signature-invalid"}


@pytest.mark.parametrize(
    "point",
    [
        bytes(32),
        bytes([1]) + bytes(31),
        bytes([1]) + bytes(30) + b"\x80",
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
        bytes.fromhex("ec" + "ff" * 30 + "7f"),
    ],
)
def test_a_key_for_which_anybody_can_sign_is_no_departments(root: Path, point: bytes) -> None:
    """For a point of small order a signature over one text is, or is found for, any other; no private key is needed."""
    path, public = root / "departments" / "d1.yaml", public_text(agreements.key("d1"))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(public, base64.b64encode(point).decode()), encoding="utf-8")
    assert rules(root).keys() == {"key-invalid"}


def test_one_key_is_not_two_departments(root: Path) -> None:
    """Spelled otherwise as well: the last character of its base64 has bits that say nothing."""
    path, public = root / "departments" / "d1.yaml", public_text(agreements.key("d1"))
    text, others = path.read_text(encoding="utf-8"), public_text(agreements.key("d0"))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    respelled = f"{others[:-2]}{letters[letters.index(others[-2]) + 1]}="
    for spelling in (others, respelled):
        path.write_text(text.replace(public, spelling), encoding="utf-8")
        assert rules(root).keys() == {"value-duplicate"}


def test_a_change_of_one_word_undoes_both_signatures_and_one_of_a_label_none(root: Path) -> None:
    path = agreements.agree(root, "a", service="permits")
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"metadata": {"name": "a", "labels": {"x": "y"}}}, indent=3), encoding="utf-8")
    assert state(root) == "in-force"
    content["spec"]["purpose"]["description"] = "Another task"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert set(rules(root)) == {"signature-text"}


def test_the_sample_agreement_verifies_with_nothing_but_two_libraries() -> None:
    """What the documentation of `statement` promises, written out without this package's models."""
    folder = estates.SAMPLE / "agreements"
    text = yaml.safe_load((folder / "residents-for-payroll.yaml").read_text(encoding="utf-8"))
    said = yaml.safe_load(
        (folder / "statements" / "residents-for-payroll.civil-affairs.sign.yaml").read_text(encoding="utf-8")
    )
    plain = {key: text[key] for key in ("apiVersion", "kind", "spec")} | {
        "metadata": {"name": text["metadata"]["name"]}
    }
    content = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert said["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}" == text_digest(text)
    department = yaml.safe_load((estates.SAMPLE / "departments" / "civil-affairs.yaml").read_text(encoding="utf-8"))
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(department["spec"]["keys"][0]["public"]))
    unsigned = {key: value for key, value in said.items() if key != "signature"}
    content = json.dumps(unsigned, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    public.verify(base64.b64decode(said["signature"]), content)
    assert content == Statement.model_validate(said).message


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    """The example of the RFC, section 3.2.3: sorted by UTF-16 code units, shortest numbers, fewest escapes."""
    value = {"€": "Euro Sign", "\r": "CR", "\ufb33": "Dagesh", "1": "One", "😀": "Smile", "\x80": "Control", "ö": "o"}
    assert list(json.loads(canonical(value))) == ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]
    with pytest.raises(ValueError, match="domain"):
        canonical({"n": 2**60})


def test_datasets_are_checked_against_dictionary_services_and_each_other(root: Path) -> None:
    dictionary = {
        "apiVersion": "commonpool.dev/v1",
        "kind": "Dictionary",
        "metadata": {"name": "t"},
        "spec": {"elements": [{"code": "E1", "title": "City", "type": "string", "codeList": "cities", "lead": "d9"}]},
    }
    (root / "dictionary.yaml").write_text(json.dumps(dictionary), encoding="utf-8")
    dataset(root, "one", service="permits", provider="d1")
    dataset(root, "two", service="permit", code="T/one")
    found = rules(root)
    assert set(found) == {
        "code-list-unknown", "department-unknown", "dataset-service", "sharing-differs", "service-unknown", "value-duplicate",
    }  # fmt: skip


def test_repeated_collection_is_told_with_who_collects_already(root: Path) -> None:
    item = {"name": "id", "title": "Number", "type": "string", "element": "E1", "origin": "collected"}
    dictionary = {
        "apiVersion": "commonpool.dev/v1",
        "kind": "Dictionary",
        "metadata": {"name": "t"},
        "spec": {"elements": [{"code": "E1", "title": "Number", "type": "string", "lead": "d2"}]},
    }
    (root / "dictionary.yaml").write_text(json.dumps(dictionary), encoding="utf-8")
    dataset(root, "one", items=[item])
    assert warnings(load_estate(root)) == []
    dataset(root, "two", items=[item], provider="d2")
    (words,) = warnings(load_estate(root))
    assert "E1 Number is collected by 2 departments: d2 (two: id), d0 (one: id)" in words
    assert "all but d2 take it from there" in words


def test_return_flow_that_is_late_is_told(root: Path) -> None:
    dataset(root, "one", returnFlow={"to": "city", "everyDays": 30, "delivered": "2026-05-01"})
    assert warnings(on(root, "2026-05-31")) == []
    assert (
        "flows back to the city level every 30 days; last on 2026-05-01, 1 day late"
        in warnings(on(root, "2026-06-01"))[0]
    )


def test_a_department_that_needs_a_filter_is_closed_while_there_is_none(root: Path) -> None:
    agreements.agree(root, "a", service="permits", items=["name"])
    estates.consume(root, "d1", "permits")
    estate = load_estate(root)
    assert estate.consumers == {}
    assert set(replace(estate, exchange="127.0.0.1:9").consumers) == {"permits"}


@pytest.mark.parametrize(
    ("timeouts", "spec", "through"),
    [
        ({}, {}, False),
        ({"unlimited": True}, {}, True),
        ({}, {"items": ["name"]}, True),
        ({}, {"evidence": "body"}, True),
    ],
)
def test_calls_pass_the_exchange_where_an_agreement_needs_it_or_a_call_could_outlive_it(
    root: Path, timeouts: dict[str, Any], spec: dict[str, Any], through: bool
) -> None:
    service(root, timeouts=timeouts)
    agreements.agree(root, "a", service="permits", **spec)
    estates.consume(root, "d1", "permits")
    estate = replace(load_estate(root), exchange="127.0.0.1:9000")
    kinds = [body["kind"] for body in agreement.objects(estate, estate.services[0])]
    assert kinds == ["ConfigMap", *(["Backend", "EnvoyExtensionPolicy"] if through else [])]


def test_an_agreed_rate_takes_its_part_of_the_total_and_leaves_the_rest_to_the_others(root: Path) -> None:
    service(root, limits={"total": {"requestsPerSecond": 100}})
    agreements.agree(root, "a", service="permits", rate={"requestsPerSecond": 70})
    for name in ("d0", "d1"):
        estates.consume(root, name, "permits")
    estate = load_estate(root)
    common, own = shares(estate, estate.services[0])
    assert (common.requests_per_second, own["d1"].requests_per_second) == (30, 70)
    names = [body["metadata"]["name"] for body in policy.objects(estate, estate.services[0])]
    assert names == ["permits.department.d1", "permits", "permits.department.d1"]
