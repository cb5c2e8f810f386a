"""`commonpool agreement new|key|sign|list|show|verify|suspend|resume|terminate`: files in, files out, no cluster."""

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from commonpool.model import Agreement, Estate
    from commonpool.model.statement import Act

TEMPLATE = """\
# yaml-language-server: $schema={schema}
apiVersion: commonpool.dev/v1
kind: Agreement
metadata:
  name: {name}
spec:
  provider: {provider}
  consumer: {consumer}
  {word}: {object}
{items}  purpose: {{code: {purpose}, description: {description}}}
  basis: {{law: {law}, article: {article}}}
  term: {{start: "{start}", end: "{end}"}}
  evidence: {evidence}
  contacts:
    provider: {{role: {provider_role}{provider_email}}}
    consumer: {{role: {consumer_role}{consumer_email}}}
"""


@dataclass(frozen=True)
class Draft:
    """What a new agreement says, as given on the command line."""

    consumer: str
    service: str | None
    dataset: str | None
    items: tuple[str, ...]
    purpose: str
    description: str
    law: str
    article: str
    start: str
    end: str
    evidence: str


def find(estate: "Estate", name: str) -> "Agreement":
    """An agreement by name, or the nearest one in the message."""
    from commonpool.model import shown

    found = estate.agreement(name)
    if found is None:
        step = nearest(name, [one.name for one in estate.agreements])
        raise CommandFailed(f"there is no agreement {shown(name)!r}", code="agreement_unknown", next_step=step)
    return found


def new(target: Target, name: str, draft: Draft, output: Output, *, dry_run: bool) -> int:
    """Write a draft that is valid in the estate, or nothing."""
    from commonpool.cli.proposal import write
    from commonpool.model import load_estate

    estate = load_estate(target.estate_folder(), agreeing=True)
    path, text = compose(estate, name, draft)
    write(target, estate, path, text, output, dry_run=dry_run, agreeing=True)
    if not dry_run:
        tell_signers(target, name, _provider(estate, draft), output)
        _present(target, name, output)
    return 0


def tell_signers(target: Target, name: str, provider: str, output: Output) -> None:
    """What both sides do with a draft."""
    sign_it = target.command(f"agreement sign {name} --department {provider}")
    output.say(f"  next     both read it and sign: {sign_it} --key FILE")


def compose(estate: "Estate", name: str, draft: Draft) -> tuple[Path, str]:
    """Place and text of a new agreement; provider and contacts follow from what is agreed on."""
    from commonpool.cli.proposal import place, quoted, schema

    path = place(estate, "agreements", name)
    provider = _provider(estate, draft)
    contacts: dict[str, str] = {}
    for side, department in (("provider", provider), ("consumer", draft.consumer)):
        known = estate.department(department)
        steward = known.spec.contacts.data_steward if known else None
        contacts[f"{side}_role"] = quoted(steward.role) if steward else "Data office"
        contacts[f"{side}_email"] = f", email: {steward.email}" if steward and steward.email else ""
    text = TEMPLATE.format(
        schema=schema("Agreement", path.parent),
        name=name,
        provider=provider,
        word="service" if draft.service else "dataset",
        object=draft.service or draft.dataset,
        items=f"  items: [{', '.join(draft.items)}]\n" if draft.items else "",
        purpose=quoted(draft.purpose),
        description=quoted(draft.description),
        law=quoted(draft.law),
        article=quoted(draft.article),
        start=draft.start,
        end=draft.end,
        evidence=draft.evidence,
        consumer=draft.consumer,
        **contacts,
    )
    return path, text


def _provider(estate: "Estate", draft: Draft) -> str:
    if (draft.service is None) == (draft.dataset is None):
        raise CommandFailed("name either --service or --dataset", code="usage")
    if draft.service is not None:
        service = estate.service(draft.service)
        if service is None:
            step = nearest(draft.service, [one.name for one in estate.services])
            raise CommandFailed(f"there is no shared service {draft.service!r}", code="service_unknown", next_step=step)
        return service.spec.offered_by
    dataset = estate.dataset(draft.dataset or "")
    if dataset is None:
        step = nearest(draft.dataset or "", [one.name for one in estate.datasets])
        raise CommandFailed(f"there is no dataset {draft.dataset!r}", code="dataset_unknown", next_step=step)
    return dataset.spec.provider


def _after(estate: "Estate", name: str, department: str, moment: str) -> str:
    """This moment, or the one after the department's last word: a clock that was set back must not put it before that.

    What a department says later takes back what it said earlier, and the time alone tells which is which.
    """
    said = [one.at for one in estate.statements.values() if (one.agreement, one.department) == (name, department)]
    last = max(said, default="")
    if last < moment:
        return moment
    return (datetime.fromisoformat(last) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def make_key(path: Path, name: str, output: Output) -> int:
    """Write a new private key that only its owner can read, and print the line for the department's manifest."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from commonpool.model.statement import public_text
    from commonpool.model.today import today

    private = Ed25519PrivateKey.generate()
    content = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandFailed(f"{path} exists already; a key is not overwritten", code="exists") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    output.say(f"wrote {path}; it stays with the department. Under spec.keys of its manifest:")
    output.data(f'- {{id: {name}, public: "{public_text(private)}", since: "{today().isoformat()}"}}')
    return 0


def read_key(path: Path) -> "Ed25519PrivateKey":
    """A private key in PEM (PKCS 8), for instance of `openssl genpkey -algorithm ed25519`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        found = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise CommandFailed(
            f"{path} holds no private key of Ed25519 in PEM without a passphrase",
            code="key_invalid",
            next_step="openssl pkey -in FILE decrypts one; `commonpool agreement key FILE` makes one",
        )
    return found


def say(
    target: Target,
    name: str,
    act: "Act",
    department: str,
    key: Path,
    reason: str | None,
    output: Output,
    *,
    dry_run: bool,
) -> int:
    """Sign a statement about the text as it is now, and write it beside the agreement."""
    from commonpool.cli.proposal import write
    from commonpool.model import load_estate
    from commonpool.model.statement import now, public_text, signed

    estate = load_estate(target.estate_folder(), agreeing=True)
    agreement = find(estate, name)
    if department not in agreement.parties:
        step = f"--department {agreement.parties[0]} or {agreement.parties[1]}"
        raise CommandFailed(f"{department} is no party of {name}", code="usage", next_step=step)
    pausing = estate.standings[name].statement
    if act == "resume" and pausing and pausing.department != department:
        words = estate.standings[name].words(agreement)
        raise CommandFailed(words, code="not_suspended_by_you", next_step=f"only {pausing.department} takes that back")
    private = read_key(key)
    known = estate.department(department)
    declared = next((one for one in known.spec.keys if one.public == public_text(private)), None) if known else None
    if declared is None:
        raise CommandFailed(
            f"the key in {key} is none of {department}",
            code="key_unknown",
            next_step=f'declare it under spec.keys of departments/{department}.yaml: public: "{public_text(private)}"',
        )
    fields: dict[str, Any] = {
        "apiVersion": "commonpool.dev/v1",
        "kind": "Statement",
        "agreement": name,
        "digest": estate.texts[name],
        "act": act,
        "department": department,
        "at": _after(estate, name, department, now()),
        "key": declared.id,
        **({"reason": reason} if reason else {}),
    }
    statement = signed(fields, private).model_dump(by_alias=True, exclude_none=True)
    path = _place(estate, name, department, act, fields["at"])
    write(target, estate, path, _yaml(statement, path), output, dry_run=dry_run, agreeing=True)
    if not dry_run:
        after = load_estate(target.estate_folder(), agreeing=True)
        standing = after.standings[name]
        output.say(f"  {standing.words(agreement)}")
        others = [
            f"{target.command(f'agreement sign {name} --department {one}')} --key FILE" for one in standing.missing
        ]
        output.say(f"  next     {others[0] if others else target.command('up')}")
        _present(target, name, output)
    return 0


def _present(target: Target, name: str, output: Output) -> None:
    """What stands after a change, for scripts; people were told already."""
    from commonpool.model import load_estate

    if output.structured:
        after = load_estate(target.estate_folder(), agreeing=True)
        output.document("Agreement", **_document(after, find(after, name)))


def _place(estate: "Estate", name: str, department: str, act: str, at: str) -> Path:
    folder = estate.root / "agreements" / "statements"
    plain = folder / f"{name}.{department}.{act}.yaml"
    if act in ("suspend", "resume"):
        return folder / f"{name}.{department}.{act}.{re.sub('[^0-9]', '', at)}.yaml"
    if plain.exists():
        raise CommandFailed(
            f"{department} has said this already: {plain}",
            code="exists",
            next_step="take the file away first, when it is about an older text",
        )
    return plain


def _yaml(statement: dict[str, Any], path: Path) -> str:
    import json

    from commonpool.cli.proposal import schema

    lines = [f"{word}: {json.dumps(value, ensure_ascii=False)}" for word, value in statement.items()]
    return f"# yaml-language-server: $schema={schema('Statement', path.parent)}\n" + "\n".join(lines) + "\n"


def list_agreements(target: Target, output: Output) -> int:
    """Every agreement with its state."""
    estate = target.load(agreeing=True)
    rows = (
        [
            one.name,
            one.spec.provider,
            one.spec.consumer,
            one.spec.dataset or one.spec.service or "",
            "all" if one.spec.items is None else str(len(one.spec.items)),
            f"{one.spec.term.start} to {one.spec.term.end}",
            estate.standings[one.name].state,
        ]
        for one in estate.agreements
    )
    headings = ["agreement", "provider", "consumer", "about", "items", "term", "state"]
    items = (_document(estate, one) for one in estate.agreements)
    output.listing(
        "AgreementList", items, headings, rows, "0 agreements; `commonpool agreement new NAME` writes the first"
    )
    return 0


def show(target: Target, name: str, output: Output) -> int:
    """One agreement: what is agreed, who said what about it, and what it becomes."""
    estate = target.load(agreeing=True)
    one = find(estate, name)
    if output.structured:
        output.document("Agreement", **_document(estate, one))
        return 0
    spec, standing = one.spec, estate.standings[name]
    rate = ", ".join(f"{amount} {word.replace('_', ' ')}" for word, amount in spec.rate if amount)
    facts = [
        ["state", f"{standing.state}: {standing.words(one)}"],
        ["manifest", estate.locate(f"agreement/{name}")[0]],
        ["provider", spec.provider],
        ["consumer", spec.consumer],
        ["about", f"dataset {spec.dataset}" if spec.dataset else f"service {spec.service}"],
        ["service", estate.service_of(one) or "none: handed over as a file"],
        ["items", ", ".join(spec.items) if spec.items else "all"],
        ["purpose", f"{spec.purpose.description} ({spec.purpose.code})"],
        ["basis", f"{spec.basis.law} {spec.basis.article}"],
        ["term", f"{spec.term.start} to {spec.term.end}"],
        ["rate", rate or "an equal part of the service's limits"],
        ["evidence", spec.evidence],
        ["text", estate.texts[name]],
    ]
    output.data(output.title(f"{spec.purpose.description} ({name})"))
    output.data(output.table(["", ""], facts, left=2))
    said = [
        [statement.at, statement.department, statement.act, statement.key, statement.reason or ""]
        for statement in sorted(estate.statements.values(), key=lambda found: found.at)
        if statement.agreement == name
    ]
    if said:
        output.data("\n" + output.table(["at", "department", "says", "key", "reason"], said, left=5))
    return 0


def _document(estate: "Estate", one: "Agreement") -> dict[str, Any]:
    standing = estate.standings[one.name]
    manifest = one.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "metadata": manifest["metadata"],
        "spec": manifest["spec"],
        "state": standing.state,
        "words": standing.words(one),
        "missing": list(standing.missing),
        "digest": estate.texts[one.name],
    }


def verify(target: Target, names: list[str], output: Output) -> int:
    """Check every signature again, and fail unless all named agreements are signed by both sides."""
    estate = target.load(agreeing=True)  # a signature that does not hold is refused here, with its place
    chosen = [find(estate, name) for name in names] or list(estate.agreements)
    wanting = [one for one in chosen if estate.standings[one.name].missing]
    if output.structured:
        output.document("Verification", items=[_document(estate, one) for one in chosen], complete=not wanting)
        return 1 if wanting and names else 0
    rows = [
        [
            one.name,
            "lacks " + ", ".join(estate.standings[one.name].missing) if one in wanting else "signed by both",
            estate.texts[one.name],
        ]
        for one in chosen
    ]
    output.data(output.table(["agreement", "", "text"], rows, left=3) if rows else "0 agreements; nothing to verify")
    return 1 if wanting and names else 0
