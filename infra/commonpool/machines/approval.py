"""Deciding on the certificates that joining machines ask for, while the playbook runs on them."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from commonpool.engine import Cluster
from commonpool.engine.error import EngineError
from commonpool.machines.joining import Token, decision, objection, public_key
from commonpool.machines.run import Event, Observer

DECIDE = "Decide on its certificate"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


async def approve(cluster: Cluster, expected: Mapping[str, Token], observer: Observer) -> None:
    """Decide on certificate requests of our tokens until cancelled; one key for each token, however often it asks."""
    keys: dict[str, bytes] = {}
    told: set[str] = set()
    while expected:
        try:
            for request, token in await _pending(cluster, expected):
                await _decide(cluster, request, token, keys, observer)
        except EngineError as error:  # what is undecided now the next look finds again; one answer less ends no run
            for token in expected.values() if str(error) not in told else ():
                observer(Event(token.machine, DECIDE, "failed", str(error)))
            told.add(str(error))
        await asyncio.sleep(0.3)


async def _decide(
    cluster: Cluster, request: dict[str, Any], token: Token, keys: dict[str, bytes], observer: Observer
) -> None:
    words = objection(request, token, keys.get(token.user))
    if not words:
        keys[token.user] = public_key(request)
    told = words or f"{token.machine} joins"
    body = decision(request, approved=not words, words=told, now=datetime.now(UTC))
    await cluster.request("PUT", f"{REQUESTS}/{request['metadata']['name']}/approval", body)
    observer(Event(token.machine, DECIDE, "failed" if words else "ok", words))


async def _pending(cluster: Cluster, expected: Mapping[str, Token]) -> Iterator[tuple[dict[str, Any], Token]]:
    found = (await cluster.request("GET", REQUESTS))["items"]
    undecided = [one for one in found if not (one.get("status") or {}).get("conditions")]
    kinds = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    return (({**kinds, **one}, expected[one["spec"]["username"]]) for one in undecided if one["spec"].get("username") in expected)  # fmt: skip
