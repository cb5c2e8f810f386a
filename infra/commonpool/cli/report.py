"""Results of the engine as text, JSON and the markdown of a pull-request comment. Pure."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from commonpool.cli.output import Output, count

if TYPE_CHECKING:
    from commonpool.engine import Change, FieldChange, Result

COLORS = {
    "create": "green",
    "update": "yellow",
    "replace": "yellow",
    "delete": "red",
    "adopt": "cyan",
    "read": "dim",
    "same": "dim",
}
SIGNS = {"create": "+", "update": "~", "replace": "±", "delete": "-", "adopt": "^", "read": ">", "same": "="}


def place(change: "Change") -> str:
    """`NetworkPolicy water-flood/allow-dns`."""
    return f"{change.kind} {change.namespace}/{change.name}" if change.namespace else f"{change.kind} {change.name}"


def field_line(field: "FieldChange") -> str:
    """One field: `~ spec.hard[requests.cpu]: "8" -> "12"`."""
    if field.operation == "+":
        return f"+ {field.path}: {_value(field.new)}"
    if field.operation == "-":
        return f"- {field.path}: {_value(field.old)}"
    return f"~ {field.path}: {_value(field.old)} -> {_value(field.new)}"


def _value(value: object) -> str:
    text = str(value)
    return text if len(text) <= 160 else f"{text[:160]}…"


def lines(result: "Result", output: Output, *, diff: bool, most: int = 40) -> list[str]:
    """A stack's changes, grouped by unit when there are many, with reasons and fields."""
    found = [f"{output.paint(result.stack, 'bold')}: {summary(result)}"]
    shown = [change for change in result.changes if change.operation != "read"]
    if len(shown) > most and not diff:
        found += _by_unit(shown, output)
    else:
        for change in shown:
            found += change_lines(change, output)
    for problem in result.problems:
        found.append(output.paint(f"  ! {_short(problem.urn)}: {problem.message} [{problem.code}]", "red"))
        if problem.next_step:
            found.append(f"      next: {problem.next_step}")
    return found


def change_lines(change: "Change", output: Output) -> list[str]:
    """One change with its reason and its fields."""
    sign = SIGNS[change.operation]
    unchecked = "" if change.checked else " (not checked by the server yet)"
    head = output.paint(f"  {sign} {place(change)}", COLORS[change.operation])
    reason = f"  {change.reason}{unchecked}" if change.operation != "create" else unchecked
    return [head + output.paint(reason, "dim"), *(f"      {field_line(field)}" for field in change.fields)]


def _by_unit(changes: "Sequence[Change]", output: Output) -> list[str]:
    groups: dict[str, dict[str, int]] = {}
    for change in changes:
        counts = groups.setdefault(change.unit or "(program)", {})
        counts[change.operation] = counts.get(change.operation, 0) + 1
    found = []
    for unit, counts in groups.items():
        words = "  ".join(output.paint(f"{SIGNS[word]}{number}", COLORS[word]) for word, number in counts.items())
        found.append(f"  {unit:<32} {words}")
    return found


def summary(result: "Result") -> str:
    """`+12 ~1 -0 =254`, in words."""
    counts = result.counts
    parts = [
        f"{SIGNS[word]}{counts[word]} {word}"
        for word in ("create", "update", "replace", "adopt", "delete")
        if counts.get(word)
    ]
    failed = f", {count(len(result.problems), 'problem')}" if result.problems else ""
    return (", ".join(parts) or "no changes") + f" ({result.unchanged:,} unchanged)" + failed


def _short(urn: str) -> str:
    return urn.split("::")[-1] if "::" in urn else urn or "the program"


def to_json(results: "Iterable[Result]", kind: str) -> dict[str, Any]:
    """One document for all stacks."""
    return {
        "apiVersion": "commonpool.dev/v1",
        "kind": kind,
        "stacks": [
            {
                "stack": result.stack,
                "counts": result.counts,
                "unchanged": result.unchanged,
                "changes": [
                    {
                        "operation": str(change.operation),
                        "apiVersion": change.api_version,
                        "kind": change.kind,
                        "namespace": change.namespace,
                        "name": change.name,
                        "unit": change.unit,
                        "reason": change.reason,
                        "checked": change.checked,
                        "urn": change.urn,
                        "fields": [
                            {"path": field.path, "operation": field.operation, "old": field.old, "new": field.new}
                            for field in change.fields
                        ],
                    }
                    for change in result.changes
                ],
                "outputs": dict(result.outputs),
                "timings": {phase: round(value, 3) for phase, value in result.timings.items()},
                "problems": [
                    {"urn": problem.urn, "code": problem.code, "message": problem.message, "next": problem.next_step}
                    for problem in result.problems
                ],
            }
            for result in results
        ],
    }


def to_markdown(results: "Iterable[Result]", title: str) -> str:
    """A comment for a pull request: a table, then the changes of each stack folded away."""
    found = [f"### {title}", "", "| stack | + | ~ | ± | − | = | problems |", "|---|---|---|---|---|---|---|"]
    details: list[str] = []
    for result in results:
        numbers = [str(result.counts.get(word, 0)) for word in ("create", "update", "replace", "delete")]
        found.append(f"| {result.stack} | {' | '.join(numbers)} | {result.unchanged} | {len(result.problems)} |")
        details += _details(result)
    return "\n".join([*found, "", *details])


def _details(result: "Result") -> list[str]:
    found = [f"- ❌ **{_short(problem.urn)}**: {problem.message} `{problem.code}`" for problem in result.problems]
    changes = [change for change in result.changes if change.operation != "read"]
    if changes:
        body = []
        for change in changes:
            body.append(f"{SIGNS[change.operation]} {place(change)}  # {change.reason}")
            body += [f"    {field_line(field)}" for field in change.fields]
        found += [
            f"<details><summary>{result.stack}: {summary(result)}</summary>",
            "",
            "```diff",
            *body,
            "```",
            "",
            "</details>",
        ]
    return found
