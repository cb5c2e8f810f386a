"""A copy of a journal to be verified elsewhere: records, seals and public keys, nothing else."""

import shutil
from pathlib import Path

from commonpool.journal import query, segment
from commonpool.journal.error import JournalError


def export(journal: Path, target: Path) -> int:
    """Copy what is sealed into a new folder; returns the number of records. Raises `JournalError` when it is in use."""
    if target.exists() and any(target.iterdir()):
        raise JournalError(f"{target} is not empty")
    segment.folder_of(target).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(journal / "keys", target / "keys")
    for path in segment.segments(journal):
        content = path.read_bytes()
        seal = content.rfind(b'\n{"seal":')
        if seal >= 0:
            (segment.folder_of(target) / path.name).write_bytes(content[: content.index(b"\n", seal + 1) + 1])
    note = query.newest(target)
    (target / "checkpoint").write_text(note, encoding="utf-8")
    if (journal / "bodies").is_dir():
        shutil.copytree(journal / "bodies", target / "bodies")
    return int(note.split("\n")[1])
