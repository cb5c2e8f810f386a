"""Ordinary Pulumi programs of other people: what they use works as it does under the Pulumi CLI, or fails by name."""

import base64
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commonpool.cli import report
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, readiness, up
from commonpool.engine.error import Unsupported
from commonpool.engine.mask import MASK
from programs import Stack, messages

OnCluster = Callable[[Callable[[Cluster], Coroutine[Any, Any, Any]]], Any]
Writes = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh)


def read(on_cluster: OnCluster, api_version: str, kind: str, namespace: str, name: str) -> Any:
    return on_cluster(lambda cluster: cluster.read(api_version, kind, namespace, name))


def test_manifest_components_apply_namespaces_and_definitions_first_whatever_the_order_in_the_file(
    stack: Stack, tmp_path: Path, on_cluster: OnCluster, writes: Writes
) -> None:
    group = f"{stack.name}.example"
    (tmp_path / "app.yaml").write_text(
        f"""
apiVersion: {group}/v1
kind: Gadget
metadata: {{name: g, namespace: {stack.name}-app}}
spec: {{when: 2024-01-01, mode: 0644, on: {{1: a, 0.5: b}}}}
---
apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: {stack.name}-app}}, stringData: {{p: canary-1b7}}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {stack.name}-app}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: gadgets.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: gadgets, kind: Gadget}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
""",
        encoding="utf-8",
    )
    source = """
        found = k8s.yaml.v2.ConfigFile("app", file="app.yaml")
        pulumi.export("number", found.resources.apply(len))
    """
    first = stack.up(source)
    assert (first.problems, first.counts, first.outputs["number"]) == ((), {"create": 5}, 4)
    assert "canary-1b7" not in repr(first)
    live = read(on_cluster, f"{group}/v1", "Gadget", f"{stack.name}-app", "g")
    assert live["spec"] == {"when": "2024-01-01", "mode": 0o644, "true": {"1": "a", "0.5": "b"}}
    writes()
    assert stack.up(source).counts == {}
    assert writes() == []
    older = source.replace("k8s.yaml.v2.ConfigFile", "k8s.yaml.ConfigFile")
    assert stack.preview(older).problems == ()
    destroyed = stack.destroy()
    assert (destroyed.problems, destroyed.outputs) == ((), {})


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('from pulumi_kubernetes.helm.v3 import Release\nRelease("nginx", chart="nginx")', "helm.sh/v3:Release"),
        ('from pulumi_kubernetes.helm.v4 import Chart\nChart("nginx", chart="nginx")', "helm.sh/v4:Chart"),
        (
            'from pulumi_kubernetes.kustomize.v2 import Directory\nDirectory("d", directory=".")',
            "kustomize/v2:Directory",
        ),
        ('from pulumi_kubernetes.kustomize import Directory\nDirectory("d", ".")', "kubernetes:kustomize:directory"),
        ('k8s.Provider("p", render_yaml_to_directory="out")', "renderYamlToDirectory"),
        ('k8s.Provider("p", enable_server_side_apply=False)', "enableServerSideApply"),
        ('pulumi.ResourceHook("h", lambda given: None)', "hooks"),
        ('config_map("a", {}, replacement_trigger="1")', "replacement_trigger"),
        ('config_map("a", {}, replace_with=[space])', "replace_with"),
        ('config_map("a", {"file": pulumi.FileAsset("a.txt")})', "assets"),
        ('pulumi.runtime.invoke("aws:index/getRegion:getRegion", {})', "aws:index/getRegion:getRegion"),
    ],
)
def test_what_needs_a_plugin_or_the_cli_is_refused_by_its_name(stack: Stack, source: str, name: str) -> None:
    refused = stack.preview(source)
    assert {problem.code for problem in refused.problems} == {"unsupported"}, messages(refused)
    assert name in messages(refused)
    assert all(problem.next_step for problem in refused.problems), "how it would pass"


def test_transforms_run_from_the_resource_outwards_and_change_inputs_and_options(
    stack: Stack, on_cluster: OnCluster, writes: Writes
) -> None:
    source = """
        def marked(mark, **options):
            async def transform(given):
                if not given.type_.endswith(":ConfigMap"):
                    return None
                data = dict(given.props["data"])
                data["order"] = data.get("order", "") + mark
                return pulumi.ResourceTransformResult({**given.props, "data": data}, Options.merge(given.opts, Options(**options)))
            return transform
        pulumi.runtime.register_resource_transform(marked("s"))
        class Group(pulumi.ComponentResource):
            def __init__(self, called, opts):
                super().__init__("acme:app:Group", called, None, opts)
                value = {"value": config.require("value"), "space": space.metadata.name}
                config_map("child", value, parent=self, transforms=[marked("o", ignore_changes=["data.value"])])
        Group("group", Options(transforms=[marked("p")]))
        text = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: text, namespace: {name}}}, data: {{value: a}}}}"
        k8s.yaml.v2.ConfigGroup("texts", yaml=text, opts=Options(depends_on=[space], transforms=[marked("y")]))
        if config.get("old"):
            config_map("old", {}, called="renamed")
        else:
            config_map("new", {}, called="renamed", transforms=[marked("", aliases=[pulumi.Alias(name="old")])])
    """

    def data(called: str) -> Any:
        return read(on_cluster, "v1", "ConfigMap", stack.name, called)["data"]

    shown = stack.preview(source, value="1", old="yes")
    first = stack.up(source, value="1", old="yes")
    assert (messages(shown), messages(first), first.counts) == ("", "", {"create": 4})
    assert data("child") == {"value": "1", "space": stack.name, "order": "ops"}
    assert data("text") == {"value": "a", "order": "ys"}
    writes()
    second = stack.up(source, value="2")
    assert (messages(second), second.counts) == ("", {})
    assert {event["objectRef"].get("namespace") for event in writes()} <= {"commonpool-system"}
    failing = stack.preview("""
        def transform(given):
            raise ValueError("no such team")
        config_map("child", {}, transforms=[transform])
    """)
    assert f"failed: no such team ({stack.folder / '__main__.py'}:" in messages(failing)


def test_what_exists_is_read_by_its_type_alone(stack: Stack) -> None:
    found = stack.preview("""
        system = k8s.core.v1.Namespace.get("system", "kube-system")
        pulumi.export("system", system.metadata.name)
    """)
    assert (found.problems, found.outputs) == ((), {"system": "kube-system"})


def test_what_is_looked_up_by_the_id_of_something_new_is_unknown_in_a_preview(stack: Stack) -> None:
    source = """
        own = k8s.core.v1.ConfigMap("own", metadata=inside, data={"a": "b"})
        pulumi.export("data", k8s.core.v1.ConfigMap.get("again", own.id).data["a"])
    """
    shown, applied = stack.preview(source), stack.up(source)
    assert (messages(shown), shown.outputs) == ("", {"data": "[known after apply]"})
    assert (messages(applied), applied.outputs) == ("", {"data": "b"})


def test_metadata_that_is_known_only_after_others_is_unknown_in_a_preview(stack: Stack) -> None:
    source = """
        service = k8s.core.v1.Service("s", metadata=inside, spec={"ports": [{"port": 80}]})
        marks = service.spec.cluster_ip.apply(lambda ip: {"ip": ip})
        k8s.core.v1.ConfigMap("annotated", metadata={**inside, "annotations": marks}, data={})
        k8s.core.v1.ConfigMap("labelled", metadata={**inside, "labels": marks}, data={})
        k8s.core.v1.ConfigMap("whole", metadata=marks.apply(lambda found: {"namespace": name, "name": "whole", "labels": found}))
        pod = {"containers": marks.apply(lambda found: [{"name": "a", "image": "b", "args": [found["ip"]]}]), "restart_policy": "Never"}
        k8s.core.v1.Pod("p", metadata={**inside, "annotations": {"pulumi.com/skipAwait": "true"}}, spec=pod,
            opts=Options(ignore_changes=["spec.containers[*].image"]))
    """
    shown, applied, again = stack.preview(source), stack.up(source), stack.preview(source)
    assert (messages(shown), shown.counts) == ("", {"create": 6})
    assert (messages(applied), applied.counts, again.counts) == ("", {"create": 6}, {})


def test_fields_are_named_as_the_server_does_and_those_of_its_own_are_left_out(stack: Stack) -> None:
    source = """
        group = name + ".example"
        k8s.apiextensions.v1.CustomResourceDefinition("d", metadata={"name": "gadgets." + group}, spec={
            "group": group, "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"}, "versions": [{
                "name": "v1", "served": True, "storage": True, "schema": {"open_apiv3_schema": {"type": "object",
                    "properties": {"spec": {"type": "object", "x_kubernetes_preserve_unknown_fields": True,
                        "x_kubernetes_validations": [{"rule": "true"}]}}}}}]})
        found = k8s.core.v1.ConfigMap.get("found", "kube-system/kube-root-ca.crt")
        k8s.core.v1.ConfigMap("copy", data=found.data,
            metadata=found.metadata.apply(lambda read: {**read, "namespace": name, "name": "copy"}), opts=Options(depends_on=[space]))
    """
    shown, applied = stack.preview(source), stack.up(source)
    assert (messages(shown), messages(applied)) == ("", "")
    assert stack.up(source).counts == {"read": 1}
    definition = stack.read("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"gadgets.{stack.name}.example")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert schema["x-kubernetes-preserve-unknown-fields"] is True


def test_a_patch_says_whose_fields_it_sets(stack: Stack) -> None:
    refused = stack.preview('k8s.core.v1.ConfigMapPatch("p", metadata=inside, data={"a": "b"})')
    assert "patch resources require the `.metadata.name` field to be set" in messages(refused)


def test_an_output_is_secret_no_longer_than_the_program_says(stack: Stack) -> None:
    stack.up('pulumi.export("a", pulumi.Output.secret("canary-3c1"))')
    plain = 'pulumi.export("a", "canary-3c1")'
    assert stack.preview(plain).outputs == stack.up(plain).outputs == {"a": "canary-3c1"}
    assert stack.state().secret_outputs == ()


def test_outputs_are_told_alike_each_time(stack: Stack) -> None:
    words = [f"{number:x}" for number in range(40)]
    found = stack.preview(f"for word in {words}: pulumi.export(word, {{word + x: x for x in {words}}})").outputs
    assert list(found) == sorted(words)
    assert list(found["0"]) == sorted(f"0{word}" for word in words)  # type: ignore[call-overload]


def test_a_preview_tells_all_problems_at_once_and_what_a_missing_package_would_need_besides(stack: Stack) -> None:
    shown = stack.preview("""
        def one(called, **options):
            metadata = {"name": f"{name}-{called}", "namespace": "default"}
            return k8s.core.v1.ConfigMap(called, metadata=metadata, data={}, opts=Options(**options))
        first, second = one("Not_A_Name"), one("Nor_This")
        one("fine", depends_on=[space])
        one("after", depends_on=[second])
    """)
    assert {problem.urn.rsplit("::", 1)[-1] for problem in shown.problems} == {"Not_A_Name", "Nor_This"}, messages(
        shown
    )
    assert {change.name for change in shown.changes} == {stack.name, f"{stack.name}-fine"}
    missing = messages(stack.preview("import pulumi_nosuch"))
    assert "No module named 'pulumi_nosuch'" in missing
    assert "the Pulumi CLI" in missing


def test_what_raises_in_a_function_of_apply_is_told_with_its_line(stack: Stack) -> None:
    failed = stack.preview("""
        def raising(value):
            raise ValueError("no luck")
        pulumi.export("a", space.metadata.name.apply(raising))
    """)
    line = len(stack.head.splitlines()) + 3
    assert f"{stack.folder / '__main__.py'}:{line} program_failed: ValueError: no luck" in messages(failed)


def test_a_program_that_ends_itself_has_not_declared_everything(stack: Stack) -> None:
    refused = stack.preview("import sys\nsys.exit(0)")
    assert "the program ended itself by sys.exit(0)" in messages(refused)


def test_a_renamed_parent_with_an_alias_renames_nothing_in_the_cluster(stack: Stack, writes: Writes) -> None:
    source = """
        class Group(pulumi.ComponentResource):
            def __init__(self, called, opts=None):
                super().__init__("acme:app:Group", called, None, opts)
                config_map(f"{called}-a", called="a", parent=self)
        Group(config.require("group"), Options(aliases=[pulumi.Alias(name="old")]))
    """
    stack.up(source, group="old")
    shown = stack.preview(source, group="new")
    assert (shown.problems, shown.changes) == ((), ())
    writes()
    renamed = stack.up(source, group="new")
    assert (renamed.problems, renamed.counts, renamed.unchanged) == ((), {}, 2)
    assert {event["objectRef"].get("namespace") for event in writes()} <= {"commonpool-system"}


def test_a_resource_renamed_without_an_alias_keeps_its_object(stack: Stack, on_cluster: OnCluster) -> None:
    stack.up('config_map("before", {"a": "1"}, called="same")')
    uid = read(on_cluster, "v1", "ConfigMap", stack.name, "same")["metadata"]["uid"]
    shown = stack.preview('config_map("after", {"a": "1"}, called="same")')
    assert (shown.problems, shown.changes) == ((), ())
    assert "delete" not in stack.up('config_map("after", {"a": "1"}, called="same")').counts
    assert read(on_cluster, "v1", "ConfigMap", stack.name, "same")["metadata"]["uid"] == uid
    assert stack.up('config_map("after", {"a": "1"}, called="same")').counts == {}


def test_one_object_declared_as_two_resources_is_refused(stack: Stack) -> None:
    refused = stack.up('config_map("one", called="same")\nconfig_map("two", called="same")')
    assert "declared twice" in messages(refused)


def test_ignored_fields_are_set_at_first_and_then_left_alone_by_path_index_and_wildcard(
    stack: Stack, on_cluster: OnCluster
) -> None:
    source = """
        version = config.require("version")
        def deployment(called, *ignored):
            pod = {"containers": [{"name": n, "image": f"{n}:{version}"} for n in ("a", "b")]}
            k8s.apps.v1.Deployment(called, metadata={**inside, "name": called, "annotations": {"pulumi.com/skipAwait": "true"}},
                spec={"replicas": int(version), "selector": {"match_labels": {"app": called}}, "template":
                    {"metadata": {"labels": {"app": called}}, "spec": pod}}, opts=Options(ignore_changes=list(ignored)))
        deployment("scaled", "spec.replicas")
        deployment("first", "spec.template.spec.containers[0].image")
        deployment("every", "spec.template.spec.containers[*].image")
    """

    def spec(called: str) -> tuple[int, list[str]]:
        found = read(on_cluster, "apps/v1", "Deployment", stack.name, called)["spec"]
        return found["replicas"], [one["image"] for one in found["template"]["spec"]["containers"]]

    stack.up(source, version="3")
    assert {called: spec(called) for called in ("scaled", "first")} == dict.fromkeys(
        ("scaled", "first"), (3, ["a:3", "b:3"])
    )
    on_cluster(
        lambda cluster: cluster.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "scaled", "namespace": stack.name},
                "spec": {"replicas": 7},
            },
            field_manager="autoscaler",
            force=True,
        )
    )
    assert stack.up(source, version="3").counts == {}
    changed = stack.up(source, version="4")
    assert changed.problems == (), messages(changed)
    assert spec("scaled") == (7, ["a:4", "b:4"])
    assert spec("first") == (4, ["a:3", "b:4"])
    assert spec("every") == (4, ["a:3", "b:3"])


def test_what_says_which_object_it_is_stays_where_everything_is_ignored(stack: Stack, on_cluster: OnCluster) -> None:
    source = """
        step = config.require("step")
        for called, ignored in {"all": "*", "meta": "metadata", "label": "metadata.labels"}.items():
            k8s.core.v1.ConfigMap(called, metadata={**inside, "name": called, "labels": {"step": step}},
                data={"step": step}, opts=Options(ignore_changes=[ignored]))
        k8s.core.v1.ConfigMap("moved", metadata={**inside, "name": "moved" + step}, data={"step": step},
            opts=Options(ignore_changes=["metadata.name"]))
    """

    def steps(called: str) -> tuple[str, str]:
        found = read(on_cluster, "v1", "ConfigMap", stack.name, called)
        return found["metadata"].get("labels", {}).get("step", ""), found["data"]["step"]

    assert stack.up(source, step="1").counts == {"create": 5}
    assert stack.up(source, step="1").counts == {}
    shown, changed = stack.preview(source, step="2"), stack.up(source, step="2")
    assert (messages(changed), shown.counts, changed.counts) == ("", {"update": 3}, {"update": 3})
    assert [steps(called) for called in ("all", "meta", "label", "moved1")] == [
        ("1", "1"),
        ("1", "2"),
        ("1", "2"),
        ("", "2"),
    ]
    assert stack.up(source, step="2").counts == {}


def test_texts_of_a_secret_are_data_that_drift_is_found_in_and_that_go_when_they_are_no_longer_declared(
    stack: Stack, on_cluster: OnCluster
) -> None:
    source = """
        texts = {key: "canary-5d2" + key for key in config.require("keys")}
        secret = k8s.core.v1.Secret("s", metadata={**inside, "name": "s"}, data={"raw": "AAE="}, string_data=texts)
        left = k8s.core.v1.Secret("left", metadata={**inside, "name": "left"}, string_data={"a": config.require("keys")},
            opts=Options(ignore_changes=["stringData.a"]))
        pulumi.export("same", secret.string_data.apply(lambda found: found == texts))
    """

    def keys(called: str) -> dict[str, str]:
        return dict(read(on_cluster, "v1", "Secret", stack.name, called)["data"])

    first = stack.up(source, keys="ab")
    assert (messages(first), sorted(keys("s")), first.outputs) == ("", ["a", "b", "raw"], {"same": MASK})
    assert "canary-5d2" not in repr(stack.preview(source, keys="ac"))
    assert stack.up(source, keys="ac").counts == {"update": 1}
    assert (sorted(keys("s")), keys("left")) == (["a", "c", "raw"], {"a": "YWI="})
    on_cluster(lambda cluster: cluster.merge_patch("v1", "Secret", stack.name, "s", {"data": {"a": "eA=="}}))
    assert stack.refresh().counts == {"update": 1}
    assert stack.up(source, keys="ac").counts == {"update": 1}
    assert base64.b64decode(keys("s")["a"]) == b"canary-5d2a"
    assert stack.up(source, keys="ac").counts == {}


def test_children_are_kept_and_protected_as_their_parents_are_unless_they_say_otherwise(
    stack: Stack, on_cluster: OnCluster
) -> None:
    source = """
        class Group(pulumi.ComponentResource):
            def __init__(self, called, opts):
                super().__init__("acme:app:Group", called, None, opts)
        def child(called, parent, **options):
            k8s.core.v1.ConfigMap(called, metadata={"namespace": "default", "name": f"{name}-{called}"}, data={},
                opts=Options(parent=parent, transforms=[lambda given: None], **options))
        if config.get_bool("all"):
            kept = Group("kept", Options(retain_on_delete=True))
            inner = Group("inner", Options(parent=kept))
            child("inherits", inner)
            child("differs", inner, retain_on_delete=False)
            text = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}-text, namespace: default}}}}"
            k8s.yaml.v2.ConfigGroup("texts", yaml=text, opts=Options(parent=inner))
    """
    assert stack.up(source, all="true").counts == {"create": 4}
    assert messages(stack.up(source)) == ""
    left = {
        called: read(on_cluster, "v1", "ConfigMap", "default", f"{stack.name}-{called}") is not None
        for called in ("inherits", "differs", "text")
    }
    assert left == {"inherits": True, "differs": False, "text": True}


def test_what_is_deleted_before_it_is_replaced_gets_a_new_automatic_name_too(stack: Stack) -> None:
    source = """
        auto = k8s.core.v1.ConfigMap("auto", metadata=inside, data={"a": config.require("a")},
            opts=Options(delete_before_replace=True))
        config_map("follower", {"refers": auto.metadata.name})
        pulumi.export("auto", auto.metadata.name)
    """
    first = stack.up(source, a="1")
    shown, second = stack.preview(source, a="2"), stack.up(source, a="2")
    assert shown.counts == second.counts == {"replace": 1, "update": 1}
    assert second.outputs["auto"] == shown.outputs["auto"] != first.outputs["auto"]
    assert stack.up(source, a="2").counts == {}


def test_data_of_an_automatically_named_config_map_gets_a_new_name_and_a_declared_name_stays(stack: Stack) -> None:
    source = """
        data = {"a": config.require("a")}
        auto = k8s.core.v1.ConfigMap("auto", metadata=inside, data=data)
        config_map("named", data)
        config_map("replaced", data, replace_on_changes=["data.a"])
        pulumi.export("auto", auto.metadata.name)
    """
    first = stack.up(source, a="1")
    shown = stack.preview(source, a="2")
    second = stack.up(source, a="2")
    assert shown.counts == second.counts == {"replace": 2, "update": 1}
    assert second.outputs["auto"] == shown.outputs["auto"] != first.outputs["auto"]
    assert stack.up(source, a="2").counts == {}


def test_several_providers_for_one_cluster_neither_lose_nor_double_anything(
    stack: Stack, embedded_pool: EmbeddedPool
) -> None:
    source = f"""
        path = {str(embedded_pool.kubeconfig)!r}
        content = k8s.Provider("content", kubeconfig=open(path).read(), namespace=name)
        k8s.core.v1.ConfigMap("a", metadata={{"name": "a"}}, opts=Options(provider=content, depends_on=[space]))
        late = k8s.Provider("late", kubeconfig=space.metadata.name.apply(lambda _: path), namespace=space.metadata.name)
        k8s.core.v1.ConfigMap("b", metadata={{"name": "b"}}, opts=Options(provider=late))
    """
    assert stack.preview(source).problems == ()
    assert stack.up(source).counts == {"create": 3}
    assert stack.up(source).counts == {}
    assert stack.destroy(targets=("a",)).counts == {"delete": 1}
    assert stack.up(source).counts == {"create": 1}
    assert stack.destroy().counts == {"delete": 3}


def test_a_namespace_that_nobody_makes_is_refused_in_the_preview(stack: Stack) -> None:
    refused = stack.preview('k8s.core.v1.ConfigMap("a", metadata={"name": "a", "namespace": name + "-typo"})')
    assert f"namespace {stack.name}-typo does not exist" in messages(refused)


def test_a_kind_that_comes_with_the_run_may_go_into_a_namespace_that_stands_and_one_that_cannot_come_is_refused(
    stack: Stack,
) -> None:
    source = """
        group = name + ".example"
        names = {"plural": "gadgets", "kind": "Gadget"}
        shape = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": shape}}
        definition = k8s.apiextensions.v1.CustomResourceDefinition("gadgets", metadata={"name": "gadgets." + group},
            spec={"group": group, "scope": "Namespaced", "names": names, "versions": [version]})
        k8s.apiextensions.CustomResource("own", api_version=group + "/v1", kind="Gadget",
            metadata={"name": "own", "namespace": "default"}, opts=Options(depends_on=[definition]))
    """
    shown = stack.preview(source)
    assert (messages(shown), shown.counts) == ("", {"create": 3})
    removed = stack.preview("""
        k8s.policy.v1beta1.PodDisruptionBudget("old", metadata=inside, spec={"min_available": 1})
    """)
    assert "unknown_kind" in messages(removed)
    assert "policy/v1 PodDisruptionBudget" in messages(removed)


def test_the_cluster_of_a_provider_is_the_one_that_is_written_to(stack: Stack, embedded_pool: EmbeddedPool) -> None:
    source = f"""
        other = k8s.Provider("other", kubeconfig={str(embedded_pool.kubeconfig)!r}, cluster="another")
        k8s.core.v1.ConfigMap("a", metadata={{"namespace": "default"}}, opts=Options(provider=other))
    """
    assert "another" in messages(stack.preview(source))
    program = stack.load("")
    named = replace(program, config={**program.config, "kubernetes:cluster": "another"})
    with pytest.raises(Unsupported, match="cluster"):
        stack.run(up, named)


def test_a_patch_takes_no_field_from_others_unless_it_is_told_to(stack: Stack, on_cluster: OnCluster) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": stack.name, "namespace": "default"}}
    on_cluster(lambda cluster: cluster.apply({**body, "data": {"a": "theirs"}}, field_manager="them"))
    source = """
        asked = {"pulumi.com/patchForce": "true"} if config.get_bool("force") else {}
        k8s.core.v1.ConfigMapPatch("p", metadata={"name": name, "namespace": "default", "annotations": asked}, data={"a": "1"})
    """
    refused = stack.up(source)
    assert "field_conflict" in messages(refused)
    assert "them" in messages(refused)
    assert stack.up(source, force="true").problems == ()
    assert read(on_cluster, "v1", "ConfigMap", "default", stack.name)["data"] == {"a": "1"}
    assert stack.destroy().problems == ()
    missing = stack.up(
        'k8s.core.v1.ConfigMapPatch("p", metadata={"name": "none", "namespace": "default"}, data={"a": "1"})'
    )
    assert "does not exist" in messages(missing)


def test_a_patch_of_a_namespace_is_not_the_namespace(stack: Stack) -> None:
    source = """
        k8s.core.v1.NamespacePatch("p", metadata={"name": "default", "labels": {name: "yes"}})
        k8s.core.v1.ConfigMap("kept", metadata={"namespace": "default", "name": name}, data={}, opts=Options(retain_on_delete=True))
    """
    assert stack.up(source).problems == ()
    shown = stack.destroy()
    assert messages(shown) == ""
    assert {report.place(change) for change in report.shown(shown.changes)} == {
        "NamespacePatch default",
        f"ConfigMap default/{stack.name}",
        f"Namespace {stack.name}",
    }
    assert [change.name for change in report.losses(shown.changes)] == [stack.name]


def test_what_was_not_ready_is_waited_for_again_and_a_failed_job_is_made_anew(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "QUIET_SECONDS", 0.05)
    source = """
        labels = {"app": "web"}
        k8s.apps.v1.Deployment("web", metadata={**inside, "name": "web"}, spec={"replicas": 1,
            "selector": {"match_labels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"node_selector": {"nowhere": "true"}, "containers": [{"name": "web", "image": "x/y:1"}]}}})
    """
    program = stack.load(source)
    for _ in range(2):
        assert "not_ready" in messages(stack.run(up, program, timeout=2))
    assert any("Unschedulable" in note for note in stack.notes), "what the pods say is told while they are awaited"
    job = """
        k8s.batch.v1.Job("j", metadata={**inside, "name": "j", "annotations": {"pulumi.com/replaceUnready": "true"}},
            spec={"active_deadline_seconds": 1, "template": {"spec": {"restart_policy": "Never",
                "node_selector": {"nowhere": "true"}, "containers": [{"name": "x", "image": "y"}]}}})
    """
    assert "not_ready" in messages(stack.up(job))
    assert stack.up(job).counts == {"replace": 1}
