"""The ledger as rows of text, JSON, and one self-contained page. Pure."""

from typing import Any

from commonpool.ledger.amount import Amount
from commonpool.ledger.ledger import Ledger, Row
from commonpool.model import Estate

BLOCKS = " ▏▎▍▌▋▊▉█"
BAR_WIDTH = 16


def bar(part: Amount, whole: Amount | None, *, ascii_only: bool = False) -> str:
    """How full something is, by the fuller of CPU and memory."""
    share = fullness(part, whole)
    if ascii_only:
        filled = round(share * BAR_WIDTH)
        return "#" * filled + "." * (BAR_WIDTH - filled)
    eighths = round(share * BAR_WIDTH * 8)
    text = "█" * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")
    return text.ljust(BAR_WIDTH)


def fullness(part: Amount, whole: Amount | None) -> float:
    """Between 0 and 1: the larger share of CPU and memory."""
    if whole is None or not whole.cpu or not whole.memory:
        return 0.0
    return min(1.0, max(part.cpu.nano / whole.cpu.nano, part.memory.nano / whole.memory.nano))


def shares(row: Row) -> list[tuple[str, float]]:
    """Promised, requested and used as shares of the capacity, else of the ceiling; the widest first."""
    known = [(word, getattr(row, word)) for word in ("promised", "requested", "used")]
    return [(word, fullness(amount, row.capacity or row.ceiling)) for word, amount in known if amount is not None]


def cells(row: Row, *, ascii_only: bool = False) -> list[str]:
    """Name, flavor, ceiling, promised, requested, used, capacity or room, bar."""
    whole = row.capacity or row.ceiling
    part = row.promised if row.capacity else (row.requested or Amount.zero())
    return [
        row.name,
        _pair(row.capacity) if row.capacity else "",
        _pair(row.ceiling),
        _pair(row.promised),
        _pair(row.requested) if row.requested else "-",
        _pair(row.used) if row.used else "-",
        bar(part, whole, ascii_only=ascii_only),
    ]


HEADINGS = ["", "capacity", "ceiling", "promised", "requested", "used", ""]


def _pair(amount: Amount) -> str:
    return f"{amount.cpu.human()} / {amount.memory.human('B')}"


def to_json(ledger: Ledger) -> dict[str, Any]:
    """All rows; amounts as Kubernetes quantities, prices as decimal text by month."""

    def row(item: Row) -> dict[str, Any]:
        numbers = {
            word: amount.to_json()
            for word in ("capacity", "ceiling", "promised", "requested", "used")
            if (amount := getattr(item, word)) is not None
        }
        extra = {"machines": item.machines} if item.machines else {}
        return {"scope": item.scope, "name": item.name, **numbers, **extra, "pricePerMonth": f"{item.price:.2f}"}

    settled = [
        {
            "agreement": one.agreement,
            "service": one.service,
            "provider": one.provider,
            "consumer": one.consumer,
            "consumerPercent": one.percent,
            "pricePerMonth": f"{one.price:.2f}",
        }
        for one in ledger.settlements
    ]
    rows = [row(item) for item in ledger.rows()]
    return {"currency": ledger.currency, "live": ledger.live, "rows": rows, "settlements": settled}


def to_html(ledger: Ledger, estate: Estate) -> str:
    """A page without scripts and without anything fetched; prints, and reads well by screen reader."""
    from commonpool.page import rendered

    names = {one.name: one.spec.display_name for one in estate.departments}
    groups = [
        ("Hardware classes", "The whole bar is what may be promised: capacity times over-commit.", ledger.flavors, {}),
        ("Departments", "The whole bar is the ceiling that quota allows.", ledger.departments, names),
        ("Namespaces", "The whole bar is the ceiling that quota allows.", ledger.namespaces, {}),
    ]
    return rendered(
        "commonpool.ledger",
        f"{estate.pool.spec.display_name}: capacity and promises",
        filters={"pair": lambda amount: _pair(amount) if amount is not None else "–"},
        ledger=ledger,
        groups=groups,
        shares=shares,
        day=estate.day,
    )
