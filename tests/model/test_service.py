"""Shared services behind the proxy: names with one owner, backends that exist and are ours, shares that add up (T20-T22)."""

from pathlib import Path
from typing import Any

import estates
import pytest
from commonpool.model import Estate, EstateRefused, load_estate
from commonpool.model.address import objection
from commonpool.model.duration import seconds
from commonpool.model.hostname import covers, readable
from commonpool.model.share import shares
from commonpool.model.traffic import Share

OLD: dict[str, Any] = {"name": "old", "machines": ["ha-registry-1"], "port": 8080}
NEW: dict[str, Any] = {"name": "new", "machines": ["rs-nas-2"], "port": 8080}
HTTP: dict[str, Any] = {"endpoint": {"protocol": "HTTP"}, "backends": [OLD]}
PEER: dict[str, Any] = {"name": "there", "peer": {"peer": "nation", "department": "interior", "service": "register"}}
STEPS = [{"weight": 10}, {"weight": 100}]
PLAN: dict[str, Any] = {
    "from": "old",
    "to": "new",
    "steps": STEPS,
    "responsible": {"role": "Office"},
    "deadline": "2027-03-31",
}
WORKLOAD: dict[str, Any] = {
    "image": "registry.jiangnan.example/a:1",
    "ports": [{"name": "http", "port": 9000}],
    "resources": {"cpu": "10m", "memory": "16Mi"},
}
STORAGE = [{"tier": "fast", "capacity": "1Gi", "claims": 1}]
SOME = 'resources: [{flavor: legacy, guaranteed: {cpu: "1", memory: 1Gi}}]'


@pytest.fixture
def estate(tmp_path: Path) -> Path:
    """Three departments, of which d0 offers the services; d0 owns register.example, d1 owns other.example."""
    estates.write(tmp_path, 3)
    pool = tmp_path / "pool.yaml"
    text = pool.read_text(encoding="utf-8")
    start, end = text.index("      domains:"), text.index("  security:")
    domains = "      domains: [{domain: register.example, department: d0}, {domain: other.example, department: d1}]\n"
    pool.write_text(text[:start] + domains + text[end:], encoding="utf-8")
    return tmp_path


def problems(root: Path) -> dict[str, str]:
    """Rule and fix of every problem."""
    with pytest.raises(EstateRefused) as error:
        load_estate(root)
    return {problem.rule: problem.fix for problem in error.value.problems}


def accepted(root: Path, **spec: Any) -> Estate:
    estates.add_service(root, "register", **spec)
    return load_estate(root)


@pytest.mark.parametrize(
    ("spec", "rule", "fix"),
    [
        ({"backends": [OLD]}, "endpoint-missing", "add endpoint: {protocol: HTTP}"),
        ({"endpoint": {"protocol": "HTTP"}}, "backend-missing", "add backends: [{name: main, machines: [name], port: 8080}]"),
        ({**HTTP, "backends": [OLD, OLD]}, "name-duplicate", "choose another name"),
        ({**HTTP, "backends": [OLD | {"pods": True}]}, "backend-source", "keep one of them"),
        ({**HTTP, "backends": [{"name": "x"}]}, "backend-source", "keep one of them"),
        ({**HTTP, "backends": [OLD | {"machines": ["ha-registry-9"]}]}, "machine-unknown", "write ha-registry-1"),
        ({**HTTP, "backends": [{"name": "x", "machines": ["ha-registry-1"]}]}, "backend-port", "add port:"),
        ({**HTTP, "backends": [OLD | {"port": 10250}]}, "backend-port", ""),
        ({**HTTP, "backends": [OLD | {"machines": ["rs-nas-1"], "port": 2049}]}, "backend-port", ""),
        ({**HTTP, "backends": [OLD | {"machines": ["rs-11"]}]}, "backend-role", ""),
        ({**HTTP, "backends": [OLD | {"machines": ["rs-07"]}]}, "backend-role", ""),
        ({**HTTP, "backends": [{"name": "x", "pods": True}]}, "backend-pods", "add spec.workload"),
        ({**HTTP, "backends": [OLD | {"priority": 1}]}, "backend-priority", "give the one that serves priority 0"),
        ({**HTTP, "backends": [OLD | {"weight": 0}]}, "backend-weight", ""),
        ({**HTTP, "backends": [{"name": "x", "peer": {"peer": "p", "department": "d", "service": "s"}}]}, "peer-unknown", "declare it first"),
        ({**HTTP, "endpoint": {"protocol": "TCP"}}, "endpoint-port", "add port:"),
        ({**HTTP, "endpoint": {"protocol": "HTTP", "port": 5432}}, "endpoint-port", "take port out"),
        ({**HTTP, "endpoint": {"protocol": "TCP", "port": 8080}}, "port-taken", "write a free one, for instance 8081"),
        ({**HTTP, "endpoint": {"protocol": "TCP", "port": 19000}}, "port-taken", "write a free one, for instance 20000"),
        ({**HTTP, "endpoint": {"protocol": "TCP", "port": 5432, "hostnames": ["x.register.example"]}}, "hostname-useless", ""),
        ({**HTTP, "health": {"send": "00"}}, "health-protocol", "take it out"),
        ({**HTTP, "health": {"interval": "1s", "timeout": "2s"}}, "health-order", "write timeout: 1s or less"),
        ({**HTTP, "health": {"interval": "1m", "timeout": "2s", "evidenceExpires": "1m"}}, "health-order", ""),
        ({**HTTP, "timeouts": {"request": "0s"}}, "duration-zero", ""),
        ({**HTTP, "timeouts": {"request": 30}}, "type-wrong", 'put it in quotes: "30"'),
        ({**HTTP, "cutOver": PLAN}, "backend-unknown", "write old"),
        ({**HTTP, "backends": [OLD, NEW], "cutOver": PLAN | {"to": "old"}}, "cut-over-order", "name the new backend"),
        ({**HTTP, "backends": [OLD, NEW], "cutOver": PLAN | {"steps": STEPS[::-1]}}, "cut-over-order", "write 10, 100"),
        ({**HTTP, "backends": [OLD, NEW, OLD | {"name": "x"}], "cutOver": PLAN}, "cut-over-others", ""),
        ({**HTTP, "backends": [OLD, NEW | {"priority": 1}], "cutOver": PLAN}, "cut-over-others", "give it priority 0"),
        ({"workload": WORKLOAD, "namespace": {}}, "resources-missing", f"add {SOME} under spec.namespace"),
        ({**HTTP, "namespace": {"storage": STORAGE}}, "resources-missing", f"add {SOME} under spec.namespace"),
    ],
)  # fmt: skip
def test_a_service_is_refused_with_the_edit_that_passes(
    estate: Path, spec: dict[str, Any], rule: str, fix: str
) -> None:
    estates.add_service(estate, "register", **spec)
    found = problems(estate)
    assert rule in found
    assert not fix or found[rule] == fix


def test_a_workload_needs_a_namespace_in_which_it_can_run(estate: Path) -> None:
    path = estates.add_service(estate, "register", workload=WORKLOAD)
    path.write_text(path.read_text(encoding="utf-8").replace(estates.NAMESPACE, ""), encoding="utf-8")
    fix = problems(estate)["resources-missing"]
    assert fix == f"add namespace: {{{SOME}}} under spec"
    path.write_text(path.read_text("utf-8") + f"  namespace: {{{SOME}}}\n", "utf-8")
    load_estate(estate)


@pytest.mark.parametrize("backend", [OLD, PEER], ids=["machine", "peer"])
def test_what_answers_for_one_department_stands_behind_no_service_of_anothers(
    estate: Path, backend: dict[str, Any]
) -> None:
    """Else whoever writes a manifest lets everybody in there, past the owner's consumers and agreements."""
    pool = estate / "pool.yaml"
    text = pool.read_text(encoding="utf-8")
    pool.write_text(
        text.replace("      domains:", "      peers: [{name: nation, domain: pool.nation.example}]\n      domains:"),
        encoding="utf-8",
    )
    for name in ("register", "other-door"):
        estates.add_service(estate, name, **HTTP | {"backends": [backend]})
    load_estate(estate)  # two doors of the same department
    estates.add_service(estate, "other-door", owner="d1", **HTTP | {"backends": [backend]})
    assert "backend-taken" in problems(estate)


def test_a_pool_without_a_proxy_has_no_endpoints(estate: Path) -> None:
    pool = estate / "pool.yaml"
    text = pool.read_text(encoding="utf-8")
    pool.write_text(text[: text.index("    proxy:")] + text[text.index("  security:") :], encoding="utf-8")
    estates.add_service(estate, "register", **HTTP)
    assert set(problems(estate)) == {"proxy-missing"}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "fd00:ec2::254", "224.0.0.1", "255.255.255.255",
        "::ffff:10.20.2.31", "64:ff9b::a14:21f", "10.96.0.1", "10.128.0.9", "8.8.8.8", "10.20.2", "localhost", "010.20.2.31",
        "127.0.0.1.nip.io", "kubernetes.default.svc",
    ],
)  # fmt: skip
def test_an_address_that_is_not_a_machines_is_refused_at_declaration(estate: Path, address: str) -> None:
    inventory = (estate / "hosts.yml").resolve()
    source = estates.INVENTORIES / "hill-annex" / "hosts.yml"
    inventory.write_text(source.read_text(encoding="utf-8").replace("10.20.2.31", f'"{address}"'), encoding="utf-8")
    pool = estate / "pool.yaml"
    pool.write_text(pool.read_text(encoding="utf-8").replace(str(source), str(inventory)), encoding="utf-8")
    estates.add_service(estate, "register", **HTTP)
    assert set(problems(estate)) == {"backend-address"}


def test_a_machine_without_an_address_or_of_another_department_is_refused(estate: Path) -> None:
    inventory = estate / "hosts.yml"
    source = estates.INVENTORIES / "hill-annex" / "hosts.yml"
    text = source.read_text(encoding="utf-8")
    pool = estate / "pool.yaml"
    pool.write_text(pool.read_text(encoding="utf-8").replace(str(source), str(inventory)), encoding="utf-8")
    estates.add_service(estate, "register", **HTTP)
    inventory.write_text(text.replace(", ansible_host: 10.20.2.31", ""), encoding="utf-8")
    assert set(problems(estate)) == {"backend-address"}
    inventory.write_text(text.replace("10.20.2.31", "10.20.2.31, commonpool_department: d1"), encoding="utf-8")
    assert problems(estate)["backend-foreign"] == "name a machine of d0, or let d1 offer the service"
    inventory.write_text(text.replace("10.20.2.31", "10.20.2.31, commonpool_department: d0"), encoding="utf-8")
    assert load_estate(estate).service("register")


def test_addresses_of_machines_and_storage_have_no_objection(estate: Path) -> None:
    ranges = load_estate(estate).pool.spec.network.ranges
    assert [objection(address, ranges) for address in ("10.20.2.31", "10.21.255.254")] == ["", ""]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("*", "hostname-invalid"),
        ("*.example", "hostname-invalid"),
        ("*.pool.jiangnan.example", "hostname-foreign"),
        ("*.jiangnan.example", "hostname-foreign"),
        ("pool.jiangnan.example", "hostname-foreign"),
        ("taken.d1.pool.jiangnan.example", "hostname-foreign"),
        ("new.d1.pool.jiangnan.example", "hostname-foreign"),
        ("x.other.example", "hostname-foreign"),
        ("xother.example", "hostname-foreign"),
        ("register.example.evil.test", "hostname-foreign"),
        ("Taken.register.example", "hostname-spelling"),
        ("taken.register.example.", "hostname-spelling"),
        ("taken.register.example:443", "hostname-spelling"),
        (" taken.register.example", "hostname-spelling"),
        ("taken.register.example", "hostname-taken"),
        ("*.register.example", "hostname-taken"),
        ("a.wild.register.example", "hostname-taken"),
        ("*.b.wild.register.example", "hostname-taken"),
        ("tаken.register.example", "hostname-invalid"),  # with a Cyrillic a
        ("xn--tken-53d.register.example", "hostname-confusable"),  # the same in Punycode
        ("xn--a.register.example", "hostname-invalid"),
        ("a..register.example", "hostname-invalid"),
        ("a_b.register.example", "hostname-invalid"),
        ("*.*.register.example", "hostname-invalid"),
        ("a\r\nhost: x.register.example", "hostname-invalid"),
        ("a}.register.example", "hostname-invalid"),
    ],
)
def test_a_host_name_belongs_to_one_service_however_it_is_spelt(estate: Path, name: str, rule: str) -> None:
    first = {"protocol": "HTTP", "hostnames": ["taken.register.example", "*.wild.register.example"]}
    estates.add_service(estate, "first", endpoint=first, backends=[OLD])
    assert load_estate(estate)
    estates.add_service(estate, "second", endpoint={"protocol": "HTTP", "hostnames": [name]}, backends=[OLD])
    assert rule in problems(estate)


def test_names_below_its_own_and_in_its_departments_domain_are_a_services_to_use(estate: Path) -> None:
    names = ["v2.register.d0.pool.jiangnan.example", "*.register.d0.pool.jiangnan.example", "register.example"]
    found = accepted(estate, endpoint={"protocol": "HTTP", "hostnames": names[1:]}, backends=[OLD])
    service = found.service("register")
    assert service and service.host(found.pool.spec.network.domain) == "register.d0.pool.jiangnan.example"
    estates.add_service(estate, "register", endpoint={"protocol": "HTTP", "hostnames": names}, backends=[OLD])
    assert "hostname-taken" in problems(estate), "a service does not shadow its own names either"


def test_two_services_cannot_have_one_port(estate: Path) -> None:
    estates.add_service(estate, "first", endpoint={"protocol": "TCP", "port": 5432}, backends=[OLD])
    estates.add_service(estate, "second", endpoint={"protocol": "TLS", "port": 5432}, backends=[OLD])
    assert problems(estate) == {"port-taken": "write a free one, for instance 5433"}


def test_shares_never_exceed_the_total(estate: Path) -> None:
    limits = {"total": {"requestsPerSecond": 100}, "perConsumer": {"requestsPerSecond": 40}}
    estates.add_service(estate, "register", **HTTP, limits=limits)
    for department in ("d0", "d1"):
        estates.consume(estate, department, "register")
    assert load_estate(estate)
    estates.consume(estate, "d2", "register")
    fix = "write limits.total.requestsPerSecond: 120, or limits.perConsumer.requestsPerSecond: 33"
    assert problems(estate) == {"limit-exceeded": fix}


@pytest.mark.parametrize(
    ("total", "each", "consumers", "share"),
    [(None, None, 3, None), (100, None, 3, 33), (100, 20, 3, 20), (None, 20, 9, 20)],
)
def test_a_share_is_what_is_said_or_an_equal_part(
    tmp_path: Path, total: int | None, each: int | None, consumers: int, share: int | None
) -> None:
    said = {word: {"concurrent": value} for word, value in (("total", total), ("perConsumer", each)) if value}
    root = estates.write(tmp_path, 10)
    estates.add_service(root, "register", **HTTP, limits=said)
    for number in range(consumers):
        estates.consume(root, f"d{number + 1}", "register")
    found = load_estate(root)
    assert shares(found, found.services[0]) == (Share.model_construct(requests_per_second=None, concurrent=share), {})


def test_consumers_are_named_and_nobody_lets_itself_in_by_a_label(estate: Path) -> None:
    estates.consume(estate, "d1", "register")
    path = estate / "departments" / "d1.yaml"
    estates.add_service(estate, "register", **HTTP)
    manifest = estate / "services" / "register.yaml"
    text = manifest.read_text(encoding="utf-8")
    path.write_text(
        path.read_text(encoding="utf-8").replace("name: d1", "name: d1\n  labels: {team: water}", 1), encoding="utf-8"
    )
    manifest.write_text(text.replace("{everyone: true}", "{departments: [d0]}"), encoding="utf-8")
    assert set(problems(estate)) == {"service-not-offered"}
    manifest.write_text(text.replace("{everyone: true}", "{labels: {team: water}}"), encoding="utf-8")
    assert "field-unknown" in problems(estate)
    manifest.write_text(text.replace("{everyone: true}", "{departments: [d1]}"), encoding="utf-8")
    assert load_estate(estate).consumers == {"register": {"d1": ("d1-main",)}}


def test_a_group_of_consumers_is_the_pools_to_say(estate: Path) -> None:
    estates.consume(estate, "d1", "register")
    estates.add_service(estate, "register", **HTTP)
    manifest, pool = estate / "services" / "register.yaml", estate / "pool.yaml"
    text, declared = manifest.read_text(encoding="utf-8"), pool.read_text(encoding="utf-8")
    manifest.write_text(text.replace("{everyone: true}", "{groups: [field]}"), encoding="utf-8")
    assert set(problems(estate)) == {"department-group-unknown", "service-not-offered"}
    for members, expected in (
        ("d0, d9", {"department-unknown", "service-not-offered"}),
        ("d1, d1", {"name-duplicate"}),
    ):
        pool.write_text(f"{declared}\n  departmentGroups: {{field: [{members}]}}\n", encoding="utf-8")
        assert set(problems(estate)) == expected
    pool.write_text(f"{declared}\n  departmentGroups: {{field: [d0, d1]}}\n", encoding="utf-8")
    assert load_estate(estate).consumers == {"register": {"d1": ("d1-main",)}}


def test_a_whole_plan_is_accepted(estate: Path) -> None:
    found = accepted(estate, endpoint={"protocol": "HTTP"}, backends=[OLD, NEW | {"weight": 0}], cutOver=PLAN)
    service = found.service("register")
    assert service and service.spec.cut_over
    assert [step.weight for step in service.spec.cut_over.steps] == [10, 100]
    assert service.spec.cut_over.from_ == "old"


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.b", "a.b", True), ("a.b", "c.a.b", False), ("*.b", "a.b", True), ("*.b", "c.a.b", True), ("*.b", "b", False),
        ("*.b", "*.b", True), ("*.b", "*.a.b", True), ("*.a.b", "*.b", False), ("*.b", "ab", False),
    ],
)  # fmt: skip
def test_what_a_wildcard_covers(pattern: str, name: str, expected: bool) -> None:
    assert covers(pattern, name) is expected


def test_durations_and_punycode_are_read() -> None:
    assert [seconds(text) for text in ("250ms", "5s", "2m", "1h")] == [0.25, 5, 120, 3600]
    assert readable("xn--tken-53d.b") == "tаken.b"
