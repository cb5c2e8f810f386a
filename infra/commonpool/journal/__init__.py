"""The evidence of a pool: one append-only journal of what was decided and exchanged.

Records are chained by their hashes, stand in the Merkle tree of a transparency log (RFC 6962), and are covered by signed
checkpoints (C2SP `tlog-checkpoint`); whoever acts waits until the record of the act is on the disk. What this package refuses
to do: to act without evidence, and to mend evidence that does not verify.
"""

from commonpool.journal.error import JournalDamaged, JournalError, JournalUnavailable
from commonpool.journal.journal import Journal
from commonpool.journal.record import Entry, Record

__all__ = ["Entry", "Journal", "JournalDamaged", "JournalError", "JournalUnavailable", "Record"]
