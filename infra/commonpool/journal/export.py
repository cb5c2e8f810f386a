"""A copy of a journal to be verified elsewhere: records, seals and public keys, nothing else."""

import shutil
from pathlib import Path

from commonpool.journal import query, segment
from commonpool.journal.error import JournalError


def export(journal: Path, target: Path) -> int:
    """Copy what is sealed into a new folder; returns the number of records. Raises `JournalError` when it is in use.

    The copy is in its place when it is whole: half of one would verify, as a journal with fewer records.
    """
    if target.exists() and any(target.iterdir()):
        raise JournalError(f"{target} is not empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)  # of one that was killed
    try:
        note = _copy(journal, scratch)
        scratch.replace(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return int(note.split("\n")[1])


def _copy(journal: Path, target: Path) -> str:
    segment.folder_of(target).mkdir(parents=True)
    for path in segment.segments(journal):
        lines = segment.lines_of(path)
        while lines and not segment.is_seal(lines[-1]):
            lines.pop()
        if lines:
            (segment.folder_of(target) / path.name).write_bytes(b"\n".join(lines) + b"\n")
    shutil.copyfile(journal / "keys", target / "keys")  # after the seals: one by a newer key has it there
    note = query.newest(target)
    (target / segment.CHECKPOINT).write_text(note, encoding="utf-8")
    if (journal / segment.BODIES).is_dir():
        shutil.copytree(journal / segment.BODIES, target / segment.BODIES)
    return note
