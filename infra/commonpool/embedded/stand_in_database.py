"""A PostgreSQL that stands in for a simulated one, where PostgreSQL is installed: one database, one user who can only read.

It lives as long as the process that plays it. Nobody can sign in as its administrator, whose rights would be those of this
machine's user: what it holds is put there before it listens.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from commonpool.embedded.stand_in import FOLDER, Role, Stage, answers

USER, NAME = "reader", "register"
START_SECONDS = 20.0
_PLACES = "/usr/lib/postgresql/*/bin"  # Debian's, which does not put them on PATH
_OPTIONS = ("shared_buffers=8MB", "max_connections=100", "fsync=off", "autovacuum=off", "unix_socket_directories=")
_PR_SET_PDEATHSIG = 1


class Database:
    """One database server as a child of this process."""

    def __init__(self, stage: Stage, role: Role) -> None:
        """Nothing is started before `start`."""
        self.stage, self.role = stage, role
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root, and its own user cannot reach a folder of root's.
        self._root = os.getuid() == 0
        self._as: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if self._root else {}

    def start(self) -> str:
        """Start it; returns why it cannot be, or nothing when it answers."""
        programs = programs_folder()
        if programs is None:
            return "no PostgreSQL is installed here, so that this is TCP with one sentence"
        if self._root and not _has_user("postgres"):
            return "PostgreSQL is installed, but there is no user postgres to run it as"
        try:
            self._start(programs)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", b"") or b""
            self.stop()
            return f"PostgreSQL does not start: {error} {said.decode(errors='replace').strip()[-300:]}"
        return ""

    def _start(self, programs: Path) -> None:
        self.stage.forget()
        folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir="/tmp" if self._root else self.stage.layout.root))  # noqa: S108
        self.stage.database.write_text(str(folder), encoding="utf-8")
        if self._root:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        self._run([str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--locale=C", "-E", "UTF8", "-N"])
        single = [str(programs / "postgres"), "--single", "-D", str(data)]
        self._run([*single, "postgres"], f"create role {USER} login\ncreate database {NAME}\n")
        self._run([*single, NAME], "\n".join(_contents(self.role)) + "\n")
        (data / "pg_hba.conf").write_text(f"host {NAME} {USER} 127.0.0.0/8 trust\n", encoding="utf-8")
        options = [word for option in _OPTIONS for word in ("-c", option)]
        self._process = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(data), "-h", self.role.address, "-p", str(self.role.port), *options],
            cwd="/",
            preexec_fn=_die_with_parent,
            **self._as,
        )
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.role):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise OSError("it does not listen")
            time.sleep(0.05)

    def _run(self, command: list[str], statements: str = "") -> None:
        subprocess.run(
            command, input=statements.encode(), check=True, capture_output=True, cwd="/", timeout=60, **self._as
        )

    def stop(self) -> None:
        """End it and delete what it kept."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown: connections are closed
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self.stage.forget()


def programs_folder() -> Path | None:
    """Where `postgres` and `initdb` are: on PATH, else the newest of Debian's."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(
        Path("/").glob(_PLACES[1:]), key=lambda folder: int(folder.parent.name.split(".")[0]), reverse=True
    )
    return next((one for one in folders if (one / "initdb").exists() and (one / "postgres").exists()), None)


def _contents(role: Role) -> list[str]:
    """One statement a line, as single-user mode reads them."""
    return [
        "create table about (says text)",
        f"insert into about values ('{role.says}')",  # noqa: S608  it holds names of Kubernetes and our own words
        "create table residents (number int primary key, name text, district text)",
        "insert into residents select n, 'Resident ' || n, 'District ' || n % 12 from generate_series(1, 1000) n",
        f"grant select on about, residents to {USER}",
    ]


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
