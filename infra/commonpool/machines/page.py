"""The survey as one self-contained page: no scripts, nothing fetched. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from commonpool.machines.survey import Survey
from commonpool.machines.verdict import ROLES
from commonpool.model import Quantity


def page(surveys: Sequence[Survey], title: str) -> str:
    """HTML, one section for each verdict, worst news not hidden."""
    from commonpool.page import rendered

    groups = [(role, [one for one in surveys if one.word == role]) for role in (*ROLES, "unknown")]
    return rendered(
        "commonpool.machines", title, filters={"size": size, "minute": minute}, groups=groups, total=len(surveys)
    )


def minute(moment: str) -> str:
    """A moment for people."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def size(amount: int | None) -> str:
    """Bytes for people; a dash for what is unknown."""
    return "–" if amount is None else Quantity(amount * 10**9, binary=True).human("B")
