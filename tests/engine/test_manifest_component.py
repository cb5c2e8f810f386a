"""Manifests as components of a program."""

from pathlib import Path

import pytest
from commonpool.embedded import EmbeddedPool
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
