"""What goes when it is no longer declared, where its kind went before it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster
from commonpool.engine.error import Refused
from commonpool.engine.kubeconfig import Credentials
from fault_server import Answer, Asked, faults, ok, status
from programs import BARE, Stack, messages

DEFINITIONS = "apiextensions.k8s.io/v1", "CustomResourceDefinition", ""


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh, head=BARE)


def definition(name: str, *served: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": version, "served": version in served, "storage": version == "v1", "schema": schema}
        for version in ("v1", "v2")
    ]
    names = {"plural": "widgets", "kind": "Widget"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{name}.example"},
        "spec": {"group": f"{name}.example", "names": names, "scope": "Namespaced", "versions": versions},
    }


def widget(name: str, options: str = "depends_on=[space]") -> str:
    body = f'{{"apiVersion": "{name}.example/v1", "kind": "Widget", "metadata": {{"name": "w", "namespace": name}}}}'
    return f'pulumi.CustomResource("kubernetes:{name}.example/v1:Widget", "w", {body}, Options({options}))'


def apply(stack: Stack, *served: str) -> None:
    async def work(cluster: Cluster) -> None:
        await cluster.apply(definition(stack.name, *served))
        while {info.version for info in await cluster.kinds() if info.group == f"{stack.name}.example"} != set(served):
            await asyncio.sleep(0.1)

    stack.ask(work)


def remove(stack: Stack) -> None:
    async def work(cluster: Cluster) -> None:
        await cluster.delete(*DEFINITIONS, f"widgets.{stack.name}.example")
        while any(info.group == f"{stack.name}.example" for info in await cluster.kinds()):
            await asyncio.sleep(0.1)

    stack.ask(work)


@pytest.mark.parametrize("ends", [False, True])
def test_what_went_with_its_kind_is_forgotten_by_the_next_run_and_by_destroy(stack: Stack, ends: bool) -> None:
    apply(stack, "v1")
    made = stack.up(widget(stack.name))
    assert made.problems == (), messages(made)
    remove(stack)
    gone = stack.destroy() if ends else stack.up("")
    assert gone.problems == (), messages(gone)
    assert not any(record.identity.kind == "Widget" for record in stack.state().records.values())


@pytest.mark.parametrize("options", ["depends_on=[space]", "depends_on=[space], retain_on_delete=True"])
def test_what_is_served_in_another_version_by_now_is_let_go_of_there(stack: Stack, options: str) -> None:
    apply(stack, "v1")
    stack.up(widget(stack.name, options))
    apply(stack, "v2")
    try:
        gone = stack.up("")
        assert (gone.problems, gone.counts) == ((), {"delete": 1}), messages(gone)
        left = stack.read(f"{stack.name}.example/v2", "Widget", stack.name, "w")
        assert (left is not None) is ("retain" in options)
        assert left is None or not left["metadata"].get("labels")
    finally:
        remove(stack)


def test_a_kind_whose_server_does_not_answer_is_not_taken_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commonpool.engine.retry.BROKEN_SECONDS", 0.2)

    def script(asked: Asked) -> Answer:
        if asked.path == "/apis/own.example":
            return ok({"kind": "APIGroup", "versions": [{"groupVersion": "own.example/v1"}]})
        return status(503, "ServiceUnavailable", "the server is currently unable to handle the request")

    async def scenario() -> None:
        async with faults(script) as server, await Cluster.connect(Credentials(server.url, "a test")) as cluster:
            with pytest.raises(Refused, match="unable"):
                await cluster.version_serving("own.example", "Widget")

    asyncio.run(scenario())
