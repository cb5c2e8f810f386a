"""The survey as one self-contained page: no scripts, nothing fetched. Pure."""

from collections.abc import Sequence

from commonpool.machines.survey import Survey
from commonpool.machines.verdict import ROLES
from commonpool.model import Quantity


def page(surveys: Sequence[Survey], title: str) -> str:
    """HTML, one section for each verdict, worst news not hidden."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("commonpool.machines", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["size"] = size
    groups = [(role, [one for one in surveys if one.word == role]) for role in (*ROLES, "unknown")]
    return environment.get_template("page.html").render(title=title, groups=groups, total=len(surveys))


def size(amount: int | None) -> str:
    """Bytes for people; a dash for what is unknown."""
    return "–" if amount is None else Quantity(amount * 10**9, binary=True).human("B")
