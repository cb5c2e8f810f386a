"""Where a pool's journal lies, and what commands write there before they act."""

import asyncio
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed
from commonpool.cli.target import Target
from commonpool.folder import data_folder

if TYPE_CHECKING:
    from commonpool.engine import Cluster
    from commonpool.engine.error import EvidenceUnavailable
    from commonpool.journal import Entry, Journal
    from commonpool.journal.recorder import Recorder

_OF_SECRETS = re.compile(r"/secrets(/|\?|$)")  # those that are made have no name in the path yet
GRACE_SECONDS = 5.0  # how long a write to the cluster waits for its record before the run is refused


def place(target: Target, name: str = "") -> tuple[Path, Path]:
    """Folder and key: `$COMMONPOOL_JOURNAL`, else the embedded pool's, else one on this machine for the named cluster's pool."""
    named = os.environ.get("COMMONPOOL_JOURNAL")
    if named:
        folder = Path(named)  # without a slash at its end: the key lies beside it, and never in what is handed on
        return folder, Path(f"{folder}.key")
    pool = target.own_pool
    if pool is not None:
        return pool.layout.journal, pool.layout.journal_key
    # One cluster, one chain: who knows no pool's name, as `journal verify`, means the one that stands.
    server = hashlib.sha256(target.credentials().server.encode()).hexdigest()[:8]
    journals = data_folder() / "journals"
    own, standing = journals / f"{name or 'program'}-{server}", sorted(journals.glob(f"*-{server}"))
    base = own if own.exists() or not standing else standing[0]
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


class RunEvidence:
    """The record of one run: begun with its first write, and every write before it is sent; nothing when nothing changes."""

    def __init__(
        self, target: Target, name: str, begun: "Callable[[], list[Entry]]", say: Callable[[str], None]
    ) -> None:
        """`begun` says what run it is, once it is known that it writes; `say` takes warnings."""
        self.run = uuid.uuid4().hex[:12]
        self._target, self._name, self._begun, self._say = target, name, begun, say
        self._cluster: Cluster | None = None
        self._recorder: Recorder | None = None
        self._starting: asyncio.Task[None] | None = None
        self._actor = ""
        self._lost: EvidenceUnavailable | None = None
        self._owed: list[Entry] = []

    def watch(self, cluster: "Cluster") -> None:
        """Be told of every write of this client."""
        self._cluster = cluster
        cluster.evidence = self

    def owe(self, entries: "list[Entry]") -> None:
        """Decisions that are recorded before whatever is written next."""
        self._owed += entries

    @property
    def begun(self) -> bool:
        """Whether anything was recorded."""
        return self._recorder is not None

    async def before_write(self, method: str, path: str, content: bytes | None) -> None:
        """Record a write. Raises `EvidenceUnavailable`."""
        data = {"run": self.run, "request": f"{method} {path}"}
        if content is not None and not _OF_SECRETS.search(path):  # the digest of a short secret would give it away
            data["sha256"] = hashlib.sha256(content).hexdigest()
        await self.decided("cluster.write", data)

    async def decided(self, kind: str, data: Mapping[str, Any]) -> None:
        """Record a decision. Raises `EvidenceUnavailable`."""
        from commonpool.engine.error import EvidenceUnavailable
        from commonpool.journal import Entry, JournalError

        if self._lost:
            raise self._lost
        try:
            if self._starting is None:
                self._starting = asyncio.create_task(self._start())
            await asyncio.shield(self._starting)
            assert self._recorder is not None
            owed, self._owed = self._owed, []
            await self._recorder.record(*self._own(owed), Entry(kind, self._actor, data))
        except JournalError as error:
            self._lost = EvidenceUnavailable(f"{error}: what cannot be proved is not done", error.next_step)
            raise self._lost from error

    async def _start(self) -> None:
        from commonpool.cli.cut_over import person
        from commonpool.journal.recorder import Recorder

        assert self._cluster is not None
        journal = await asyncio.to_thread(opened, self._target, self._name)
        self._actor = await person(self._cluster)
        await self._stamp(journal)
        recorder = Recorder(journal, GRACE_SECONDS)
        await recorder.record(*self._own(self._begun()))
        self._recorder = recorder

    def _own(self, entries: "list[Entry]") -> "list[Entry]":
        from dataclasses import replace

        return [replace(entry, actor=self._actor, data={"run": self.run, **entry.data}) for entry in entries]

    async def _stamp(self, journal: "Journal") -> None:
        service = os.environ.get("COMMONPOOL_TIMESTAMPS", "")
        if not service:
            return
        from commonpool.journal.timestamp import Stamping

        warning = await asyncio.to_thread(Stamping(journal, service).keep_up)
        if warning:
            self._say(f"  warning: {warning}")

    async def end(self, data: Mapping[str, Any]) -> None:
        """Record how a run that wrote ended; one that did not leaves nothing."""
        if not self.begun:
            return
        await self.decided("run.ended", {"run": self.run, **data})
        assert self._recorder is not None
        await self._recorder.__aexit__(None, None, None)
        self._recorder = None


def refused(target: Target, name: str, entry: "Entry") -> None:
    """Record a refusal, once: the same one again, with nothing else of its kind between, is not written again."""
    from commonpool.journal import query

    journal = opened(target, name)
    before = query.last(journal.folder, entry.kind)
    if before is None or before.data != entry.data:
        journal.append([entry], grace=GRACE_SECONDS)
