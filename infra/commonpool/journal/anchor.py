"""Heads of other pools' journals, kept in ours: whoever cuts off or rewrites a journal would have to change its peers' too.

What a peer hands over is its whole journal, or a witness request (C2SP `tlog-witness`: the head that we knew, the proof that
the new one goes on from it, the new checkpoint). A head that does not go on from the one we keep is refused, and with it the
proof of a fork is in our hands.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commonpool.journal import tree
from commonpool.journal.error import AnchorRefused, NoteDamaged
from commonpool.journal.journal import Journal
from commonpool.journal.note import Checkpoint, Note, Verifier
from commonpool.journal.query import records
from commonpool.journal.record import Entry, Record, line_hash
from commonpool.journal.segment import record_lines
from commonpool.journal.verification import verify

KEPT = "anchor.kept"


@dataclass(frozen=True)
class Head:
    """A peer's head as it is handed over: the signed checkpoint, and how it goes on from an older one."""

    note: str
    checkpoint: Checkpoint
    old: int = 0
    proof: tuple[bytes, ...] = ()

    @property
    def request(self) -> str:
        """The body of a witness request."""
        lines = [f"old {self.old}", *(base64.b64encode(one).decode() for one in self.proof)]
        return "\n".join(lines) + f"\n\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """From a witness request, or from a checkpoint alone. Raises `NoteDamaged`."""
        old, proof, note = 0, [], text
        if text.startswith("old "):
            head, _, note = text.partition("\n\n")
            first, *lines = head.split("\n")
            try:
                old = int(first.removeprefix("old "))
                proof = [base64.b64decode(line, validate=True) for line in lines]
            except (ValueError, binascii.Error) as error:
                raise NoteDamaged(f"no witness request: {error}") from error
        return cls(note, Checkpoint.parse(Note.parse(note).text), old, tuple(proof))


def head(journal: Path, note: str, since: int = 0) -> Head:
    """The newest head of a journal, with the proof that it goes on from the one of `since` records."""
    checkpoint = Checkpoint.parse(Note.parse(note).text)
    if not 0 < since < checkpoint.size:
        return Head(note, checkpoint, since)
    leaves = [line_hash(line) for line in record_lines(journal)][: checkpoint.size]
    return Head(note, checkpoint, since, tuple(tree.consistency(leaves, since)))


def keep(journal: Journal, peer: Head, keys: Sequence[Verifier], actor: str, *, grace: float = 0.0) -> Record:
    """Keep a peer's head. Raises `AnchorRefused` when it is unsigned, or does not go on from the one that is kept.

    `keys` are the peer's as somebody named them; without any, that of the head kept before counts.
    """
    origin, before = peer.checkpoint.origin, _before(journal.folder, peer.checkpoint.origin)
    trusted = list(keys) or ([Verifier.parse(str(before["vkey"]))] if before else [])
    if not trusted:
        raise AnchorRefused(f"nothing of {origin} is kept yet: name its public key with --key")
    note = Note.parse(peer.note)
    signer = next((key for key in trusted if key.name == origin and note.signed_by(key)), None)
    if signer is None:
        raise AnchorRefused(
            f"the head of {origin} is not signed by {', '.join(key.text for key in trusted)}; "
            "where its key was changed, name the new one with --key"
        )
    if before:
        known = Checkpoint.parse(Note.parse(str(before["checkpoint"])).text)
        _continued(known, peer)
    data = {"origin": origin, "size": peer.checkpoint.size, "checkpoint": peer.note, "vkey": signer.text}
    return journal.append([Entry(KEPT, actor, data)], grace=grace)[0]


def _before(journal: Path, origin: str) -> dict[str, object] | None:
    found = None
    for record in records(journal, kinds=(KEPT,)):
        if record.data.get("origin") == origin:
            found = dict(record.data)
    return found


def _continued(known: Checkpoint, peer: Head) -> None:
    new = peer.checkpoint
    if new.size < known.size:
        raise AnchorRefused(f"{new.origin} now has {new.size} records and had {known.size}: it was cut off")
    if new.size == known.size and new.root == known.root:
        return
    if peer.old != known.size:
        raise AnchorRefused(
            f"the head kept of {new.origin} is that of {known.size} records, and the proof is from {peer.old}: "
            f"ask for `commonpool journal head --since {known.size}`"
        )
    if not tree.is_consistent((known.size, known.root), (new.size, new.root), peer.proof):
        raise AnchorRefused(
            f"the head of {new.size} records of {new.origin} does not go on from that of {known.size} which is kept: "
            "its records were written anew, or it is a fork"
        )


def heads(witness: Path, keys: Sequence[Verifier] = ()) -> list[Checkpoint]:
    """The heads of others that a journal keeps. Raises `AnchorRefused` when that journal does not itself verify."""
    verdict = verify(witness, keys)
    if not verdict.good:
        raise AnchorRefused(f"the witness in {witness} does not verify: {verdict.finding}")
    found = []
    for record in records(witness, kinds=(KEPT,)):
        note = Note.parse(str(record.data["checkpoint"]))
        if note.signed_by(Verifier.parse(str(record.data["vkey"]))):
            found.append(Checkpoint.parse(note.text))
    return found
