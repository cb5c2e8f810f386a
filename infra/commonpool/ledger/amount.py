"""CPU and memory as one value: cores and bytes, exact."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from commonpool.model import Quantity
from commonpool.model.base import Resources


@dataclass(frozen=True)
class Amount:
    """An amount of compute; may be negative, which means that more is promised than there is."""

    cpu: Quantity
    memory: Quantity

    @classmethod
    def zero(cls) -> "Amount":
        """Nothing."""
        return cls(Quantity(0), Quantity(0, binary=True))

    @classmethod
    def of(cls, resources: Resources | None) -> "Amount":
        """From a manifest's resources; nothing for None."""
        return cls(resources.cpu, resources.memory) if resources else cls.zero()

    @classmethod
    def total(cls, amounts: Iterable["Amount"]) -> "Amount":
        """The sum."""
        cpu = memory = 0
        for amount in amounts:
            cpu += amount.cpu.nano
            memory += amount.memory.nano
        return cls(Quantity(cpu), Quantity(memory, binary=True))

    def __add__(self, other: "Amount") -> "Amount":
        """Sum by resource."""
        return Amount(self.cpu + other.cpu, self.memory + other.memory)

    def __sub__(self, other: "Amount") -> "Amount":
        """Difference by resource."""
        return Amount(self.cpu - other.cpu, self.memory - other.memory)

    def times(self, cpu: str, memory: str) -> "Amount":
        """Scaled by decimal numbers, rounded down: a promise is never rounded up."""
        return Amount(self.cpu * Fraction(cpu), self.memory * Fraction(memory))

    def smaller(self, other: "Amount") -> "Amount":
        """The smaller of each resource."""
        return Amount(min(self.cpu, other.cpu), min(self.memory, other.memory))

    def fits(self, room: "Amount") -> bool:
        """Whether it fits into a room in every resource."""
        return self.cpu <= room.cpu and self.memory <= room.memory

    def clipped(self) -> "Amount":
        """The same without negative parts."""
        return Amount(Quantity(max(0, self.cpu.nano)), Quantity(max(0, self.memory.nano), binary=True))

    def __str__(self) -> str:
        """For people: `12.5 cores, 48 GiB`."""
        cores = self.cpu.human()
        return f"{cores} {'core' if cores == '1' else 'cores'}, {self.memory.human('B')}"

    def to_json(self) -> dict[str, str]:
        """Canonical quantities."""
        return {"cpu": str(self.cpu), "memory": str(self.memory)}
