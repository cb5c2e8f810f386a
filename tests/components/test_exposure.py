"""What a declared service becomes in the proxy, computed without any cluster."""

import json
from pathlib import Path
from typing import Any

import estates
import pytest
from commonpool.components import department, endpoint_guard, envoy_gateway, gateway, pool, service
from commonpool.components.unit import units
from commonpool.model import Estate, load_estate

OLD: dict[str, Any] = {"name": "old", "machines": ["ha-registry-1"], "port": 8080}
NEW: dict[str, Any] = {"name": "new", "machines": ["rs-nas-1", "rs-nas-2"], "port": 8080, "weight": 3}
HTTP: dict[str, Any] = {"endpoint": {"protocol": "HTTP"}, "backends": [OLD]}
WORKLOAD = {
    "image": "registry.jiangnan.example/a:1",
    "ports": [{"name": "http", "port": 9000}],
    "resources": {"cpu": "10m", "memory": "16Mi"},
}
STAND_INS = {"ha-registry-1:8080": "127.0.0.1:18080"}


def estate(root: Path, *, count: int = 3, **spec: Any) -> Estate:
    """d1 and d2 consume `register` of d0."""
    if not (root / "pool.yaml").exists():
        estates.write(root, count)
        for number in range(1, count):
            estates.consume(root, f"d{number}", "register")
    estates.add_service(root, "register", **spec)
    return load_estate(root)


def exposed(
    found: Estate, stand_ins: dict[str, str] | None = None, weights: dict[str, int] | None = None
) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects by kind and name."""
    bodies = service.exposure(found, found.services[0], stand_ins or {}, weights or {})
    return {(body["kind"], body["metadata"]["name"]): body for body in bodies}


def test_a_service_that_is_granted_nothing_has_a_namespace_in_which_nothing_runs(tmp_path: Path) -> None:
    """Its people look at it; what it needs of quotas, accounts and roles comes with its first resources."""
    found = estate(tmp_path, **HTTP, namespace={})
    bodies = {(body["kind"], body["metadata"]["name"]): body for body in service.objects(found, found.services[0])}
    here = [key for key in bodies if key[0] in ("ResourceQuota", "LimitRange", "RoleBinding", "NetworkPolicy")]
    assert here == [("ResourceQuota", "objects"), ("RoleBinding", "viewer"), ("NetworkPolicy", "closed")]
    assert set(bodies["ResourceQuota", "objects"]["spec"]["hard"].values()) == {"0"}
    assert len(bodies["RoleBinding", "viewer"]["subjects"]) == 3
    assert bodies["RoleBinding", "viewer"]["roleRef"]["name"] == "commonpool-viewer"
    assert ("HTTPRoute", "register") in bodies


def test_nothing_is_rendered_without_an_endpoint(tmp_path: Path) -> None:
    assert exposed(estate(tmp_path)) == {}


def test_machines_become_a_service_and_a_slice_with_their_addresses(tmp_path: Path) -> None:
    found = exposed(estate(tmp_path, endpoint={"protocol": "HTTP"}, backends=[NEW]))
    assert found[("Service", "register-new")]["spec"] == {
        "ports": [{"name": "main", "port": 8080, "protocol": "TCP", "targetPort": 8080}]
    }
    slice_ = found[("EndpointSlice", "register-new")]
    assert [one["addresses"] for one in slice_["endpoints"]] == [["10.20.1.21"], ["10.20.1.22"]]
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "register-new"
    assert ("Backend", "register-new") not in found


def test_what_a_service_cannot_say_becomes_a_backend(tmp_path: Path) -> None:
    found = exposed(estate(tmp_path, endpoint={"protocol": "HTTP"}, backends=[OLD, NEW | {"priority": 1}]), STAND_INS)
    assert found[("Backend", "register-old")]["spec"] == {
        "endpoints": [{"ip": {"address": "127.0.0.1", "port": 18080}}]
    }
    assert found[("Backend", "register-new")]["spec"]["fallback"] is True


def test_each_consumer_has_a_rule_and_the_last_rule_refuses(tmp_path: Path) -> None:
    route = exposed(estate(tmp_path, **HTTP))[("HTTPRoute", "register")]["spec"]
    assert [rule["name"] for rule in route["rules"]] == ["d1", "d2", "not.declared", "not.addressed"]
    assert route["hostnames"] == ["register.d0.pool.jiangnan.example"]
    audience = {"name": "x-commonpool-audience", "value": envoy_gateway.audience("register.d0.pool.jiangnan.example")}
    subject = {
        "name": "x-commonpool-subject",
        "type": "RegularExpression",
        "value": "system:serviceaccount:((d1-main):(default))",
    }
    everywhere = {"path": {"type": "PathPrefix", "value": "/"}}
    consumers, undeclared, misdirected = (route["rules"][number] for number in (0, 2, 3))
    assert consumers["matches"] == [everywhere | {"headers": [subject, audience]}]
    assert undeclared["matches"] == [everywhere | {"headers": [audience]}]
    assert misdirected["matches"] == [everywhere]
    assert not [rule for rule in (undeclared, misdirected) if "backendRefs" in rule]


def test_an_audience_is_written_as_envoy_writes_a_list_into_a_header() -> None:
    """Whole bytes and padded ones alike; Envoy's own writing is what `test_callers` meets."""
    assert [envoy_gateway.audience(host) for host in ("a", "ab", "abc")] == ["WyJhIl0=", "WyJhYiJd", "WyJhYmMiXQ=="]


def test_who_calls_under_an_agreement_passes_while_it_is_in_force_and_others_need_no_policy(tmp_path: Path) -> None:
    found = exposed(estate(tmp_path, **HTTP))
    assert not [name for kind, name in found if kind == "SecurityPolicy"]


def test_a_system_outside_of_the_pool_passes_by_the_name_in_its_certificate(tmp_path: Path) -> None:
    """Also where no namespace of its department lists the service; its share counts like anybody's."""
    estate(tmp_path, **HTTP, limits={"total": {"requestsPerSecond": 90}})
    for file, old, new in (
        ("pool.yaml", "      httpsPort: 8443\n", "      httpsPort: 8443\n      certificate: gateway\n      clientCertificates: {authority: clients}\n"),
        ("departments/d0.yaml", "  namespaces:", "  systems: [{name: desk, description: A desk, consumes: [register]}]\n  namespaces:"),
    ):  # fmt: skip
        text = (tmp_path / file).read_text(encoding="utf-8")
        (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
    declared = load_estate(tmp_path)
    found = exposed(declared)
    rules = found[("HTTPRoute", "register")]["spec"]["rules"]
    identity = "spiffe://pool.jiangnan.example/department/d0/system/desk"
    (match,) = rules[0]["matches"]
    assert rules[0]["name"] == "d0"
    assert [one["value"] for one in match["headers"]] == [identity.replace(".", "\\."), envoy_gateway.CERTIFIED]
    undeclared = next(rule for rule in rules if rule["name"] == gateway.NOBODYS)
    known = {one["headers"][0]["value"] for one in undeclared["matches"]}
    assert known == {envoy_gateway.audience("register.d0.pool.jiangnan.example"), envoy_gateway.CERTIFIED}
    limit = found[("BackendTrafficPolicy", "register")]["spec"]["rateLimit"]["local"]["rules"][0]["limit"]
    assert limit["requests"] == 30
    bodies = pool.objects(declared, simulate=True)
    [policy] = [one for one in bodies if one["metadata"]["name"] == "callers"]
    assert [one["sectionName"] for one in policy["spec"]["targetRefs"]] == ["http", "https"]


def test_a_name_stands_while_somebody_consumes_the_service(tmp_path: Path) -> None:
    found = exposed(estate(tmp_path, **HTTP))[("Service", "commonpool-d0")]
    assert found["spec"] == {"type": "ExternalName", "externalName": "proxy.commonpool-proxy.svc.cluster.local"}
    for number in (1, 2):
        estates.consume(tmp_path, f"d{number}")
    assert ("Service", "commonpool-d0") not in exposed(load_estate(tmp_path))


def test_many_consumers_are_spread_over_routes_of_sixteen_rules(tmp_path: Path) -> None:
    found = exposed(estate(tmp_path, count=41, **HTTP, retries={"repeat": "reads"}))
    routes = [body["spec"]["rules"] for (kind, _), body in found.items() if kind == "HTTPRoute"]
    names = [rule["name"] for rules in routes for rule in rules]
    assert max(len(rules) for rules in routes) <= 16
    assert max(sum(len(rule["matches"]) for rule in rules) for rules in routes) < 128
    assert len(names) == len(set(names)) == 82
    traffic = found[("BackendTrafficPolicy", "register")]["spec"]
    assert {one["name"] for one in traffic["targetRefs"]} == {body["metadata"]["name"] for (kind, _), body in found.items() if kind == "HTTPRoute"}  # fmt: skip


def test_no_departments_name_takes_another_ones_rule_or_share(tmp_path: Path) -> None:
    """`water-reads` is not what `water` reads, and `undeclared` is a declared consumer."""
    names = ["water", "water-reads", "reads", "undeclared", "not-declared", "department"]
    estates.write(tmp_path, 1)
    for number, name in enumerate(names, 1):
        (tmp_path / "departments" / f"{name}.yaml").write_text(estates.department(name, number), encoding="utf-8")
        estates.consume(tmp_path, name, "register")
    estates.add_service(tmp_path, "register", **HTTP, retries={"repeat": "reads"})
    found = load_estate(tmp_path)
    bodies = service.exposure(found, found.services[0], {}, {})
    assert len({(body["kind"], body["metadata"]["name"]) for body in bodies}) == len(bodies)
    [route] = [body["spec"]["rules"] for body in bodies if body["kind"] == "HTTPRoute"]
    rules = [rule["name"] for rule in route]
    assert len(set(rules)) == len(rules) == 2 * len(names) + 2


def test_declared_accounts_of_a_namespace_may_call_and_no_others(tmp_path: Path) -> None:
    found = estate(tmp_path, **HTTP)
    path = tmp_path / "departments" / "d1.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "      serviceAccounts: [{name: release, role: developer}]\n", encoding="utf-8")
    found = load_estate(tmp_path)
    consumer = gateway.consumers(found, found.services[0])[0]
    assert consumer.subjects == [f"system:serviceaccount:d1-main:{name}" for name in ("default", "release")]
    assert consumer.pattern == "system:serviceaccount:((d1-main):(default|release))"


@pytest.mark.parametrize(("protocol", "kind"), [("TCP", "TCPRoute"), ("TLS", "TLSRoute")])
def test_a_service_that_is_passed_on_has_a_gateway_of_its_own(tmp_path: Path, protocol: str, kind: str) -> None:
    found = exposed(estate(tmp_path, endpoint={"protocol": protocol, "port": 5432}, backends=[OLD]))
    listener = found[("Gateway", "register")]["spec"]["listeners"][0]
    assert (listener["port"], listener["protocol"]) == (5432, protocol)
    assert found[(kind, "register")]["spec"].get("hostnames") == (
        ["register.d0.pool.jiangnan.example"] if protocol == "TLS" else None
    )
    assert ("SecurityPolicy", "register") not in found
    patched = found[("EnvoyPatchPolicy", "register")]["spec"]["jsonPatches"]
    assert {one["name"] for one in patched} == {"service-register/register/main"}
    assert patched[1]["operation"]["value"]["filter_metadata"]["commonpool"] == {"ended": []}


def test_a_switched_off_service_leads_nowhere(tmp_path: Path) -> None:
    notice = {"message": 'Moving "house" to 100%', "returns": "2027-02-01"}
    found = exposed(estate(tmp_path, **HTTP, notice=notice))
    rules = found[("HTTPRoute", "register")]["spec"]["rules"]
    assert not [rule for rule in rules if "backendRefs" in rule]
    answer = found[("HTTPRouteFilter", "notice")]["spec"]["directResponse"]
    assert json.loads(answer["body"]["inline"].replace("%%", "%"))["detail"] == notice["message"]
    assert exposed(
        estate(tmp_path, endpoint={"protocol": "TCP", "port": 5432}, backends=[OLD], notice=notice)
    ).keys() == {("Service", "register-old"), ("EndpointSlice", "register-old")}


def test_weights_of_the_moment_replace_the_declared_ones(tmp_path: Path) -> None:
    found = estate(tmp_path, endpoint={"protocol": "HTTP"}, backends=[OLD, NEW])

    def weights(**changes: int) -> list[int]:
        rule = exposed(found, weights=changes)[("HTTPRoute", "register")]["spec"]["rules"][0]
        return [reference["weight"] for reference in rule["backendRefs"]]

    assert (weights(), weights(old=90, new=10)) == ([1, 3], [90, 10])


def test_backends_are_told_apart_while_a_service_moves(tmp_path: Path) -> None:
    steps = [{"weight": 100}]
    plan = {"from": "old", "to": "new", "steps": steps, "responsible": {"role": "Office"}, "deadline": "2027-01-01"}
    found = estate(tmp_path, endpoint={"protocol": "HTTP"}, backends=[OLD, NEW], cutOver=plan)
    for rule in exposed(found)[("HTTPRoute", "register")]["spec"]["rules"][:2]:
        said = [one["filters"][0]["requestHeaderModifier"]["set"][0]["value"] for one in rule["backendRefs"]]
        assert said == ["old", "new"]
    before = units(found, "services", {})
    assert units(found, "services", {"commonpool:weights": '{"other": {"old": 1}}'}) == before
    assert units(found, "services", {"commonpool:weights": '{"register": {"old": 1}}'}) != before


def test_pods_are_reached_by_their_service_and_opened_to_the_proxy_alone(tmp_path: Path) -> None:
    found = estate(
        tmp_path, endpoint={"protocol": "GRPC"}, backends=[{"name": "pods", "pods": True}], workload=WORKLOAD
    )
    route = exposed(found)[("GRPCRoute", "register")]["spec"]["rules"][0]
    assert route["backendRefs"] == [{"kind": "Service", "name": "register", "port": 9000, "weight": 1}]
    bodies = service.objects(found, found.services[0])
    policy = next(body for body in bodies if body["metadata"]["name"] == "allow-consumers")
    assert policy["spec"]["ingress"][0]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "commonpool-proxy"}}}
    ]


def test_a_tcp_port_is_open_to_the_consumers_namespaces_alone(tmp_path: Path) -> None:
    found = estate(tmp_path, endpoint={"protocol": "TCP", "port": 5432}, backends=[OLD])
    bodies = service.objects(found, found.services[0])
    policy = next(body for body in bodies if body["metadata"]["name"] == "port-register")
    assert policy["metadata"]["namespace"] == "commonpool-proxy"
    values = policy["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"]
    assert values == ["d1-main", "d2-main"]
    mine = {body["metadata"]["name"]: body for body in department.objects(found, found.departments[1])}
    assert mine["consume-register"]["data"] == {
        "HOST": "register.d0.pool.jiangnan.example",
        "PORT": "5432",
        "PROTOCOL": "TCP",
    }


def test_checks_say_host_status_body_and_bytes(tmp_path: Path) -> None:
    health = {"path": "/ready", "statuses": [204], "body": "OK"}
    traffic = exposed(estate(tmp_path, **HTTP, health=health))[("BackendTrafficPolicy", "register")]["spec"]
    http = traffic["healthCheck"]["active"]["http"]
    assert (http["path"], http["hostname"]) == ("/ready", "register.d0.pool.jiangnan.example")
    assert (http["expectedStatuses"], http["expectedResponse"]) == ([204], {"type": "Text", "text": "OK"})
    assert traffic["healthCheck"]["panicThreshold"] == 0
    tcp = estate(
        tmp_path,
        endpoint={"protocol": "TCP", "port": 5432},
        backends=[OLD],
        health={"send": "0000000804d2162f", "receive": "4e"},
    )
    active = exposed(tcp)[("BackendTrafficPolicy", "register")]["spec"]["healthCheck"]["active"]
    assert active["tcp"] == {
        "send": {"type": "Binary", "binary": "AAAACATSFi8="},
        "receive": {"type": "Binary", "binary": "Tg=="},
    }


def test_tls_to_a_backend_is_checked(tmp_path: Path) -> None:
    authority = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
    tls = {"serverName": "archive.example", "certificateAuthority": authority}
    found = exposed(estate(tmp_path, endpoint={"protocol": "HTTP"}, backends=[OLD | {"tls": tls}]))
    assert found[("ConfigMap", "register-old-ca")]["data"] == {"ca.crt": authority}
    policy = found[("BackendTLSPolicy", "register-old")]["spec"]
    assert policy["targetRefs"] == [{"group": "", "kind": "Service", "name": "register-old"}]
    assert policy["validation"]["hostname"] == "archive.example"


def test_loopback_is_refused_by_admission_but_where_machines_are_played(tmp_path: Path) -> None:
    found = estate(tmp_path)

    def expression(*, loopback: bool) -> str:
        return str(endpoint_guard.objects(found.pool, loopback=loopback)[2]["spec"]["validations"][0]["expression"])

    assert "cidr('127.0.0.0/8')" in expression(loopback=False).partition("&& (cidr")[0]
    assert "cidr('127.0.0.0/8')" not in expression(loopback=True).partition("&& (cidr")[0]


def test_a_pool_without_a_proxy_section_has_no_objects_of_it(tmp_path: Path) -> None:
    estates.write(tmp_path, 1)
    path = tmp_path / "pool.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("    proxy:")] + text[text.index("  security:") :], encoding="utf-8")
    groups = {body["apiVersion"].partition("/")[0] for body in pool.objects(load_estate(tmp_path), simulate=False)}
    assert not [group for group in groups if group.startswith("gateway.")]


def test_a_changed_service_evaluates_what_depends_on_it_and_nothing_else(tmp_path: Path) -> None:
    def digests(**spec: Any) -> dict[str, str]:
        found = estate(tmp_path, **{**HTTP, **spec})
        return {
            f"{program}/{name}": digest
            for program in ("pool", "services", "departments")
            for name, digest in units(found, program, {}).items()
        }

    def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
        return {name for name, digest in after.items() if before.get(name) != digest}

    estate(tmp_path, **HTTP)
    estates.add_service(tmp_path, "other", **HTTP)
    before = digests()
    after = digests(timeouts={"request": "5s"})
    assert changed(before, after) == {"services/register", "departments/d1", "departments/d2"}
    estates.consume(tmp_path, "d2")
    assert changed(after, digests(timeouts={"request": "5s"})) == {"services/register", "departments/d2"}
