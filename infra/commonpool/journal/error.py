"""What can go wrong with a journal; `code` is the word of JSON output."""


class JournalError(Exception):
    """A journal cannot be read, written or believed."""

    code = "journal_error"
    next_step = ""


class JournalUnavailable(JournalError):
    """A record could not be made durable; whatever it was to prove must not happen."""

    code = "evidence_unavailable"
    next_step = (
        "make room on the journal's disk or mend it, and run the same again: nothing was done without its record"
    )


class JournalDamaged(JournalError):
    """What stands in the journal is not what was written; nothing is appended to it."""

    code = "journal_damaged"
    next_step = (
        "`commonpool journal verify` names the first bad record; stop the pool, keep the folder for whoever looks into it,"
        " and put a copy that verifies in its place: without any, move folder and private key away, and the next run begins a new journal"
    )


class JournalMissing(JournalError):
    """A journal is not where its key, or a part of it, says that it is; none is made in its place."""

    code = "journal_missing"
    next_step = (
        "bring the folder back (is its disk mounted, was it moved?), or move what is left of it and the private key away:"
        " the next run then begins a new journal"
    )


class KeyNotInForce(JournalError):
    """The private key is not the one by which the journal is sealed now; nothing is sealed with another one."""

    code = "key_not_in_force"
    next_step = (
        "put the private key back that belongs to this journal, or the journal that belongs to this key: one of the two was"
        " restored from before `commonpool journal keys --rotate`, or is of another journal"
    )


class KeyUnusable(JournalError):
    """A key is none, or of an algorithm that is not known."""

    code = "key_unusable"


class NoteDamaged(JournalError):
    """A signed note or checkpoint does not have its form."""

    code = "note_damaged"


class AnchorRefused(JournalError):
    """A peer's head is not what its earlier heads, or its key, say."""

    code = "anchor_refused"
