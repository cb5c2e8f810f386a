"""Refusals that pass by themselves after what this client changed, and the same ones that do not."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster
from commonpool.engine import recent as recents
from commonpool.engine.error import Refused
from commonpool.engine.kubeconfig import Credentials
from commonpool.engine.recent import Recent
from fault_server import Answer, Asked, faults, ok, status
from programs import BARE, Stack, messages

PATH = "/apis/own.example/v1/namespaces/team/widgets/w"
NOW = 1000.0
OVER = Refused(
    'configmaps "b" is forbidden: exceeded quota: few, requested: configmaps=1, used: configmaps=2, limited: configmaps=2',
    status=403,
    reason="Forbidden",
)
UNTYPED = Refused(
    "failed to create typed patch object (team/w; own.example/v1, Kind=Widget): .spec.new: field not declared in schema",
    status=500,
)
STRICT = Refused('strict decoding error: unknown field "spec.new"', status=400, reason="BadRequest")
RULED = Refused("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", status=422)


@pytest.mark.parametrize(
    ("refusal", "changed", "elsewhere", "seconds"),
    [
        (OVER, Recent(freed={"team": NOW}), Recent(freed={"other": NOW}), recents.QUOTA_SECONDS),
        (UNTYPED, Recent(defined={"own.example": NOW}), Recent(defined={"": NOW}), recents.KIND_SECONDS),
        (STRICT, Recent(defined={"own.example": NOW}), Recent(defined={"apps": NOW}), recents.KIND_SECONDS),
        (RULED, Recent(ruled=NOW), Recent(freed={"team": NOW}), recents.RULE_SECONDS),
    ],
)
def test_a_refusal_passes_for_some_seconds_after_what_explains_it_and_after_nothing_else(
    monkeypatch: pytest.MonkeyPatch, refusal: Refused, changed: Recent, elsewhere: Recent, seconds: float
) -> None:
    monkeypatch.setattr(recents, "time", SimpleNamespace(monotonic=lambda: NOW + seconds - 0.1))
    assert changed.explains(PATH, refusal)
    assert not elsewhere.explains(PATH, refusal)
    assert not Recent().explains(PATH, refusal)
    assert not changed.explains(PATH, Refused("spec.replicas: Invalid value", status=422, reason="Invalid"))
    monkeypatch.setattr(recents, "time", SimpleNamespace(monotonic=lambda: NOW + seconds + 0.1))
    assert not changed.explains(PATH, refusal)


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "team"}}


def definition(name: str = "own") -> dict[str, Any]:
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"} | {
        "metadata": {"name": f"widgets.{name}.example"},
        "spec": {"group": f"{name}.example"},
    }


WIDGET = {"apiVersion": "own.example/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "team"}}
QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "team"}}
RESOURCE = {"resource": "widgets", "responseKind": {"kind": "Widget"}, "scope": "Namespaced", "verbs": ["list"]}
GROUP = {"metadata": {"name": "own.example"}, "versions": [{"version": "v1", "resources": [RESOURCE]}]}


async def _delete(cluster: Cluster) -> None:
    await cluster.delete("v1", "ConfigMap", "team", "a", uid="u-1")


async def _raise_quota(cluster: Cluster) -> None:
    await cluster.apply(QUOTA)


async def _redefine(cluster: Cluster) -> None:
    await cluster.apply(definition())


@pytest.mark.parametrize(
    ("refusal", "change", "body"),
    [
        (OVER, _delete, config_map("b")),
        (OVER, _raise_quota, config_map("b")),
        (UNTYPED, _redefine, WIDGET),
        (STRICT, _redefine, WIDGET),
    ],
)
def test_an_apply_that_is_refused_by_the_state_before_our_own_change_is_sent_again(
    refusal: Refused, change: Callable[[Cluster], Any], body: dict[str, Any]
) -> None:
    def script(refusals: int) -> Callable[[Asked], Answer]:
        left = [status(refusal.status, refusal.reason, str(refusal))] * refusals

        def answer(asked: Asked) -> Answer:
            if asked.path in ("/api", "/apis"):
                return ok({"kind": "APIGroupDiscoveryList", "items": [GROUP] if asked.path == "/apis" else []})
            if asked.body == body and left:
                return left.pop()
            return ok(asked.body or {})

        return answer

    async def scenario() -> None:
        async with faults(script(2)) as server, await Cluster.connect(Credentials(server.url, "a test")) as cluster:
            await change(cluster)
            assert await cluster.apply(body) == body
        async with faults(script(1)) as server, await Cluster.connect(Credentials(server.url, "a test")) as cluster:
            with pytest.raises(Refused):
                await cluster.apply(body)

    asyncio.run(scenario())


@contextmanager
def late(pool: EmbeddedPool, seconds: float = 4.0) -> Iterator[None]:
    """The controllers, that of quotas among them, heed nothing for a while."""
    components = pool.status().components
    controllers = psutil.Process(next(found.pid for found in components if found.name == "kube-controllers"))
    controllers.suspend()
    resuming = threading.Timer(seconds, controllers.resume)
    resuming.start()
    yield
    resuming.join()


def await_count(stack: Stack, expected: int) -> None:
    async def work(cluster: Cluster) -> None:
        used = ""
        async with asyncio.timeout(30):
            while used != str(expected):
                await asyncio.sleep(0.2)
                quota = await cluster.read("v1", "ResourceQuota", stack.name, "few") or {}
                used = quota.get("status", {}).get("used", {}).get("configmaps", "")

    stack.ask(work)


def test_a_quota_is_heeded_as_this_run_left_it_also_where_its_controller_is_late(
    embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str
) -> None:
    """At its limit, something is replaced; then the limit is raised before what needs it."""
    stack = Stack(embedded_pool, tmp_path, fresh, head=BARE)
    source = """
        limit = config.require("limit")
        hard = {"configmaps": limit, "limits.cpu": "1000m", "requests.memory": "1024Mi"}
        quota = {"metadata": {"namespace": name, "name": "few"}, "spec": {"hard": hard}}
        few = resource("ResourceQuota", "few", quota, depends_on=[space])
        fixed = {"metadata": {"namespace": name, "name": "fixed"}, "immutable": True, "data": {"a": "1"}}
        resource("ConfigMap", "fixed", fixed, depends_on=[few])
        for number in range(int(limit) - 2):
            resource("ConfigMap", f"c{number}", {"metadata": {"namespace": name, "name": f"c{number}"}}, depends_on=[few])
    """
    stack.up(source.split("    fixed =")[0], limit="2")  # Kubernetes itself makes kube-root-ca.crt
    await_count(stack, 1)
    first = stack.up(source, limit="2")
    assert first.problems == (), messages(first)
    await_count(stack, 2)
    with late(embedded_pool):
        again = stack.up(source.replace('"a": "1"', '"a": "2"'), limit="2")  # one that is immutable
    assert (again.problems, again.counts) == ((), {"replace": 1}), messages(again)
    with late(embedded_pool):
        more = stack.up(source.replace('"a": "1"', '"a": "2"'), limit="12")
    assert (more.problems, more.counts) == ((), {"update": 1, "create": 10}), messages(more)
