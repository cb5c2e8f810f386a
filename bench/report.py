"""Tables and plots of bench/README.md from the figures that were kept in bench/results.

Usage: `make scale`, `make fleet`; tables come into the document by cog, plots are drawn here by matplotlib.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "results"
sys.path.insert(0, str(FOLDER.parent))
FIRST = "first"
Rows = list[dict[str, Any]]


def read(name: str) -> Any:
    """One file of figures."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column to the left."""
    lines = [headings, [":--", *("--:" for _ in headings[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def machine() -> str:
    """On what it was measured."""
    found = read("apply")["machine"]
    return f"{found['cores']} cores, {found['memoryGiB']} GiB, Linux {found['kernel']}; client, API server and etcd share them."


def applied() -> str:
    """bench/apply.py's table."""
    import apply

    return markdown(apply.HEADINGS, apply.lines([apply.Row(**row) for row in read("apply")["rows"]]))


def spent() -> str:
    """bench/spent.py's table."""
    import spent as spending

    found = read("spent")
    words = f"{found['departments']:,} departments, {found['objects']:,} objects, first apply:\n\n"
    return words + markdown(spending.HEADINGS, spending.lines(found))


def sharded() -> str:
    """bench/sharding.py's tables."""
    import sharding

    found = read("sharding")
    costs = sharding.Costs(**found["costs"])
    shapes = [
        (
            sharding.Shape(*(one[key] for key in ("runners", "pools", "cores", "seats"))),
            sharding.Outcome(*(one[key] for key in ("rate", "median", "slowest"))),
        )
        for one in found["shapes"]
    ]
    costly = (
        f"One object costs {1000 * costs.client:.1f} ms of CPU of the client and {1000 * costs.server:.1f} ms of the server, "
        f"and {costs.stored / 1024:.1f} KiB of etcd; a department has {costs.objects:.1f} objects.\n\n"
    )
    return (
        costly
        + markdown(sharding.HEADINGS, sharding.lines(costs, shapes))
        + "\n"
        + markdown(sharding.SPACE, sharding.space(costs))
    )


def brought_in() -> str:
    """bench/machines.py's table."""
    import machines

    return markdown(machines.HEADINGS, machines.lines([machines.Row(**row) for row in read("machines")["rows"]]))


def waited() -> str:
    """bench/newcomer.py's table."""
    import newcomer

    return markdown(newcomer.HEADINGS, newcomer.lines([newcomer.Step(**one) for one in read("newcomer")["steps"]]))


def proxied() -> str:
    """bench/proxy.py's table of the proxies side by side."""
    return markdown(*_proxy("fronts"))


def many_services() -> str:
    """bench/proxy.py's table of what many services cost."""
    return markdown(*_proxy("many"))


def _proxy(part: str) -> tuple[list[str], list[list[str]]]:
    sys.path.insert(0, str(FOLDER.parent / "rivals"))
    import figures

    found = read("proxy")[part]
    if part == "many":
        return figures.MANY, list(figures.many_lines(found))
    return figures.HEADINGS, list(figures.lines([figures.Row(**row) for row in found]))


def draw() -> None:
    """Time and memory of a first apply against size, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "commonpool"
    from matplotlib import pyplot, ticker

    rows: Rows = [row for row in read("apply")["rows"] if row["act"] == FIRST]
    figure, (time, memory) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for way, marker in (("kubectl apply --server-side", "s"), ("bare loop", "^"), ("commonpool up", "o")):
        mine = [row for row in rows if row["way"] == way]
        sizes = [row["objects"] for row in mine]
        time.plot(sizes, [row["wall"] for row in mine], marker=marker, label=way)
        memory.plot(sizes, [row["client_peak"] for row in mine], marker=marker, label=f"{way}")
    ours = [row for row in rows if row["way"] == "commonpool up"]
    memory.plot(
        [row["objects"] for row in ours], [row["server_peak"] for row in ours], "o--", label="API server and etcd"
    )
    for axes, title, unit in ((time, "first apply", "seconds"), (memory, "peak memory", "MB")):
        axes.set(title=title, xlabel="objects", ylabel=unit, xlim=(0, None), ylim=(0, None))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(ticker.MaxNLocator(5))
            axis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(FOLDER / "apply.svg", metadata={"Date": None})


if __name__ == "__main__":
    draw()
