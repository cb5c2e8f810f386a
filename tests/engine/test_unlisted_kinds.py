"""What stands of a stack, from lists of which some cannot be had."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import index as indexes
from commonpool.engine import state as states
from commonpool.engine.cluster import Cluster
from commonpool.engine.error import EngineError
from commonpool.engine.index import Index
from commonpool.engine.kubeconfig import Credentials
from commonpool.engine.record import PART_OF
from commonpool.engine.state import EVERYTHING, State
from fault_server import HANG_UP, Answer, Asked, faults, ok, status
from programs import BARE, Stack, messages

LIST = {"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "9"}}
ELSEWHERE = "/apis/metrics.example/v1/podmetrics"


def resource(kind: str) -> dict[str, Any]:
    name = kind.lower()
    return {"resource": name, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": ["list"]}


def group(name: str, kind: str, *versions: str) -> dict[str, Any]:
    served = [{"version": version, "resources": [resource(kind)]} for version in versions]
    return {"metadata": {"name": name}, "versions": served}


DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIGroupDiscoveryList", "items": [group("", "Thing", "v1")]},
    "/apis": {
        "kind": "APIGroupDiscoveryList",
        "items": [group("metrics.example", "PodMetrics", "v1"), group("own.example", "Widget", "v1", "v2")],
    },
    "/version": {"gitVersion": "v1.36.3"},
}


def answering(*odd: tuple[str, Answer | str]) -> Callable[[Asked], Answer | str]:
    """A server whose lists are empty but for the odd ones."""

    def script(asked: Asked) -> Answer | str:
        path = asked.path.partition("?")[0]
        found = dict(odd).get(path)
        return found if found is not None else ok(DISCOVERY.get(path) or {**LIST, "items": []})

    return script


def looked(script: Callable[[Asked], Answer | str], state: State | None = None) -> Index:
    async def work() -> Index:
        index = Index()
        async with faults(script) as server, await Cluster.connect(Credentials(server.url, "a test")) as cluster:

            async def connect(_: str) -> Cluster:
                return cluster

            await indexes.complete(index, connect, state or State("p", "s"), everything=True)
        return index

    return asyncio.run(work())


@pytest.mark.parametrize(
    "answer",
    [
        status(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        status(500, "InternalError", "conversion webhook for own.example/v1 failed"),
        status(406, "NotAcceptable", "only the following media types are accepted"),
        status(429, "TooManyRequests", "try again later"),
        HANG_UP,
    ],
)
def test_a_kind_that_nothing_is_recorded_of_and_that_cannot_be_listed_is_named_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, answer: Answer | str
) -> None:
    monkeypatch.setattr(indexes, "UNNAMED_SECONDS", 0.2)
    index = looked(answering((ELSEWHERE, answer)))
    assert set(index.unseen) == {("", "metrics.example/v1", "PodMetrics")}
    assert "metrics.example/v1 PodMetrics (" in indexes.unseen_words(index.unseen)
    assert ("", "own.example/v1", "Widget") in index.listed


def test_a_kind_that_may_not_be_listed_is_not_missed() -> None:
    assert looked(answering((ELSEWHERE, status(403, "Forbidden", "cannot list")))).unseen == {}


def test_a_kind_that_was_listed_in_one_version_is_not_missed_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "UNNAMED_SECONDS", 0.2)
    broken = status(500, "InternalError", "conversion webhook failed")
    assert looked(answering(("/apis/own.example/v1/widget", broken))).unseen == {}


def test_a_server_that_is_away_altogether_is_no_kind_that_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "UNNAMED_SECONDS", 0.1)
    away = status(503, "ServiceUnavailable", "shutting down")
    monkeypatch.setattr("commonpool.engine.retry.BROKEN_SECONDS", 0.2)
    with pytest.raises(EngineError, match="shutting down"):
        looked(answering((ELSEWHERE, HANG_UP), ("/version", away)))


def test_what_is_only_reckoned_and_copies_our_labels_is_passed_over() -> None:
    item = {"metadata": {"name": "web-1", "namespace": "n", "labels": {"app": "web"}}}
    state = State("p", "s", key=b"k" * 32)
    index = looked(answering((ELSEWHERE, ok({**LIST, "items": [item]}))), state)
    assert (index.leftovers(state), index.smuggled(state)) == ([], [])


def test_a_server_that_cannot_leave_out_the_rest_of_an_object_may_send_it_whole() -> None:
    asked: list[Asked] = []

    def script(one: Asked) -> Answer | str:
        asked.append(one)
        return answering()(one)

    looked(script)
    accepted = next(one.headers["accept"] for one in asked if one.path.startswith(ELSEWHERE)).split(",")
    assert accepted[-1] == "application/json"


def unconvertible(fresh: str) -> list[dict[str, Any]]:
    """A kind of somebody else's whose objects stand in a version that only a converter, which is away, can read."""
    group_name = f"{fresh}.example"
    schema = {"openAPIV3Schema": {"type": "object"}}
    service = {"namespace": "default", "name": "away", "path": "/convert"}
    converter = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": {"service": service}, "conversionReviewVersions": ["v1"]},
    }

    def definition(*served: str) -> dict[str, Any]:
        versions = [
            {"name": name, "served": name in served, "storage": name == "v1", "schema": schema} for name in ("v1", "v2")
        ]
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"things.{group_name}"},
            "spec": {
                "group": group_name,
                "names": {"plural": "things", "kind": "Thing"},
                "scope": "Cluster",
                "conversion": converter,
                "versions": versions,
            },
        }

    thing = {"apiVersion": f"{group_name}/v1", "kind": "Thing", "metadata": {"name": "stored", "labels": {}}}
    return [definition("v1"), thing, definition("v2")]


def test_a_run_after_one_that_was_killed_goes_on_beside_a_broken_kind_and_stays_watchful_until_it_could_look(
    embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "UNNAMED_SECONDS", 1.0)
    stack = Stack(embedded_pool, tmp_path, fresh, head=BARE)
    stack.up('config_map("a")')

    async def prepare(cluster: Cluster) -> None:
        state = await states.load(cluster, fresh, "dev")
        state.pending = (EVERYTHING,)
        await states.save(cluster, state)
        definition, thing, later = unconvertible(fresh)
        await cluster.apply(definition)
        thing["metadata"]["labels"] = {PART_OF: state.part_of}
        await cluster.apply(thing)
        await cluster.apply(later)
        while ("", f"{fresh}.example/v2", "Thing") not in {
            ("", info.api_version, info.kind) for info in await cluster.kinds()
        }:
            await asyncio.sleep(0.1)

    async def mend(cluster: Cluster) -> None:
        name = f"things.{fresh}.example"
        definition = await cluster.read("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name)
        assert definition is not None
        await cluster.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name)
        while await cluster.read("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name):
            await asyncio.sleep(0.1)

    stack.ask(prepare)
    try:
        found = stack.up('config_map("a")\nconfig_map("b")')
        assert (found.problems, found.counts) == ((), {"create": 1}), messages(found)
        assert any(f"could not look at {fresh}.example/v2 Thing (" in note for note in stack.notes), stack.notes
        assert stack.state().pending == (EVERYTHING,)
        gone = stack.destroy()
        assert (gone.problems, gone.counts) == ((), {"delete": 3}), messages(gone)
        assert stack.state().exists
    finally:
        stack.ask(mend)
    assert stack.destroy().problems == ()
    assert not stack.state().exists
