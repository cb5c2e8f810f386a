"""What a run decided, as entries of the journal. Pure."""

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from commonpool.journal import Entry

if TYPE_CHECKING:
    from commonpool.cli.stack_run import Run
    from commonpool.engine import Result
    from commonpool.ledger import Decision
    from commonpool.model import Department, Estate, Problem


def begun(run: "Run") -> list[Entry]:
    """The run itself: who agreed to what."""
    data: dict[str, Any] = {
        "verb": run.verb,
        "stacks": [program.stack for program in run.programs],
        "consent": run.consent,
        "summary": f"{run.verb} of {', '.join(program.stack for program in run.programs)}, consent: {run.consent}",
    }
    if run.wishes.options.get("targets"):
        data["targets"] = list(run.wishes.options["targets"])
    if run.estate is None:
        return [Entry("run.begun", "", data | {"program": str(run.target.program)})]
    return [Entry("run.begun", "", data | {"estate": run.estate.pool.name, "digest": digest(run.estate)})]


def admissions(estate: "Estate", names: Collection[str]) -> list[Entry]:
    """The departments among the parts that are about to be applied, each with the numbers by which it fits."""
    from commonpool.ledger import admit_each

    chosen = [one for one in estate.departments if one.name in names]
    return [
        Entry("department.admitted", "", _numbers(estate, one, decision))
        for one, decision in zip(chosen, admit_each(estate, chosen), strict=True)
    ]


def _numbers(estate: "Estate", department: "Department", decision: "Decision") -> dict[str, Any]:
    name = department.name
    return {
        "department": name,
        "filing": department.spec.filing.number,
        "request": estate.digests[f"department/{name}"],
        "rule": "capacity-exceeded",
        "flavors": [
            {
                "flavor": check.flavor,
                "capacity": str(check.capacity),
                "others": str(check.others),
                "wanted": str(check.wanted),
            }
            for check in decision.checks
        ],
        "summary": f"{name} is admitted: {'; '.join(decision.reasons)}",
    }


def ended(results: "Sequence[Result]") -> dict[str, Any]:
    """What came of it, by stack."""
    problems = [problem for result in results for problem in result.problems]
    counts = {result.stack: dict(sorted(result.counts.items())) for result in results}
    words = ", ".join(f"{stack}: {sum(count.values())} changed" for stack, count in counts.items())
    return {
        "changed": counts,
        "problems": [{"urn": one.urn, "code": one.code, "message": one.message} for one in problems],
        "summary": f"{words}, {len(problems)} problems",
    }


def refusal(problems: "Sequence[Problem]", actor: str) -> Entry:
    """An estate that was refused, with every problem's place and rule."""
    found = [
        {"place": f"{one.file}:{one.line}:{one.column}", "rule": one.rule, "message": one.message} for one in problems
    ]
    return Entry(
        "estate.refused",
        actor,
        {"problems": found, "summary": f"{len(found)} problems, the first: {found[0]['message']}"},
    )


def digest(estate: "Estate") -> str:
    """What tells one state of an estate's files from another."""
    joined = "\n".join(f"{name} {value}" for name, value in sorted(estate.digests.items()))
    return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}"
