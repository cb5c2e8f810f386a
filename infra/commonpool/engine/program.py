"""Where a Pulumi program is found and how it is started, in this process or in one of its own.

Our own stacks run inside, which saves a process and an import of the SDK. Other people's programs run under their own
interpreter, named by `runtime.options.virtualenv` of their `Pulumi.yaml`, over Pulumi's public gRPC protocol.
"""

import asyncio
import contextvars
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from commonpool.engine.deployment import ConfigValue, Deployment, Program
from commonpool.engine.error import ProgramFailed, Unsupported

if TYPE_CHECKING:
    from commonpool.engine.monitor import Monitor

ENTRIES = ("__main__.py", "main.py")
STOP_SECONDS = 10.0


def describe(directory: Path) -> dict[str, Any]:
    """The `Pulumi.yaml` of a program's folder. Raises `Unsupported` for another language than Python."""
    for name in ("Pulumi.yaml", "Pulumi.yml"):
        path = directory / name
        if path.exists():
            project = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            break
    else:
        raise Unsupported(f"{directory} has no Pulumi.yaml, so it is not a Pulumi project")
    runtime = project.get("runtime")
    language = runtime.get("name") if isinstance(runtime, dict) else runtime
    if language != "python":
        raise Unsupported(f"{path}: runtime {language!r}; the embedded engine runs Python programs")
    return dict(project)


def load(directory: Path, stack: str, config: Mapping[str, ConfigValue] | None = None) -> Program:
    """A program of somebody else's, with the configuration of `Pulumi.<stack>.yaml` under the given one.

    Keys without a namespace belong to the project. Raises `Unsupported` for encrypted values, whose key is with the
    Pulumi CLI.
    """
    project = describe(directory)
    name = str(project["name"])
    merged: dict[str, ConfigValue] = dict(_project_defaults(project))
    settings = directory / f"Pulumi.{stack}.yaml"
    if settings.exists():
        values = (yaml.safe_load(settings.read_text(encoding="utf-8")) or {}).get("config") or {}
        for key, value in values.items():
            if isinstance(value, dict) and "secure" in value:
                raise Unsupported(
                    f"{settings}: {key} is encrypted for the Pulumi CLI; give it with -c {key}=… or as an environment "
                    "variable of the program"
                )
            merged[_qualify(key, name)] = value
    merged |= {_qualify(key, name): value for key, value in (config or {}).items()}
    return Program(name, stack, directory, merged, isolated=True)


def _project_defaults(project: Mapping[str, Any]) -> dict[str, ConfigValue]:
    defaults: dict[str, ConfigValue] = {}
    for key, value in (project.get("config") or {}).items():
        given = value.get("value", value.get("default")) if isinstance(value, dict) else value
        if given is not None:
            defaults[_qualify(key, str(project["name"]))] = given
    return defaults


def _qualify(key: str, project: str) -> str:
    return key if ":" in key else f"{project}:{key}"


def entry_of(program: Program) -> Path:
    """The file to run. Raises `ProgramFailed` when there is none."""
    main = str(describe(program.directory).get("main", "."))
    place = (program.directory / main).resolve()
    for candidate in [place] if place.is_file() else [place / name for name in ENTRIES]:
        if candidate.is_file():
            return candidate
    raise ProgramFailed(f"{place} holds neither of {', '.join(ENTRIES)}", file=str(place))


def interpreter_of(program: Program) -> str:
    """The program's own Python, else the one that runs us."""
    runtime = describe(program.directory).get("runtime")
    options = runtime.get("options", {}) if isinstance(runtime, dict) else {}
    folder = (options or {}).get("virtualenv")
    if folder:
        own = program.directory / folder / "bin" / "python"
        if own.exists():
            return str(own)
    return sys.executable


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
    server, address = _serve(monitor, run.options.parallel)
    try:
        with tempfile.TemporaryDirectory(prefix="commonpool-") as folder:
            ending = Path(folder) / "ending.json"
            code = await _run_process(run, address, ending)
            result = json.loads(ending.read_text(encoding="utf-8")) if ending.exists() else None
    finally:
        server.stop(grace=None)
    if result is None:
        raise ProgramFailed(f"the program's process ended with code {code} before it said why")
    if result:
        raise ProgramFailed(result["message"], file=result["file"], line=result["line"])


async def _run_process(run: Deployment, address: str, ending: Path) -> int:
    program = run.program
    entry = entry_of(program)
    orders = {
        "entry": str(entry),
        "root": str(program.directory.resolve()),
        "project": program.project,
        "stack": program.stack,
        "address": address,
        "preview": run.preview,
        "threads": run.options.parallel,
        "config": config_strings(program.config),
        "secretKeys": sorted(program.secret_config),
        "ending": str(ending),
    }
    script = Path(__file__).with_name("program_process.py")
    process = await asyncio.create_subprocess_exec(
        interpreter_of(program),
        str(script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(orders).encode() + b"\n")
    try:
        async for line in process.stdout:
            run.note(line.decode(errors="replace").rstrip())
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()


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
