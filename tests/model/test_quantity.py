"""CASES M4: quantities, with the API server itself as the oracle of their canonical form."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from commonpool.engine import Cluster
from commonpool.model.quantity import Quantity, QuantityError
from hypothesis import given
from hypothesis import strategies as st

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E6", "e-2"]
QUANTITIES = st.builds(
    lambda whole, fraction, suffix: f"{whole}{'.' + fraction if fraction else ''}{suffix}",
    st.integers(0, 99_999),
    st.text("0123456789", max_size=3),
    st.sampled_from(SUFFIXES),
)


@pytest.mark.parametrize(
    "text",
    ["-1", "-0", "-1e30", "NaN", ".inf", "1E1E", "100E", "9223372036854775808", "1e4294967297", "2E6024865272343",
     "0x10", "１０", "10 Gi", "", " 1", "1 ", "1\n", "1,5", "1_000", "1Kib", "1mm", "Gi", ".", "1..2", "1e", "٣",
     "1e1000000", "9" * 60],
)  # fmt: skip
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError) as refused:
        Quantity.parse(text)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("1000m", "1"), ("1024Mi", "1Gi"), ("1500m", "1500m"), ("0.5", "500m"), ("1e3", "1k"), ("12E6", "12M"),
     ("0", "0"), ("1.5Gi", "1536Mi"), ("100m", "100m"), ("1E", "1E"), ("+5", "5"), ("0.1n", "1n")],
)  # fmt: skip
def test_the_canonical_form(text: str, canonical: str) -> None:
    assert str(Quantity.parse(text)) == canonical


@given(QUANTITIES)
def test_the_canonical_form_says_the_same(text: str) -> None:
    amount = Quantity.parse(text)
    assert Quantity.parse(str(amount)) == amount


@given(QUANTITIES, QUANTITIES)
def test_sums_and_order_are_exact(one: str, other: str) -> None:
    a, b = Quantity.parse(one), Quantity.parse(other)
    assert (a + b).nano == a.nano + b.nano
    assert (a + b) - b == a
    assert (a < b) == (a.nano < b.nano)
    assert (a * Fraction(1, 3)).nano == a.nano // 3


def test_the_api_server_writes_the_same_canonical_form(on_cluster: Callable[..., Any]) -> None:
    texts = [
        f"{number}{suffix}"
        for suffix in SUFFIXES
        for number in ("1", "1024", "1.5", "1000", "0.25", "999", "2048", "0")
    ]

    def body(index: int, text: str) -> dict[str, Any]:
        return {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIStorageCapacity",
            "metadata": {"name": f"quantity-{index}", "namespace": "default"},
            "storageClassName": "any",
            "capacity": text,
        }

    async def ask(cluster: Cluster) -> list[tuple[str, str]]:
        async def one(index: int, text: str) -> str:
            return str((await cluster.apply(body(index, text), dry_run=True))["capacity"])

        ours = [str(Quantity.parse(text)) for text in texts]
        answers = await asyncio.gather(*(one(index, text) for index, text in enumerate([*texts, *ours])))
        return list(zip(answers[: len(texts)], answers[len(texts) :], strict=True))

    for text, (theirs, returned) in zip(texts, on_cluster(ask), strict=True):
        ours = Quantity.parse(text)
        assert returned == str(ours), "what we send comes back letter for letter"
        assert Quantity.parse(theirs) == ours, "and means what was written"
