"""How a Pulumi program is started, in this process or in one of its own, and how it is ended.

Our own stacks run inside, which saves a process and an import of the SDK. Other people's programs run under their own
interpreter, named by `runtime.options.virtualenv` of their `Pulumi.yaml`, over Pulumi's public gRPC protocol.
"""

import asyncio
import contextlib
import contextvars
import json
import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.engine.deployment import ConfigValue, Deployment, Program
from commonpool.engine.error import ProgramFailed
from commonpool.engine.project import describe

if TYPE_CHECKING:
    from commonpool.engine.monitor import Monitor

ENTRIES = ("__main__.py", "main.py")
STOP_SECONDS = 5.0
LONGEST_LINE = 1 << 20  # of a program's output; more is cut into several
MOST_IN_FLIGHT = 512  # the SDK blocks a thread for each resource under way, those that only wait for others included


def entry_of(program: Program) -> Path:
    """The file to run. Raises `ProgramFailed` when there is none."""
    main = str(describe(program.directory).get("main", "."))
    place = (program.directory / main).resolve()
    for candidate in [place] if place.is_file() else [place / name for name in ENTRIES]:
        if candidate.is_file():
            return candidate
    raise ProgramFailed(f"{place} holds neither of {', '.join(ENTRIES)}", file=str(place))


def program_folder(program: Program) -> Path:
    """Where the program runs, and what its relative paths are relative to."""
    return entry_of(program).parent


def interpreter_of(program: Program) -> tuple[str, str]:
    """The program's own Python, else the one that runs us; and what a person should know about that."""
    runtime = describe(program.directory).get("runtime")
    options = (runtime.get("options") if isinstance(runtime, dict) else None) or {}
    named = options.get("virtualenv")
    toolchain = options.get("toolchain", "pip")
    folder = named or (".venv" if toolchain in ("uv", "poetry") else None)
    if not folder:
        return sys.executable, ""
    own = program.directory / folder / "bin" / "python"
    if own.exists():
        return str(own), ""
    if not named:
        return sys.executable, ""
    return sys.executable, (
        f"the virtual environment {folder!r} that Pulumi.yaml names does not exist, so the program runs in that of "
        "commonpool; if it needs more, make it (python -m venv, pip install -r requirements.txt)"
    )


def config_strings(config: Mapping[str, ConfigValue]) -> dict[str, str]:
    """Configuration as the SDK wants it: strings as they are, everything else as JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


async def evaluate(run: Deployment, monitor: "Monitor") -> None:
    """Run the program to its end. Raises `ProgramFailed` with the place in the program's own files."""
    if run.program.isolated:
        await _evaluate_outside(run, monitor)
    else:
        await asyncio.to_thread(contextvars.Context().run, _evaluate_inside, run, monitor)


def _evaluate_inside(run: Deployment, monitor: "Monitor") -> None:
    from pulumi.runtime import Settings

    from commonpool.engine import program_process

    program = run.program
    settings = Settings(
        project=program.project,
        stack=program.stack,
        monitor=monitor,
        engine=monitor,
        parallel=run.options.parallel,
        dry_run=run.preview,
        organization="organization",
        root_directory=str(program.directory),
    )
    entry = entry_of(program)
    before = Path.cwd()
    try:
        os.chdir(entry.parent)
        config = config_strings(program.config)
        program_process.run(entry, settings, config, sorted(program.secret_config), run.options.parallel)
    except BaseException as error:
        file, line = program_process.place(error, entry.parent)
        raise ProgramFailed(f"{type(error).__name__}: {error}", file=file, line=line) from error
    finally:
        os.chdir(before)


async def _evaluate_outside(run: Deployment, monitor: "Monitor") -> None:
    threads = max(run.options.parallel, MOST_IN_FLIGHT)
    server, address = _serve(monitor, threads)
    try:
        code, ending = await _run_process(run, address, threads)
    finally:
        await monitor.registrar.transforms.close()
        server.stop(grace=None)
    if run.interrupted:
        return
    try:
        result = json.loads(ending)
    except ValueError:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        error = ProgramFailed(f"the program's process {how} before it said why")
        if (interpreter := interpreter_of(run.program)[0]) != sys.executable:
            error.next_step = f"see that {interpreter} has what the program needs (pip install -r requirements.txt)"
        raise error from None
    if result:
        error = ProgramFailed(result["message"], file=result["file"], line=result["line"])
        error.next_step = result.get("next", "")
        raise error


async def _run_process(run: Deployment, address: str, threads: int) -> tuple[int, bytes]:
    """Returns the exit code, and what the process says of its ending: a JSON object, empty when all went well."""
    program = run.program
    entry = entry_of(program)
    ending, writing = os.pipe()
    orders = {
        "entry": str(entry),
        "root": str(program.directory.resolve()),
        "project": program.project,
        "stack": program.stack,
        "address": address,
        "preview": run.preview,
        "threads": threads,
        "config": config_strings(program.config),
        "secretKeys": sorted(program.secret_config),
        "ending": writing,
    }
    interpreter, note = interpreter_of(program)
    if note:
        run.note(note)
    told = asyncio.create_task(asyncio.to_thread(_drain, ending))
    process = await _start(interpreter, str(Path(__file__).with_name("program_process.py")), writing)
    assert process.stdin is not None
    assert process.stdout is not None
    # Standard input stays open as long as we live: the program ends itself when it closes.
    process.stdin.write(json.dumps(orders).encode() + b"\n")
    reading = asyncio.create_task(_pass_on(run, process.stdout))
    try:
        code = await run.unless_interrupted(process.wait(), -1)
        if not run.interrupted:
            await asyncio.wait([reading], timeout=STOP_SECONDS)  # what it started may hold the pipe open
        await _end(process)
        return code, await told
    finally:
        await _end(process)
        reading.cancel()


async def _start(interpreter: str, script: str, writing: int) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            interpreter,
            script,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            limit=LONGEST_LINE,
            pass_fds=(writing,),
            start_new_session=True,  # Ctrl-C is for us: we let writes in flight finish before the program ends
        )
    except OSError as error:
        raise ProgramFailed(f"{interpreter} cannot be started: {error.strerror}") from error
    finally:
        os.close(writing)


def _drain(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


async def _pass_on(run: Deployment, output: asyncio.StreamReader) -> None:
    """Tell what the program prints, line by line; a line that is endless is cut."""
    rest = b""
    while chunk := await output.read(LONGEST_LINE):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) >= LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        for line in lines:
            run.note(line.decode(errors="replace").rstrip())
    if rest:
        run.note(rest.decode(errors="replace").rstrip())


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the program's process, and whatever it started, when it has not ended by itself."""
    if process.returncode is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)


def _serve(monitor: "Monitor", threads: int) -> tuple[Any, str]:
    import grpc  # type: ignore[import-untyped]
    from pulumi.runtime.proto import engine_pb2_grpc, resource_pb2_grpc

    options = [("grpc.max_receive_message_length", 400 << 20), ("grpc.max_send_message_length", 400 << 20)]
    server = grpc.server(ThreadPoolExecutor(max_workers=threads + 8), options=options)
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)  # type: ignore[arg-type]
    engine_pb2_grpc.add_EngineServicer_to_server(monitor, server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"
