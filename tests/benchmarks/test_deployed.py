"""What we deploy ourselves: Pod Security `restricted`, fenced namespaces, nothing in `default`."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from commonpool.components import department, pool, service
from commonpool.embedded import EmbeddedPool
from commonpool.embedded.objects import bootstrap_objects
from commonpool.engine import Cluster
from commonpool.engine.error import EngineError
from commonpool.machines import dns
from commonpool.model import Estate, load_estate
from estates import SAMPLE

Body = dict[str, Any]
# Pods of ours that must be more than `restricted` allows, by kind and name, with the reason. There are none.
EXCEPTIONS: dict[tuple[str, str], str] = {}
WITHOUT_PODS = {"commonpool-catalogue", "commonpool-system"}  # the platform's notes, and nothing that has a network


@pytest.fixture(scope="module")
def estate() -> Estate:
    return load_estate(SAMPLE)


def rendered(estate: Estate) -> Iterator[Body]:
    """Everything that the stacks, the bootstrap and onboarding write."""
    yield from bootstrap_objects()
    yield from dns.objects("registry.jiangnan.example/coredns:1", estate.pool.spec.network.domain)
    yield from pool.objects(estate, simulate=True)
    for one in estate.services:
        yield from service.objects(estate, one)
    for owner in estate.departments:
        yield from department.objects(estate, owner)


def test_what_we_deploy_is_restricted_but_what_is_named(
    embedded_pool: EmbeddedPool,
    fresh: str,
    on_cluster: Callable[[Callable[[Cluster], Coroutine[Any, Any, Any]]], Any],
    estate: Estate,
) -> None:
    templates = {
        (body["kind"], body["metadata"]["name"]): body["spec"]["template"]["spec"]
        for body in rendered(estate)
        if "template" in body.get("spec", {})
    }
    assert {kind for kind, _ in templates} == {"Deployment"}
    assert ("Deployment", "coredns") in templates
    assert any(one.workload for one in (service.spec for service in estate.services))

    async def tried(cluster: Cluster) -> set[tuple[str, str]]:
        enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": fresh, "labels": enforced}}
        await cluster.create(space)
        refused = set()
        for (kind, name), spec in templates.items():
            # Accounts and classes of its own place are not here, and are no matter of Pod Security.
            bare = {
                word: value for word, value in spec.items() if word not in ("serviceAccountName", "priorityClassName")
            }
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": fresh}, "spec": bare}
            try:
                await cluster.apply(pod, field_manager="tests", dry_run=True)
            except EngineError as error:
                assert "PodSecurity" in str(error), error
                refused.add((kind, name))
        await cluster.delete("v1", "Namespace", "", fresh)
        return refused

    assert on_cluster(tried) == set(EXCEPTIONS)


def test_every_namespace_that_we_make_denies_by_default(estate: Estate) -> None:
    bodies = list(rendered(estate))
    spaces = {one["metadata"]["name"] for one in bodies if one["kind"] == "Namespace"} - WITHOUT_PODS
    inside: list[dict[str, Any]] = [{"from": [{"podSelector": {}}]}]  # the own namespace, which is no way in
    closed = {
        one["metadata"]["namespace"]
        for one in bodies
        if one["kind"] == "NetworkPolicy"
        and one["spec"]["podSelector"] == {}
        and "Ingress" in one["spec"]["policyTypes"]
        and one["spec"].get("ingress", []) in ([], inside)
    }
    assert spaces - closed == set()


def test_the_default_namespace_holds_nothing_of_ours(estate: Estate) -> None:
    assert [one["kind"] for one in rendered(estate) if one["metadata"].get("namespace") == "default"] == []
