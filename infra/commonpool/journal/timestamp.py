"""Times that somebody else vouches for (RFC 3161): a token over a signed checkpoint, kept as a record of the journal.

A token covers everything before its checkpoint, so after an outage of the service the next one leaves no record unstamped.
Who rewrites the journal later, even with its key, cannot obtain tokens of the past.
"""

import base64
import contextlib
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from commonpool.journal import query
from commonpool.journal.error import JournalDamaged, JournalUnavailable, NoteDamaged
from commonpool.journal.journal import OWN, Journal
from commonpool.journal.note import Checkpoint, Note
from commonpool.journal.record import Entry, Record
from commonpool.journal.report import Finding
from commonpool.journal.verification import Verdict

STAMPED = "timestamp.kept"
EVERY_SECONDS = 600.0
# X-Road's acceptable-timestamp-failure-period: four hours, then nothing more is accepted.
LIMIT_SECONDS = 14_400.0
ANSWER_SECONDS = 10.0


class ServiceFailed(Exception):
    """The timestamping service did not answer, or answered no."""


@dataclass
class Stamping:
    """Stamps a journal now and then; `url` is the service's, times are in seconds."""

    journal: Journal
    url: str
    every: float = EVERY_SECONDS
    limit: float = LIMIT_SECONDS

    def keep_up(self, now: datetime | None = None) -> str:
        """Stamp when it is time; returns a warning or nothing. Raises `JournalUnavailable` past the limit."""
        moment = now or datetime.now(UTC)
        age = (moment - self._since()).total_seconds()
        # A stamp that is yet to come was kept while the clock ran ahead: none vouches for what is recorded now.
        if 0 <= age < self.every and query.last(self.journal.folder, STAMPED):
            return ""
        try:
            stamp(self.journal, self.url)
        except ServiceFailed as error:
            if age > self.limit:
                raise JournalUnavailable(
                    f"{error}; the last timestamp is {age:,.0f} s old, and after {self.limit:,.0f} s nothing more is accepted"
                ) from error
            return f"{error}; without it nothing more is accepted in {self.limit - max(0.0, age):,.0f} s"
        return ""

    def _since(self) -> datetime:
        """When the last stamp was kept; before any, when the journal was opened."""
        found = query.last(self.journal.folder, STAMPED) or next(query.records(self.journal.folder))
        return datetime.fromisoformat(found.at)


def stamp(journal: Journal, url: str) -> datetime:
    """Obtain a token over the newest checkpoint and keep it; returns its time. Raises `ServiceFailed`."""
    note = journal.checkpoint()
    builder = TimestampRequestBuilder().data(note.encode()).hash_algorithm(HashAlgorithm.SHA256)
    asked = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    headers = {"Content-Type": "application/timestamp-query"}
    request = urllib.request.Request(url, asked.as_bytes(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            token = answer.read(1 << 20)
        found = decode_timestamp_response(token).tst_info
        said = (found.nonce, found.message_imprint.message)
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise ServiceFailed(f"the timestamping service {url} failed: {error}") from error
    # What is kept is kept for ever: a token over something else would fail every later verification.
    if said != (asked.nonce, asked.message_imprint.message):
        raise ServiceFailed(f"the timestamping service {url} answered for something else than what it was asked")
    moment = found.gen_time
    size = int(note.split("\n")[1])
    data = {"size": size, "checkpoint": note, "token": _lines(token), "time": moment.isoformat(), "service": url}
    journal.append([Entry(STAMPED, OWN, data)])
    return moment


def _lines(token: bytes) -> list[str]:
    """In pieces that a record keeps whole."""
    text = base64.b64encode(token).decode()
    return [text[place : place + 4000] for place in range(0, len(text), 4000)]


def sizes(journal: Path) -> list[int]:
    """Of how many records each token that is kept vouches, as far as that can be read: `checked` needs the roots there."""
    found: list[int] = []
    with contextlib.suppress(JournalDamaged):  # which verification tells in more words
        for record in query.records(journal, kinds=(STAMPED,)):
            head = _checkpoint(record)
            found += [head.size] if head else []
    return found


def checked(
    verdict: Verdict, journal: Path, authorities: Sequence[x509.Certificate]
) -> tuple[list[str], Finding | None]:
    """The times that the authorities vouch for, as words, and the first token that they do not, or that is not over these records.

    `verdict` knows the roots at the `sizes`. A thief of the key can keep the tokens of the journal that was written anew.
    """
    builder = VerifierBuilder()
    for authority in authorities:
        builder = builder.add_root_certificate(authority)
    verifier = builder.build()
    words: list[str] = []
    for record in query.records(journal, kinds=(STAMPED,)):
        if record.sequence >= verdict.size:
            break
        token = base64.b64decode("".join(record.data["token"]))
        note = str(record.data["checkpoint"])
        try:
            response = decode_timestamp_response(token)
            verifier.verify_message(response, note.encode())
        except (VerificationError, ValueError) as error:
            return words, Finding(record.sequence, "timestamp", f"its token does not verify: {error}", journal, 0)
        head = _checkpoint(record)
        if head is None or head.origin != verdict.origin or verdict.roots.get(head.size) != head.root:
            what = "its token vouches for other records than those that stand before it: they were written anew"
            return words, Finding(record.sequence, "timestamp", what, journal, 0)
        words.append(f"{response.tst_info.gen_time.isoformat()} {head.size} records")
    return words, None


def _checkpoint(record: Record) -> Checkpoint | None:
    try:
        return Checkpoint.parse(Note.parse(str(record.data.get("checkpoint"))).text)
    except NoteDamaged:
        return None
