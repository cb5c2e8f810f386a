"""`commonpool drop …`: pack, fetch, acknowledge; every step that matters leaves its record in the pool's journal."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli import evidence
from commonpool.cli.agreement import find, read_key
from commonpool.cli.failure import OK, CommandFailed, Interrupted
from commonpool.cli.output import Output, count
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.model import Agreement, Estate


def pack(target: Target, name: str, files: Sequence[Path], to: Path, key: Path, output: Output) -> int:
    """Encrypt files to the consumer of an agreement, sign the manifest, record the offer."""
    from commonpool.components.agreement import keys
    from commonpool.exchange import drop
    from commonpool.journal import Entry
    from commonpool.model.statement import now
    from commonpool.model.today import today

    estate = target.load()
    agreement = _in_force(estate, name)
    spec = agreement.spec
    private, declared = _own_key(estate, spec.provider, key, today().isoformat())
    terms = drop.Terms(name, estate.texts[name], spec.provider, spec.consumer)
    with drop.new_folder(to):
        with output.working(f"encrypting to {spec.consumer}"):
            fields = drop.pack(files, to, terms, keys(estate, spec.consumer), now())
            content = drop.write(to, drop.signed(fields, declared, private))
        size = sum(one["bytes"] for one in fields["files"])
        data = {
            **_parties(agreement),
            "text": estate.texts[name],
            "drop": drop.digest(content),
            "files": len(files),
            "bytes": size,
            "key": f"{spec.provider}/{declared}",
        }
        journal = evidence.opened(target, estate.pool.name)
        journal.append([Entry("drop.offered", _who(), data)], grace=evidence.GRACE_SECONDS)
    output.say(
        f"wrote {to}: {count(len(files), 'file')}, {size:,} bytes, for {spec.consumer} alone; serve that folder by HTTP"
    )
    if output.structured:
        output.document(
            "Drop", folder=str(to), consumer=spec.consumer, **{key: data[key] for key in ("drop", "files", "bytes")}
        )
    else:
        output.data(drop.digest(content))
    return OK


def fetch(target: Target, place: str, into: Path, key: Path, headers: Sequence[str], output: Output) -> int:
    """Fetch a drop, or go on where it broke off; writes the signed receipt beside the files."""
    from commonpool.exchange import drop
    from commonpool.model.statement import now

    estate = target.load()
    source = drop.Source(place, _headers(headers))
    with output.working("reading the manifest"):
        content = source.manifest()
    fields = _verified(estate, content)
    _in_force(estate, fields["agreement"])
    private, declared = _own_key(estate, fields["consumer"], key)
    into.mkdir(parents=True, exist_ok=True)
    files = [drop.Packed.from_json(one) for one in fields.get("files", ())]
    try:
        with output.working("fetching"):
            drop.fetch(source, files, into, private, output.progress)
    except KeyboardInterrupt:
        raise Interrupted(drop.DropInterrupted.next_step) from None
    receipt = drop.signed(drop.receipt(content, fields["consumer"], now()), declared, private)
    path = into / drop.RECEIPT
    path.write_text(json.dumps(receipt, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (into / drop.MANIFEST).write_bytes(content)
    output.say(
        f"{count(len(files), 'file')} arrived in {into} as they were packed at {fields['at']}; give {path} to {fields['provider']}"
    )
    if output.structured:
        names = [str(into / one["name"]) for one in fields["files"]]
        output.document(
            "DropArrival", drop=drop.digest(content), provider=fields["provider"], files=names, receipt=str(path)
        )
    return OK


def acknowledge(target: Target, receipt: Path, manifest: Path, output: Output) -> int:
    """Record a consumer's signed receipt for a drop."""
    from commonpool.exchange import drop
    from commonpool.journal import Entry, query

    estate = target.load()
    content = manifest.read_bytes()
    fields, said = _verified(estate, content), _json(receipt)
    if said.get("drop") != drop.digest(content):
        raise CommandFailed(f"{receipt} is for another drop than {manifest}", code="drop_refused")
    if said.get("department") != fields["consumer"]:
        raise CommandFailed(
            f"{receipt} is of {said.get('department')}, and the drop for {fields['consumer']}", code="drop_refused"
        )
    # It was encrypted to the keys of its day: who opens it later still does so with one of those.
    days = (str(said.get("at")), str(fields.get("at")))
    drop.check(said, _public(estate, fields["consumer"], str(said.get("key")), *days))
    journal = evidence.opened(target, estate.pool.name)
    before = query.records(journal.folder, kinds=("drop.acknowledged",))
    record = next((one for one in before if one.data["drop"] == said["drop"]), None)
    written = record is None
    if record is None:
        data = {**_parties(find(estate, fields["agreement"])), "drop": said["drop"], "at": said["at"],
                "key": f"{fields['consumer']}/{said['key']}", "signature": said["signature"]}  # fmt: skip
        record = journal.append([Entry("drop.acknowledged", _who(), data)], grace=evidence.GRACE_SECONDS)[0]
    else:
        output.say("this receipt was recorded before; nothing is written")
    if output.structured:
        output.document("DropAcknowledgement", drop=said["drop"], record=record.sequence, written=written)
    elif written:
        output.data(f"record {record.sequence}: {fields['consumer']} received {said['drop']}")
    return OK


def _in_force(estate: "Estate", name: str) -> "Agreement":
    agreement = find(estate, name)
    standing = estate.standings[name]
    if not standing.in_force:
        raise CommandFailed(standing.words(agreement), code="agreement_not_in_force")
    return agreement


def _verified(estate: "Estate", content: bytes) -> dict[str, Any]:
    """The manifest when it is the provider's, under this very text of an agreement: over by now or not, it was offered."""
    from commonpool.exchange import drop

    try:
        fields: dict[str, Any] = json.loads(content)
        name, provider, key = str(fields["agreement"]), str(fields["provider"]), str(fields["key"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CommandFailed(f"this is no manifest of a drop: {error}", code="drop_refused") from error
    agreement = find(estate, name)
    standing = estate.standings[name]
    if standing.missing:
        raise CommandFailed(standing.words(agreement), code="agreement_not_in_force")
    if (provider, fields.get("consumer")) != agreement.parties or fields.get("text") != estate.texts[name]:
        raise CommandFailed(
            f"the drop names other parties, or another text, than agreement {name}", code="drop_refused"
        )
    drop.check(fields, _public(estate, provider, key, str(fields.get("at"))))
    return fields


def _public(estate: "Estate", department: str, key: str, *moments: str) -> str:
    """The public half of a key that counted at one of the moments."""
    known = estate.department(department)
    found = next((one for one in known.spec.keys if one.id == key), None) if known else None
    if found is None:
        raise CommandFailed(f"{department} declares no key {key!r}", code="key_unknown")
    days = [_day(at) for at in moments]
    if not any(found.counts(day) for day in days):
        raise CommandFailed(f"key {key!r} of {department} did not count on {days[0] or 'no day'}", code="key_unknown")
    return found.public


def _day(moment: str) -> str:
    """The day of a moment that a manifest names; empty, on which no key counts, for what is none."""
    from commonpool.model.today import day_of

    try:
        return day_of(moment).isoformat()
    except ValueError:
        return ""


def _own_key(estate: "Estate", department: str, path: Path, day: str = "") -> Any:  # noqa: ANN401
    """The private key, and the name under which the department declares it; with a day only if it counts then."""
    from commonpool.model.statement import public_text

    private = read_key(path)
    known = estate.department(department)
    keys = [one for one in known.spec.keys if not day or one.counts(day)] if known else []
    declared = next((one.id for one in keys if one.public == public_text(private)), None)
    if declared is None:
        ids = ", ".join(one.id for one in keys)
        step = f"give the key of {department} whose public half it declares ({ids or 'it declares none that counts'})"
        raise CommandFailed(f"the key in {path} is none of {department}", code="key_unknown", next_step=step)
    return private, declared


def _parties(agreement: "Agreement") -> dict[str, str]:
    return {"agreement": agreement.name, "provider": agreement.spec.provider, "consumer": agreement.spec.consumer}


def _headers(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, separator, value = one.partition(":")
        if not separator:
            raise CommandFailed("--header: what was given is not NAME: VALUE", code="usage")
        found[name.strip()] = (
            Path(value.strip()[1:]).read_text("utf-8").strip() if value.strip().startswith("@") else value.strip()
        )
    token = os.environ.get("COMMONPOOL_TOKEN_FILE")
    if token:
        found.setdefault("Authorization", f"Bearer {Path(token).read_text('utf-8').strip()}")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise CommandFailed(f"{path} is no JSON: {error}", code="drop_refused") from error


def _who() -> str:
    from commonpool.cli.journal import whoever

    return whoever()
