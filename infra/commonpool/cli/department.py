"""`commonpool department new|list|show|explain`."""

from collections import Counter
from typing import Any

from commonpool.cli.failure import CommandFailed, document, nearest
from commonpool.cli.output import Output
from commonpool.cli.target import Target
from commonpool.ledger import Decision
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
    deputy: {{role: Deputy's office, email: {deputy_email}}}
    duty: {{role: Duty desk, phone: "{phone}"}}
    dataSteward: {{role: Data office, email: {steward_email}}}
  groups: {{admin: [{name}-admins], developer: [{name}-developers], viewer: [{name}-viewers]}}
  filing: {{number: {filing}, budgetItem: "{budget}"}}
  term: {{start: "{start}", review: "{review}", end: "{end}", onExpiry: {on_expiry}}}
  namespaces:
    - name: {namespace}
      environment: {environment}
      businessClass: {business_class}
      protectionLevel: {protection_level}
      resources:
        - {{flavor: {flavor}, guaranteed: {{cpu: "{cpu}", memory: {memory}}}}}
"""


def find(estate: Estate, name: str) -> Department:
    """A department by name, or the nearest one in the message."""
    found = estate.department(name)
    if found is None:
        names = [department.name for department in estate.departments]
        raise CommandFailed(
            f"there is no department {shown(name)!r}", code="department_unknown", next_step=nearest(name, names)
        )
    return found


def list_departments(target: Target, output: Output) -> int:
    """All departments with what they are promised."""
    from commonpool.ledger import Ledger

    estate = target.load()
    rows = {row.name: row for row in Ledger.of(estate).departments}
    if output.structured:
        items = [
            {
                "name": one.name,
                "displayName": one.spec.display_name,
                "namespaces": [name for name, _ in one.namespaces()],
                "promised": rows[one.name].promised.to_json(),
                "ceiling": rows[one.name].ceiling.to_json(),
                "until": one.spec.term.end,
            }
            for one in estate.departments
        ]
        output.document("DepartmentList", items=items)
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
        output.data(output.table(["department", "name", "namespaces", "promised", "until"], lines, left=2))
    return 0


def show(target: Target, name: str, output: Output) -> int:
    """One department: facts, namespaces, numbers."""
    from commonpool.ledger import Ledger

    estate = target.load()
    one = find(estate, name)
    if output.structured:
        manifest = one.model_dump(mode="json", by_alias=True, exclude_none=True)
        output.document("Department", **{key: manifest[key] for key in ("metadata", "spec")})
        return 0
    spec = one.spec
    facts = [
        ["organisation", f"{spec.organisation.name} ({spec.organisation.code}), {spec.organisation.level}"],
        ["manifest", estate.locate(f"department/{name}")[0]],
        ["filing", f"{spec.filing.number}, budget item {spec.filing.budget_item}"],
        ["term", f"{spec.term.start} to {spec.term.end}, review {spec.term.review}, then {spec.term.on_expiry}"],
        ["duty", f"{spec.contacts.duty.role} {spec.contacts.duty.phone}"],
        [
            "groups",
            f"admin {', '.join(spec.groups.admin)}; developer {', '.join(spec.groups.developer) or '-'}; viewer {', '.join(spec.groups.viewer) or '-'}",
        ],
    ]
    output.data(output.title(f"{spec.display_name} ({one.name})"))
    output.data(output.table(["", ""], facts, left=2))
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
    output.data(
        "\n" + output.table(["namespace", "for", "class", "level", "flavors", "promised", "ceiling"], lines, left=3)
    )
    return 0


def explain(target: Target, name: str, output: Output, *, live: bool | None = None) -> int:
    """Why it is admitted or refused: the numbers of each flavor, what would fit, what it becomes."""
    from commonpool.cli.numbers import live_numbers
    from commonpool.components.department import objects
    from commonpool.ledger import admit
    from commonpool.model import load_estate

    estate = load_estate(target.estate_folder())  # promises may be broken here: that is what is explained
    one = find(estate, name)
    decision, now = admit(estate, one), admit(estate, one, live_numbers(target, live))
    kinds = Counter(body["kind"] for body in objects(estate, one))
    if output.structured:
        output.document("Admission", **_explained(decision, now, kinds))
        return 0 if decision.admitted else 1
    verdict = output.paint("admitted", "green") if decision.admitted else output.paint("refused", "red")
    file, line, _ = estate.locate(f"department/{name}", "spec", "namespaces")
    output.data(f"{one.name}: {verdict}  ({file}:{line})\n")
    output.words(
        "guaranteed promises of a flavor never exceed its capacity times the over-commit [capacity-exceeded]\n"
    )
    rows = [
        [
            check.flavor,
            *map(str, (check.capacity, check.others, check.room, check.wanted)),
            _verdict(check.fits, output),
        ]
        for check in decision.checks
    ]
    output.data(output.table(["flavor", "may be promised", "to others", "left", "asked for", ""], rows))
    if decision.alternatives:
        output.data("\nwhat would fit")
        output.words("\n".join(f"- {one.text}" for one in decision.alternatives))
    if decision.admitted and not now.admitted:
        output.words("\n! the machines that stand now carry less than the declared ones: " + "; ".join(now.reasons))
    words = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    output.words(f"\n{'it becomes' if decision.admitted else 'it would become'} {kinds.total()} objects: {words}")
    return 0 if decision.admitted else 1


def _verdict(fits: bool, output: Output) -> str:
    return output.paint("fits", "green") if fits else output.paint("does not fit", "red")


def _explained(decision: Decision, now: Decision, kinds: dict[str, int]) -> dict[str, Any]:
    refused = CommandFailed(
        f"{decision.department} asks for more than is left",
        code="capacity_exceeded",
        next_step="; or ".join(one.text for one in decision.alternatives),
    )
    return {
        "department": decision.department,
        "admitted": decision.admitted,
        "fitsNow": now.admitted,
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
        "alternatives": [
            {"flavor": one.flavor, "guaranteed": one.guaranteed.to_json(), "text": one.text}
            for one in decision.alternatives
        ],
        "objects": dict(kinds),
        **({} if decision.admitted else {"error": document(refused)["error"]}),
    }


def new(target: Target, name: str, given: dict[str, str | None], output: Output, *, dry_run: bool) -> int:
    """Write a manifest that is valid in the estate, or nothing."""
    from commonpool.cli.proposal import place, schema, write
    from commonpool.cli.question import answers
    from commonpool.model import load_estate

    estate = load_estate(target.estate_folder())
    path = place(estate, "departments", name)
    found = answers(estate, given, output)
    text = TEMPLATE.format(name=name, schema=schema("Department", path.parent), **found)
    write(target, estate, path, text, output, dry_run=dry_run)
    if dry_run:
        return 0
    output.say()
    code = explain(target, name, output)
    output.say(f"\n  next     edit it, then {target.command('preview')} --target {name}")
    return code
