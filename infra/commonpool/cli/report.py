"""Results of the engine as text, JSON and the markdown of a pull-request comment. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from commonpool.cli.output import Output, count, escaped, table
from commonpool.engine.event import Operation

if TYPE_CHECKING:
    from commonpool.cli.failure import CommandFailed
    from commonpool.engine.event import Change, FieldChange, Result

COLORS = {
    "create": "green",
    "update": "yellow",
    "replace": "yellow",
    "delete": "red",
    "adopt": "cyan",
    "read": "dim",
    "same": "dim",
}
WORDS = ("create", "update", "replace", "adopt", "delete")
SIGNS = {word: Operation(word).sign for word in COLORS}
_LONGEST, _BEFORE = 160, 40  # characters of a value in a line, and of those before the first that differs
MOST_LINES = 40  # changes of one stack that are listed before they are only counted by department
MOST_FOLDED = 300  # lines of one stack in a comment; GitHub refuses a comment of 65,536 characters


def place(change: "Change") -> str:
    """`NetworkPolicy water-flood/closed`; `NamespacePatch default` where only fields of it are meant."""
    kind = f"{change.kind}Patch" if change.patch else change.kind
    return f"{kind} {change.namespace}/{change.name}" if change.namespace else f"{kind} {change.name}"


def field_line(field: "FieldChange") -> str:
    """One field: `~ spec.hard[requests.cpu]: "8" -> "12"`."""
    if field.operation == "+":
        return f"+ {field.path}: {_value(field.new)}"
    if field.operation == "-":
        return f"- {field.path}: {_value(field.old)}"
    pairs = zip(_text(field.old), _text(field.new), strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    start = max(0, same - _BEFORE) if same > _LONGEST - _BEFORE else 0
    return f"~ {field.path}: {_value(field.old, start)} -> {_value(field.new, start)}"


def _value(value: object, start: int = 0, longest: int = _LONGEST) -> str:
    """As much of a value as a line bears; of long ones that begin alike, what stands where they part."""
    text = _text(value)[start:]
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    return f"…{cut}" if start else cut


def _text(value: object) -> str:
    return str(value).replace("\n", "\\n")  # what a department wrote ends no line, and no block of code in a comment


def order(change: "Change") -> tuple[str | bool, ...]:
    """Always the same order, whatever came first: by department, then each namespace before what is in it. Pure."""
    namespace = change.namespace or (change.name if change.kind == "Namespace" else "")
    return (change.unit, namespace, change.kind != "Namespace", change.kind, change.name, change.urn)


def shown(changes: "Iterable[Change]") -> "list[Change]":
    """The changes that say something: no reads, and of a namespace that goes only itself, not everything in it. Pure."""
    found = [change for change in changes if change.operation is not Operation.READ]
    gone = {change.name for change in found if _goes(change)}
    return [change for change in found if change.operation is not Operation.DELETE or change.namespace not in gone]


def _goes(change: "Change") -> bool:
    """Whether a namespace goes, with everything in it."""
    itself = change.kind == "Namespace" and not change.patch and not change.kept
    return itself and change.operation is Operation.DELETE


def lines(result: "Result", output: Output, *, diff: bool) -> list[str]:
    """A stack's changes, counted by department when there are many, with reasons and fields."""
    found = [f"{output.paint(result.stack, 'bold')}: {summary(result)}"]
    changes = shown(result.changes)
    if len(changes) > MOST_LINES and not diff:
        found += [f"  {unit:<32} {signs(counts, output)}" for unit, counts in by_unit(changes).items()]
    else:
        for change in changes:
            found += change_lines(change, output, _inside(change, result))
    for problem in result.problems:
        found.append(output.paint(f"  ! {_short(problem.urn)}: {problem.message} [{problem.code}]", "red"))
        if problem.next_step:
            found.append(f"      next: {problem.next_step}")
    return found + outputs(result, output)


def outputs(result: "Result", output: Output) -> list[str]:
    """What the program exports; the values of secrets are masked already."""
    if not result.outputs:
        return []
    names = max(map(len, result.outputs))
    room = max(output.width - names - 9, 20) if output.width else _LONGEST
    rows = [[f"      {name}", _value(value, longest=room)] for name, value in sorted(result.outputs.items())]
    return ["  outputs", *table(["", ""], rows, left=2).splitlines()]


def _inside(change: "Change", result: "Result") -> int:
    """How many objects go together with a namespace."""
    if not _goes(change):
        return 0
    return sum(other.namespace == change.name for other in result.changes)


def signs(counts: "Mapping[Operation, int]", output: Output) -> str:
    """`+12  ~1`."""
    return "  ".join(output.paint(f"{word.sign}{number}", COLORS[word]) for word, number in counts.items())


def change_lines(change: "Change", output: Output, inside: int = 0) -> list[str]:
    """One change with its reason and its fields."""
    unchecked = " (not checked by the server yet)" if not change.checked else ""
    within = f", with {count(inside, 'object')} in it" if inside else ""
    head = output.paint(f"  {change.operation.sign} {place(change)}", COLORS[change.operation])
    reason = f"  {change.reason}{within}" if change.operation is not Operation.CREATE else ""
    return [head + output.paint(reason + unchecked, "dim"), *(f"      {field_line(field)}" for field in change.fields)]


def by_unit(changes: "Iterable[Change]") -> "dict[str, Counter[Operation]]":
    """How many changes of each kind the parts of a program have. Pure."""
    groups: dict[str, Counter[Operation]] = {}
    for change in changes:
        groups.setdefault(change.unit or "(program)", Counter())[change.operation] += 1
    return groups


def summary(result: "Result") -> str:
    """`+12 create, ~1 update (254 unchanged)`."""
    failed = f", {count(len(result.problems), 'problem')}" if result.problems else ""
    return f"{_counted(result.counts) or 'no changes'} ({result.unchanged:,} unchanged){failed}"


def _counted(counts: "Mapping[str, int]") -> str:
    return ", ".join(f"{SIGNS[word]}{counts[word]:,} {word}" for word in WORDS if counts.get(word))


def closing(
    results: "Sequence[Result]",
    seconds: float,
    steps: "Sequence[tuple[str, str]]",
    before: "Mapping[str, float]",
    output: Output,
) -> list[str]:
    """The lines at the end of a run: what changed, how long it took and where the time went, what comes next.

    `before` are the seconds of the phases that came before the stacks.
    """
    counts: Counter[str] = Counter()
    laps: Counter[str] = Counter(before)
    for result in results:
        counts.update(result.counts)
        laps.update(result.timings)
    unchanged = sum(result.unchanged for result in results)
    longest = max((len(command) for command, _ in steps), default=0)
    spent = ", ".join(f"{phase} {value:.1f}" for phase, value in laps.items() if value >= 0.1)
    return [
        f"  changed  {_counted(counts) or 'nothing'} (={unchanged:,})",
        f"  took     {seconds:.1f} s" + (f" ({spent})" if spent else ""),
        *(
            output.command("" if index else "next", command.ljust(longest), meaning)
            for index, (command, meaning) in enumerate(steps)
        ),
    ]


def _short(urn: str) -> str:
    return urn.split("::")[-1] if "::" in urn else urn or "the program"


def to_json(results: "Sequence[Result]", failed: "CommandFailed | None" = None) -> dict[str, Any]:
    """One document for all stacks; `error` stands in it when the run failed."""
    from commonpool.cli.failure import document

    return {
        "changed": any(result.changed for result in results),
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
                        "kept": change.kept,
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
        **({"error": document(failed)["error"]} if failed else {}),
    }


def to_markdown(results: "Sequence[Result]", verb: str, failed: "CommandFailed | None" = None) -> str:
    """A comment for a pull request: the verdict, a row for each part that changes, and the fields folded away."""
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.counts)
    unchanged = sum(result.unchanged for result in results)
    verdict = f"❌ {escaped(str(failed))}" if failed else _counted(counts) or "no changes"
    found = [f"### commonpool {verb}: {verdict}", ""]
    found += [
        f"- ❌ **{escaped(_short(one.urn))}** {escaped(one.message)} `{one.code}`"
        for result in results
        for one in result.problems
    ]
    rows = [
        f"| {result.stack} | {unit} | {' | '.join(str(units[Operation(word)] or '') for word in WORDS)} |"
        for result in results
        for unit, units in by_unit(one for one in result.changes if one.operation is not Operation.READ).items()
    ]
    if rows:
        heads = " | ".join(f"{SIGNS[word]} {word}" for word in WORDS)
        found += ["", f"| stack | of | {heads} |", "|---|---|" + "---:|" * len(WORDS), *rows]
    lost = [change for result in results for change in losses(result.changes)]
    if lost:
        names = ", ".join(f"`{place(change)}`" for change in lost)
        found += ["", f"⚠️ **{count(len(lost), 'deletion')} would lose data:** {names}"]
    found += ["", f"{unchanged:,} objects stay as they are."]
    for result in results:
        found += _folded(result)
    return "\n".join(found)


def losses(changes: "Iterable[Change]") -> "list[Change]":
    """The changes that take data with them: namespaces and claims that are deleted or replaced. Pure."""
    return [
        change
        for change in shown(changes)
        if change.kind in ("Namespace", "PersistentVolumeClaim")
        and not change.patch
        and not change.kept
        and change.operation in (Operation.DELETE, Operation.REPLACE)
    ]


def _folded(result: "Result") -> list[str]:
    body = []
    for change in shown(result.changes):
        mark = "-" if change.operation is Operation.DELETE else "+" if change.operation is Operation.CREATE else "!"
        reason = "" if change.operation is Operation.CREATE else f"  # {change.reason}"
        body.append(
            f"{mark} {change.operation.sign if mark == '!' else ''} {place(change)}{reason}".replace("  ", " ", 1)
        )
        body += [f"    {field_line(field)}" for field in change.fields]
    if not body:
        return []
    rest = len(body) - MOST_FOLDED
    more = [f"… and {rest:,} lines more; `commonpool preview` shows them"] if rest > 0 else []
    head = f"<details><summary>{result.stack}: {summary(result)}</summary>"
    return ["", head, "", "```diff", *body[:MOST_FOLDED], *more, "```", "", "</details>"]
