"""`commonpool journal …`: verify, show, hand on."""

import getpass
import os
import socket
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli import evidence
from commonpool.cli.failure import FAILED, OK, CommandFailed
from commonpool.cli.output import Output, count
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.journal import Journal, Record
    from commonpool.journal.note import Checkpoint, Verifier
    from commonpool.journal.verification import Verdict


def verify(
    folder: Path | None,
    target: Target,
    output: Output,
    *,
    keys: Sequence[str],
    checkpoints: Sequence[Path],
    witnesses: Sequence[Path],
    authorities: Sequence[Path],
    estate: Path | None = None,
    bodies: bool = False,
) -> int:
    """Judge a journal with public keys only; 0 when it is good, 1 with the first bad record named.

    With an estate also whether every exchange rests on an agreement that both departments' keys signed; with `bodies` also
    whether every body that was kept is here.
    """
    from dataclasses import replace

    from commonpool.journal.verification import verify as judge

    found = evidence.existing(folder, target)
    trusted = verifiers(keys)
    with output.working("verifying"):
        # A head that was kept before the key was changed is signed by one that the journal itself vouches for.
        heads = [*_checkpoints(checkpoints, [*trusted, *_carried(found)]), *_witnessed(witnesses)]
        verdict = judge(found, trusted, heads, sizes=_stamped(found) if authorities else ())
        if verdict.good and authorities:
            words, finding = _stamps(verdict, found, authorities)
            verdict = replace(verdict, stamps=tuple(words), finding=finding)
    signed = None
    if verdict.good and estate is not None:
        signed, finding = _signed(found, estate)
        verdict = replace(verdict, finding=finding)
    kept = None
    if verdict.good and bodies:
        with output.working("reading bodies"):
            kept, finding = _kept(found)
        verdict = replace(verdict, finding=finding)
    if output.structured:
        output.document("JournalVerdict", **_document(verdict), signedExchanges=signed, keptBodies=kept)
    else:
        _tell(verdict, output)
        if signed is not None:
            output.data(f"  {count(signed, 'exchange')} under agreements that both departments' keys signed")
        if kept is not None:
            output.data(f"  {count(kept, 'call')} with bodies that are as they were kept")
    return OK if verdict.good else FAILED


def _signed(journal: Path, estate: Path) -> Any:  # noqa: ANN401
    from commonpool.exchange.audit import KINDS, unsigned
    from commonpool.journal.query import records
    from commonpool.model import load_estate

    return unsigned(load_estate(estate), records(journal, kinds=KINDS), journal)


def _kept(journal: Path) -> Any:  # noqa: ANN401
    from commonpool.exchange.vault import unkept
    from commonpool.journal.query import records

    return unkept(journal, records(journal, kinds=("exchange.answered",)))


def _tell(verdict: "Verdict", output: Output) -> None:
    from commonpool.journal.verification import short

    verify = "verifies" if verdict.size == 1 else "verify"
    if verdict.finding:
        output.words(str(verdict.finding))
        output.words(f"{verdict.origin}: NOT good; {count(verdict.size, 'record')} before that {verify}")
        return
    output.words(f"{verdict.origin}: {count(verdict.size, 'record')} {verify}, root {short(verdict.root)}")
    output.words(f"  sealed by {', '.join(verdict.keys)}; {count(verdict.anchors, 'head')} kept elsewhere agree")
    if verdict.stamps:
        output.words(f"  {count(len(verdict.stamps), 'timestamp')}, the last of {verdict.stamps[-1]}")
    for one in verdict.set_back[:5]:
        output.words(
            f"  the clock was set back by {one.seconds:,.0f} s before record {one.sequence}: numbers tell the order there, times do not"
        )
    if len(verdict.set_back) > 5:
        output.words(f"  and {count(len(verdict.set_back) - 5, 'more time')} after that")
    if not verdict.trusted:
        output.say(
            "  the key came with the journal: this proves that it is whole, not whose it is; name the pool's own with --key"
        )
    if not verdict.anchors:
        output.say("  no head kept elsewhere was given: a cut-off end would not show; add --witness or --checkpoint")


def _document(verdict: "Verdict") -> dict[str, Any]:
    from commonpool.journal.verification import short

    finding = verdict.finding
    bad = finding and {
        "record": finding.sequence,
        "rule": finding.rule,
        "message": finding.message,
        "file": str(finding.file) if finding.line else "",
        "line": finding.line,
    }
    return {
        "origin": verdict.origin,
        "good": verdict.good,
        "records": verdict.size,
        "root": short(verdict.root),
        "keys": list(verdict.keys),
        "keyTrusted": verdict.trusted,
        "heads": verdict.anchors,
        "timestamps": list(verdict.stamps),
        "clockSetBack": [{"record": one.sequence, "from": one.before, "to": one.at} for one in verdict.set_back],
        "finding": bad,
    }


def verifiers(keys: Sequence[str]) -> "list[Verifier]":
    """Public keys, each as text or as a file with one a line. Raises `KeyUnusable`."""
    from commonpool.journal.note import Verifier

    found = []
    for key in keys:
        lines = Path(key).read_text(encoding="utf-8").splitlines() if Path(key).is_file() else [key]
        found += [Verifier.parse(line) for line in lines if line.strip()]
    return found


def _carried(journal: Path) -> "list[Verifier]":
    path = journal / "keys"
    return verifiers([str(path)]) if path.exists() else []


def _checkpoints(paths: Sequence[Path], keys: "Sequence[Verifier]") -> "list[Checkpoint]":
    from commonpool.journal.verification import checkpoint_of

    return [checkpoint_of(path.read_text(encoding="utf-8"), keys) for path in paths]


def _witnessed(witnesses: Sequence[Path]) -> "list[Checkpoint]":
    from commonpool.journal.anchor import heads

    return [head for witness in witnesses for head in heads(witness)]


def _stamped(journal: Path) -> list[int]:
    from commonpool.journal.timestamp import sizes

    return sizes(journal)


def _stamps(verdict: "Verdict", journal: Path, authorities: Sequence[Path]) -> Any:  # noqa: ANN401
    from cryptography import x509

    from commonpool.journal.timestamp import checked

    found = [one for path in authorities for one in x509.load_pem_x509_certificates(path.read_bytes())]
    return checked(verdict, journal, found)


def show(
    folder: Path | None, target: Target, output: Output, *, first: int | None, last: int, kinds: Sequence[str]
) -> int:
    """Records, the newest at the end; nothing is verified."""
    from commonpool.journal.query import latest, records

    journal = evidence.existing(folder, target)
    found = latest(journal, last, kinds) if first is None else list(islice(records(journal, first, kinds=kinds), last))
    if output.structured:
        output.document("RecordList", items=[_flat(one) for one in found])
    elif not found:
        output.data("0 records of that kind; `commonpool journal show` without --kind shows the last ones of any")
    else:
        rows = [[str(one.sequence), one.at[:19].replace("T", " "), one.kind, plain(one.actor)] for one in found]
        headings = ["record", "when (UTC)", "kind", "by"]
        whole = [[*row, words(one)] for row, one in zip(rows, found, strict=True)]
        if output.fits([*headings, "what"], whole):
            output.data(output.table([*headings, "what"], whole, left=5))
        else:
            shown = output.table(headings, rows, left=4).split("\n")
            said = [output.cut(f"        {words(one)}") for one in found]
            output.data("\n".join([shown[0], *(part for pair in zip(shown[1:], said, strict=True) for part in pair)]))
    return OK


def _flat(record: "Record") -> dict[str, Any]:
    found = record.to_json()
    return {"sequence": found.pop("seq"), "previous": found.pop("prev"), **found}


def words(record: "Record") -> str:
    """What a record says, on one line; control characters stay escaped."""
    import json

    if isinstance(summary := record.data.get("summary"), str):
        return plain(summary)
    text = ", ".join(
        f"{key} {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}"
        for key, value in record.data.items()
        if key not in ("token", "checkpoint")
    )
    return plain(text if len(text) <= 160 else f"{text[:159]}…")


def plain(text: str) -> str:
    """Text of which no character moves the cursor, colours or turns around."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def export(folder: Path | None, target: Target, to: Path, output: Output) -> int:
    """Copy a journal for whoever verifies it elsewhere."""
    from commonpool.journal.export import export as copy

    journal = evidence.existing(folder, target)
    with output.working("copying"):
        size = copy(journal, to)
    output.say(
        f"wrote {to}: {count(size, 'record')} with seals and public keys; `commonpool journal verify {to}` reads it anywhere"
    )
    return OK


def head(folder: Path | None, target: Target, output: Output, *, since: int) -> int:
    """The newest signed checkpoint; since an older one a witness request with its proof."""
    from commonpool.journal import anchor, query

    journal = evidence.existing(folder, target)
    note = query.newest(journal)
    output.data((anchor.head(journal, note, since).request if since else note).rstrip("\n"))
    return OK


def keep(folder: Path | None, target: Target, source: str, output: Output, *, keys: Sequence[str]) -> int:
    """Keep a peer's head in our journal, and say which head of ours the peer should keep."""
    from commonpool.journal import anchor, query

    journal = _writable(folder, target)
    record = anchor.keep(journal, _handed(source, journal.folder), verifiers(keys), whoever())
    output.data(
        f"record {record.sequence}: the head of {record.data['size']} records of {record.data['origin']} is kept"
    )
    output.say("  next: let the peer keep ours:")
    output.say("\n".join(f"    {line}" for line in query.newest(journal.folder).rstrip("\n").split("\n")), whole=True)
    return OK


def _handed(source: str, own: Path) -> Any:  # noqa: ANN401
    from commonpool.journal import anchor, query

    path = Path(source)
    if path.is_dir():
        note = query.newest(path)
        origin = note.split("\n")[0]
        kept = [one for one in query.records(own, kinds=(anchor.KEPT,)) if one.data.get("origin") == origin]
        return anchor.head(path, note, int(kept[-1].data["size"]) if kept else 0)
    text = sys.stdin.read() if source == "-" else path.read_text(encoding="utf-8")
    return anchor.Head.parse(text)


def keys(folder: Path | None, target: Target, output: Output, *, rotate: bool) -> int:
    """The public keys, the one in force last; with `rotate` a new one from now on."""
    if rotate:
        made = _writable(folder, target).rotate()
        output.say(f"the key {made.identity.hex()} seals from now on; give it to whoever verifies")
    journal = evidence.existing(folder, target)
    lines = (journal / "keys").read_text(encoding="utf-8").splitlines()
    if output.structured:
        output.document("JournalKeys", keys=lines)
    else:
        output.data("\n".join(lines))
    return OK


def stamp(folder: Path | None, target: Target, service: str, output: Output) -> int:
    """Have the newest head stamped by an RFC 3161 service."""
    from commonpool.journal import timestamp

    journal = _writable(folder, target)
    try:
        with output.working(f"asking {service}"):
            moment = timestamp.stamp(journal, service)
    except timestamp.ServiceFailed as error:
        raise CommandFailed(
            str(error), code="timestamp_failed", next_step="try again; nothing is lost meanwhile"
        ) from error
    output.say(f"everything up to now existed at {moment.isoformat()}, says {service}")
    return OK


def _writable(folder: Path | None, target: Target) -> "Journal":
    from commonpool.journal import Journal

    journal = evidence.existing(folder, target)
    key = Path(f"{folder}.key") if folder else evidence.place(target)[1]
    if not key.exists():
        raise CommandFailed(
            f"there is no private key {key}: this is a copy, which nobody can add to",
            code="journal_read_only",
            next_step="name the pool whose journal it is with --pool",
        )
    return Journal(journal, key)


def whoever() -> str:
    """Who asks, as this machine knows them."""
    return f"{getpass.getuser()}@{socket.gethostname()} (uid {os.getuid()})"
