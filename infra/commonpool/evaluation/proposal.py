"""The effect on the next period, as an edit that people decide on: a patch of the manifests and the words of a pull request. Pure but for reading them.

Only what is guaranteed changes, line by line where the manifest states it; whoever writes it otherwise is named instead.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath

from commonpool.evaluation.score import Evaluation, Line, shown
from commonpool.model import Estate, Quantity

_AMOUNT = re.compile(r'(?P<key>cpu|memory):\s*(?P<quote>"?)(?P<value>[0-9][0-9a-zA-Z.]*)(?P=quote)')
_GUARANTEED = re.compile(r"guaranteed:\s*\{[^}]*\}")
_MILLI, _MEBI = 10**6, (1 << 20) * 10**9  # steps of CPU and memory in nano-units


@dataclass(frozen=True)
class Proposal:
    """`patch` for `git apply` in the estate, `body` for the pull request."""

    patch: str
    body: str


def propose(estate: Estate, evaluation: Evaluation) -> Proposal:
    """What the evaluation proposes."""
    patches: list[str] = []
    by_hand: list[str] = []
    for line in evaluation.lines:
        if not line.effect.quota_percent:
            continue
        name = line.facts.department
        path = estate.sources[f"department/{name}"]
        before = path.read_bytes().decode("utf-8")  # with the ends of lines that it has
        after = changed(before, line.effect.quota_percent)
        if after == before:
            by_hand.append(name)
            continue
        shown_path = PurePosixPath("departments") / path.name
        lines = difflib.unified_diff(_lines(before), _lines(after), f"a/{shown_path}", f"b/{shown_path}")
        patches += (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return Proposal("".join(patches), "\n".join(_body(evaluation, by_hand)) + "\n")


def _lines(text: str) -> list[str]:
    """With their ends; a line ends where `git apply` says so."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def changed(text: str, percent: int) -> str:
    """The manifest with every guaranteed amount that stands on one line changed by so many percent."""
    factor = Fraction(100 + percent, 100)

    def amount(match: re.Match[str]) -> str:
        value = Quantity.parse(match["value"])
        step = _MILLI if match["key"] == "cpu" else _MEBI
        steps = value.nano * factor / step
        number = max(1, steps.numerator // steps.denominator)
        return f"{match['key']}: {f'{number}m' if match['key'] == 'cpu' else f'{number}Mi'}"

    return _GUARANTEED.sub(lambda found: _AMOUNT.sub(amount, found[0]), text)


def _body(evaluation: Evaluation, by_hand: list[str]) -> Iterator[str]:
    period = evaluation.period
    yield f"# Evaluation {period.first} to {period.last}: what it proposes for the next period"
    yield ""
    yield f"Formula {evaluation.formula.version}, catalogue {evaluation.catalogue}. Journals:"
    yield ""
    yield from (f"- {one.origin}: {one.size} records, root {one.root}" for one in evaluation.sources)
    yield ""
    yield f"| department | score | quota | funds a month ({evaluation.currency}) |"
    yield "|---|---:|---:|---:|"
    yield from map(_row, evaluation.lines)
    yield ""
    if by_hand:
        yield f"To be edited by hand, because the amounts do not stand on one line: {', '.join(by_hand)}."
        yield ""
    yield "Everybody recomputes it: `commonpool evaluate --journal DIR --from … --to …` gives these very bytes."


def _row(line: Line) -> str:
    effect = line.effect
    quota = f"{effect.quota_percent:+d} %" if effect.quota_percent else "as it is"
    return f"| {line.facts.department} | {shown(line.score) or 'not judged'} | {quota} | {_money(line.price)} → {_money(line.funds)} |"


def _money(value: Decimal) -> str:
    return f"{value:,.0f}"
