"""Manifests as text: what counts as a number, a text or nothing, as it does for kubectl."""

import pytest
from commonpool.engine.manifest import declared, documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("=", "="),
        ("=~", "=~"),
        ("12:30", "12:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("2024-01-01", "2024-01-01"),
        ("10.0.0.1", "10.0.0.1"),
        ("1e3", 1000),
        ("12e34567", "12e34567"),
        ("6.0", 6),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1_000", 1000),
        ("0644", 0o644),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("off", False),
        ("y", "y"),
    ],
)
def test_scalars_are_what_kubectl_takes_them_for(text: str, value: object) -> None:
    [[found]] = documents(f"- {text}")
    assert (found, type(found)) == (value, type(value))


def test_what_is_empty_in_a_map_counts_as_not_there(  # as the API server would have it
) -> None:
    assert documents("metadata:\n  labels:\n  annotations: null\n  name: a\nlist: [null]") == [
        {"metadata": {"name": "a"}, "list": [None]}
    ]


def test_a_status_is_declared_by_nobody() -> None:
    text = "{apiVersion: v1, kind: A, status: {}}\n---\n{apiVersion: v1, kind: B}\n---\n- status\n---\nvalues: {}\n"
    assert declared(documents(text)) == [
        {"apiVersion": "v1", "kind": "A"},
        {"apiVersion": "v1", "kind": "B"},
        ["status"],
    ]
