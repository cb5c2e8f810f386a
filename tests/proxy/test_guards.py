"""Only the platform says where traffic goes, and only to the pool's machines: asked of the API server itself (T19-T21, T23)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import estates
import pytest
from commonpool.embedded.proxy import Place
from commonpool.engine import Cluster, kubeconfig
from commonpool.engine.error import EngineError
from commonpool.engine.readiness import wait_gone

from proxy.conftest import Proxy
from proxy.declarations import ENVOY_GATEWAY, GATEWAY_API
from proxy.estate import DeclaredEstate

NAMESPACE = "d0-main"


@pytest.fixture(scope="module")
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("guards"), 3))
    declared.up("services", "departments")
    yield declared


def attempt(path: Path, body: dict[str, Any]) -> str:
    """Why the API server refuses it, told without writing anything; empty when it does not."""

    async def work() -> str:
        async with await Cluster.connect(kubeconfig.load(path)) as cluster:
            try:
                await cluster.apply(body, field_manager="tests", dry_run=True)
            except EngineError as error:
                return str(error)
            return ""

    return asyncio.run(work())


def somebody(estate: DeclaredEstate, folder: Path, *groups: str) -> Path:
    path = folder / "somebody"
    estate.pool.issue_kubeconfig("oidc:somebody", groups, path, days=1)
    return path


def backend(namespace: str = NAMESPACE, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": ENVOY_GATEWAY,
        "kind": "Backend",
        "metadata": {"name": "x", "namespace": namespace},
        "spec": spec,
    }


def at(address: str) -> dict[str, Any]:
    return backend(endpoints=[{"ip": {"address": address, "port": 80}}])


def endpoint_slice(address: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "x", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": "x"}},
        "addressType": "IPv6" if ":" in address else "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [address]}],
    }


def route(**spec: Any) -> dict[str, Any]:
    parent = {"name": "shared", "namespace": "commonpool-proxy"}
    return {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": "x", "namespace": NAMESPACE},
        "spec": {"parentRefs": [parent], **spec},
    }


TARGET = [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "x"}]
REROUTING = {
    "a route to somebody's name": route(hostnames=["register.d1.pool.jiangnan.example"]),
    "a route to every name": route(hostnames=["*.example"]),
    "a Gateway": {
        "apiVersion": GATEWAY_API,
        "kind": "Gateway",
        "metadata": {"name": "x", "namespace": NAMESPACE},
        "spec": {"gatewayClassName": "commonpool", "listeners": [{"name": "a", "port": 9999, "protocol": "HTTP"}]},
    },
    "a grant": {
        "apiVersion": GATEWAY_API,
        "kind": "ReferenceGrant",
        "metadata": {"name": "x", "namespace": NAMESPACE},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "d1-main"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    },
    "a Backend": at("10.20.2.31"),
    "endpoints": endpoint_slice("10.20.2.31"),
    "endpoints of the old kind": {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "x", "namespace": NAMESPACE},
        "subsets": [{"addresses": [{"ip": "10.20.2.31"}], "ports": [{"port": 80}]}],
    },
    "a patch of Envoy": {
        "apiVersion": ENVOY_GATEWAY,
        "kind": "EnvoyPatchPolicy",
        "metadata": {"name": "x", "namespace": NAMESPACE},
        "spec": {"type": "JSONPatch", "targetRef": TARGET[0]},
    },
    "a policy that admits everybody": {
        "apiVersion": ENVOY_GATEWAY,
        "kind": "SecurityPolicy",
        "metadata": {"name": "x", "namespace": NAMESPACE},
        "spec": {"targetRefs": TARGET, "authorization": {"defaultAction": "Allow"}},
    },
}


@pytest.fixture
def all_powerful(estate: DeclaredEstate, proxy: Proxy) -> None:
    """A binding that somebody should not have made: the policies hold whatever roles say."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "tests-mistake"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "oidc:mistake"}],
    }
    proxy.apply(binding)


@pytest.mark.parametrize("what", REROUTING)
def test_a_department_cannot_say_where_traffic_goes(estate: DeclaredEstate, tmp_path: Path, what: str) -> None:
    assert "forbidden" in attempt(somebody(estate, tmp_path, "oidc:d0-admins"), REROUTING[what])


@pytest.mark.parametrize("what", REROUTING)
def test_nor_can_anybody_else_whatever_roles_they_were_given(
    estate: DeclaredEstate, tmp_path: Path, all_powerful: None, what: str
) -> None:
    words = attempt(somebody(estate, tmp_path, "oidc:mistake"), REROUTING[what])
    assert "only the platform says where traffic goes" in words


def test_a_controller_lets_go_of_its_class_but_nobody_makes_another(
    estate: DeclaredEstate, tmp_path: Path, all_powerful: None
) -> None:
    mistaken = somebody(estate, tmp_path, "oidc:mistake")
    body = {
        "apiVersion": GATEWAY_API,
        "kind": "GatewayClass",
        "metadata": {"name": "commonpool", "finalizers": ["tests/in-use"]},
    }
    assert attempt(mistaken, body) == ""
    another = body | {"metadata": {"name": "another"}, "spec": {"controllerName": "example.org/mine"}}
    assert "only the platform" in attempt(mistaken, another)


def test_who_deletes_a_route_and_waits_for_what_is_below_it_is_not_kept_waiting(estate: DeclaredEstate) -> None:
    """`kubectl delete --cascade=foreground`: the garbage collector takes its finalizer away, and changes nothing else."""

    async def work() -> None:
        async with await Cluster.connect(kubeconfig.load(estate.pool.kubeconfig)) as cluster:
            made = await cluster.apply(route(hostnames=["gone.d0.pool.jiangnan.example"]))
            key = (GATEWAY_API, "HTTPRoute", NAMESPACE, "x")
            await cluster.delete(*key, propagation="Foreground")
            await wait_gone(cluster, key, made["metadata"]["uid"], timeout=60)

    asyncio.run(work())


def test_there_is_no_kind_that_runs_a_script_in_envoy(estate: DeclaredEstate) -> None:
    lua = [{"type": "Inline", "inline": "os.exit()"}]
    body = {
        "apiVersion": ENVOY_GATEWAY,
        "kind": "EnvoyExtensionPolicy",
        "metadata": {"name": "x", "namespace": NAMESPACE},
        "spec": {"targetRefs": TARGET, "lua": lua},
    }
    assert "EnvoyExtensionPolicy" in attempt(estate.pool.kubeconfig, body)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "10.96.0.1", "10.128.0.7", "8.8.8.8", "0.0.0.0", "224.0.0.1", "255.255.255.255", "fe80::1", "fd00:ec2::254"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["Backend", "EndpointSlice"])
def test_not_even_the_platform_leads_traffic_to_inner_workings(estate: DeclaredEstate, kind: str, address: str) -> None:
    if kind == "EndpointSlice" and address in ("0.0.0.0", "224.0.0.1", "169.254.169.254", "fe80::1"):
        assert attempt(estate.pool.kubeconfig, endpoint_slice(address)), "Kubernetes or we refuse it"
        return
    body = at(address) if kind == "Backend" else endpoint_slice(address)
    assert "backends stand at addresses of the machines' and storage ranges" in attempt(estate.pool.kubeconfig, body)


def test_an_address_behind_another_one_is_no_way_around(estate: DeclaredEstate) -> None:
    body = endpoint_slice("10.20.2.31")
    body["endpoints"] = [{"addresses": ["10.20.2.31", "10.96.0.1"]}]
    assert "one address each" in attempt(estate.pool.kubeconfig, body)


def test_the_platform_leads_traffic_to_machines(estate: DeclaredEstate) -> None:
    assert attempt(estate.pool.kubeconfig, at("10.20.2.31")) == ""
    assert attempt(estate.pool.kubeconfig, endpoint_slice("10.21.0.9")) == ""


@pytest.mark.parametrize(
    "name", ["localhost", "127.0.0.1.nip.io", "kubernetes.default.svc", "metadata.google.internal"]
)
def test_a_backend_by_name_is_refused(estate: DeclaredEstate, name: str) -> None:
    body = backend(endpoints=[{"fqdn": {"hostname": name, "port": 80}}])
    assert "names could be pointed elsewhere later" in attempt(estate.pool.kubeconfig, body)


def test_a_backend_that_goes_where_a_caller_says_or_into_a_socket_is_refused(estate: DeclaredEstate) -> None:
    assert "a Backend has fixed endpoints" in attempt(estate.pool.kubeconfig, backend(type="DynamicResolver"))
    for path in ("/run/admin.sock", str(Place(estate.pool.layout).admin)):
        assert "names a peer pool's service" in attempt(
            estate.pool.kubeconfig, backend(endpoints=[{"unix": {"path": path}}])
        )


def test_a_route_to_another_namespace_is_not_resolved_without_a_grant(estate: DeclaredEstate, proxy: Proxy) -> None:
    """T23: even the platform's own route gets nothing from a namespace that did not agree."""
    from proxy.conftest import until

    body = route(hostnames=["grant.test"], rules=[{"backendRefs": [{"name": "x", "namespace": "d1-main", "port": 80}]}])
    body["spec"]["parentRefs"][0]["name"] = "plain"
    proxy.apply(body)

    def reasons() -> set[str]:
        parents = proxy.read(body).get("status", {}).get("parents", [])
        return {condition["reason"] for parent in parents for condition in parent["conditions"]}

    until(lambda: "RefNotPermitted" in reasons(), "the reference is refused")
    assert proxy.ask("grant.test")[0] in (500, 503)
