"""What a preview tells other people's programs of what does not stand yet, and what it asks the server about."""

from pathlib import Path

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine.mask import MASK
from programs import Stack, messages

DEPLOYMENT = """
        labels = {"app": "d"}
        d = k8s.apps.v1.Deployment("d", metadata={**inside, "name": "d", "annotations": {"pulumi.com/skipAwait": "true"}},
            spec={"selector": {"match_labels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}})
"""


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh)


def test_what_follows_from_something_unknown_is_unknown_and_the_rest_is_known(stack: Stack) -> None:
    source = """
        service = k8s.core.v1.Service("s", metadata={**inside, "name": "s"}, spec={"ports": [{"port": 80}]})
        first = config_map("first", {"address": service.spec.cluster_ip, "plain": "x"})
        config_map("second", {"address": first.data["address"], "plain": first.data["plain"]})
        pulumi.export("address", first.data["address"])
        pulumi.export("plain", first.data["plain"])
    """
    shown, applied = stack.preview(source), stack.up(source)
    assert (messages(shown), shown.counts) == ("", {"create": 4})
    assert shown.outputs == {"address": "[known after apply]", "plain": "x"}
    assert messages(applied) == ""
    assert stack.read("v1", "ConfigMap", stack.name, "second")["data"] == dict(applied.outputs)


def test_defaults_of_the_server_are_known_and_what_it_gives_out_by_chance_is_not(stack: Stack) -> None:
    stack.up("")
    source = f"""
        service = k8s.core.v1.Service("s", metadata={{**inside, "name": "s"}}, spec={{"ports": [{{"port": 80}}], "type": "NodePort"}})
        {DEPLOYMENT}
        owner = {{"api_version": "apps/v1", "kind": "Deployment", "name": d.metadata.name, "uid": d.metadata.uid}}
        k8s.core.v1.ConfigMap("owned", metadata={{**inside, "name": "owned", "owner_references": [owner]}})
        pulumi.export("twice", d.spec.replicas.apply(lambda number: number * 2))
        pulumi.export("port", service.spec.ports[0].node_port.apply(lambda port: port + 1))
    """
    shown, applied = stack.preview(source), stack.up(source)
    assert (messages(shown), messages(applied)) == ("", "")
    assert shown.outputs == {"twice": 2, "port": "[known after apply]"}
    assert isinstance(applied.outputs["port"], int)


def test_a_patch_of_something_new_and_a_pod_of_a_new_account_wait_for_the_run(stack: Stack) -> None:
    stack.up("")
    source = f"""
        {DEPLOYMENT}
        k8s.apps.v1.DeploymentPatch("patch", metadata={{**inside, "name": d.metadata.name, "labels": {{"a": "b"}}}})
        account = k8s.core.v1.ServiceAccount("account", metadata={{**inside, "name": "account"}})
        k8s.core.v1.Pod("pod", metadata={{**inside, "name": "pod", "annotations": {{"pulumi.com/skipAwait": "true"}}}},
            spec={{"service_account_name": account.metadata.name, "containers": [{{"name": "c", "image": "i"}}]}})
    """
    shown, applied = stack.preview(source), stack.up(source)
    assert (messages(shown), messages(applied)) == ("", "")
    assert shown.counts == applied.counts == {"create": 4}


def test_what_is_read_by_an_unknown_id_has_none_and_keeps_its_secrets(stack: Stack) -> None:
    shown = stack.preview("""
        new = k8s.core.v1.ConfigMap("new", metadata=inside)
        found = k8s.core.v1.ConfigMap.get("found", new.id)
        root = k8s.core.v1.ConfigMap.get("root", "kube-system/kube-root-ca.crt", opts=Options(additional_secret_outputs=["data"]))
        other = pulumi.StackReference("other", stack_name=found.data["stack"])
        pulumi.export("other", other.get_output("anything"))
        pulumi.export("id", pulumi.Output.concat("it is ", found.id))
        pulumi.export("data", root.data)
        pulumi.export("name", root.metadata.name)
    """)
    assert messages(shown) == ""
    unknown = dict.fromkeys(("id", "other"), "[known after apply]")
    assert shown.outputs == unknown | {"data": MASK, "name": "kube-root-ca.crt"}


def test_differences_that_a_program_hides_are_counted_and_not_shown(stack: Stack) -> None:
    source = (
        'config_map("a", {"shown": config.require("v"), "hidden": config.require("v")}, hide_diffs=["data.hidden"])'
    )
    stack.up(source, v="1")
    shown = stack.preview(source, v="canary-4c1")
    [change] = shown.changes
    assert {field.path: field.new for field in change.fields} == {"data.shown": "canary-4c1", "data.hidden": MASK}
