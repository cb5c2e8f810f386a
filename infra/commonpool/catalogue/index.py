"""Search over the datasets of an estate: SQLite's full-text index in the cache, brought up to date by what files changed.

Chinese has no spaces: a run of its characters is indexed as overlapping pairs, so that any part of a word of two or more is
found, and a single character by the pairs that begin with it. The index says nothing that the files do not say; deleting it
costs the time of reading them once.
"""

import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonpool.folder import cache_folder
from commonpool.model.cache import opened
from commonpool.model.document import Document, read

LARGE = 5_000  # files; so many are looked at in some 20 ms
LATELY_SECONDS = 60.0
MANY = 2_000  # matches, above which titles alone decide what comes first: weighing each takes a microsecond
_FORMAT = 3  # of the tables below; another number is another file
_RUN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+|[^\W_\u3400-\u9fff\uf900-\ufaff]+")
_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_TABLES = """
create table if not exists file (path text primary key, changed integer, size integer, row integer);
create table if not exists look (one integer primary key, folder integer, at real);
create table if not exists entry (
  row integer primary key, name text, title text, provider text, code text, sharing text, category text, cycle text, items integer
);
create virtual table if not exists words using fts5(heading, rest, prefix='1 2');
"""


@dataclass(frozen=True)
class Entry:
    """One dataset as lists show it."""

    name: str
    title: str
    provider: str
    code: str
    sharing: str
    category: str
    update: str
    items: int


def open_index(folder: Path) -> "Index":
    """The index over a folder of datasets' manifests, as it was left; `refresh` brings it up to date."""
    name = hashlib.sha256(f"{_FORMAT}:{folder.resolve()}".encode()).hexdigest()[:24]
    path = cache_folder() / "catalogue" / f"{name}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Index(folder, _connect(path))
    except sqlite3.DatabaseError:  # cut off or overwritten: it is a cache
        path.unlink(missing_ok=True)
        return Index(folder, _connect(path))


def _connect(path: Path) -> sqlite3.Connection:
    found = sqlite3.connect(path, timeout=60, isolation_level=None)
    found.execute("pragma journal_mode=wal")
    found.execute("pragma synchronous=off")  # a cache
    found.executescript(_TABLES)
    return found


class Index:
    """Use `open_index`."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        """`folder` holds the manifests."""
        self.folder, self._database = folder, database

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def refresh(self, *, thorough: bool = True) -> int:
        """Read what changed since the last time; returns how many files that were.

        Looking at each of 100,000 files takes a third of a second. Without `thorough`, a large catalogue is taken as it was
        while its folder has not changed, and that was looked at less than a minute ago: so an edit in place, which changes
        no folder, may be found a minute late.
        """
        folder = self.folder.stat().st_mtime_ns if self.folder.is_dir() else 0
        if not thorough and self._lately(folder):
            return 0
        found = self._look()
        self._database.execute("insert or replace into look values (1, ?, ?)", (folder, time.time()))
        return found

    def _lately(self, folder: int) -> bool:
        before = self._database.execute("select folder, at from look").fetchone()
        (number,) = self._database.execute("select count(*) from file").fetchone()
        return (
            number > LARGE
            and before is not None
            and before[0] == folder
            and 0 <= time.time() - before[1] < LATELY_SECONDS
        )

    def _look(self) -> int:
        with self._alone():
            known = {
                path: (changed, size)
                for path, changed, size in self._database.execute("select path, changed, size from file")
            }
            present = dict(_files(self.folder))
            gone = [path for path in known if path not in present]
            changed = sorted(path for path, stamp in present.items() if known.get(path) != stamp)
            for path in (*gone, *(path for path in changed if path in known)):
                self._forget(path)
            cache = opened(self.folder.parent) if len(changed) > LARGE else None
            for path in changed:
                self._add(path, read(self.folder / path, path, cache), *present[path])
        return len(gone) + len(changed)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._database.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._database.execute("rollback")
            raise
        self._database.execute("commit")

    def _forget(self, path: str) -> None:
        (row,) = self._database.execute("select row from file where path = ?", (path,)).fetchone()
        if row is not None:
            self._database.execute("delete from entry where row = ?", (row,))
            self._database.execute("delete from words where rowid = ?", (row,))
        self._database.execute("delete from file where path = ?", (path,))

    def _add(self, path: str, document: Document, changed: int, size: int) -> None:
        values = document.values
        spec = values.get("spec") if isinstance(values, dict) else None
        row = None
        if isinstance(spec, dict):  # what is no manifest is for `validate` to refuse, not for a search
            fields, title, rest = _entry(path.removesuffix(".yaml"), spec)
            row = self._database.execute(
                "insert into entry(name, title, provider, code, sharing, category, cycle, items) values (?,?,?,?,?,?,?,?)",
                fields,
            ).lastrowid
            self._database.execute("insert into words(rowid, heading, rest) values (?, ?, ?)", (row, title, rest))
        self._database.execute("insert into file values (?, ?, ?, ?)", (path, changed, size, row))

    def search(
        self, text: str = "", *, provider: str = "", sharing: str = "", category: str = "", limit: int = 50
    ) -> tuple[list[Entry], int]:
        """The best matches of all words, titles first, and how many match in all; without a text everything by name.

        What more than `MANY` match is not weighed: those with all words in their title come first, each kind as it was indexed.
        """
        filters = {"provider": provider, "sharing": sharing, "category": category}
        wanted = [(name, value) for name, value in filters.items() if value]
        chosen = _Chosen(self._database, [name for name, _ in wanted], [value for _, value in wanted])
        question = query(text)
        total = chosen.count(question)
        if question and total > MANY:
            rows = chosen.rows(f"heading : ({question})", "words.rowid", limit)
            rows += chosen.rows(f"({question}) NOT heading : ({question})", "words.rowid", limit - len(rows))
        else:
            rows = chosen.rows(question, "bm25(words, 10.0, 1.0), entry.name" if question else "entry.name", limit)
        return [Entry(*row) for row in rows], total


@dataclass(frozen=True)
class _Chosen:
    """Entries with certain values in some columns, among those that a question in FTS5's language matches."""

    database: sqlite3.Connection
    names: Sequence[str]
    values: Sequence[str]

    def count(self, question: str) -> int:
        return int(self._ask("count(*)", question, "")[0][0])

    def rows(self, question: str, order: str, limit: int) -> list[Any]:
        columns = "name, title, provider, code, sharing, category, cycle, items"
        return self._ask(columns, question, f"order by {order} limit {limit:d}")

    def _ask(self, columns: str, question: str, end: str) -> list[Any]:
        where = " and ".join([*(["words match ?"] if question else []), *(f"entry.{name} = ?" for name in self.names)])
        source = "words join entry on entry.row = words.rowid" if question else "entry"
        # The names of columns are ours; what was asked goes in as values.
        text = f"select {columns} from {source} where {where or '1'} {end}"  # noqa: S608
        return self.database.execute(text, [*([question] if question else []), *self.values]).fetchall()


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".yaml"):
                state = entry.stat()
                yield entry.name, (state.st_mtime_ns, state.st_size)


def _entry(name: str, spec: dict[str, Any]) -> tuple[tuple[Any, ...], str, str]:
    items = [item for item in spec.get("items") or () if isinstance(item, dict)]
    sharing = spec.get("sharing")
    class_ = sharing.get("class", "unconditional") if isinstance(sharing, dict) else "unconditional"
    text = {word: str(spec.get(word) or "") for word in ("displayName", "provider", "code", "category", "update")}
    rest = [
        name,
        text["code"],
        text["provider"],
        str(spec.get("abstract") or ""),
        str(spec.get("classification") or ""),
    ]
    rest += [str(item.get(word) or "") for item in items for word in ("name", "title", "element")]
    fields = (
        name,
        text["displayName"],
        text["provider"],
        text["code"],
        class_,
        text["category"],
        text["update"],
        len(items),
    )
    return fields, tokens(text["displayName"]), tokens(" ".join(rest))


def tokens(text: str) -> str:
    """What is indexed of a text: words in lower case, Chinese in overlapping pairs and its last character."""
    found: list[str] = []
    for run in _RUN.findall(text.lower()):
        if _CHINESE.match(run):
            found += [run[place : place + 2] for place in range(len(run))]
        else:
            found.append(run)
    return " ".join(found)


def query(text: str) -> str:
    """A question in FTS5's language for what a person typed: all of it must be there, the last letters may be missing."""
    parts = []
    for run in _RUN.findall(text.lower()):
        if _CHINESE.match(run) and len(run) > 1:
            pairs: Sequence[str] = [run[place : place + 2] for place in range(len(run) - 1)]
            parts.append(f'"{" ".join(pairs)}"')
        else:
            parts.append(f'"{run}"*')
    return " ".join(parts)
