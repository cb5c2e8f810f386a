"""`commonpool correction new|list|answer|dispute`: a wrong record, the provider's clock, the outcome, and who does not agree."""

import json
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.model import Estate
    from commonpool.model.correction import Correction

TEMPLATE = """\
# yaml-language-server: $schema={schema}
apiVersion: commonpool.dev/v1
kind: Correction
metadata:
  name: {name}
spec:
  dataset: {dataset}
  item: {item}
  record: {record}
  foundBy: {found_by}
  description: {description}
  submitted: "{submitted}"
"""


def find(estate: "Estate", name: str) -> "Correction":
    """A correction by name, or the nearest one in the message."""
    from commonpool.model import shown

    found = next((one for one in estate.corrections if one.name == name), None)
    if found is None:
        step = nearest(name, [one.name for one in estate.corrections])
        raise CommandFailed(f"there is no correction {shown(name)!r}", code="correction_unknown", next_step=step)
    return found


def new(target: Target, name: str, given: dict[str, str], output: Output, *, dry_run: bool) -> int:
    """Write down that a record is wrong; the provider's clock runs from tomorrow."""
    from commonpool.cli.proposal import place, quoted, schema, write
    from commonpool.model import load_estate

    estate = load_estate(target.estate_folder())
    path = place(estate, "corrections", name)
    text = TEMPLATE.format(
        schema=schema("Correction", path.parent),
        name=name,
        submitted=estate.day.isoformat(),
        **{word: quoted(value) for word, value in given.items()},
    )
    write(target, estate, path, text, output, dry_run=dry_run)
    if not dry_run:
        after = load_estate(target.estate_folder())
        one, clock = find(after, name), after.correction_clock(find(after, name))
        output.say(f"  {_provider(after, one)} answers: {clock.words()}\n  by       {clock.source}")
        if output.structured:
            output.document("Correction", **to_json(after, one))
    return 0


def _provider(estate: "Estate", one: "Correction") -> str:
    dataset = estate.dataset(one.spec.dataset)
    return dataset.spec.provider if dataset else ""


def list_corrections(target: Target, output: Output) -> int:
    """Every correction with its clock and its outcome."""
    estate = target.load()
    rows = (
        [
            one.name,
            f"{one.spec.dataset}: {one.spec.item}",
            one.spec.found_by,
            _provider(estate, one),
            one.spec.submitted,
            state(one),
            estate.correction_clock(one).words(),
        ]
        for one in estate.corrections
    )
    headings = ["correction", "about", "found by", "provider", "received", "outcome", "clock"]
    items = (to_json(estate, one) for one in estate.corrections)
    output.listing(
        "CorrectionList", items, headings, rows, "0 corrections; `commonpool correction new NAME` writes the first"
    )
    return 0


def state(one: "Correction") -> str:
    """What came of it so far, in a word or a few."""
    outcome, dispute = one.spec.outcome, one.spec.dispute
    if dispute is not None:
        return f"{dispute.decided.result} after a dispute" if dispute.decided else "disputed"
    return outcome.result if outcome else "open"


def to_json(estate: "Estate", one: "Correction") -> dict[str, Any]:
    """A correction with its clock and what came of it."""
    clock = estate.correction_clock(one)
    manifest = one.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "metadata": manifest["metadata"],
        "spec": manifest["spec"],
        "provider": _provider(estate, one),
        "state": state(one),
        "clock": {"due": clock.due.day.isoformat(), "state": clock.state, "workingDaysLate": clock.late},
    }


def answer(target: Target, name: str, result: str, by: str, reason: str, output: Output) -> int:
    """The provider's answer; after a dispute was raised, the decision that binds both."""
    from commonpool.model import load_estate

    estate = load_estate(target.estate_folder())
    one = find(estate, name)
    outcome = {"result": result, "day": estate.day.isoformat(), "by": by, "reason": reason}
    dispute = one.spec.dispute
    if dispute is not None and dispute.decided is None:
        said = {"day": dispute.day, "reason": dispute.reason, "decided": outcome}
        return _write(target, estate, name, "dispute", said, output)
    if one.spec.outcome is not None:
        raise CommandFailed(f"correction {name} is answered already: {state(one)}", code="exists")
    return _write(target, estate, name, "outcome", outcome, output)


def dispute(target: Target, name: str, reason: str, output: Output) -> int:
    """Say that the outcome is not accepted; somebody above both decides."""
    from commonpool.model import load_estate

    estate = load_estate(target.estate_folder())
    one = find(estate, name)
    if one.spec.outcome is None or one.spec.dispute is not None:
        words = "is not answered yet" if one.spec.outcome is None else "is disputed already"
        raise CommandFailed(f"correction {name} {words}", code="refused")
    return _write(target, estate, name, "dispute", {"day": estate.day.isoformat(), "reason": reason}, output)


def _write(target: Target, estate: "Estate", name: str, key: str, value: dict[str, Any], output: Output) -> int:
    """Put a field at the end of the manifest, instead of an older one that stands there on a line of its own."""
    from commonpool.model import load_estate, show_path

    path = estate.sources[f"correction/{name}"]
    before = path.read_text(encoding="utf-8")
    kept = [line for line in before.rstrip("\n").split("\n") if not line.startswith(f"  {key}:")]
    text = "\n".join([*kept, f"  {key}: {json.dumps(value, ensure_ascii=False)}"]) + "\n"
    path.write_text(text, encoding="utf-8")
    try:
        after = load_estate(target.estate_folder())
    except Exception:
        path.write_text(before, encoding="utf-8")
        raise
    one = find(after, name)
    output.say(f"wrote {show_path(path, estate.root)}: {state(one)}, {after.correction_clock(one).words()}")
    if output.structured:
        output.document("Correction", **to_json(after, one))
    return 0
