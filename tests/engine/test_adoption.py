"""Objects that exist already: the Pulumi CLI's, another stack's, somebody's; refused with the way, taken over when told."""

from pathlib import Path
from typing import Any

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, up
from programs import Stack, messages

CLI = "pulumi-kubernetes-1a2b3c4d"  # how the field managers of the CLI's provider look
SOURCE = 'config_map("shared", {"a": config.require("a")})'


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh)


def made_by_the_cli(stack: Stack, *, server_side: bool) -> None:
    """The namespace and the ConfigMap as the CLI leaves them, by server-side apply or by the older way."""
    label = {"app.kubernetes.io/managed-by": "pulumi"}
    space: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": stack.name, "labels": label}}
    shared: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "shared", "namespace": stack.name, "labels": label},
        "data": {"a": "1", "left": "over"},
    }

    async def make(cluster: Cluster) -> None:
        for body in (space, shared):
            if server_side:
                await cluster.apply(body, field_manager=CLI)
            else:
                info = await cluster.kind(body["apiVersion"], body["kind"])
                namespace = body["metadata"].get("namespace", "")
                await cluster.request("POST", f"{info.url(namespace)}?fieldManager=pulumi-kubernetes", body)

    stack.ask(make)


def managers(live: dict[str, Any]) -> set[str]:
    return {entry["manager"] for entry in live["metadata"]["managedFields"]}


@pytest.mark.parametrize("server_side", [True, False])
def test_what_the_pulumi_cli_manages_is_refused_with_the_way_and_taken_over_for_good(
    stack: Stack, server_side: bool
) -> None:
    made_by_the_cli(stack, server_side=server_side)
    for verb in (stack.preview, stack.up):
        refused = verb(SOURCE, a="1")
        assert {problem.code for problem in refused.problems} == {"other_engine"}
        assert "pulumi state delete" in messages(refused)
        assert "--adopt" in messages(refused)
    assert "commonpool" not in managers(stack.read("v1", "ConfigMap", stack.name, "shared"))
    adopted = stack.run(up, stack.load(SOURCE, a="1"), adopt=True)
    assert (adopted.problems, adopted.counts) == ((), {"adopt": 2}), messages(adopted)
    changed = stack.up(SOURCE, a="2")
    assert (changed.problems, changed.counts) == ((), {"update": 1}), messages(changed)
    live = stack.read("v1", "ConfigMap", stack.name, "shared")
    assert live["data"] == {"a": "2"}
    assert not any(manager.startswith("pulumi") for manager in managers(live))
    assert stack.up(SOURCE, a="2").counts == {}


def test_an_object_of_another_stack_is_not_even_adopted_while_that_stack_has_it(stack: Stack, tmp_path: Path) -> None:
    stack.up(SOURCE, a="1")
    (tmp_path / "other").mkdir()
    other = Stack(stack.pool, tmp_path / "other", f"{stack.name}-other")
    source = f"""
        k8s.core.v1.ConfigMap("theirs", metadata={{"name": "shared", "namespace": "{stack.name}"}}, data={{"a": "3"}})
    """
    refused = other.run(up, other.load(source), adopt=True)
    assert "foreign_object" in messages(refused)
    assert f"stack dev of project {stack.name}" in messages(refused)
    assert stack.read("v1", "ConfigMap", stack.name, "shared")["data"] == {"a": "1"}


def test_a_new_name_that_is_taken_by_somebody_else_is_refused_and_not_written_over(stack: Stack) -> None:
    source = 'config_map("c", {"a": "1"}, called=config.require("called"))'
    stack.up(source, called="before")
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after", "namespace": stack.name}}
    stack.ask(lambda cluster: cluster.create({**theirs, "data": {"a": "theirs"}}))
    for verb in (stack.preview, stack.up):
        assert "foreign_object" in messages(verb(source, called="after"))
    assert stack.read("v1", "ConfigMap", stack.name, "after")["data"] == {"a": "theirs"}
    assert stack.read("v1", "ConfigMap", stack.name, "before")["data"] == {"a": "1"}


def test_an_import_names_what_exists_and_fails_for_what_does_not(stack: Stack) -> None:
    stack.up("")
    source = f'config_map("c", {{"a": "1"}}, import_="{stack.name}/c")'
    assert "does not exist" in messages(stack.up(source))
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": stack.name}}
    stack.ask(lambda cluster: cluster.create({**body, "data": {"a": "1"}}))
    assert stack.up(source).counts == {"adopt": 1}
    assert stack.up(source).counts == {}


def test_an_object_that_somebody_writes_all_the_time_is_taken_over(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_the_cli(stack, server_side=False)
    patch, writes = Cluster.merge_patch, iter(range(3))

    async def busy(
        cluster: Cluster, api_version: str, kind: str, namespace: str, name: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        if kind == "ConfigMap" and "managedFields" in body["metadata"] and (count := next(writes, None)) is not None:
            theirs = {"metadata": {"annotations": {"seen": str(count)}}}
            await patch(cluster, api_version, kind, namespace, name, theirs)
        return await patch(cluster, api_version, kind, namespace, name, body)

    monkeypatch.setattr(Cluster, "merge_patch", busy)
    adopted = stack.run(up, stack.load(SOURCE, a="1"), adopt=True)
    assert (adopted.problems, adopted.counts) == ((), {"adopt": 2}), messages(adopted)
    live = stack.read("v1", "ConfigMap", stack.name, "shared")
    assert live["metadata"]["annotations"]["seen"] == "2"
    assert not any(manager.startswith("pulumi") for manager in managers(live))
