"""Whole runs of Pulumi programs against a real API server."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, Options, Program, Result, destroy, preview, refresh, up
from commonpool.engine import state as states
from commonpool.engine.error import LockHeld, Unsupported
from commonpool.engine.lock import Lock
from commonpool.engine.project import load
from commonpool.engine.record import PART_OF

OnCluster = Callable[[Callable[[Cluster], Coroutine[Any, Any, Any]]], Any]
BASE = """
import pulumi
import pulumi_kubernetes as k8s
config = pulumi.Config()
name = config.require("name")
space = k8s.core.v1.Namespace("space", metadata={"name": name})
inside = {"namespace": space.metadata.name}
"""


@pytest.fixture
def program(tmp_path: Path, fresh: str) -> Callable[..., Program]:
    """Write a program and load it as a stack of its own."""

    def write(source: str, **config: str) -> Program:
        (tmp_path / "Pulumi.yaml").write_text(f"name: {fresh}\nruntime: python\n", encoding="utf-8")
        (tmp_path / "__main__.py").write_text(BASE + textwrap.dedent(source), encoding="utf-8")
        return load(tmp_path, "dev", {"name": fresh, **config})

    return write


def messages(result: Result) -> str:
    return "\n".join(f"{problem.code}: {problem.message} {problem.next_step}" for problem in result.problems)


def test_a_program_is_applied_and_a_second_run_writes_nothing(
    program: Callable[..., Program], on_cluster: OnCluster, writes: Callable[[], list[dict[str, Any]]]
) -> None:
    found = program("""
        settings = k8s.core.v1.ConfigMap("settings", metadata=inside, data={"a": "1"})
        web = k8s.core.v1.Service("web", metadata=inside, spec={"selector": {"app": "x"}, "ports": [{"port": 80}]})
        pulumi.export("address", web.spec.cluster_ip)
        pulumi.export("settings", settings.metadata.name)
    """)
    first = on_cluster(lambda cluster: up(found, cluster))
    assert first.counts == {"create": 3}
    assert first.outputs["address"].startswith("10.96.")
    assert first.outputs["settings"].startswith("settings-")
    assert writes()
    second = on_cluster(lambda cluster: up(found, cluster))
    assert (second.counts, second.unchanged) == ({}, 3)
    assert second.outputs == first.outputs
    assert writes() == []


def test_a_preview_writes_nothing_and_shows_the_field_that_differs(
    program: Callable[..., Program], on_cluster: OnCluster, writes: Callable[[], list[dict[str, Any]]]
) -> None:
    source = 'k8s.core.v1.ConfigMap("settings", metadata={**inside, "name": "settings"}, data={"a": config.get("a")})'
    on_cluster(lambda cluster: up(program(source, a="1"), cluster))
    writes()
    shown = on_cluster(lambda cluster: preview(program(source, a="2"), cluster))
    assert [(field.path, field.old, field.new) for change in shown.changes for field in change.fields] == [
        ("data.a", "1", "2")
    ]
    assert writes() == []


def test_values_of_secrets_appear_neither_in_changes_nor_in_outputs_nor_in_the_clear_in_the_state(
    program: Callable[..., Program], on_cluster: OnCluster
) -> None:
    canary = "canary-9f2c"
    source = """
        s = k8s.core.v1.Secret("s", metadata={**inside, "name": "s"}, string_data={"password": config.get("password")})
        pulumi.export("password", s.string_data)
    """
    on_cluster(lambda cluster: up(program(source, password="old"), cluster))
    shown = on_cluster(lambda cluster: preview(program(source, password=canary), cluster))
    applied = on_cluster(lambda cluster: up(program(source, password=canary), cluster))
    assert canary not in repr(shown) + repr(applied)
    assert applied.outputs["password"] == "[secret]"


def test_what_is_no_longer_declared_is_deleted_and_destroy_leaves_nothing(
    program: Callable[..., Program], on_cluster: OnCluster, fresh: str
) -> None:
    two = 'for n in ("one", "two"):\n    k8s.core.v1.ConfigMap(n, metadata={**inside, "name": n})'
    on_cluster(lambda cluster: up(program(two), cluster))
    one = on_cluster(
        lambda cluster: up(program('k8s.core.v1.ConfigMap("one", metadata={**inside, "name": "one"})'), cluster)
    )
    assert one.counts == {"delete": 1}
    gone = on_cluster(lambda cluster: destroy(program(""), cluster))
    assert gone.counts == {"delete": 2}

    async def look(cluster: Cluster) -> tuple[Any, bool]:
        return await cluster.read("v1", "Namespace", "", fresh), (await states.load(cluster, fresh, "dev")).exists

    assert on_cluster(look) == (None, False)


def test_every_drift_is_found_and_mended_and_fields_of_others_stay(
    program: Callable[..., Program], on_cluster: OnCluster, fresh: str
) -> None:
    source = """
        for number in range(20):
            k8s.core.v1.ConfigMap(f"c{number}", metadata={**inside, "name": f"c{number}"}, data={"ours": "1"})
    """
    on_cluster(lambda cluster: up(program(source), cluster))

    async def disturb(cluster: Cluster) -> None:
        for number in range(0, 20, 2):
            await cluster.merge_patch("v1", "ConfigMap", fresh, f"c{number}", {"data": {"ours": "2", "theirs": "x"}})
        await cluster.delete("v1", "ConfigMap", fresh, "c1")

    on_cluster(disturb)
    found = on_cluster(lambda cluster: refresh(program(source), cluster))
    assert len(found.changes) == 11
    mended = on_cluster(lambda cluster: up(program(source), cluster))
    assert mended.counts == {"update": 10, "create": 1}

    async def data(cluster: Cluster) -> Any:
        live = await cluster.read("v1", "ConfigMap", fresh, "c0")
        assert live is not None
        return live["data"]

    assert on_cluster(data) == {"ours": "1", "theirs": "x"}


def test_an_object_of_somebody_else_is_neither_changed_nor_deleted_unless_it_is_adopted(
    program: Callable[..., Program], on_cluster: OnCluster, fresh: str
) -> None:
    async def make(cluster: Cluster) -> None:
        await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": fresh}})

    on_cluster(make)
    refused = on_cluster(lambda cluster: up(program(""), cluster))
    assert "foreign_object" in messages(refused)
    assert "--adopt" in messages(refused)
    adopted = on_cluster(lambda cluster: up(program(""), cluster, options=Options(adopt=True)))
    assert adopted.counts == {"adopt": 1}


def test_a_label_smuggled_onto_a_foreign_object_does_not_get_it_deleted(
    program: Callable[..., Program], on_cluster: OnCluster, fresh: str
) -> None:
    source = 'k8s.core.v1.ConfigMap("own", metadata={**inside, "name": "own"}, data={"a": "1"})'
    on_cluster(lambda cluster: up(program(source), cluster))

    async def smuggle(cluster: Cluster) -> None:
        own = await cluster.read("v1", "ConfigMap", fresh, "own")
        assert own is not None
        metadata = own["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "foreign",
                "namespace": fresh,
                "labels": {PART_OF: metadata["labels"][PART_OF]},
                "annotations": metadata["annotations"],
            },
        }
        await cluster.create(body)

    on_cluster(smuggle)
    notes: list[str] = []
    result = on_cluster(lambda cluster: up(program(""), cluster, observer=lambda event: notes.append(event.message)))
    assert result.counts == {"delete": 1}
    assert any("foreign" in note and "left alone" in note for note in notes)

    async def stands(cluster: Cluster) -> bool:
        return await cluster.read("v1", "ConfigMap", fresh, "foreign") is not None

    assert on_cluster(stands)


def test_protected_resources_stop_the_deletion_of_everything(
    program: Callable[..., Program], on_cluster: OnCluster
) -> None:
    kept = 'k8s.core.v1.ConfigMap("k", metadata={**inside, "name": "k"}, opts=pulumi.ResourceOptions(protect=True))'
    on_cluster(lambda cluster: up(program(kept), cluster))
    result = on_cluster(lambda cluster: up(program(""), cluster))
    assert "protected" in messages(result)
    assert result.counts == {}


def test_an_immutable_field_is_previewed_and_applied_as_a_replacement(
    program: Callable[..., Program], on_cluster: OnCluster
) -> None:
    source = """
        k8s.core.v1.ConfigMap("c", metadata={**inside, "name": "c"}, immutable=True, data={"a": config.get("a")})
    """
    on_cluster(lambda cluster: up(program(source, a="1"), cluster))
    shown = on_cluster(lambda cluster: preview(program(source, a="2"), cluster))
    assert shown.counts == {"replace": 1}
    applied = on_cluster(lambda cluster: up(program(source, a="2"), cluster))
    assert applied.counts == {"replace": 1}
    assert applied.problems == ()


def test_routes_are_deleted_before_the_namespace_that_holds_what_guards_them(
    program: Callable[..., Program], on_cluster: OnCluster, writes: Callable[[], list[dict[str, Any]]], fresh: str
) -> None:
    source = """
        k8s.apiextensions.CustomResource("r", api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute",
            metadata={**inside, "name": "r"}, spec={"hostnames": ["r.example"]})
        k8s.core.v1.ConfigMap("guard", metadata={**inside, "name": "guard"})
    """
    assert on_cluster(lambda cluster: up(program(source), cluster)).problems == ()
    writes()
    assert on_cluster(lambda cluster: destroy(program(source), cluster)).counts == {"delete": 3}
    deleted = [event["objectRef"]["resource"] for event in writes() if event["verb"] == "delete"]
    assert [one for one in deleted if one != "secrets"] == ["httproutes", "namespaces"]  # those are the state's


def test_custom_resources_come_in_the_same_run_as_their_definition(
    program: Callable[..., Program], on_cluster: OnCluster, fresh: str
) -> None:
    source = """
        group = f"{name}.example"
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        definition = k8s.apiextensions.v1.CustomResourceDefinition("d", metadata={"name": f"widgets.{group}"}, spec={
            "group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]})
        k8s.apiextensions.CustomResource("w", api_version=f"{group}/v1", kind="Widget", metadata={**inside, "name": "w"},
            spec={"size": 3}, opts=pulumi.ResourceOptions(depends_on=[definition]))
    """
    shown = on_cluster(lambda cluster: preview(program(source), cluster))
    assert [change.checked for change in shown.changes if change.kind == "Widget"] == [False]
    applied = on_cluster(lambda cluster: up(program(source), cluster))
    assert applied.problems == ()
    assert applied.counts == {"create": 3}
    assert on_cluster(lambda cluster: destroy(program(source), cluster)).counts == {"delete": 3}


def test_a_deployment_is_waited_for_and_one_that_cannot_run_is_reported_but_stays_applied(
    program: Callable[..., Program], on_cluster: OnCluster, fresh: str
) -> None:
    source = """
        labels = {"app": "web"}
        k8s.apps.v1.Deployment("web", metadata={**inside, "name": "web"}, spec={"replicas": 1,
            "selector": {"match_labels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"node_selector": {"nowhere": "true"}, "containers": [{"name": "web", "image": "x/y:1"}]}}})
    """
    result = on_cluster(lambda cluster: up(program(source), cluster, options=Options(timeout=3)))
    assert "not_ready" in messages(result)
    again = on_cluster(lambda cluster: up(program(source), cluster, options=Options(wait=False)))
    assert (again.counts, again.problems) == ({}, ())


def test_another_stack_reads_outputs_by_reference(
    program: Callable[..., Program], on_cluster: OnCluster, fresh: str
) -> None:
    on_cluster(lambda cluster: up(program('pulumi.export("zone", "north")'), cluster))
    other = program(f"""
        reference = pulumi.StackReference("organization/{fresh}/dev")
        pulumi.export("seen", reference.get_output("zone"))
    """)
    renamed = Program(
        other.project, "second", other.directory, {**other.config, f"{fresh}:name": f"{fresh}-b"}, isolated=True
    )
    result = on_cluster(lambda cluster: up(renamed, cluster))
    assert result.problems == ()
    assert result.outputs["seen"] == "north"


def test_what_is_not_supported_fails_by_name(program: Callable[..., Program], on_cluster: OnCluster) -> None:
    source = """
        class Random(pulumi.CustomResource):
            def __init__(self):
                super().__init__("random:index/randomId:RandomId", "r", {"byteLength": 4})
        Random()
    """
    result = on_cluster(lambda cluster: up(program(source), cluster))
    assert "unsupported" in messages(result)
    assert "'random'" in messages(result)


def test_an_error_in_a_program_names_its_own_file_and_line(
    program: Callable[..., Program], on_cluster: OnCluster
) -> None:
    found = program("raise ValueError('broken')")
    result = on_cluster(lambda cluster: up(found, cluster))
    assert [problem.urn for problem in result.problems] == [f"{found.directory / '__main__.py'}:8"]
    assert "broken" in messages(result)


def test_an_encrypted_value_of_the_cli_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n", encoding="utf-8")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  x:key:\n    secure: abc\n", encoding="utf-8")
    with pytest.raises(Unsupported, match="--secret x:key="):
        load(tmp_path, "dev")


def test_a_living_holder_keeps_the_lock_and_is_named(
    program: Callable[..., Program], on_cluster: OnCluster, fresh: str
) -> None:
    async def both(cluster: Cluster) -> str:
        await states.ensure_namespace(cluster)
        lock = Lock(cluster, states.State(fresh, "dev").name, "commonpool up")
        await lock.acquire()
        try:
            with pytest.raises(LockHeld) as refused:
                await up(program(""), cluster)
            return refused.value.holder
        finally:
            await lock.release()

    assert f":{os.getpid()}" in on_cluster(both)
    assert on_cluster(lambda cluster: up(program(""), cluster)).counts == {"create": 1}


SCRIPT = """
import asyncio, sys
from pathlib import Path
from commonpool.engine import Cluster, Program, kubeconfig, up
from commonpool.engine.project import load

async def main():
    async with await Cluster.connect(kubeconfig.load(Path(sys.argv[1]))) as cluster:
        result = await up(load(Path(sys.argv[2]), "dev", {"name": sys.argv[3]}), cluster)
        assert not result.problems, result.problems

asyncio.run(main())
"""


def test_a_run_that_is_killed_is_continued_by_running_again(
    program: Callable[..., Program], on_cluster: OnCluster, embedded_pool: EmbeddedPool, fresh: str, tmp_path: Path
) -> None:
    source = """
        for number in range(60):
            k8s.core.v1.ConfigMap(f"c{number}", metadata={**inside, "name": f"c{number}"}, data={"n": str(number)})
    """
    found = program(source)
    command = [sys.executable, "-c", SCRIPT, str(embedded_pool.kubeconfig), str(found.directory), fresh]
    programs: list[psutil.Process] = []
    for number in (1, 25, 55):
        process = subprocess.Popen(command)
        _await_objects(on_cluster, fresh, number)
        programs += psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert programs
    assert psutil.wait_procs(programs, timeout=30)[1] == [], "a program outlived its engine"
    smaller = program(source.replace("range(60)", "range(40)"))
    result = on_cluster(lambda cluster: up(smaller, cluster))
    assert result.problems == ()

    async def names(cluster: Cluster) -> set[str]:
        items, _ = await cluster.list_objects("v1", "ConfigMap", namespace=fresh)
        return {item["metadata"]["name"] for item in items} - {"kube-root-ca.crt"}

    assert on_cluster(names) == {f"c{number}" for number in range(40)}


def _await_objects(on_cluster: OnCluster, namespace: str, number: int) -> None:
    async def wait(cluster: Cluster) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            items, _ = await cluster.list_objects("v1", "ConfigMap", namespace=namespace)
            if len(items) >= number:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"fewer than {number} objects")

    on_cluster(wait)
