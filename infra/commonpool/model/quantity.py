"""Kubernetes quantities, exact: integers of nano-units, the grammar of `k8s.io/apimachinery` `resource.ParseQuantity`.

Stricter than the API server where it is known to go wrong: no negative numbers, no exponent beyond 18 (it answers
`1e1000000` with a megabyte of zeros), nothing above 2^63-1 units, ASCII digits only, nothing around the number.
"""

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from commonpool.model.problem import spelt

NANO = 10**9
LARGEST = (2**63 - 1) * NANO
LONGEST = 40  # characters: more digits than a 64-bit number of nano-units can have
PATTERN = r"^[0-9]{1,19}(\.[0-9]{1,9})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]{1,2})?$"
_GRAMMAR = re.compile(r"(\+)?([0-9]+)(?:\.([0-9]*))?(n|u|m|k|M|G|T|P|E|[KMGTPE]i|[eE][+-]?[0-9]+)?", re.ASCII)
_SPOKEN = re.compile(
    r"\s*([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*(?:(?:([KMGTPEkgtpe])([iI])?)?[bB]?|[cC]|v?[cC][pP][uU]s?|[cC]ores?|核)\s*",
    re.ASCII,
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_CANONICAL = ((10**18, "E"), (10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


class QuantityError(ValueError):
    """The text is no quantity that this pool accepts; the message says why and what would be one."""


class Quantity:
    """An amount of a resource: cores for CPU, bytes for memory and storage, pieces for counts."""

    __slots__ = ("_binary", "nano")

    def __init__(self, nano: int, *, binary: bool = False) -> None:
        """`nano` is the amount in billionths of a unit; `binary` chooses Ki, Mi, … for its text."""
        self.nano = nano
        self._binary = binary

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `500m`, `1.5`, `64Gi`, `12E6`. Raises `QuantityError`. Fractions of a nano-unit round up."""
        nano, binary = _amount(text)
        return cls(nano, binary=binary)

    @classmethod
    def zero(cls) -> Self:
        """Nothing."""
        return cls(0)

    @property
    def cores(self) -> Decimal:
        """The amount in units (cores for CPU)."""
        return Decimal(self.nano) / NANO

    @property
    def bytes(self) -> int:
        """The amount in whole units (bytes), rounded up."""
        return -(-self.nano // NANO)

    def __str__(self) -> str:
        """The canonical form, as the API server writes it back."""
        if self.nano % NANO:
            for scale, suffix in ((10**6, "m"), (10**3, "u"), (1, "n")):
                if self.nano % scale == 0:
                    return f"{self.nano // scale}{suffix}"
        units = self.nano // NANO
        if self._binary and units >= 1024:
            suffix = ""
            for name in _BINARY:
                if units % 1024:
                    break
                units, suffix = units // 1024, name
            return f"{units}{suffix}"
        if not self._binary:
            for scale, suffix in _CANONICAL:
                if units and units % scale == 0:
                    return f"{units // scale}{suffix}"
        return str(units)

    def human(self, unit: str = "") -> str:
        """For people: `12.5`, `50m`, `1.5 TiB` when `unit` is "B"."""
        if unit != "B" and 0 < self.nano < NANO // 10:
            return str(self)
        if unit != "B":
            return f"{self.cores:,.1f}".rstrip("0").rstrip(".") if self.nano % NANO else f"{self.nano // NANO:,}"
        amount = Decimal(self.bytes)
        for name in ("B", "KiB", "MiB", "GiB", "TiB"):
            if amount < 1024 or name == "TiB":
                break
            amount /= 1024
        return f"{amount:.0f} {name}" if amount >= 100 or amount == amount.to_integral() else f"{amount:.1f} {name}"

    def __repr__(self) -> str:
        """For debuggers and test failures."""
        return f"Quantity({self})"

    def __add__(self, other: "Quantity") -> "Quantity":
        """Sum, in the binary form when either is."""
        return Quantity(self.nano + other.nano, binary=self._binary or other._binary)

    def __sub__(self, other: "Quantity") -> "Quantity":
        """Difference; may be negative, which is what a ledger must be able to show."""
        return Quantity(self.nano - other.nano, binary=self._binary or other._binary)

    def __mul__(self, factor: int | Decimal | Fraction) -> "Quantity":
        """Product with an exact number, rounded down: a promise is never rounded up."""
        return Quantity(int(self.nano * Fraction(factor)) // 1, binary=self._binary)

    def __eq__(self, other: object) -> bool:
        """By amount: `1000m` equals `1`."""
        return isinstance(other, Quantity) and self.nano == other.nano

    def __lt__(self, other: "Quantity") -> bool:
        """By amount."""
        return self.nano < other.nano

    def __le__(self, other: "Quantity") -> bool:
        """By amount."""
        return self.nano <= other.nano

    def __hash__(self) -> int:
        """By amount."""
        return hash(self.nano)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.nano != 0

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Strings by the grammar, whole numbers as they are; nothing else."""
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What editors check."""
        return {
            "anyOf": [{"type": "string", "pattern": PATTERN}, {"type": "integer", "minimum": 0}],
            "description": "A Kubernetes quantity, for instance 500m, 4, 64Gi.",
        }

    @classmethod
    def _validate(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return cls.parse(str(value))
        if isinstance(value, str):
            return cls.parse(value)
        raise QuantityError("a quantity is text such as 500m, 4 or 64Gi")


@lru_cache(maxsize=1 << 12)
def _amount(text: str) -> tuple[int, bool]:
    """Billionths of a unit, and whether the suffix is binary; an estate says few amounts many times."""
    match = _GRAMMAR.fullmatch(text) if len(text) <= LONGEST else None
    if match is None:
        raise QuantityError(_why(text))
    _, whole, fraction, suffix = match.groups(default="")
    if suffix in _BINARY:
        factor = Fraction(2 ** _BINARY[suffix])
    else:
        exponent = int(suffix[1:]) if suffix[:1] in "eE" and len(suffix) > 1 else _DECIMAL[suffix]
        if abs(exponent) > 18:
            raise QuantityError(f"the exponent of {text!r} is beyond 18")
        factor = Fraction(10) ** exponent
    amount = Fraction(int(whole + fraction), 10 ** len(fraction)) * factor * NANO
    nano = -(-amount.numerator // amount.denominator)
    if nano > LARGEST:
        raise QuantityError(f"{text!r} is more than 2^63-1, the largest amount that Kubernetes can count")
    return nano, suffix in _BINARY


def nearest(text: str) -> str:
    """The quantity that was probably meant: `1.5G` for `1.5 GB`, `10Gi` for `１０gib`; empty when none can be told."""
    match = _SPOKEN.fullmatch(unicodedata.normalize("NFKC", text[:LONGEST]))
    if match is None:
        return ""
    number, scale, binary = match.groups(default="")
    prefix = {"": "", "k": "Ki" if binary else "k"}.get(scale.lower(), scale.upper() + binary.lower())
    return f"{number}{prefix}"


def _why(text: str) -> str:
    shown = spelt(text[:LONGEST])
    if text.startswith("-"):
        return f"{shown} is negative; an amount cannot be"
    if not text.strip():
        return "the quantity is empty; write for instance 500m, 4 or 64Gi"
    if not text.isascii():
        return f"{shown} holds characters beyond ASCII; write plain digits and a suffix, for instance 10Gi"
    if any(mark.isspace() for mark in text):
        return f"{shown} holds white space; write number and suffix together, for instance 10Gi"
    return (
        f"{shown} is not a quantity; write for instance 500m, 4 or 64Gi (suffixes n u m k M G T P E Ki Mi Gi Ti Pi Ei)"
    )
