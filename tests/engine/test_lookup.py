"""Objects that a program looks at by `get`."""

from pathlib import Path

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine.record import MARKS
from programs import Stack, messages


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh)


def test_what_the_stack_made_and_only_reads_by_now_is_let_go_of_and_stays(stack: Stack) -> None:
    made = 'k8s.core.v1.ConfigMap("c", metadata={"namespace": "default", "name": name}, data={"a": "b"})'
    looked = 'pulumi.export("a", k8s.core.v1.ConfigMap.get("c", "default/" + name).data["a"])'
    stack.up(made)
    shown, applied = stack.preview(looked), stack.up(looked)
    assert (messages(applied), shown.counts, applied.counts) == ("", {"read": 1}, {"read": 1})
    assert applied.outputs == {"a": "b"}
    assert any("only read from now on" in note for note in stack.notes)
    assert stack.up(looked).counts == stack.preview(looked).counts == {"read": 1}
    assert messages(stack.destroy()) == ""
    left = stack.read("v1", "ConfigMap", "default", stack.name)
    assert MARKS.isdisjoint({**left["metadata"].get("labels", {}), **left["metadata"].get("annotations", {})})


def test_another_object_that_is_read_in_its_place_does_not_keep_what_the_stack_made(stack: Stack) -> None:
    stack.up('k8s.core.v1.ConfigMap("c", metadata={"namespace": "default", "name": name})')
    applied = stack.up('k8s.core.v1.ConfigMap.get("c", "kube-system/kube-root-ca.crt")')
    assert (messages(applied), applied.counts) == ("", {"read": 1, "delete": 1})


def test_what_a_cluster_holds_that_is_not_known_yet_is_unknown_in_a_preview(stack: Stack) -> None:
    source = f"""
        service = k8s.core.v1.Service("s", metadata=inside, spec={{"ports": [{{"port": 80}}]}})
        kubeconfig = service.spec.cluster_ip.apply(lambda _: {str(stack.kubeconfig)!r})
        late = Options(provider=k8s.Provider("late", kubeconfig=kubeconfig))
        text = f"{{{{apiVersion: v1, kind: ConfigMap, metadata: {{{{name: a, namespace: {{name}}}}}}}}}}"
        k8s.yaml.v2.ConfigGroup("g", yaml=text, opts=late)
        pulumi.export("system", k8s.core.v1.Namespace.get("system", "kube-system", opts=late).metadata.name)
    """
    shown, applied = stack.preview(source), stack.up(source)
    assert (messages(shown), shown.outputs) == ("", {"system": "[known after apply]"})
    assert (messages(applied), applied.outputs) == ("", {"system": "kube-system"})
