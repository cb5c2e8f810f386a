"""The client against servers that misbehave: nothing is lost, nothing is done twice, nothing is guessed."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from commonpool.engine.cluster import Cluster
from commonpool.engine.error import CredentialRefused, EngineError, FieldConflict, Refused, Stale, Unreachable
from commonpool.engine.kubeconfig import Credentials
from fault_server import CUT, CUT_SECONDS, HANG_UP, SILENCE, Answer, Asked, FaultServer, faults, ok, status

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": {"k": "v"}}
LIVE = {**CONFIG_MAP, "metadata": {"name": "a", "namespace": "n", "resourceVersion": "7", "uid": "u-1"}}

Script = Callable[[Asked], Answer | str]


@asynccontextmanager
async def connected(
    script: Script, *, patience: float = 10.0, parallel: int = 8, delay: float = 0.0, **credentials: Any
) -> AsyncIterator[tuple[Cluster, FaultServer]]:
    """A cluster client in front of a scripted server."""
    async with faults(script, delay=delay) as server:
        found = Credentials(server=server.url, origin="/etc/pool (context prod)", **credentials)
        async with await Cluster.connect(found, patience=patience, parallel=parallel) as cluster:
            yield cluster, server


def in_turn(*answers: Answer | str) -> Script:
    """One answer after the other; the last one for ever."""
    rest = itertools.chain(answers, itertools.repeat(answers[-1]))
    return lambda _: next(rest)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run one scenario."""
    asyncio.run(test)


def test_a_body_that_does_not_fit_its_kind_is_refused_at_once_although_the_server_calls_it_its_own_failure() -> None:
    async def scenario() -> None:
        words = "failed to create typed patch object (n/a; v1, Kind=ConfigMap): .dta: field not declared in schema"
        async with connected(in_turn(status(500, "", words))) as (cluster, server):
            with pytest.raises(Refused, match="not declared"):
                await cluster.apply(CONFIG_MAP)
            assert [one.method for one in server.asked].count("PATCH") == 1

    run(scenario())


@pytest.mark.parametrize(
    "trouble",
    [
        HANG_UP,
        status(500, "InternalError"),
        status(503, "ServiceUnavailable"),
        status(504, "Timeout"),
        status(429, "TooManyRequests"),
        (502, b"<html>", {}),
    ],
)
def test_an_apply_is_repeated_until_it_is_answered(trouble: Answer | str) -> None:
    """Whatever passes by itself; the same body every time."""

    async def scenario() -> None:
        async with connected(in_turn(trouble, trouble, ok(LIVE))) as (cluster, server):
            assert await cluster.apply(CONFIG_MAP) == LIVE
        assert [asked.body for asked in server.asked] == [CONFIG_MAP] * 3

    run(scenario())


def test_retry_after_is_waited_for() -> None:
    """Not a moment less than the server asked for."""

    async def scenario() -> None:
        busy = (429, {"kind": "Status", "message": "busy"}, {"Retry-After": "1"})
        async with connected(in_turn(busy, ok(LIVE))) as (cluster, _):
            began = time.monotonic()
            await cluster.read("v1", "ConfigMap", "n", "a")
            assert time.monotonic() - began >= 1.0

    run(scenario())


def test_a_retry_after_beyond_our_patience_ends_it_at_once() -> None:
    """Waiting in vain helps nobody; the server's message is what is raised."""

    async def scenario() -> None:
        busy = (429, {"kind": "Status", "message": "come back later"}, {"Retry-After": "3600"})
        async with connected(in_turn(busy)) as (cluster, server):
            with pytest.raises(Refused, match="come back later"):
                await cluster.read("v1", "ConfigMap", "n", "a")
            assert len(server.asked) == 1

    run(scenario())


def test_a_server_that_never_answers_is_unreachable_and_never_means_gone() -> None:
    """The error names the address."""

    async def scenario() -> None:
        async with connected(in_turn(SILENCE), patience=0.5) as (cluster, server):
            with pytest.raises(Unreachable, match=server.url):
                await cluster.read("v1", "ConfigMap", "n", "a")

    run(scenario())


def test_nobody_listening_is_unreachable() -> None:
    """A refused connection, until patience ends; who asked hears of it at once."""
    heard: list[str] = []

    async def scenario() -> None:
        credentials = Credentials(server="http://127.0.0.1:1", origin="x")
        async with await Cluster.connect(credentials, patience=0.5) as cluster:
            cluster.trouble = heard.append
            with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
                await cluster.version()

    run(scenario())
    assert len(heard) > 1


def test_a_create_whose_answer_was_lost_is_looked_up_and_not_sent_again() -> None:
    """The object stands as it was sent: that was us."""

    async def scenario() -> None:
        async with connected(in_turn(HANG_UP, ok(LIVE))) as (cluster, server):
            assert await cluster.create(CONFIG_MAP) == LIVE
        assert [asked.method for asked in server.asked] == ["POST", "GET"]

    run(scenario())


def test_a_create_that_never_arrived_is_sent_again() -> None:
    """The look-up found nothing."""

    async def scenario() -> None:
        answers = in_turn(HANG_UP, status(404, "NotFound"), ok(LIVE))
        async with connected(answers) as (cluster, server):
            assert await cluster.create(CONFIG_MAP) == LIVE
        assert [asked.method for asked in server.asked] == ["POST", "GET", "POST"]

    run(scenario())


def test_a_create_that_lost_to_somebody_else_is_not_taken_for_ours() -> None:
    """What stands there is not what was sent."""

    async def scenario() -> None:
        theirs = {**LIVE, "data": {"k": "theirs"}}
        answers = in_turn(HANG_UP, ok(theirs), status(409, "AlreadyExists", "exists"), ok(theirs))
        async with connected(answers) as (cluster, _):
            with pytest.raises(Refused) as caught:
                await cluster.create(CONFIG_MAP)
            assert caught.value.reason == "AlreadyExists"

    run(scenario())


def test_an_existing_object_is_refused_without_a_look_when_no_answer_was_lost() -> None:
    """Even when it happens to hold the same: we did not make it."""

    async def scenario() -> None:
        async with connected(in_turn(status(409, "AlreadyExists", "exists"))) as (cluster, server):
            with pytest.raises(Refused):
                await cluster.create(CONFIG_MAP)
            assert len(server.asked) == 1

    run(scenario())


STALE = status(409, "Conflict", "the object has been modified; please apply your changes to the latest version")


def test_a_replace_whose_answer_was_lost_is_not_reported_stale() -> None:
    """Its own first attempt is what made the version outdated."""

    async def scenario() -> None:
        sent = {**CONFIG_MAP, "metadata": {"name": "a", "namespace": "n", "resourceVersion": "6"}}
        async with connected(in_turn(HANG_UP, HANG_UP, ok(LIVE))) as (cluster, _):
            assert await cluster.replace(sent) == LIVE

    run(scenario())


def test_a_replace_of_an_outdated_version_is_stale() -> None:
    """Somebody else wrote something else in between."""

    async def scenario() -> None:
        sent = {**CONFIG_MAP, "metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"}}
        async with connected(in_turn(STALE, ok({**LIVE, "data": {"k": "theirs"}}))) as (cluster, _):
            with pytest.raises(Stale):
                await cluster.replace(sent)

    run(scenario())


COUNTED = status(
    409,
    "Conflict",
    'Operation cannot be fulfilled on resourcequotas "objects": the object has been modified; please apply your changes '
    "to the latest version and try again",
)


def test_a_write_that_names_no_version_is_never_stale() -> None:
    """Many objects that one quota counts are made at once, and the API server gives up after three attempts of its own."""

    async def scenario() -> None:
        async with connected(in_turn(COUNTED, COUNTED, ok(LIVE))) as (cluster, server):
            assert await cluster.apply(CONFIG_MAP) == LIVE
            assert len(server.asked) == 3
        async with connected(in_turn(COUNTED, ok(LIVE))) as (cluster, server):
            assert await cluster.create(CONFIG_MAP) == LIVE
            assert len(server.asked) == 2

    run(scenario())


def test_a_patch_of_an_outdated_version_is_stale() -> None:
    """It would change what somebody else wrote in between."""

    async def scenario() -> None:
        async with connected(in_turn(STALE)) as (cluster, server):
            with pytest.raises(Stale):
                await cluster.merge_patch("v1", "ConfigMap", "n", "a", {"metadata": {"resourceVersion": "5"}})
            assert len(server.asked) == 1

    run(scenario())


def test_a_delete_by_name_goes_by_the_uid_that_stands_there() -> None:
    """A successor of the same name survives a repeated request."""

    async def scenario() -> None:
        async with connected(in_turn(ok(LIVE), ok({"kind": "Status"}))) as (cluster, server):
            assert await cluster.delete("v1", "ConfigMap", "n", "a")
        assert server.asked[1].body["preconditions"] == {"uid": "u-1"}

    run(scenario())


SUCCESSOR = {**LIVE, "metadata": {**LIVE["metadata"], "uid": "u-2"}}  # type: ignore[dict-item]
PRECONDITION = "Precondition failed: UID in precondition: u-1, UID in object meta: u-2"


@pytest.mark.parametrize(
    ("refusal", "standing"),
    [
        (status(404, "NotFound", "not found"), status(404, "NotFound")),
        (status(409, "Conflict", PRECONDITION), ok(SUCCESSOR)),
        (status(409, "Conflict", "the object has been modified"), ok(SUCCESSOR)),
    ],
)
def test_what_is_gone_or_another_one_has_been_deleted(refusal: Answer, standing: Answer) -> None:
    async def scenario() -> None:
        async with connected(in_turn(refusal, standing)) as (cluster, server):
            assert not await cluster.delete("v1", "ConfigMap", "n", "a", uid="u-1")
        assert [asked.method for asked in server.asked] == ["DELETE", "GET"]

    run(scenario())


@pytest.mark.parametrize("code", [404, 409])
def test_a_deletion_that_a_webhook_refuses_is_no_deletion_whatever_status_it_gives(code: int) -> None:
    words = 'admission webhook "keep.example" denied the request: it is in use'

    async def scenario() -> None:
        async with connected(in_turn(status(code, "", words), ok(LIVE))) as (cluster, _):
            with pytest.raises(Refused, match="in use"):
                await cluster.delete("v1", "ConfigMap", "n", "a", uid="u-1")

    run(scenario())


def test_a_deletion_that_came_while_somebody_wrote_is_sent_again() -> None:
    stale = status(409, "Conflict", "the object has been modified; please apply your changes to the latest version")

    async def scenario() -> None:
        async with connected(in_turn(stale, ok(LIVE), ok({"kind": "Status"}))) as (cluster, server):
            assert await cluster.delete("v1", "ConfigMap", "n", "a", uid="u-1")
        assert [asked.method for asked in server.asked] == ["DELETE", "GET", "DELETE"]

    run(scenario())


def test_a_conflict_names_managers_and_fields() -> None:
    """From the Status, not from its prose."""

    async def scenario() -> None:
        causes = [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "hpa" using apps/v1',
                "field": ".spec.replicas",
            }
        ]
        answer = status(409, "Conflict", "Apply failed with 1 conflict", details={"causes": causes})
        async with connected(in_turn(answer)) as (cluster, _):
            with pytest.raises(FieldConflict) as caught:
                await cluster.apply(CONFIG_MAP)
            assert caught.value.conflicts == (("hpa", ".spec.replicas"),)

    run(scenario())


def test_a_refused_credential_is_named_with_its_file_and_not_tried_again() -> None:
    """No other credential and no weaker connection is tried."""

    async def scenario() -> None:
        async with connected(in_turn(status(401, "Unauthorized", "no")), token="geheim") as (cluster, server):
            with pytest.raises(CredentialRefused, match=r"token of /etc/pool \(context prod\)") as caught:
                await cluster.version()
            assert "geheim" not in str(caught.value)
            assert len(server.asked) == 1

    run(scenario())


def test_a_rotated_token_file_is_read_again_after_a_401(tmp_path: Path) -> None:
    """Runs outlive the tokens of service accounts."""
    file = tmp_path / "token"
    file.write_text("fresh", encoding="utf-8")

    def script(asked: Asked) -> Answer:
        return ok(LIVE) if asked.headers.get("authorization") == "bearer fresh" else status(401, "Unauthorized")

    async def scenario() -> None:
        async with connected(script, token="expired", token_file=str(file)) as (cluster, server):
            await asyncio.gather(*(cluster.read("v1", "ConfigMap", "n", "a") for _ in range(5)))
            assert len(server.asked) <= 10

    run(scenario())


def test_a_quota_that_its_controller_has_not_counted_yet_is_waited_for() -> None:
    """What a namespace made a moment ago refuses for a moment."""

    async def scenario() -> None:
        refusal = status(403, "Forbidden", 'pods "a" is forbidden: status unknown for quota: objects, resources: pods')
        async with connected(in_turn(refusal, ok(LIVE))) as (cluster, _):
            assert await cluster.apply(CONFIG_MAP) == LIVE

    run(scenario())


@pytest.mark.parametrize("answer", [status(403, "Forbidden", "no right"), status(422, "Invalid", "bad field")])
def test_a_refusal_is_raised_at_once_in_the_servers_own_words(answer: Answer) -> None:
    """Repeating would not help."""

    async def scenario() -> None:
        async with connected(in_turn(answer)) as (cluster, server):
            with pytest.raises(Refused, match=r"no right|bad field"):
                await cluster.apply(CONFIG_MAP)
            assert len(server.asked) == 1

    run(scenario())


def test_redirections_are_not_followed() -> None:
    """They would carry the credential to another server."""

    async def scenario() -> None:
        async with faults(in_turn(ok(LIVE))) as elsewhere:
            moved = (307, b"", {"Location": f"{elsewhere.url}/"})
            async with connected(in_turn(moved), token="t") as (cluster, _):
                with pytest.raises(Refused, match="redirection"):
                    await cluster.read("v1", "ConfigMap", "n", "a")
            assert elsewhere.asked == []

    run(scenario())


def test_a_login_page_is_not_taken_for_an_answer() -> None:
    """Proxies answer 200 as well."""

    async def scenario() -> None:
        async with connected(in_turn(ok(b"<html>please log in</html>"))) as (cluster, _):
            with pytest.raises(Unreachable, match="proxy"):
                await cluster.read("v1", "ConfigMap", "n", "a")

    run(scenario())


def test_no_more_requests_than_allowed_are_under_way() -> None:
    """However many are asked for at once."""

    async def scenario() -> None:
        async with connected(in_turn(ok(LIVE)), parallel=4, delay=0.01) as (cluster, server):
            await asyncio.gather(*(cluster.apply(CONFIG_MAP) for _ in range(60)))
            assert server.most_at_once == 4

    run(scenario())


def test_a_storm_of_429_is_survived_by_all() -> None:
    """Every second request is turned away; all get through."""
    turn = itertools.count()

    def script(_: Asked) -> Answer:
        return status(429, "TooManyRequests") if next(turn) % 2 else ok(LIVE)

    async def scenario() -> None:
        async with connected(script, parallel=16, patience=60) as (cluster, _):
            assert await asyncio.gather(*(cluster.apply(CONFIG_MAP) for _ in range(100))) == [LIVE] * 100

    run(scenario())


def test_pages_of_a_list_that_expired_are_listed_anew() -> None:
    """No object twice, none missing."""

    async def scenario() -> None:
        first = {"metadata": {"resourceVersion": "1", "continue": "next"}, "items": [{"metadata": {"name": "a"}}]}
        whole = {"metadata": {"resourceVersion": "2"}, "items": [{"metadata": {"name": name}} for name in "ab"]}
        async with connected(in_turn(ok(first), status(410, "Expired"), ok(whole))) as (cluster, _):
            items, version = await cluster.list_objects("v1", "ConfigMap")
        assert ([item["metadata"]["name"] for item in items], version) == (["a", "b"], "2")

    run(scenario())


@pytest.mark.parametrize("name", ["../secrets/x", "a/b", "a?b", "", ".", "a%2fb"])
def test_a_name_that_would_lead_elsewhere_is_refused_before_anything_is_sent(name: str) -> None:
    """Names come from manifests."""

    async def scenario() -> None:
        async with connected(in_turn(ok(LIVE))) as (cluster, server):
            with pytest.raises(EngineError, match="no name"):
                await cluster.apply({**CONFIG_MAP, "metadata": {"name": name, "namespace": "n"}})
            assert server.asked == []

    run(scenario())


def test_no_exception_of_the_http_library_leaves_the_client() -> None:
    """Garbage instead of HTTP."""

    async def scenario() -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with await Cluster.connect(Credentials(server=url, origin="x"), patience=0.3) as cluster:
            with pytest.raises(Unreachable):
                await cluster.version()
        server.close()

    run(scenario())


@pytest.mark.parametrize(("namespace", "name"), [("", "a"), ("n", "")])
def test_an_empty_name_or_namespace_never_widens_a_request(namespace: str, name: str) -> None:
    """Deleting one object must not become deleting a collection, nor a wrong path look like absence."""

    async def scenario() -> None:
        async with connected(in_turn(ok(LIVE))) as (cluster, server):
            for call in (cluster.delete, cluster.read):
                with pytest.raises(EngineError, match="no name"):
                    await call("v1", "ConfigMap", namespace, name)
            assert server.asked == []

    run(scenario())


def test_a_watch_whose_stream_ends_goes_on_from_the_last_version_it_saw() -> None:
    """Bookmarks count as seen; a line longer than any buffer is one event."""
    long = {**LIVE, "data": {"k": "v" * 300_000}}
    mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    gone = {"type": "DELETED", "object": {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "10"}}}

    def lines(*events: dict[str, Any]) -> Answer:
        return ok(b"".join(json.dumps(event).encode() + b"\n" for event in events))

    async def scenario() -> None:
        answers = in_turn(lines({"type": "MODIFIED", "object": long}, mark), lines(gone))
        async with connected(answers) as (cluster, server):
            changes = cluster.watch("v1", "ConfigMap", namespace="n", version="6")
            async with asyncio.timeout(30), aclosing(changes):
                assert await anext(changes) == ("MODIFIED", long)
                assert (await anext(changes))[0] == "DELETED"
            assert [asked.path.rpartition("=")[2] for asked in server.asked] == ["6", "9"]

    run(scenario())


def test_a_watch_whose_idle_streams_are_cut_outlives_patience_but_not_one_that_never_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("commonpool.engine.watch.SHORTEST_STREAM_SECONDS", CUT_SECONDS / 2)
    gone = {"type": "DELETED", "object": {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "10"}}}

    def script(streams: list[Answer | str]) -> Script:
        return lambda asked: streams.pop(0) if "watch=true" in asked.path else ok({"gitVersion": "v1.36.3"})

    async def first(streams: list[Answer | str]) -> str:
        async with connected(script(streams), patience=0.5) as (cluster, _):
            changes = cluster.watch("v1", "ConfigMap", namespace="n", version="6")
            async with asyncio.timeout(30), aclosing(changes):
                return (await anext(changes))[0]

    async def scenario() -> None:
        assert await first([*[CUT] * 6, ok(json.dumps(gone).encode() + b"\n")]) == "DELETED"
        with pytest.raises(Unreachable):
            await first([HANG_UP] * 1000)

    run(scenario())


def test_a_server_that_answers_only_errors_is_given_up_before_one_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person should hear soon that the store is broken; a restart is waited for."""
    monkeypatch.setattr("commonpool.engine.retry.BROKEN_SECONDS", 0.3)

    async def scenario() -> None:
        async with connected(in_turn(status(500, "InternalError", "etcdserver: no leader"))) as (cluster, _):
            with pytest.raises(Refused, match="no leader"):
                await cluster.apply(CONFIG_MAP)
        async with connected(in_turn(*[HANG_UP] * 6, ok(LIVE))) as (cluster, server):
            assert await cluster.apply(CONFIG_MAP) == LIVE
            assert len(server.asked) == 7

    run(scenario())
