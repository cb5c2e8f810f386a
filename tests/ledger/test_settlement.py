"""Who pays for a shared service: the agreed part moves from the provider to the consumer, and nothing is lost on the way."""

from decimal import Decimal
from pathlib import Path

import agreements
import estates
from commonpool.ledger import Ledger
from commonpool.ledger.table import to_html, to_json
from commonpool.model import load_estate


def test_the_consumers_part_of_a_service_is_its_own_cost_and_not_the_providers(tmp_path: Path) -> None:
    estates.write(tmp_path, 2)
    agreements.give_keys(tmp_path, "d0", "d1")
    estates.add_service(tmp_path, "permits")
    before = Ledger.of(load_estate(tmp_path))
    agreements.agree(tmp_path, "a", service="permits", cost={"consumerPercent": 30})
    after = Ledger.of(load_estate(tmp_path))
    # 10m CPU at 0.10 and 16 MiB at 0.02 an hour and GiB, 730 hours, three tenths of it
    part = Decimal("730") * (Decimal("0.01") * Decimal("0.10") + Decimal("0.015625") * Decimal("0.02")) * 3 / 10
    changes = [new.price - old.price for old, new in zip(before.departments, after.departments, strict=True)]
    assert changes == [-part, part]
    assert sum(row.price for row in after.departments) == after.pool.price == before.pool.price
    (settled,) = to_json(after)["settlements"]
    assert settled == {
        "agreement": "a", "service": "permits", "provider": "d0", "consumer": "d1", "consumerPercent": 30,
        "pricePerMonth": f"{part:.2f}",
    }  # fmt: skip
    assert '<td class="text">d1</td><td class="text">d0</td><td>30 %</td>' in to_html(after, load_estate(tmp_path))
    assert after.settlements[0].words == f"d1 pays d0 {part:.2f} for 30 % of permits by a"
    agreements.say(tmp_path, "a", "d1", "suspend")
    assert not Ledger.of(load_estate(tmp_path)).settlements


def test_a_service_that_is_granted_nothing_costs_its_consumer_nothing(tmp_path: Path) -> None:
    estates.write(tmp_path, 2)
    agreements.give_keys(tmp_path, "d0", "d1")
    estates.add_service(tmp_path, "permits", namespace={})
    agreements.agree(tmp_path, "a", service="permits", cost={"consumerPercent": 30})
    (settled,) = Ledger.of(load_estate(tmp_path)).settlements
    assert (settled.percent, settled.price) == (30, Decimal(0))
