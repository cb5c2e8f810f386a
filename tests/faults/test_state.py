"""What the pool remembers of a stack, damaged in every way (CASES F10), and drift of a hundred fields (F13)."""

import base64
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, up
from commonpool.engine import state as states
from commonpool.engine.error import StateDamaged
from programs import BARE, Stack, messages

Body = dict[str, Any]
SOURCE = """
for number in range(config.require_int("number")):
    config_map(f"c{number}", {"n": config.require("value")})
config_map("auto", {"a": "1"}, named=False)
pulumi.export("value", config.require("value"))
"""


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh, BARE)


def secrets_of(stack: Stack) -> dict[str, Body]:
    """The stack's Secrets by name."""

    async def work(cluster: Cluster) -> dict[str, Body]:
        items, _ = await cluster.list_objects("v1", "Secret", namespace=states.NAMESPACE)
        ours = [item for item in items if item["metadata"]["labels"].get(states.PROJECT_LABEL) == stack.name]
        return {item["metadata"]["name"]: {"apiVersion": "v1", "kind": "Secret", **item} for item in ours}

    return stack.ask(work)


def put(stack: Stack, secret: Body, content: bytes) -> None:
    """Write other content into a Secret, as somebody would by hand."""
    patch = {"data": {"content": base64.b64encode(content).decode()}}
    name = secret["metadata"]["name"]
    stack.ask(lambda cluster: cluster.merge_patch("v1", "Secret", states.NAMESPACE, name, patch))


def truncate(stack: Stack, secret: Body, old: Body) -> None:
    put(stack, secret, base64.b64decode(secret["data"]["content"])[:-7])


def flip_a_bit(stack: Stack, secret: Body, old: Body) -> None:
    content = bytearray(base64.b64decode(secret["data"]["content"]))
    content[len(content) // 2] ^= 4
    put(stack, secret, bytes(content))


def roll_back(stack: Stack, secret: Body, old: Body) -> None:
    name = secret["metadata"]["name"]
    stack.ask(lambda cluster: cluster.merge_patch("v1", "Secret", states.NAMESPACE, name, {"data": old["data"]}))


def delete(stack: Stack, secret: Body, old: Body) -> None:
    name = secret["metadata"]["name"]
    stack.ask(lambda cluster: cluster.delete("v1", "Secret", states.NAMESPACE, name))


def remembered(stack: Stack) -> set[tuple[str, str, str]]:
    return {(record.urn, str(record.identity), record.uid) for record in stack.state().records.values()}


@pytest.mark.parametrize("which", ["the parent", "a bucket"])
@pytest.mark.parametrize("harm", [truncate, flip_a_bit, roll_back, delete])
def test_f10_a_damaged_state_is_noticed_and_rebuilt_equal(
    stack: Stack, which: str, harm: Callable[[Stack, Body, Body], None]
) -> None:
    stack.up(SOURCE, number="8", value="1")
    old = secrets_of(stack)
    stack.up(SOURCE, number="12", value="2")
    before, secrets = remembered(stack), secrets_of(stack)
    parent = stack.state().name
    changed = [
        name for name in secrets if name in old and secrets[name]["data"] != old[name]["data"] and name != parent
    ]
    victim = parent if which == "the parent" else changed[0]
    harm(stack, secrets[victim], old[victim])
    stack.notes.clear()
    rebuilt = stack.up(SOURCE, number="12", value="2")
    assert rebuilt.problems == (), messages(rebuilt)
    assert any("rebuilt" in note and victim in note for note in stack.notes), stack.notes
    assert set(rebuilt.counts) <= {"update"}
    assert remembered(stack) == before
    assert stack.state().outputs == {"value": "2"}
    again = stack.up(SOURCE, number="12", value="2")
    assert (again.counts, again.unchanged, stack.state().damage) == ({}, 14, [])


def test_f10_a_whole_state_put_back_from_an_old_copy_is_noticed_and_rebuilt_equal(stack: Stack) -> None:
    stack.up(SOURCE, number="8", value="1")
    old = secrets_of(stack)
    stack.up(SOURCE, number="12", value="2")
    before = remembered(stack)
    for name, secret in secrets_of(stack).items():
        (roll_back if name in old else delete)(stack, secret, old.get(name, {}))
    stack.notes.clear()
    assert stack.up(SOURCE, number="12", value="2").problems == ()
    assert any("not the one that the last run wrote" in note for note in stack.notes)
    assert remembered(stack) == before
    assert stack.destroy().counts == {"delete": 14}


def test_f10_a_state_that_is_gone_is_told_and_rebuilt_equal_when_somebody_says_so(stack: Stack) -> None:
    stack.up(SOURCE, number="8", value="1")
    before = remembered(stack)
    for secret in secrets_of(stack).values():
        delete(stack, secret, {})
    with pytest.raises(StateDamaged, match="--adopt"):
        stack.up(SOURCE, number="8", value="1")
    with pytest.raises(StateDamaged):
        stack.destroy()
    adopted = stack.run(up, stack.load(SOURCE, number="8", value="1"), adopt=True)
    assert adopted.problems == (), messages(adopted)
    assert remembered(stack) == before
    assert stack.up(SOURCE, number="8", value="1").counts == {}


def test_f13_a_hundred_random_edits_are_all_found_and_only_they_are_mended(stack: Stack) -> None:
    source = """
        for number in range(100):
            metadata = {"namespace": name, "name": f"c{number}", "labels": {"l": "1"}, "annotations": {"a": "1"}}
            body = {"metadata": metadata, "data": {"d": "1", "e": "1"}}
            resource("ConfigMap", f"c{number}", body, depends_on=[space])
    """
    stack.up(source)
    chosen = random.Random(20260101)
    edits: list[Body] = [
        {"metadata": {"labels": {"l": "x", "theirs": "1"}}},
        {"metadata": {"annotations": {"a": None, "theirs": "1"}}},
        {"data": {"d": "x", "theirs": "1"}},
        {"data": {"e": None, "theirs": "1"}},
    ]
    made = {f"c{number}": chosen.choice(edits) for number in chosen.sample(range(100), 100)}
    del made["c7"]  # one that nobody touches

    async def disturb(cluster: Cluster) -> None:
        for name, edit in made.items():
            await cluster.merge_patch("v1", "ConfigMap", stack.name, name, edit)

    stack.ask(disturb)
    found = stack.refresh()
    assert {change.name for change in found.changes} == set(made)
    assert stack.up(source).counts == {"update": 99}

    async def all_of_them(cluster: Cluster) -> list[Body]:
        items, _ = await cluster.list_objects("v1", "ConfigMap", namespace=stack.name)
        return [item for item in items if item["metadata"]["name"].startswith("c")]

    for live in stack.ask(all_of_them):
        metadata, edited = live["metadata"], made.get(live["metadata"]["name"], {})
        assert (metadata["labels"]["l"], metadata["annotations"]["a"]) == ("1", "1")
        assert (live["data"]["d"], live["data"]["e"]) == ("1", "1")
        kept = [
            values["theirs"]
            for values in (metadata["labels"], metadata["annotations"], live["data"])
            if "theirs" in values
        ]
        assert kept == ["1"] * bool(edited)
