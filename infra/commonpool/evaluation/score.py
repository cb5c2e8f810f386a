"""Points, score and effect of each department, by a formula that has a version. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any, Self

import orjson
import yaml

from commonpool.evaluation.facts import Facts, Period, gather
from commonpool.journal import Record
from commonpool.ledger import Ledger
from commonpool.model import Estate


@dataclass(frozen=True)
class Indicator:
    """One of the things that are judged."""

    name: str
    title: str
    weight: int
    of: str


@dataclass(frozen=True)
class Effect:
    """What follows from a score."""

    quota_percent: int
    funds_percent: int


@dataclass(frozen=True)
class Formula:
    """The formula of one version; `effects` by the least score, the highest first."""

    version: str
    indicators: tuple[Indicator, ...]
    target_percent: int
    effects: tuple[tuple[int, Effect], ...]

    @classmethod
    def load(cls, text: str | None = None) -> Self:
        """From a file's text; the one of this version of the package where nothing is given."""
        own = files("commonpool.evaluation").joinpath("formula.yaml")
        values = yaml.safe_load(text if text is not None else own.read_text(encoding="utf-8"))
        indicators = tuple(
            Indicator(name, one["title"], one["weight"], one["of"]) for name, one in values["indicators"].items()
        )
        effects = sorted(
            ((one["from"], Effect(one["quotaPercent"], one["fundsPercent"])) for one in values["effects"]),
            key=lambda pair: -pair[0],
        )
        return cls(values["version"], indicators, values["indicators"]["reservation"]["targetPercent"], tuple(effects))

    def score(self, facts: Facts) -> Fraction | None:
        """From 0 to 100; None where nothing could be judged."""
        judged = [
            (one.weight, facts.shares[one.name].points) for one in self.indicators if facts.shares[one.name].judged
        ]
        weight = sum(one for one, _ in judged)
        return sum((one * points for one, points in judged), Fraction(0)) / weight if weight else None

    def effect(self, score: Fraction | None) -> Effect:
        """Nothing follows where nothing could be judged."""
        if score is None:
            return Effect(0, 0)
        return next((effect for least, effect in self.effects if score >= least), self.effects[-1][1])


@dataclass(frozen=True)
class Line:
    """One department in the result."""

    facts: Facts
    score: Fraction | None
    effect: Effect
    price: Decimal  # of what is guaranteed to it, a month

    @property
    def funds(self) -> Decimal:
        """What the next period's month may cost."""
        return (self.price * (100 + self.effect.funds_percent) / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)


@dataclass(frozen=True)
class Source:
    """A journal, as far as it counts: so many records under this root."""

    origin: str
    size: int
    root: str


@dataclass(frozen=True)
class Evaluation:
    """The result, the best first."""

    pool: str
    title: str
    currency: str
    period: Period
    formula: Formula
    sources: tuple[Source, ...]
    catalogue: str
    lines: tuple[Line, ...]
    names: Mapping[str, str]  # of departments, for people

    def to_json(self) -> dict[str, Any]:
        """Plain values; figures as texts, so that no reader rounds them."""
        return {
            "pool": self.pool,
            "period": {"first": self.period.first.isoformat(), "last": self.period.last.isoformat()},
            "formula": self.formula.version,
            "catalogue": self.catalogue,
            "journals": [{"origin": one.origin, "records": one.size, "root": one.root} for one in self.sources],
            "departments": [self._line(one) for one in self.lines],
        }

    def _line(self, line: Line) -> dict[str, Any]:
        facts = line.facts
        return {
            "department": facts.department,
            "score": shown(line.score),
            "indicators": {one.name: _indicator(one.weight, facts.shares[one.name]) for one in self.formula.indicators},
            "calls": {"made": facts.asked, "served": facts.served, "refused": facts.refused},
            "effect": {"quotaPercent": line.effect.quota_percent, "fundsPercent": line.effect.funds_percent},
            "funds": {"now": str(line.price), "proposed": str(line.funds)},
        }

    def encoded(self) -> bytes:
        """The very bytes that whoever recomputes it must get."""
        return orjson.dumps(self.to_json(), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"


def _indicator(weight: int, share: Any) -> dict[str, Any]:  # noqa: ANN401
    points = shown(share.points) if share.judged else None
    return {"weight": weight, "points": points, "of": share.of, "part": shown(share.part)}


def shown(value: Fraction | None) -> str | None:
    """With one decimal, halves up."""
    if value is None:
        return None
    return str((Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal("0.1"), ROUND_HALF_UP))


def evaluate(
    estate: Estate,
    records: Iterable[Record],
    period: Period,
    *,
    formula: Formula,
    sources: Sequence[Source],
    catalogue: str,
) -> Evaluation:
    """Judge every department; `estate` is as it stood on the period's last day."""
    found = gather(estate, records, period, formula.target_percent)
    ledger = Ledger.of(estate)
    prices: Mapping[str, Decimal] = {row.name: row.price for row in ledger.departments}
    lines = []
    for name, facts in found.items():
        score = formula.score(facts)
        price = prices.get(name, Decimal(0)).quantize(Decimal("0.01"), ROUND_HALF_UP)
        lines.append(Line(facts, score, formula.effect(score), price))
    lines.sort(key=lambda one: (-(one.score if one.score is not None else Fraction(-1)), one.facts.department))
    return Evaluation(
        pool=estate.pool.name,
        title=estate.pool.spec.display_name,
        currency=estate.pool.spec.currency,
        period=period,
        formula=formula,
        sources=tuple(sources),
        catalogue=catalogue,
        lines=tuple(lines),
        names={one.name: one.spec.display_name for one in estate.departments},
    )
