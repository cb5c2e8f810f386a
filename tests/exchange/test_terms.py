"""Which ConfigMaps say what is agreed: the platform's own of each service."""

import json
from typing import Any

import pytest
from commonpool.exchange.terms import Book


def listed(namespace: str, name: str, agreement: str) -> dict[str, Any]:
    terms = {
        "agreement": agreement, "digest": "sha256:0", "service": "people", "provider": "d0", "consumer": "d1", "purpose": "p",
        "evidence": "digest", "start": "2026-01-01", "end": "2026-12-31", "items": ["name"],
    }  # fmt: skip
    data = {"agreements.json": json.dumps([terms]), "audiences.json": json.dumps(["a"])}
    return {"metadata": {"namespace": namespace, "name": name}, "data": data}


@pytest.mark.parametrize("namespace", ["people", "service-people"])
@pytest.mark.parametrize("event", ["ADDED", "MODIFIED", "DELETED"])
def test_nobody_elses_configmap_says_what_is_agreed(namespace: str, event: str) -> None:
    """A namespace called like a service without its prefix is somebody's in a cluster that does other work too."""
    book = Book()
    book.take("ADDED", listed("service-people", "agreements-people", "theirs"))
    for name in {"people": ("agreements-people", "mine"), "service-people": ("mine", "agreements-other")}[namespace]:
        book.take(event, listed(namespace, name, "forged"))
        book.take(event, listed(namespace, name, "forged") | {"data": {}})
    assert [one.agreement for one in book.of("people", "d1")] == ["theirs"]
    assert book.broken == {}
    book.take("DELETED", listed("service-people", "agreements-people", "theirs"))
    assert book.of("people", "d1") == ()
