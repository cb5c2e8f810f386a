"""Providers of other people's programs: which cluster each means, and what becomes of objects when that changes."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import own_pool
import pytest
import yaml
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, up
from commonpool.engine import state as states
from programs import BARE, HEAD, Stack, messages

# What `pulumi_kubernetes.Provider` is, without the import.
PROVIDED = (
    BARE
    + """
def provider(called, **inputs):
    return pulumi.ProviderResource("kubernetes", called, inputs)
def map_of(p, **metadata):
    body = {"metadata": {"name": "c", **metadata}, "data": {"v": config.get("v") or ""}}
    return resource("ConfigMap", "c", body, provider=p, depends_on=[space])
"""
)


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh, head=PROVIDED)


@pytest.fixture(scope="module")
def other_pool(worker: str) -> Iterator[EmbeddedPool]:
    with own_pool.running(f"tests-other-{worker}") as pool:
        yield pool


def kubeconfig_of(pool: EmbeddedPool, **user: str) -> str:
    """The pool's kubeconfig as a text, as another user where one is given."""
    found = yaml.safe_load(pool.kubeconfig.read_text(encoding="utf-8"))
    if user:
        found["users"][0]["user"] = user
    return str(yaml.safe_dump(found))


def test_the_path_of_a_kubeconfig_is_relative_to_the_program(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(kubeconfig_of(stack.pool), encoding="utf-8")
    source = """
        map_of(provider("p", kubeconfig="./cluster.yaml"), namespace=name)
    """
    applied = stack.up(source)
    assert (messages(applied), applied.counts) == ("", {"create": 2})
    assert messages(stack.destroy()) == ""


def test_a_provider_that_names_no_cluster_means_the_pool_whatever_the_environment_names(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere.kubeconfig"
    elsewhere.write_text(
        "{clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}], users: [],"
        " contexts: [{name: x, context: {cluster: x}}], current-context: x}"
    )
    monkeypatch.setenv("KUBECONFIG", str(elsewhere))
    stack.head = HEAD
    source = """
        p = k8s.Provider("p", namespace=name, context=config.get("context"))
        k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, opts=Options(provider=p, depends_on=[space]))
    """
    applied = stack.up(source)
    assert (messages(applied), applied.counts) == ("", {"create": 2})
    assert str(elsewhere) in messages(stack.preview(source, context="nosuch"))


def test_what_is_declared_with_a_refused_provider_goes_nowhere(stack: Stack) -> None:
    refused = stack.run(
        up,
        stack.load("""
        p = provider("p", renderYamlToDirectory="out")
        map_of(p, namespace=name)
        group = pulumi.ComponentResource("kubernetes:yaml/v2:ConfigGroup", "group",
            {"yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: t, namespace: default}}"}, Options(provider=p), remote=True)
        found = pulumi.CustomResource("kubernetes:core/v1:Namespace", "g", {"metadata": None}, Options(provider=p, id="kube-system"))
        pulumi.export("found", found.metadata["name"])
        """),
        continue_on_error=True,
    )
    assert [problem.urn.rsplit("::", 1)[-1] for problem in refused.problems] == ["p"], messages(refused)
    assert refused.counts == {"create": 1}
    assert stack.read("v1", "ConfigMap", stack.name, "c") is None


def test_new_credentials_for_the_same_cluster_change_nothing_else(stack: Stack, embedded_pool: EmbeddedPool) -> None:
    source = 'map_of(provider("p", kubeconfig=config.require_secret("kubeconfig")), namespace=name)'

    def up(value: str) -> Any:
        return stack.up(source, {"kubeconfig": kubeconfig_of(embedded_pool)}, v=value)

    async def expire(cluster: Cluster) -> None:
        found = await states.load(cluster, stack.name, "dev")
        for inputs in found.providers.values():
            inputs["kubeconfig"] = kubeconfig_of(embedded_pool, token="expired")
        await states.save(cluster, found)

    assert up("1").counts == {"create": 2}
    stack.ask(expire)
    assert "does not accept" in messages(stack.destroy())
    shown = stack.preview(source, {"kubeconfig": kubeconfig_of(embedded_pool)}, v="1")
    assert (messages(shown), shown.counts) == ("", {})
    changed = up("2")
    assert (messages(changed), changed.counts) == ("", {"update": 1})
    assert up("2").counts == {}
    assert (messages(stack.destroy()), stack.read("v1", "ConfigMap", stack.name, "c")) == ("", None)


def test_a_provider_of_another_cluster_leaves_nothing_behind(
    stack: Stack, embedded_pool: EmbeddedPool, other_pool: EmbeddedPool, tmp_path: Path
) -> None:
    there = Stack(other_pool, tmp_path, stack.name)
    there.up("")
    source = 'map_of(provider(config.require("p"), kubeconfig=config.require("at")), namespace=name)'
    here, away = ({"at": str(pool.kubeconfig)} for pool in (embedded_pool, other_pool))
    assert stack.up(source, None, p="p", **here).counts == {"create": 2}
    refused = stack.up(source, None, p="p", **away)
    assert "would be left behind" in messages(refused)
    assert there.read("v1", "ConfigMap", stack.name, "c") is None
    shown, moved = stack.preview(source, None, p="q", **away), stack.up(source, None, p="q", **away)
    assert (messages(shown), messages(moved)) == ("", "")
    assert shown.counts == moved.counts == {"replace": 1}
    assert stack.read("v1", "ConfigMap", stack.name, "c") is None
    assert there.read("v1", "ConfigMap", stack.name, "c") is not None
    assert stack.up(source, None, p="q", **away).counts == {}
    destroyed = stack.destroy()
    assert (messages(destroyed), there.read("v1", "ConfigMap", stack.name, "c")) == ("", None)


def test_what_is_in_a_cluster_that_does_not_answer_is_forgotten_only_where_its_provider_says_so(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "connect", partial(Cluster.connect, patience=2.0))
    source = """
        map_of(provider("p", kubeconfig=config.require("kubeconfig"), deleteUnreachable=config.get("forget")), namespace=name)
    """
    dead = re.sub(r"https://127\.0\.0\.1:\d+", "https://127.0.0.1:1", kubeconfig_of(stack.pool))
    assert messages(stack.up(source, kubeconfig=kubeconfig_of(stack.pool))) == ""
    assert "unreachable" in messages(stack.up(source, kubeconfig=dead))
    held = stack.destroy(targets=("c",))
    assert ("unreachable" in messages(held), held.counts) == (True, {})
    assert "unreachable" in messages(stack.up(source, kubeconfig=dead, forget="true"))
    assert stack.destroy(targets=("c",)).counts == {"delete": 1}
    assert stack.read("v1", "ConfigMap", stack.name, "c") is not None
    assert messages(stack.destroy()) == ""


def test_another_provider_of_the_same_cluster_changes_nothing(stack: Stack, embedded_pool: EmbeddedPool) -> None:
    source = f"""
        named = config.get("named")
        map_of(provider("p", kubeconfig={str(embedded_pool.kubeconfig)!r}) if named else None, namespace=name)
    """
    assert stack.up(source).counts == {"create": 2}
    assert [stack.up(source, named="yes").counts for _ in range(2)] == [{}, {}]
    assert stack.up(source).counts == {}


def test_objects_move_to_the_namespace_that_their_provider_states(stack: Stack) -> None:
    source = """
        resource("Namespace", "second", {"metadata": {"name": name + "-b"}})
        map_of(provider("p", namespace=name + config.require("suffix")))
    """
    stack.up(source, suffix="")
    moved = stack.up(source, suffix="-b")
    assert (messages(moved), moved.counts) == ("", {"replace": 1})
    assert stack.read("v1", "ConfigMap", stack.name, "c") is None
    assert stack.read("v1", "ConfigMap", f"{stack.name}-b", "c") is not None


def test_where_every_resource_has_to_name_its_provider_none_goes_to_the_pool_by_itself(stack: Stack) -> None:
    denied = {"pulumi:disable-default-providers": '["kubernetes"]'}
    refused = stack.preview("", None, **denied)
    assert "names no provider" in messages(refused)
    named = 'Options(provider=pulumi.ProviderResource("kubernetes", "named", {}), **options)'
    stack.head = stack.head.replace("Options(**options)", named)
    assert messages(stack.preview("", None, **denied)) == ""
