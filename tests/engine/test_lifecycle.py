"""How objects of other people's programs come, stay and go, where that is more than their own fields."""

import time
from pathlib import Path
from typing import Any

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import up
from programs import BARE, Stack, messages


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh, head=BARE)


def test_an_automatic_name_stays_when_only_the_logical_one_changes(stack: Stack) -> None:
    source = """
        metadata = {"namespace": name, "annotations": {"pulumi.com/skipAwait": "true"}}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = resource("PersistentVolumeClaim", config.require("called"), {"metadata": metadata, "spec": spec},
            aliases=[pulumi.Alias(name="before")], depends_on=[space])
        pulumi.export("name", claim.metadata["name"])
    """
    first = stack.up(source, called="before")
    shown, renamed = stack.preview(source, called="after"), stack.up(source, called="after")
    assert (messages(renamed), shown.counts, renamed.counts) == ("", {}, {})
    assert first.outputs == renamed.outputs
    assert stack.up(source, called="after").counts == {}


def test_a_finished_job_that_its_time_to_live_took_away_is_not_run_again(stack: Stack) -> None:
    source = """
        container = {"name": "c", "image": config.get("image") or "i"}
        metadata = {"namespace": name, "name": "j", "annotations": {"pulumi.com/skipAwait": "true"}}
        spec = {"ttlSecondsAfterFinished": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
        pulumi.CustomResource("kubernetes:batch/v1:Job", "j", body, Options(depends_on=[space]))
    """
    stack.up(source)
    gone(stack, "batch/v1", "Job", "j")
    assert (stack.preview(source).counts, stack.refresh().counts, stack.up(source).counts) == ({}, {}, {})
    assert stack.read("batch/v1", "Job", stack.name, "j") is None
    changed = stack.up(source, image="another")
    assert (messages(changed), sum(changed.counts.values())) == ("", 1)
    assert stack.read("batch/v1", "Job", stack.name, "j") is not None


def gone(stack: Stack, api_version: str, kind: str, name: str) -> None:
    stack.ask(lambda cluster: cluster.delete(api_version, kind, stack.name, name))
    for _ in range(100):
        if stack.read(api_version, kind, stack.name, name) is None:
            return
        time.sleep(0.1)


def test_what_is_no_target_and_not_there_yet_is_left_out_with_what_needs_it(stack: Stack) -> None:
    program = """
        config_map("wanted", {})
        other = config_map("other", {})
        config_map("needs", {"uid": other.metadata["uid"]})
        pulumi.export("uid", other.metadata["uid"])
    """

    def targeted(*names: str) -> Any:
        return stack.run(up, stack.load(program), targets=names)

    first = targeted("space", "wanted")
    assert (messages(first), first.counts, first.outputs) == ("", {"create": 2}, {"uid": "[known after apply]"})
    assert "it needs other, not among the targets" in messages(targeted("needs"))
    assert targeted("needs", "other").counts == {"create": 2}
    whole = stack.up(program)
    assert (whole.counts, list(whole.outputs)) == ({}, ["uid"])


def test_programs_see_nothing_of_the_marks_by_which_their_objects_are_known(stack: Stack) -> None:
    source = """
        first = resource("ConfigMap", "first", {"metadata": {"namespace": name, "labels": {"app": "a"}}}, depends_on=[space])
        spec = {"selector": first.metadata["labels"], "ports": [{"port": 80}], "type": "ClusterIP"}
        metadata = {"namespace": name, "name": "s", "annotations": {"pulumi.com/skipAwait": "true"}}
        resource("Service", "s", {"metadata": metadata, "spec": spec})
        pulumi.export("space", space.metadata)
    """
    applied = stack.up(source)
    assert messages(applied) == ""
    assert stack.read("v1", "Service", stack.name, "s")["spec"]["selector"] == {"app": "a"}
    assert "annotations" not in applied.outputs["space"]  # type: ignore[operator]
    assert stack.up(source).counts == {}


def test_children_go_before_their_parents_and_nothing_on_which_something_stays(stack: Stack) -> None:
    source = """
        def below(called, parent):
            body = {"metadata": {"namespace": name, "name": called}}
            return resource("ConfigMap", called, body, parent=parent, depends_on=[space])
        if config.get("there"):
            below("below", below("middle", below("above", None)))
    """
    stack.up(source, there="yes")
    left = stack.up(source)
    assert [change.name for change in left.changes] == ["below", "middle", "above"]
    stack.up(source, there="yes")
    stack.ask(
        lambda cluster: cluster.merge_patch(
            "v1", "ConfigMap", stack.name, "below", {"metadata": {"finalizers": ["example.org/held"]}}
        )
    )
    held = stack.run(up, stack.load(source), timeout=1.0)
    assert "held by example.org/held" in messages(held)
    assert "ConfigMap t" in messages(held)
    assert stack.read("v1", "ConfigMap", stack.name, "above") is not None
    stack.ask(
        lambda cluster: cluster.merge_patch("v1", "ConfigMap", stack.name, "below", {"metadata": {"finalizers": None}})
    )
    assert stack.up(source).problems == ()
    assert stack.read("v1", "ConfigMap", stack.name, "above") is None


def test_who_in_a_program_reads_standard_input_finds_its_end(stack: Stack) -> None:
    shown = stack.preview("""
        import subprocess, sys
        print("child", subprocess.run(["cat"], capture_output=True, timeout=30).stdout)
        print("own", sys.stdin.read())
        print("called", sys.argv)
    """)
    assert messages(shown) == ""
    assert {"child b''", "own", f"called ['{stack.folder}/__main__.py']"} <= {note.strip() for note in stack.notes}
