"""`commonpool department new|list|show|explain`."""

import tempfile
from pathlib import Path
from typing import Any

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Format, Output, table
from commonpool.cli.target import Target
from commonpool.model import Department, Estate, shown

TEMPLATE = """\
# yaml-language-server: $schema={schema}
apiVersion: commonpool.dev/v1
kind: Department
metadata:
  name: {name}
spec:
  displayName: {display_name}
  organisation: {{code: "{code}", name: {display_name}, level: {level}}}
  contacts:
    owner: {{role: Owner's office, email: {email}}}
    deputy: {{role: Deputy's office, email: {email}}}
    duty: {{role: Duty desk, phone: "{phone}"}}
    dataSteward: {{role: Data office, email: {email}}}
  groups: {{admin: [{name}-admins], developer: [{name}-developers], viewer: [{name}-viewers]}}
  filing: {{number: {filing}, budgetItem: "{budget}"}}
  term: {{start: "{start}", review: "{review}", end: "{end}", onExpiry: notify}}
  namespaces:
    - name: {namespace}
      environment: {environment}
      businessClass: {business_class}
      protectionLevel: {level_number}
      resources:
        - {{flavor: {flavor}, guaranteed: {{cpu: "{cpu}", memory: {memory}}}}}
"""


def find(estate: Estate, name: str) -> Department:
    """A department by name, or the nearest one in the message."""
    found = estate.department(name)
    if found is None:
        from difflib import get_close_matches

        names = [department.name for department in estate.departments]
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names) or 'none yet'}"
        raise CommandFailed(f"there is no department {shown(name)!r}", code="department_unknown", next_step=hint)
    return found


def list_departments(target: Target, output: Output) -> int:
    """All departments with what they are promised."""
    from commonpool.ledger import Ledger

    estate = target.load()
    rows = {row.name: row for row in Ledger.of(estate).departments}
    if output.format is Format.JSON:
        items = [
            {
                "name": one.name,
                "displayName": one.spec.display_name,
                "namespaces": [name for name, _ in one.namespaces()],
            }
            for one in estate.departments
        ]
        output.json({"apiVersion": "commonpool.dev/v1", "kind": "DepartmentList", "items": items})
    elif not estate.departments:
        output.data("0 departments; make the first with `commonpool department new NAME`")
    else:
        lines = [
            [
                one.name,
                one.spec.display_name,
                str(len(one.spec.namespaces)),
                str(rows[one.name].promised),
                one.spec.term.end,
            ]
            for one in estate.departments
        ]
        output.data(table(["department", "", "namespaces", "promised", "until"], lines, left=2))
    return 0


def show(target: Target, name: str, output: Output) -> int:
    """One department: facts, namespaces, numbers."""
    from commonpool.ledger import Ledger

    estate = target.load()
    one = find(estate, name)
    if output.format is Format.JSON:
        output.json({"file": str(estate.sources[f"department/{name}"]), **one.model_dump(mode="json", by_alias=True)})
        return 0
    spec = one.spec
    facts = [
        ["organisation", f"{spec.organisation.name} ({spec.organisation.code}), {spec.organisation.level}"],
        ["filing", f"{spec.filing.number}, budget item {spec.filing.budget_item}"],
        ["term", f"{spec.term.start} to {spec.term.end}, review {spec.term.review}, then {spec.term.on_expiry}"],
        ["duty", f"{spec.contacts.duty.role} {spec.contacts.duty.phone}"],
        [
            "groups",
            f"admin {', '.join(spec.groups.admin)}; developer {', '.join(spec.groups.developer) or '-'}; viewer {', '.join(spec.groups.viewer) or '-'}",
        ],
    ]
    output.data(output.paint(f"{spec.display_name} ({one.name})", "bold"))
    output.data(table(["", ""], facts, left=2).lstrip("\n"))
    rows = {row.name: row for row in Ledger.of(estate).namespaces}
    lines = [
        [
            full,
            item.environment,
            item.business_class,
            str(item.protection_level),
            rows[full].flavor,
            str(rows[full].promised),
            str(rows[full].ceiling),
        ]
        for full, item in one.namespaces()
    ]
    output.data("\n" + table(["namespace", "for", "class", "level", "flavors", "promised", "ceiling"], lines, left=3))
    return 0


def explain(target: Target, name: str, output: Output) -> int:
    """Why it is admitted or refused: the numbers of each flavor, what would fit, what it becomes."""
    from commonpool.components.department import objects
    from commonpool.ledger import admit
    from commonpool.model import load_estate

    estate = load_estate(target.estate_folder())  # promises may be broken here: that is what is explained
    one = find(estate, name)
    decision = admit(estate, one)
    bodies = objects(estate, one)
    kinds: dict[str, int] = {}
    for body in bodies:
        kinds[body["kind"]] = kinds.get(body["kind"], 0) + 1
    if output.format is Format.JSON:
        output.json(_explained(decision, kinds))
        return 0 if decision.admitted else 1
    verdict = output.paint("admitted", "green") if decision.admitted else output.paint("refused", "red")
    file, line, _ = estate.locate(f"department/{name}", "spec", "namespaces")
    output.data(f"{one.name}: {verdict}  ({file}:{line})")
    output.data(
        "\nrule  guaranteed promises of a flavor never exceed its capacity times the over-commit [capacity-exceeded]"
    )
    for reason in decision.reasons:
        output.data(f"  {reason}")
    if decision.alternatives:
        output.data("\nwhat would fit")
        for text in decision.alternatives:
            output.data(f"  {text}")
    output.data(
        f"\nit becomes {len(bodies)} objects: " + ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    )
    return 0 if decision.admitted else 1


def _explained(decision: Any, kinds: dict[str, int]) -> dict[str, Any]:  # noqa: ANN401
    return {
        "apiVersion": "commonpool.dev/v1",
        "kind": "Admission",
        "department": decision.department,
        "admitted": decision.admitted,
        "checks": [
            {
                "flavor": check.flavor,
                "fits": check.fits,
                "capacity": check.capacity.to_json(),
                "others": check.others.to_json(),
                "wanted": check.wanted.to_json(),
                "room": check.room.to_json(),
            }
            for check in decision.checks
        ],
        "reasons": list(decision.reasons),
        "alternatives": list(decision.alternatives),
        "objects": kinds,
    }


def new(
    target: Target, name: str, given: dict[str, str | None], fixed: dict[str, str], output: Output, *, dry_run: bool
) -> int:
    """Write a manifest that is valid in the estate, or nothing."""
    from commonpool.cli.question import answers
    from commonpool.model.base import suggestion

    if suggestion(name, 40) != name:
        hint = f"write {suggestion(name, 40)}" if suggestion(name, 40) else "use a-z, 0-9 and '-'"
        raise CommandFailed(f"{shown(name)!r} is not a name", code="name_invalid", next_step=hint)
    root = target.estate_folder()
    path = root / "departments" / f"{name}.yaml"
    if path.exists():
        raise CommandFailed(
            f"{path} exists already; it is not overwritten", code="exists", next_step="edit it, or choose another name"
        )
    schema = Path(__file__).resolve().parents[3] / "schemas" / "department.json"
    text = TEMPLATE.format(name=name, schema=_relative(schema, path.parent), **answers(target, given, output), **fixed)
    with tempfile.TemporaryDirectory(prefix="commonpool-") as folder:
        draft = Path(folder) / path.name
        draft.write_text(text, encoding="utf-8")
        target.load([draft])
    if dry_run:
        output.data(text.rstrip())
        return 0
    path.parent.mkdir(exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    output.say(f"wrote {path}")
    return explain(target, name, output)


def _relative(path: Path, start: Path) -> str:
    import os

    return os.path.relpath(path, start.resolve())
