"""What `up` decides and writes is in the pool's journal before it is done; a run that changes nothing adds nothing (A4, A9, F9)."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import estates
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine.evidence import is_write
from commonpool.journal import Record
from commonpool.journal.query import records
from commonpool.journal.segment import segments
from commonpool.journal.verification import verify

ROOT = Path(__file__).resolve().parents[2]
Writes = Callable[[], list[dict[str, Any]]]


class Declared:
    """An estate of departments on the pool of this test process, applied by the command itself."""

    def __init__(self, pool: EmbeddedPool, root: Path, prefix: str, count: int) -> None:
        self.pool, self.prefix = pool, prefix
        self.root = estates.write(root, count, prefix=prefix)
        self.first = self.size()

    @property
    def journal(self) -> Path:
        return self.pool.layout.journal

    def size(self) -> int:
        return verify(self.journal).size if self.journal.exists() else 0

    def records(self, *kinds: str) -> list[Record]:
        return list(records(self.journal, self.first, kinds=kinds))

    def journal_bytes(self) -> int:
        return sum(path.stat().st_size for path in segments(self.journal))

    def command(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "commonpool.cli", "up", "--yes", "--skip-preview", "--estate", str(self.root)]
        command += ["--stack", "departments", "--no-wait", "--kubeconfig", str(self.pool.kubeconfig), *words]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
        )

    def up(self, *words: str, **environment: str) -> tuple[int, str]:
        run = self.command(*words, **environment)
        out, _ = run.communicate()
        return run.returncode, out


@pytest.fixture
def declared(embedded_pool: EmbeddedPool, catalogue: None, tmp_path: Path, fresh: str) -> Iterator[Declared]:
    one = Declared(embedded_pool, tmp_path / "estate", fresh, 3)
    yield one
    shutil.rmtree(one.root / "departments")
    (one.root / "departments").mkdir()
    one.up()


def requests(found: list[Record]) -> Counter[str]:
    return Counter(str(one.data["request"]) for one in found)


def audited(writes: Writes) -> Counter[str]:
    """What the API server says that our client wrote, in the journal's words."""
    verbs = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
    found = Counter(f"{verbs[event['verb']]} {event['requestURI']}" for event in writes())
    return Counter({one: count for one, count in found.items() if is_write(*one.split(" ", 1))})


@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("/apis/coordination.k8s.io/v1/namespaces/commonpool-system/leases/commonpool.pool?fieldManager=x", False),
        ("/apis/coordination.k8s.io/v1/namespaces/commonpool-system/leases", False),
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", False),
        ("/api/v1/namespaces/a/configmaps?dryRun=All", False),
        ("/api/v1/namespaces/leases-office-main/configmaps/x", True),
        ("/api/v1/namespaces/leases", True),
        ("/api/v1/namespaces/a/configmaps/tokenreviews", True),
    ],
)
def test_a9_what_a_namespace_or_object_is_called_hides_no_write(path: str, recorded: bool) -> None:
    assert is_write("PATCH", path) is recorded


def test_a9_every_write_that_the_api_server_saw_is_in_the_journal_and_no_other(
    declared: Declared, writes: Writes
) -> None:
    code, out = declared.up()
    assert code == 0, out
    journaled, seen = requests(declared.records("cluster.write")), audited(writes)
    assert sum(seen.values()) > 30
    assert journaled == seen
    kinds = [one.kind for one in declared.records() if one.kind != "cluster.write"]
    assert kinds[-5:] == ["run.begun", *["department.admitted"] * 3, "run.ended"]
    begun = declared.records("run.begun")[-1]
    assert begun.data["consent"] == "--yes"
    assert begun.actor.startswith("commonpool:admin (")
    admitted = declared.records("department.admitted")
    assert [one.data["department"] for one in admitted] == [f"{declared.prefix}{number}" for number in range(3)]
    assert admitted[0].data["flavors"][0]["wanted"] == "40m cores, 64 MiB"
    assert verify(declared.journal).good

    size = declared.size()
    code, out = declared.up()
    assert (code, declared.size()) == (0, size), "a run that changes nothing writes nothing there either"

    changed = estates.department(f"{declared.prefix}1", 1, environment="staging")
    (declared.root / "departments" / f"{declared.prefix}1.yaml").write_text(changed, encoding="utf-8")
    declared.first = size
    assert declared.up()[0] == 0
    assert [one.data["department"] for one in declared.records("department.admitted")] == [f"{declared.prefix}1"]


def test_f9_what_cannot_be_recorded_is_not_written(declared: Declared, tmp_path: Path, writes: Writes) -> None:
    (tmp_path / "blocked").write_text("a file where the journal's folder should be")
    code, out = declared.up(COMMONPOOL_JOURNAL=str(tmp_path / "blocked"))
    assert code == 1
    assert "evidence_unavailable" in out
    assert "what cannot be proved is not done" in out
    assert not audited(writes)


def test_a4_a_run_that_is_killed_leaves_no_write_without_its_record(declared: Declared, writes: Writes) -> None:
    for _ in range(3):
        run = declared.command()
        deadline = time.monotonic() + 60
        size = declared.journal_bytes()
        while declared.journal_bytes() < size + 4000 and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    code, out = declared.up()
    assert code == 0, out
    journaled, seen = requests(declared.records("cluster.write")), audited(writes)
    assert not seen - journaled, "each write has its record; a record whose write was cut off has none"
    assert verify(declared.journal).good


def test_a_refused_estate_is_recorded_once(declared: Declared) -> None:
    path = declared.root / "departments" / f"{declared.prefix}0.yaml"
    path.write_text(estates.department(f"{declared.prefix}0", 0, cpu="9000"), encoding="utf-8")
    assert declared.up()[0] == 1
    size = declared.size()
    found = declared.records("estate.refused")
    assert len(found) == 1
    assert found[0].data["problems"][0]["rule"] == "capacity-exceeded"
    assert declared.up()[0] == 1
    assert declared.size() == size
    path.write_text(estates.department(f"{declared.prefix}0", 0), encoding="utf-8")
