"""`commonpool request new|list|show|decide`: a request opens a clock, and ends in an agreement or a reasoned refusal."""

import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.cli.agreement import Draft
    from commonpool.model import Dataset, Estate
    from commonpool.model.request import SharingRequest

TEMPLATE = """\
# yaml-language-server: $schema={schema}
apiVersion: commonpool.dev/v1
kind: SharingRequest
metadata:
  name: {name}
spec:
  consumer: {consumer}
  {word}: {object}
{items}{collects}  purpose: {{code: {purpose}, description: {description}}}
  basis: {{law: {law}, article: {article}}}
  submitted: "{submitted}"
"""


@dataclass(frozen=True)
class Wish:
    """What is asked for, as given on the command line."""

    consumer: str
    service: str | None
    dataset: str | None
    items: tuple[str, ...]
    collects: tuple[str, ...]
    purpose: str
    description: str
    law: str
    article: str


@dataclass(frozen=True)
class Answer:
    """The decision, as given on the command line."""

    granted: bool
    by: str
    reason: str | None
    law: str | None
    article: str | None
    start: str | None
    end: str | None


def find(estate: "Estate", name: str) -> "SharingRequest":
    """A request by name, or the nearest one in the message."""
    from commonpool.model import shown

    found = next((one for one in estate.requests if one.name == name), None)
    if found is None:
        step = nearest(name, [one.name for one in estate.requests])
        raise CommandFailed(f"there is no request {shown(name)!r}", code="request_unknown", next_step=step)
    return found


def new(target: Target, name: str, wish: Wish, output: Output, *, dry_run: bool) -> int:
    """Write a request whose clock begins today; says who holds already what it would collect."""
    from commonpool.cli.proposal import place, quoted, schema, write
    from commonpool.model import load_estate
    from commonpool.model.collection import held_elsewhere

    estate = load_estate(target.estate_folder(), agreeing=True)
    _refuse_needless(estate, wish)
    path = place(estate, "requests", name)
    text = TEMPLATE.format(
        schema=schema("SharingRequest", path.parent),
        name=name,
        consumer=wish.consumer,
        word="service" if wish.service else "dataset",
        object=wish.service or wish.dataset,
        items=f"  items: [{', '.join(wish.items)}]\n" if wish.items else "",
        collects=f"  collects: [{', '.join(wish.collects)}]\n" if wish.collects else "",
        purpose=quoted(wish.purpose),
        description=quoted(wish.description),
        law=quoted(wish.law),
        article=quoted(wish.article),
        submitted=estate.day.isoformat(),
    )
    write(target, estate, path, text, output, dry_run=dry_run, agreeing=True)
    for holder in held_elsewhere(estate, wish.collects, wish.consumer):
        output.say(
            f"  ! {holder.element} is held by {holder.department} already (dataset {holder.dataset}, item {holder.item}): "
            f"ask for that instead of collecting it again; repeated collection is forbidden (Decree 809)"
        )
    if not dry_run:
        after = load_estate(target.estate_folder(), agreeing=True)
        request = find(after, name)
        clock = after.request_clock(request)
        output.say(f"  {after.provider_of(request)} answers: {clock.words()}\n  by       {clock.source}")
        output.say(f"  next     {target.command(f'request decide {name}')} --grant … or --refuse …")
        if output.structured:
            output.document("SharingRequest", **to_json(after, request))
    return 0


def _refuse_needless(estate: "Estate", wish: Wish) -> None:
    if (wish.service is None) == (wish.dataset is None):
        raise CommandFailed("name either --service or --dataset", code="usage")
    service = estate.service(wish.service) if wish.service else None
    dataset = estate.dataset(wish.dataset) if wish.dataset else None
    department = estate.department(wish.consumer)
    if service and department and estate.serves(service, department):
        raise CommandFailed(
            f"service {service.name} is granted to {wish.consumer} without a request",
            code="request_needless",
            next_step=f"list {service.name} under consumes in departments/{wish.consumer}.yaml",
        )
    sharing = service.spec.sharing if service else dataset.spec.sharing if dataset else None
    if sharing and sharing.class_ == "not-shared":
        law = f"{sharing.basis.law} {sharing.basis.article}" if sharing.basis else ""
        raise CommandFailed(
            f"{wish.service or wish.dataset} is not shared, by {law}, until {sharing.exemption_ends}",
            code="not_shared",
            next_step="whoever doubts the exemption asks the data governance office",
        )
    if dataset and sharing and sharing.class_ == "unconditional":
        raise CommandFailed(
            f"dataset {dataset.name} is shared with everybody; no request is needed",
            code="request_needless",
            next_step=f"list {dataset.spec.service} under consumes"
            if dataset.spec.service
            else _by_file(dataset, wish),
        )


def _by_file(dataset: "Dataset", wish: Wish) -> str:
    draft = f"agreement new NAME --dataset {dataset.name} --consumer {wish.consumer}"
    return (
        f"it has no service; `commonpool {draft} …`, and {dataset.spec.provider} packs its files by `commonpool drop`"
    )


def list_requests(target: Target, output: Output) -> int:
    """Every request with its clock."""
    estate = target.load(agreeing=True)
    rows = (
        [
            one.name,
            one.spec.consumer,
            estate.provider_of(one) or "",
            one.spec.dataset or one.spec.service or "",
            one.spec.submitted,
            one.spec.decision.outcome if one.spec.decision else "open",
            estate.request_clock(one).words(),
        ]
        for one in estate.requests
    )
    headings = ["request", "from", "to", "about", "received", "answer", "clock"]
    items = (to_json(estate, one) for one in estate.requests)
    output.listing(
        "SharingRequestList", items, headings, rows, "0 requests; `commonpool request new NAME` writes the first"
    )
    return 0


def to_json(estate: "Estate", one: "SharingRequest") -> dict[str, Any]:
    """A request with its clock."""
    clock = estate.request_clock(one)
    manifest = one.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "metadata": manifest["metadata"],
        "spec": manifest["spec"],
        "provider": estate.provider_of(one),
        "clock": {
            "due": clock.due.day.isoformat(),
            "provisional": clock.due.provisional,
            "state": clock.state,
            "workingDaysLate": clock.late,
            "escalatedTo": clock.escalated,
            "source": clock.source,
        },
    }


def show(target: Target, name: str, output: Output) -> int:
    """One request: what is asked, the clock with its source, the answer."""
    from commonpool.model.collection import held_elsewhere

    estate = target.load(agreeing=True)
    one = find(estate, name)
    if output.structured:
        output.document("SharingRequest", **to_json(estate, one))
        return 0
    spec, clock = one.spec, estate.request_clock(one)
    decision = spec.decision
    answer = "none yet"
    if decision:
        why = f": {decision.reason}" if decision.reason else f", agreement {decision.agreement}"
        answer = f"{decision.outcome} on {decision.day} by {decision.by}{why}"
        if decision.basis:
            answer += f" ({decision.basis.law} {decision.basis.article})"
    facts = [
        ["from", spec.consumer],
        ["to", estate.provider_of(one) or ""],
        ["about", spec.dataset or spec.service or ""],
        ["items", ", ".join(spec.items) if spec.items else "all"],
        ["purpose", f"{spec.purpose.description} ({spec.purpose.code})"],
        ["basis", f"{spec.basis.law} {spec.basis.article}"],
        ["received", spec.submitted],
        ["clock", clock.words()],
        ["limit", clock.source],
        ["answer", answer],
    ]
    output.data(output.title(f"{spec.purpose.description} ({name})"))
    output.data(output.table(["", ""], facts, left=2))
    for holder in held_elsewhere(estate, spec.collects, spec.consumer):
        output.data(
            f"! {holder.element} is held by {holder.department} already: dataset {holder.dataset}, item {holder.item}"
        )
    return 0


def decide(target: Target, name: str, answer: Answer, output: Output, *, dry_run: bool) -> int:
    """Write the answer into the request; what is granted becomes a draft of an agreement beside it, or neither is written."""
    from commonpool.cli import agreement, proposal
    from commonpool.model import load_estate, show_path

    estate = load_estate(target.estate_folder(), agreeing=True)
    request = find(estate, name)
    if request.spec.decision is not None:
        raise CommandFailed(f"request {name} is answered already: {request.spec.decision.outcome}", code="exists")
    path, draft = estate.sources[f"request/{name}"], None
    before = path.read_text(encoding="utf-8")
    decision = json.dumps(_decision(name, answer, estate.day), ensure_ascii=False)
    texts = {path: before.rstrip("\n") + f"\n  decision: {decision}\n"}
    if answer.granted:
        draft, text = agreement.compose(estate, name, _draft(request, answer))
        proposal.check(target, estate, draft, text, agreeing=True)
        texts = {draft: text, **texts}
    if dry_run:
        proposal.show(estate, texts, output)
        return 0
    try:
        for place, text in texts.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        after = load_estate(target.estate_folder(), agreeing=True)
    except Exception:
        path.write_text(before, encoding="utf-8")
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise
    for place in texts:
        output.say(f"wrote {show_path(place, estate.root)}")
    output.say(f"  {after.request_clock(find(after, name)).words()}")
    if answer.granted:
        agreement.tell_signers(target, name, after.provider_of(request) or "", output)
    if output.structured:
        output.document("SharingRequest", **to_json(after, find(after, name)))
    return 0


def _decision(name: str, answer: Answer, day: date) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "outcome": "granted" if answer.granted else "refused",
        "day": day.isoformat(),
        "by": answer.by,
    }
    if answer.granted:
        return {**fields, "agreement": name}
    if not answer.reason:
        raise CommandFailed("a refusal gives its reason", code="usage", next_step="add --reason TEXT")
    fields["reason"] = answer.reason
    if answer.law and answer.article:
        fields["basis"] = {"law": answer.law, "article": answer.article}
    return fields


def _draft(request: "SharingRequest", answer: Answer) -> "Draft":
    from commonpool.cli.agreement import Draft
    from commonpool.model.today import today

    if answer.end is None:
        raise CommandFailed("nothing is granted for ever", code="usage", next_step="add --end DATE")
    spec = request.spec
    return Draft(
        spec.consumer,
        spec.service,
        spec.dataset,
        tuple(spec.items or ()),
        spec.purpose.code,
        spec.purpose.description,
        spec.basis.law,
        spec.basis.article,
        answer.start or today().isoformat(),
        answer.end,
        "metadata",
    )
