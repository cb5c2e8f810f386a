"""Pages that a browser opens from a file: no scripts, nothing fetched; every one stands in the same frame. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup, escape

# Han and what stands between it. Without its language, a browser may draw it in Japanese shapes, and a reader spell it out.
_CHINESE = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff][\u3000-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]*"
)


def chinese(text: object) -> Markup:
    """The text with its Chinese parts marked as such."""
    return Markup(_CHINESE.sub(r'<span lang="zh-Hans">\g<0></span>', str(escape(text))))  # noqa: S704 (escaped just here)


def rendered(
    package: str,
    title: str,
    *,
    filters: Mapping[str, Callable[..., Any]],
    width: str = "70rem",
    **values: Any,  # noqa: ANN401
) -> str:
    """The `page.html` of a package, in the frame."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("commonpool", ".")])
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(filters, chinese=chinese)
    return environment.get_template("page.html").render(title=title, width=width, **values)
