"""Who pays for a shared service under which agreement: the agreed part of what the service is guaranteed, a month. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from commonpool.model import Estate


@dataclass(frozen=True)
class Settlement:
    """What the consumer of one agreement pays the provider in a month, in the pool's currency."""

    agreement: str
    service: str
    provider: str
    consumer: str
    percent: int
    price: Decimal

    @property
    def words(self) -> str:
        """As a clause, without the currency."""
        return f"{self.consumer} pays {self.provider} {self.price:,.2f} for {self.percent} % of {self.service} by {self.agreement}"

    def of(self, department: str) -> Decimal:
        """What it adds to what a department pays."""
        return self.price * ((self.consumer == department) - (self.provider == department))


def settlements(estate: Estate, prices: dict[str, Decimal]) -> Iterator[Settlement]:
    """Of every agreement in force with a split; `prices` are those of the services' namespaces, by namespace."""
    for agreement in estate.agreements:
        percent = agreement.spec.cost.consumer_percent
        service = estate.service(estate.service_of(agreement) or "")
        if service is None or not percent or not estate.standings[agreement.name].in_force:
            continue
        guaranteed = prices.get(service.namespace_name, Decimal(0))  # none where nothing runs in the pool
        yield Settlement(agreement.name, service.name, *agreement.parties, percent, guaranteed * percent / 100)
