"""Every rule refuses something: by an edit of a valid estate here, elsewhere in the tests, or in `examples/refused`."""

import ast
from pathlib import Path
from typing import Any

import estates
import pytest
from commonpool.components.department import objects
from commonpool.model import EstateRefused, load_estate

ROOT = Path(__file__).resolve().parents[2]
POOL, FIRST, HOSTS = "pool.yaml", "departments/d0.yaml", "hosts.yml"
CAMPUS = f"{estates.INVENTORIES}/new-campus/hosts.yml"
ANNEX = f"{estates.INVENTORIES}/hill-annex/hosts.yml"
LAST = "memory: 64Mi}}]\n"
ACCOUNT, ARCHIVE = "{name: a, role: viewer}", "{tier: archive, capacity: 1Gi}"
BURST = '      - {name: legacy-burst, description: x, trust: 2, price: {cpuHour: "1", memoryGiBHour: "1"}}'
HOST = "all: {hosts: {one: {commonpool_flavor: legacy, commonpool_cpu: 4, commonpool_memory: 8Gi}}}\n"


@pytest.fixture
def estate(tmp_path: Path) -> Path:
    """Two departments, and an inventory that may be edited."""
    estates.write(tmp_path, 2)
    (tmp_path / HOSTS).write_text(HOST, encoding="utf-8")
    pool = tmp_path / POOL
    pool.write_text(pool.read_text(encoding="utf-8").replace(ANNEX, HOSTS), encoding="utf-8")
    load_estate(tmp_path)
    return tmp_path


def rules(folder: Path) -> set[str]:
    with pytest.raises(EstateRefused) as error:
        load_estate(folder)
    for problem in error.value.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert "\n" not in str(problem)
    return {problem.rule for problem in error.value.problems}


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        (POOL, "cidr: 10.21.0.0/16", "cidr: 10.21.0.0/99", "cidr-invalid"),
        (FIRST, "memory: 64Mi", "memory: 64", "amount-too-small"),
        (POOL, 'cpuHour: "0.03"', 'cpuHour: "cheap"', "decimal-invalid"),
        (POOL, "domain: pool.jiangnan.example", "domain: Pool_Jiangnan", "domain-invalid"),
        (POOL, "clientId: commonpool", 'clientId: commonpool\n      groupsPrefix: "system:"', "prefix-reserved"),
        (POOL, CAMPUS, "nowhere.yml", "inventory-missing"),
        (POOL, CAMPUS, HOSTS, "machine-duplicate"),
        (POOL, 'overCommit: {cpu: "1.5"', 'overCommit: {cpu: "0"', "over-commit-zero"),
        (POOL, "registries: [registry.jiangnan.example]", "registries: ['https://x']", "registry-invalid"),
        (POOL, "media: ", "default: true, media: ", "tier-default"),
        (POOL, ", nfs: {server: 10.20.1.22, path: /export/a}", "", "volume-source"),
        (
            POOL,
            "server: 10.20.1.22, path: /export/a",
            "server: nas, path: /export/a, device: /dev/sdb",
            "device-elsewhere",
        ),
        # Of two volumes in one folder, or on one disk, two departments would read each other's files.
        (POOL, "server: 10.20.1.21, path: /export/b", "server: 10.20.1.21, path: /export/a", "volume-overlap"),
        (POOL, "server: 10.20.1.21, path: /export/b", "server: 10.20.1.21, path: /export/a/b", "volume-overlap"),
        (POOL, "server: 10.20.1.21, path: /export/b", "server: 10.20.1.21, path: /", "volume-overlap"),
        (POOL, "machine: nc-02, path: /srv/disks/ssd1", "machine: nc-01, path: /srv/disks", "volume-overlap"),
        (POOL, "tier: fast, capacity: 1800Gi", "tier: fats, capacity: 1800Gi", "tier-unknown"),
        (POOL, "operators: [pool-operators]", "operators: ['system:masters']", "group-reserved"),
        (POOL, "operators: [pool-operators]", "operators: ['pool operators']", "group-invalid"),
        (POOL, "    flavors:\n", f"    flavors:\n{BURST}\n", "name-reserved"),
        (FIRST, "developer: [d0-developers]", "developer: [pool-pipelines]", "group-reserved"),
        (FIRST, ', phone: "+86 555 0100"', "", "contact-phone"),
        (FIRST, "cpu: 40m", "cpu: 0", "quantity-zero"),
        (FIRST, "displayName: Department 0", 'displayName: " "', "text-empty"),
        (FIRST, "displayName: Department 0", 'displayName: "a\\u200bb"', "text-character"),
        (FIRST, "name: main", f"name: {'m' * 62}", "name-long"),
        (FIRST, LAST, f"{LAST}      containers: {{defaultMemoryLimit: 64Mi}}\n", "limit-below-request"),
        (FIRST, LAST, f"{LAST}      storage: [{{tier: fats, capacity: 1Gi}}]\n", "tier-unknown"),
        (FIRST, LAST, f"{LAST}      serviceAccounts: [{ACCOUNT}, {ACCOUNT}]\n", "name-duplicate"),
        (FIRST, LAST, f"{LAST}      serviceAccounts: [{{name: default, role: viewer}}]\n", "name-reserved"),
        (FIRST, LAST, f"{LAST}      storage: [{ARCHIVE}, {ARCHIVE}]\n", "name-duplicate"),
        (
            FIRST,
            LAST,
            f"{LAST}      egress: [{{name: a, cidr: 192.0.2.0/24, ports: [{{port: 443, endPort: 1}}], reason: x}}]\n",
            "port-order",
        ),
        (HOSTS, HOST, "hosts: {one: {}}\n", "inventory-shape"),
        (HOSTS, "commonpool_cpu: 4", "commonpool_cpu: many", "machine-fact-invalid"),
        (HOSTS, ", commonpool_memory: 8Gi", "", "machine-fact-missing"),
        (HOSTS, "commonpool_cpu: 4", "commonpool_cpu: 4, commonpool_cpus: 4", "machine-fact-unknown"),
    ],
)
def test_an_edit_is_refused_by_its_rule(estate: Path, file: str, old: str, new: str, rule: str) -> None:
    path = estate / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert rules(estate) == {rule}


ALLOWED = "    egressAllowList:\n"
WIDE = "      - {{name: wide, cidr: {}, ports: [{{port: 443}}], reason: x}}\n"


@pytest.mark.parametrize(
    ("allowed", "opening", "outcome"),
    [
        # What answers for a shared service at a machine would be reached past the service's consumers and agreements.
        ("10.0.0.0/8", "10.20.2.31/32", "egress-inside"),
        ("10.0.0.0/8", "10.21.0.0/16", "egress-inside"),
        ("0.0.0.0/0", "10.96.0.1/32", "egress-inside"),
        ("0.0.0.0/0", "169.254.169.254/32", "egress-inside"),
        ('"::/0"', '"fd00:ec2::254/128"', "egress-inside"),
        # What the operators name themselves is open, by whichever address they spell it.
        ("10.20.0.5/24", "10.20.0.7/32", {}),
        ("10.20.0.0/16", "10.20.0.0/16", {}),
        ("10.0.0.0/8", "10.60.0.0/16", {}),
        ("10.0.0.0/8", "10.20.0.0/15", {"except": ["10.20.0.0/16", "10.21.0.0/16"]}),
        ("0.0.0.0/0", "0.0.0.0/0", {"except": ["10.20.0.0/16", "10.21.0.0/16", "10.128.0.0/14", "10.96.0.0/16", "169.254.0.0/16"]}),
        ("everywhere", "10.60.0.0/16", "cidr-invalid"),
    ],
)  # fmt: skip
def test_an_opening_to_the_outside_leads_to_nothing_of_the_pools_own(
    tmp_path: Path, allowed: str, opening: str, outcome: str | dict[str, Any]
) -> None:
    estates.write(tmp_path, 1)
    for file, old, new in (
        (POOL, ALLOWED, ALLOWED + WIDE.format(allowed)),
        (FIRST, LAST, f"{LAST}      egress: [{{name: a, cidr: {opening}, ports: [{{port: 443}}], reason: x}}]\n"),
    ):
        path = tmp_path / file
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    if isinstance(outcome, str):
        assert rules(tmp_path) == {outcome}
        return
    estate = load_estate(tmp_path)
    [policy] = [one for one in objects(estate, estate.departments[0]) if one["metadata"]["name"] == "egress-a"]
    assert policy["spec"]["egress"][0]["to"] == [{"ipBlock": {"cidr": opening, **outcome}}]


@pytest.mark.parametrize("name", ["service", "openshift"])
def test_no_name_of_the_platforms_is_put_together(estate: Path, name: str) -> None:
    """A department `service` with a namespace `register` would have what is kept for the shared service."""
    (estate / "departments" / f"{name}.yaml").write_text(estates.department(name, 7), encoding="utf-8")
    assert rules(estate) == {"name-reserved"}


def test_two_departments_cannot_make_the_same_namespace(estate: Path) -> None:
    for name, short, number in (("x", "y-z", 7), ("x-y", "z", 8)):
        text = estates.department(name, number).replace("name: main", f"name: {short}")
        (estate / "departments" / f"{name}.yaml").write_text(text, encoding="utf-8")
    assert rules(estate) == {"namespace-collision"}


def test_a_service_that_is_listed_twice_is_refused(estate: Path) -> None:
    """It would make two objects of one name, and stop the run for the departments that come after."""
    estates.add_service(estate, "register")
    estates.consume(estate, "d1", "register", "register")
    assert rules(estate) == {"name-duplicate"}


WORK = {"image": "registry.jiangnan.example/a:1", "resources": {"cpu": "1m", "memory": "1Mi"}}
ONE = {"name": "one", "port": 80}


@pytest.mark.parametrize(
    ("workload", "rule"),
    [
        ({"ports": [ONE, ONE]}, "name-duplicate"),
        ({"ports": [ONE, ONE | {"name": "two"}]}, "name-duplicate"),
        ({"ports": [ONE | {"name": "longer-than-fifteen"}]}, "value-out-of-range"),
        ({"ports": [ONE | {"name": "80"}]}, "value-out-of-range"),
        ({"ports": [ONE], "environment": {"A=B": "x"}}, "value-out-of-range"),
    ],
)
def test_what_the_api_server_would_refuse_of_a_workload_is_refused_before(
    estate: Path, workload: dict[str, Any], rule: str
) -> None:
    estates.add_service(estate, "register", workload=WORK | workload)
    assert rules(estate) == {rule}


PERFORMANCE: dict[str, Any] = {"flavor": "performance", "guaranteed": {"cpu": "10m", "memory": "16Mi"}}


@pytest.mark.parametrize(
    ("level", "resources", "storage", "rule"),
    [
        (4, [PERFORMANCE], [], "flavor-trust"),  # as for a department's own namespace
        (2, [PERFORMANCE, PERFORMANCE], [], "name-duplicate"),
        (2, [PERFORMANCE | {"flavor": "performant"}], [], "flavor-unknown"),
        (2, [PERFORMANCE], [{"tier": "fats", "capacity": "1Gi"}], "tier-unknown"),
    ],
)
def test_a_services_namespace_is_given_what_a_departments_could_be(
    estate: Path, level: int, resources: list[Any], storage: list[Any], rule: str
) -> None:
    path = estates.add_service(estate, "register", namespace={"resources": resources, "storage": storage})
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("protectionLevel: 2", f"protectionLevel: {level}"), encoding="utf-8")
    assert rules(estate) == {rule}


OLD = {"name": "old", "machines": ["ha-registry-1"], "port": 8080}
NEW = {"name": "new", "machines": ["rs-nas-2"], "port": 8080, "weight": 0}
PLAN = {
    "from": "old",
    "to": "new",
    "steps": [{"weight": 100}],
    "responsible": {"role": "Office"},
    "deadline": "2027-03-31",
}
HTTP = {"endpoint": {"protocol": "HTTP"}, "backends": [OLD]}
PEER = {"name": "peer", "peer": {"peer": "nation", "department": "office", "service": "x"}}


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ({"endpoint": {"protocol": "TCP", "port": 9000}, "backends": [PEER]}, "backend-peer"),
        (
            {"endpoint": {"protocol": "TLS", "port": 9000}, "backends": [OLD | {"tls": {"serverName": "old.example"}}]},
            "backend-tls",
        ),
        (
            {
                "endpoint": {"protocol": "TCP", "port": 9000},
                "backends": [OLD],
                "limits": {"total": {"requestsPerSecond": 1}},
            },
            "limit-protocol",
        ),
        ({"endpoint": {"protocol": "TCP", "port": 9000}, "backends": [OLD, NEW], "cutOver": PLAN}, "cut-over-numbers"),
        (
            {
                "endpoint": {"protocol": "HTTP"},
                "backends": [OLD, NEW, OLD | {"name": "spare", "priority": 1}],
                "cutOver": PLAN,
            },
            "cut-over-numbers",
        ),
    ],
)
def test_a_service_is_refused_by_its_rule(tmp_path: Path, spec: dict[str, Any], rule: str) -> None:
    estates.write(tmp_path, 1)
    estates.add_service(tmp_path, "register", **spec)
    assert rule in rules(tmp_path)


CLIENTS = "      httpsPort: 8443\n      certificate: gateway\n      clientCertificates: {authority: clients}\n"
SYSTEM = "  systems: [{name: desk, description: A desk, consumes: [register]}]\n  namespaces:"
TCP = {"endpoint": {"protocol": "TCP", "port": 9000}, "backends": [OLD]}


@pytest.mark.parametrize(
    ("service", "clients", "system", "rule"),
    [
        (HTTP, "", SYSTEM, "systems-closed"),
        (HTTP, CLIENTS, SYSTEM.replace("register", "registers"), "service-unknown"),
        (HTTP, CLIENTS, SYSTEM.replace("[{", "[{name: desk, description: Another}, {"), "name-duplicate"),
        (TCP, CLIENTS, SYSTEM, "system-protocol"),
        (HTTP, CLIENTS.replace("      certificate: gateway\n", ""), SYSTEM, "certificate-missing"),
        (HTTP, CLIENTS.replace("{authority", "{port: 8443, authority"), SYSTEM, "port-taken"),
    ],
)
def test_a_system_outside_of_the_pool_is_refused_by_its_rule(
    tmp_path: Path, service: dict[str, Any], clients: str, system: str, rule: str
) -> None:
    estates.write(tmp_path, 2)
    estates.add_service(tmp_path, "register", **service)
    for file, old, new in (
        (POOL, "      httpsPort: 8443\n", clients or "      httpsPort: 8443\n"),
        (FIRST, "  namespaces:", system),
    ):
        text = (tmp_path / file).read_text(encoding="utf-8")
        (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
    assert rules(tmp_path) == {rule}


def test_a_name_that_dns_cannot_carry_is_refused(tmp_path: Path) -> None:
    estates.write(tmp_path, 1)
    long = "d" * 40
    (tmp_path / "departments" / f"{long}.yaml").write_text(estates.department(long, 5), encoding="utf-8")
    estates.add_service(tmp_path, "s" * 40, owner=long, endpoint={"protocol": "HTTP"}, backends=[OLD])
    pool = tmp_path / POOL
    text = pool.read_text(encoding="utf-8")
    domain = ".".join(["x" * 60] * 3)
    pool.write_text(text.replace("domain: pool.jiangnan.example", f"domain: {domain}"), encoding="utf-8")
    assert "hostname-long" in rules(tmp_path)


def test_two_domains_that_overlap_have_two_owners(tmp_path: Path) -> None:
    estates.write(tmp_path, 2)
    pool = tmp_path / POOL
    text = pool.read_text(encoding="utf-8")
    start, end = text.index("      domains:"), text.index("  security:")
    domains = "      domains: [{domain: a.example, department: d0}, {domain: b.a.example, department: d1}]\n"
    pool.write_text(text[:start] + domains + text[end:], encoding="utf-8")
    assert "domain-overlap" in rules(tmp_path)


def test_a_folder_without_a_pool_is_no_estate(tmp_path: Path) -> None:
    assert rules(tmp_path) == {"estate-missing"}


def test_a_folder_in_place_of_a_manifest_cannot_be_read(estate: Path) -> None:
    (estate / "departments" / "d9.yaml").mkdir()
    assert rules(estate) == {"file-unreadable"}


def rules_in_code() -> set[str]:
    """Words with a dash that stand where a rule does: beside a message that is made or passed on."""
    found: set[str] = set()
    for path in (ROOT / "infra" / "commonpool").glob("[ml][oe]d*/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            inside: list[ast.expr] = []
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name.lower().lstrip("_") in ("problem", "refusal", "refuse", "refused", "pattern"):
                    inside = node.args
            elif isinstance(node, ast.Tuple) and len(node.elts) in (2, 3):
                inside = node.elts
            words = [item.value for item in inside if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            found |= {
                word for word in words if word.replace("-", "").isalpha() and "-" in word and word == word.lower()
            }
    return found


def test_every_rule_of_the_code_refuses_something_in_the_tests_or_the_examples() -> None:
    known = rules_in_code()
    assert len(known) > 60, "they are still found in the code"
    texts = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "examples" / "refused").glob("*.txt")]
    said = "\n".join(path.read_text(encoding="utf-8") for path in texts)
    assert {rule for rule in known if f'"{rule}"' not in said and f"[{rule}]" not in said} == set()
