"""Where a pool's journal lies, and opening it to write."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.failure import CommandFailed
from commonpool.cli.target import Target
from commonpool.folder import data_folder

if TYPE_CHECKING:
    from commonpool.journal import Journal


def place(target: Target, name: str = "") -> tuple[Path, Path]:
    """Folder and key: `$COMMONPOOL_JOURNAL`, else the embedded pool's, else one on this machine for the named cluster's pool."""
    named = os.environ.get("COMMONPOOL_JOURNAL")
    if named:
        return Path(named), Path(f"{named}.key")
    if target.embedded:
        from commonpool.embedded import EmbeddedPool

        pool = EmbeddedPool(target.pool)
        return pool.layout.journal, pool.layout.journal_key
    base = data_folder() / "journals" / (name or "default")
    return base / "journal", base / "journal.key"


def opened(target: Target, name: str = "") -> "Journal":
    """The journal of a pool, made when there is none. Raises `JournalError`."""
    from commonpool.journal import Journal

    folder, key = place(target, name)
    return Journal.open(folder, key, name or target.pool)


def existing(folder: Path | None, target: Target) -> Path:
    """The folder that is named, else the pool's; `CommandFailed` when there is no journal."""
    found = folder or place(target)[0]
    if not (found / "segments").is_dir():
        raise CommandFailed(
            f"there is no journal in {found}",
            code="journal_missing",
            next_step="name a journal's folder, or write the first record with `commonpool up`",
        )
    return found
