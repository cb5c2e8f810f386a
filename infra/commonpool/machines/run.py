"""One run of a playbook by ansible-runner, in a folder of its own that is kept: what happened to each machine, as it happens.

Ansible is a program here, never imported. Secrets do not enter the folder: passwords reach Ansible through files in
memory, everything else secret lies in a folder that ends with the run. A machine that fails, hangs or is gone does not
stop the others.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from commonpool.machines.error import RunFailed
from commonpool.model import Machine

State = Literal["started", "ok", "changed", "skipped", "failed", "unreachable"]
FORKS_PER_CORE = 8  # a fork mostly waits for its machine
MOST_FORKS = 48
CONNECT_SECONDS = 10
TASK_SECONDS = 600  # for one step on one machine: a dead disk or share there must not hold the run
OF_COMMANDS = "non-zero return code"  # what Ansible says of every command that fails, whatever that one says
KEPT_RUNS = 50
SECRETS = "commonpool-"  # a run's folder in memory; the number of its process follows


@dataclass(frozen=True)
class Event:
    """Something happened to one machine at one step; `words` say why where it went wrong."""

    machine: str
    step: str
    state: State
    words: str = ""
    seconds: float = 0.0


Observer = Callable[[Event], None]


@dataclass
class MachineRun:
    """What became of one machine: the step it failed at, what changed, how each step ended and what it returned."""

    name: str
    state: State = "ok"
    step: str = ""
    words: str = ""
    changed: list[str] = field(default_factory=list)
    diffs: list[Any] = field(default_factory=list)
    steps: list[Event] = field(default_factory=list)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    times: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether it did not come through."""
        return self.state in ("failed", "unreachable")


@dataclass(frozen=True)
class Play:
    """What to run on what. Inventories are the organisation's own; `host_variables` are added for this run.

    `hours` is whether a step may take that long, as to wipe a disk does.
    """

    playbook: str
    machines: tuple[Machine, ...]
    known_hosts: Mapping[str, Path]
    variables: Mapping[str, Any] = field(default_factory=dict)
    host_variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secret_files: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[Literal["become", "connection"], str] = field(default_factory=dict)
    private_key: Path | None = None
    check: bool = False
    hours: bool = False


async def played(wanted: Play, runs: Path, observer: Observer) -> dict[str, MachineRun]:
    """As `play`, beside other work; when it is cancelled, what it began is ended."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(play, wanted, runs, observer, stop)
    finally:
        stop.set()


def play(wanted: Play, runs: Path, observer: Observer, stop: threading.Event | None = None) -> dict[str, MachineRun]:
    """Run it; every machine is in the answer. Raises `RunFailed` when Ansible itself could not start.

    Each inventory has a run of its own, all at once. Of several inventories Ansible makes one, in which the port, user or jump
    host that a server room sets for all its machines holds for those of other rooms.
    """
    stop, one_at_a_time = stop or threading.Event(), threading.Lock()

    def tell(event: Event) -> None:
        with one_at_a_time:
            observer(event)

    inventories = sorted({machine.file for machine in wanted.machines})
    with ThreadPoolExecutor(max(1, len(inventories))) as threads:
        begun = [threads.submit(_play, wanted, Path(file), runs, tell, stop) for file in inventories]
        try:
            return {name: run for one in begun for name, run in one.result().items()}
        except RunFailed:
            raise  # after the others have come to their end
        except BaseException:  # whoever asked is gone
            stop.set()
            raise


def _play(
    wanted: Play, inventory: Path, runs: Path, observer: Observer, stop: threading.Event
) -> dict[str, MachineRun]:
    import ansible_runner

    wanted = replace(wanted, machines=tuple(one for one in wanted.machines if Path(one.file) == inventory))
    folder = _new_folder(runs)
    found = {machine.name: MachineRun(machine.name) for machine in wanted.machines}
    collector = _Collector(found, observer)
    _lay_out(folder, wanted)
    with _secrets(wanted) as (secret_folder, environment), _control_folder() as control:
        variables = {**wanted.variables, "commonpool_secrets": str(secret_folder), **_connections(wanted, control)}
        (folder / "variables.json").write_text(json.dumps(variables), encoding="utf-8")
        options = ["--extra-vars", f"@{folder / 'variables.json'}"]
        options += ["--check", "--diff"] if wanted.check else []
        options += ["--private-key", str(wanted.private_key)] if wanted.private_key else []
        runner = ansible_runner.run(
            private_data_dir=str(folder),
            playbook=wanted.playbook,
            inventory=[str(inventory.resolve()), str(folder / "inventory")],
            limit=",".join(found),
            cmdline=" ".join(options),
            envvars=_environment(folder, len(found)) | environment,
            event_handler=collector.take,
            cancel_callback=stop.is_set,  # without one the runner takes the process's signals, and gives them back to nobody
            quiet=True,
            suppress_env_files=True,
            fact_cache=str(runs.resolve().parent / "facts"),
            status_handler=lambda status, runner_config: _forget_environment(Path(runner_config.artifact_dir)),
            settings={"suppress_ansible_output": True, "idle_timeout": 0 if wanted.hours else TASK_SECONDS + 300},
        )
    if not collector.began:
        raise RunFailed(
            f"Ansible did not start: {_tail(runner.stdout) or runner.status}",
            code="ansible_failed",
            next_step=f"see {folder}",
        )
    collector.close()
    return found


class _Collector:
    """Turns Ansible's events into ours."""

    def __init__(self, found: dict[str, MachineRun], observer: Observer) -> None:
        self.found, self.observer, self.began, self.ended = found, observer, False, False
        self.last: dict[str, str] = {}

    def take(self, event: dict[str, Any]) -> bool:
        kind, data = event.get("event", ""), event.get("event_data", {})
        if kind == "playbook_on_play_start":
            self.began = True
        self.ended = self.ended or kind == "playbook_on_stats"
        machine = self.found.get(data.get("host", ""))
        if machine is None or not kind.startswith("runner_"):
            return True
        step = str(data.get("task") or "")
        if kind == "runner_on_start":
            self.last[machine.name] = step
            self.observer(Event(machine.name, step, "started"))
            return True
        result = data.get("res") or {}
        state = _state(kind, data, result)
        if state is None:
            return True
        self._note(machine, step, state, data, result)
        return True

    def close(self) -> None:
        """What is not known to be done is not: a run that was ended before its end brought no machine through."""
        for machine in () if self.ended else self.found.values():
            if not machine.failed:
                machine.state, machine.step = "failed", self.last.get(machine.name, "")
                machine.words = "the run was ended before it was through"

    def _note(self, machine: MachineRun, step: str, state: State, data: dict[str, Any], result: dict[str, Any]) -> None:
        words = _words(result) if state in ("failed", "unreachable") else ""
        now = time.time()
        machine.times[step] = (now - float(data.get("duration") or 0), now)
        if state != "skipped":
            machine.results[step] = result
        if state == "changed":
            machine.changed.append(step)
            machine.diffs += [part for part in _diffs(result) if part]
        if state in ("failed", "unreachable"):
            machine.state, machine.step, machine.words = state, step, words
        machine.steps.append(Event(machine.name, step, state, words, float(data.get("duration") or 0)))
        self.observer(machine.steps[-1])


def _forget_environment(artifacts: Path) -> None:
    """The runner writes down the operator's whole environment beside the command; it is not ours to keep."""
    (artifacts / "command").unlink(missing_ok=True)


def _tail(stdout: Any) -> str:  # noqa: ANN401
    """The last lines that Ansible printed."""
    return "\n".join(line for line in stdout.read().splitlines() if line.strip())[-800:]


def _state(kind: str, data: Mapping[str, Any], result: Mapping[str, Any]) -> State | None:
    match kind:
        case "runner_on_ok":
            return "changed" if result.get("changed") else "ok"
        case "runner_on_skipped":
            return "skipped"
        case "runner_on_failed":
            return None if data.get("ignore_errors") else "failed"
        case "runner_on_unreachable":
            return "unreachable"
        case _:
            return None


def _words(result: Mapping[str, Any]) -> str:
    """The complaint, in one line and bounded."""
    said = [result.get(key) for key in ("msg", "stderr", "module_stderr", "stdout")]
    text = str(next((one for one in said if one and one != OF_COMMANDS), said[0] or ""))
    return " ".join(text.split())[:500]


def _diffs(result: Mapping[str, Any]) -> list[Any]:
    found = result.get("diff") or []
    return found if isinstance(found, list) else [found]


def _new_folder(runs: Path) -> Path:
    """A folder for this run; of the older ones the last are kept."""
    runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    older = sorted(path for path in runs.iterdir() if path.is_dir())
    for path in older[: max(0, len(older) - KEPT_RUNS)]:
        shutil.rmtree(path, ignore_errors=True)
    folder = runs / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    return folder


def _lay_out(folder: Path, wanted: Play) -> None:
    """The collection under the path by which Ansible finds it, and this run's own variables of each machine."""
    collection = folder / "collections" / "ansible_collections" / "commonpool" / "pool"
    collection.parent.mkdir(parents=True)
    collection.symlink_to(collection_folder())
    hosts = {machine.name: wanted.host_variables.get(machine.name, {}) for machine in wanted.machines}
    program = folder / "bin" / "ansible-playbook"
    program.parent.mkdir()
    program.write_text(_mortal(), encoding="utf-8")
    program.chmod(0o700)
    (folder / "ansible.cfg").touch()  # nobody's own settings change what a run does
    (folder / "inventory").mkdir()
    (folder / "inventory" / "run.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")


def _mortal() -> str:
    """A program that is Ansible and ends with us.

    The runner has it ignore what a closing terminal sends. One that outlived us would change machines beside the next
    run, and wait for its lost terminal for ever.
    """
    real = shutil.which("ansible-playbook", path=_path()) or "ansible-playbook"
    steps = (
        "import ctypes, os, signal, sys",
        "getattr(ctypes.CDLL(None), 'prctl', int)(1, signal.SIGTERM)",  # PR_SET_PDEATHSIG of Linux; it stays over exec
        f"os.getppid() == {os.getpid()} or sys.exit(1)",
        "os.execv(sys.argv[1], sys.argv[1:])",
    )
    return f'#!/bin/sh\nexec {shlex.join([sys.executable, "-c", "; ".join(steps), real])} "$@"\n'


def _path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"


def collection_folder() -> Path:
    """The collection in the checkout that this package runs from."""
    return Path(__file__).resolve().parents[3] / "playbooks"


def _connections(wanted: Play, control: Path) -> dict[str, Any]:
    """How ssh knows each machine, as extra variables, which no inventory, setting or environment outranks.

    Of an option ssh takes what it is told first, and Ansible tells it these before all others: neither its
    `host_key_checking` nor an inventory's `ansible_ssh_common_args` (which is where a jump host stands) takes a key away.
    """
    told = {machine.name: shlex.join(_options(wanted, machine, control)) for machine in wanted.machines}
    return {
        "commonpool_ssh": told,
        "ansible_ssh_args": "{{ commonpool_ssh[inventory_hostname] }}",
        "ansible_connection": "ansible.builtin.ssh",
    }


def _options(wanted: Play, machine: Machine, control: Path) -> Iterator[str]:
    options = {
        # The alias pins the key to the machine's name: another machine at its address is refused.
        "HostKeyAlias": machine.name,
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f'"{wanted.known_hosts[machine.site]}"',
        "GlobalKnownHostsFile": "/dev/null",
        "VerifyHostKeyDNS": "no",
        "IgnoreUnknown": "KnownHostsCommand",  # an ssh older than 8.5 has none
        "KnownHostsCommand": "none",
        "PasswordAuthentication": "yes" if "connection" in wanted.passwords else "no",
        "ControlMaster": "auto",
        "ControlPersist": "60s",
        # By the name, and not as Ansible does by the address: nobody asks a connection that is shared for its key again.
        "ControlPath": f'"{control / hashlib.sha256(machine.name.encode()).hexdigest()[:16]}"',
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
    }
    for word, value in options.items():
        yield from ("-o", f"{word}={value}")


def _environment(folder: Path, machines: int) -> dict[str, str]:
    forks = min(machines, MOST_FORKS, FORKS_PER_CORE * (os.cpu_count() or 1))
    return {
        "PATH": f"{folder / 'bin'}:{_path()}",
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_FORKS": str(max(1, forks)),
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_TIMEOUT": str(CONNECT_SECONDS),
        "ANSIBLE_TASK_TIMEOUT": str(TASK_SECONDS),
        "ANSIBLE_GATHERING": "smart",
        "ANSIBLE_CACHE_PLUGIN_TIMEOUT": "86400",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_INJECT_FACT_VARS": "False",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_HOME": str(folder / "ansible"),
    }


@contextlib.contextmanager
def _secrets(wanted: Play) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder in memory with the run's secret files, and the variables that point Ansible to passwords."""
    memory = Path("/dev/shm")  # noqa: S108
    place = Path(memory if os.access(memory, os.W_OK) else tempfile.gettempdir())
    _forget_killed(place)
    files = dict(wanted.secret_files) | {f"password-{kind}": word for kind, word in wanted.passwords.items()}
    with tempfile.TemporaryDirectory(prefix=f"{SECRETS}{os.getpid()}-", dir=place) as folder:
        root = Path(folder)
        for name, content in files.items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            target.touch(mode=0o600)
            target.write_text(content, encoding="utf-8")
        named = {f"ANSIBLE_{kind.upper()}_PASSWORD_FILE": str(root / f"password-{kind}") for kind in wanted.passwords}
        yield root, named | {"ANSIBLE_LOCAL_TEMP": str(root / "ansible")}


def _forget_killed(place: Path) -> None:
    """Remove what runs left that were killed; their secrets are nobody's any more."""
    for folder in place.glob(f"{SECRETS}[0-9]*-*"):
        with contextlib.suppress(OSError, ValueError):
            if folder.stat().st_uid == os.getuid() and not psutil.pid_exists(int(folder.name.split("-")[1])):
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _control_folder() -> Iterator[Path]:
    """Where ssh keeps its shared connections; all are closed with the run, so that none outlives a change of keys."""
    with tempfile.TemporaryDirectory(prefix="cp-") as folder:
        try:
            yield Path(folder)
        finally:
            for path in Path(folder).iterdir():
                subprocess.run(["ssh", "-q", "-o", f"ControlPath={path}", "-O", "exit", "-"], capture_output=True)  # noqa: S607
