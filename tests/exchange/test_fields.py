"""Which fields of an answer stay: those that are agreed on, as they were, and nothing else."""

import json
from typing import Any

import pytest
from commonpool.exchange.fields import NotFilterable, filtered, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CASES: list[tuple[str, list[str], str]] = [
    ('{"name":"a","age":3}', ["name"], '{"name":"a"}'),
    ('{"address":{"city":"x","street":"y"},"name":"a"}', ["address.city"], '{"address":{"city":"x"}}'),
    ('[{"name":"a","age":3},{"age":4}]', ["name"], '[{"name":"a"},{}]'),
    ('{"results":[{"name":"a","id":1}],"total":2}', ["results.name", "total"], '{"results":[{"name":"a"}],"total":2}'),
    ('{"address":{"city":"x"}}', ["address"], '{"address":{"city":"x"}}'),
    ('{"address":"one line"}', ["address.city"], "{}"),
    ('{"address":null}', ["address.city"], '{"address":null}'),
    ('{"tags":["a","b"]}', ["tags"], '{"tags":["a","b"]}'),
    ('{"tags":["a",{"name":"b"}]}', ["tags.name"], '{"tags":[{"name":"b"}]}'),
    ('{"n":1.10,"m":123456789012345678901234567890,"e":1E+2,"z":0.0}', ["n", "m", "e", "z"], '{"n":1.10,"m":123456789012345678901234567890,"e":1E+2,"z":0.0}'),
    ('{"name":"甲\\u0000\\n","x":1}', ["name"], '{"name":"甲\\u0000\\n"}'),
    ('{"name":"a","name":"b"}', ["name"], '{"name":"b"}'),
    ("{}", ["name"], "{}"),
    ("null", ["name"], "null"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "items", "left"), CASES)
def test_what_is_listed_stays_as_it_was(content: str, items: list[str], left: str) -> None:
    assert filtered(content.encode(), tree(items))[0].decode() == left


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "name,age\na,3",
        '"a single value"',
        "7",
        "[" * 100_000,
        '{"n":NaN}',
        "\ufeff{}",
        '{"n":' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_json_or_has_no_fields_is_not_filterable(content: str) -> None:
    with pytest.raises(NotFilterable):
        filtered(content.encode(), tree(["name", "n"]))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(".".join), min_size=1, max_size=4
)


def leaves(value: Any, path: tuple[str, ...] = ()) -> set[tuple[tuple[str, ...], str]]:
    """Every single value with the names above it."""
    if isinstance(value, dict):
        return {one for name, inner in value.items() for one in leaves(inner, (*path, name))}
    if isinstance(value, list):
        return {one for inner in value for one in leaves(inner, path)}
    return {(path, repr(value))}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3), items=ITEMS)
def test_every_agreed_value_stays_and_no_other(value: dict[str, Any], items: list[str]) -> None:
    found = leaves(json.loads(filtered(json.dumps(value).encode(), tree(items))[0]))
    agreed = [tuple(item.split(".")) for item in items]

    def allowed(path: tuple[str, ...]) -> bool:
        return any(path[: len(one)] == one for one in agreed)

    assert {one for one in leaves(value) if allowed(one[0])} <= found
    assert all(allowed(path) or text == "None" for path, text in found)
