"""Manifests as components of a program: how what they make is previewed, waited for and deleted."""

from pathlib import Path
from typing import Any

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import destroy, up
from programs import Stack, messages


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh)


def test_blank_labels_and_annotations_are_none_and_a_blank_namespace_is_the_providers(stack: Stack) -> None:
    source = """
        text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: '', labels: , annotations: }}"
        inside = k8s.Provider("inside", namespace=name)
        k8s.yaml.v2.ConfigGroup("g", yaml=text, opts=Options(provider=inside, depends_on=[space]))
    """
    applied = stack.up(source)
    assert (messages(applied), applied.counts) == ("", {"create": 2})
    assert stack.read("v1", "ConfigMap", stack.name, "a") is not None


def test_the_older_component_takes_manifests_with_a_status_too(stack: Stack) -> None:
    applied = stack.up("""
        text = f"{{apiVersion: v1, kind: Service, metadata: {{name: a, namespace: {name}}}, spec: {{ports: [{{port: 80}}]}}, status: {{}}}}"
        k8s.yaml.ConfigGroup("g", yaml=[text], skip_await=True, opts=Options(depends_on=[space]))
    """)
    assert (messages(applied), applied.counts) == ("", {"create": 2})


def test_what_waited_for_a_component_goes_before_what_the_component_made(stack: Stack) -> None:
    program = stack.load("""
        text = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: operator, namespace: {name}}}}}"
        operator = k8s.yaml.v2.ConfigGroup("operator", yaml=text, opts=Options(depends_on=[space]))
        metadata = {**inside, "name": "custom", "finalizers": ["example.com/operator"]}
        k8s.core.v1.ConfigMap("custom", metadata=metadata, opts=Options(depends_on=[operator]))
    """)

    async def let_go(cluster: Any) -> None:
        await cluster.merge_patch("v1", "ConfigMap", stack.name, "custom", {"metadata": {"finalizers": None}})

    assert messages(stack.run(up, program)) == ""
    held = stack.run(destroy, program, timeout=1, targets=("*custom", "*operator"))
    assert "operator is left as it is, because what depends on it is" in messages(held)
    assert stack.read("v1", "ConfigMap", stack.name, "operator") is not None
    stack.ask(let_go)
    assert messages(stack.destroy()) == ""


def test_a_preview_that_does_not_know_a_manifest_yet_does_not_say_that_what_it_made_goes(stack: Stack) -> None:
    source = """
        service = k8s.core.v1.Service(config.require("service"), metadata=inside, spec={"ports": [{"port": 80}]})
        text = service.spec.cluster_ip.apply(
            lambda ip: f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: {name}}}, data: {{ip: {ip}}}}}")
        k8s.yaml.v2.ConfigGroup("g", yaml=text)
    """
    assert stack.up(source, service="one").counts == {"create": 3}
    shown = stack.preview(source, service="two")
    assert {(change.operation, change.kind) for change in shown.changes} == {
        ("create", "Service"),
        ("delete", "Service"),
    }
    assert stack.up(source, service="two").counts == {"create": 1, "update": 1, "delete": 1}
