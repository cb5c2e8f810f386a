"""Runs a Pulumi program in this process, wherever its monitor is; also the script of a program's own process.

As a script it needs nothing but the `pulumi` package, because it runs under the program's own interpreter. It reads its
orders as one line of JSON from standard input (configuration may be secret, so it is on no command line) and writes how
it ended to the pipe named there. When standard input ends, the engine is gone, and so is the script.
"""

import asyncio
import contextlib
import inspect
import json
import logging
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import Settings, configure, resource, run_in_stack, set_all_config

_RAISED_AT = "_commonpool_raised_at"
_OWN_MAIN = sys.modules["__main__"]


def run(entry: Path, settings: Settings, config: dict[str, str], secret_keys: list[str], threads: int) -> None:
    """Run a program to its end; raises what it raises.

    `entry` is the program's `__main__.py` or any other file. The SDK blocks one thread for every resource in flight,
    so `threads` is the concurrency.
    """
    configure(settings)
    set_all_config(config, secret_keys)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # faults of tasks are raised below, once
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(max_workers=threads, thread_name_prefix="resource"))
    sys.path.insert(0, str(entry.parent))
    try:
        with _without_stack_traces():
            loop.run_until_complete(run_in_stack(lambda: _main(entry)))
    finally:
        sys.path.remove(str(entry.parent))
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(BaseException):
                loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@contextlib.contextmanager
def _without_stack_traces() -> Iterator[None]:
    """Let the SDK take no stack trace for every resource: this engine shows none, and they are a fifth of its time."""
    module: Any = resource
    before = getattr(module, "_get_stack_trace", None)  # private, so another version may be without it
    if before is None:
        yield
        return
    from pulumi.runtime.proto import source_pb2  # older versions are without that as well

    module._get_stack_trace = source_pb2.StackTrace
    try:
        yield
    finally:
        module._get_stack_trace = before


def _main(entry: Path) -> None:
    try:
        runpy.run_path(str(entry), run_name="__main__")
    finally:  # programs that run at once each put back whom they found, which may be one another
        sys.modules["__main__"] = _OWN_MAIN


@contextlib.contextmanager
def _with_places() -> Iterator[None]:
    """Remember where functions given to `apply` raise: of an exception that several await, asyncio keeps it for the first."""
    output: Any = pulumi.Output
    before = output.apply

    def apply(self: Any, func: Callable[[Any], Any], *others: Any, **options: Any) -> Any:  # noqa: ANN401
        def placed(value: Any) -> Any:  # noqa: ANN401
            try:
                return func(value)
            except Exception as error:
                with contextlib.suppress(AttributeError):
                    error.__dict__.setdefault(_RAISED_AT, error.__traceback__)
                raise

        return before(self, placed, *others, **options)

    output.apply = apply
    try:
        yield
    finally:
        output.apply = before


def place(error: BaseException, root: Path) -> tuple[str, int]:
    """File and line of the last frame inside the program's own folder; ("", 0) when there is none.

    Errors of somebody's program point at their own lines, not at the SDK's.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    seen = None
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    for link in chain:
        raised_at = getattr(link, _RAISED_AT, None)
        for frame in (*traceback.extract_tb(link.__traceback__), *traceback.extract_tb(raised_at)):
            inside = Path(frame.filename).is_relative_to(root) and "site-packages" not in frame.filename
            if inside and not Path(frame.filename).is_relative_to(root / ".venv"):
                seen = frame
        if seen:
            return seen.filename, seen.lineno or 0
    return "", 0


def _end_with_the_engine(leash: int) -> None:
    while os.read(leash, 4096):
        pass
    os._exit(1)


def _keep_standard_input() -> int:
    """The pipe from the engine, for ourselves alone: whoever in the program reads finds an end, and does not wait for ever."""
    leash = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return leash


def _settings(**values: Any) -> Settings:  # noqa: ANN401
    """Settings as the program's own SDK knows them; older ones know fewer."""
    known = inspect.signature(Settings.__init__).parameters
    return Settings(**{name: value for name, value in values.items() if name in known})


def _words(error: BaseException) -> tuple[str, str]:
    """What went wrong, and what to do; the SDK's own advice is for users of the Pulumi CLI."""
    if isinstance(error, pulumi.ConfigMissingError):
        option = "--secret" if getattr(error, "secret", False) else "-c"
        return str(error).partition("\n")[0], f"give it with {option} {error.key}=VALUE"
    if isinstance(error, ModuleNotFoundError):
        other = (error.name or "").startswith("pulumi_")
        plugin = (
            "; resources of another provider than Kubernetes need its plugin too, and the Pulumi CLI" if other else ""
        )
        return f"{type(error).__name__}: {error}", (
            f"install it for {sys.executable}, or name the program's own environment in Pulumi.yaml "
            f"(runtime.options.virtualenv){plugin}"
        )
    if isinstance(error, FileNotFoundError) and error.filename == "pulumi":
        return f"{type(error).__name__}: {error}", (
            "the Automation API starts the Pulumi CLI: run the program that it would run, its project's folder, by itself"
        )
    if isinstance(error, SystemExit):
        return f"the program ended itself by sys.exit({error.code})", (
            "let it run to its end: what it has not declared by then would count as given up"
        )
    return str(error) if isinstance(error, pulumi.RunError) else f"{type(error).__name__}: {error}", ""


def _script() -> None:
    # Our own modules would stand before those of the same name.
    own = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if not path or Path(path).resolve() != own]
    orders: dict[str, Any] = json.loads(sys.stdin.readline())
    os.set_inheritable(orders["ending"], False)  # what the program starts must not keep us waiting
    threading.Thread(target=_end_with_the_engine, args=(_keep_standard_input(),), daemon=True).start()
    entry, root = Path(orders["entry"]), Path(orders["root"])
    os.chdir(entry.parent)
    sys.argv = [str(entry)]
    settings = _settings(
        project=orders["project"],
        stack=orders["stack"],
        monitor=orders["address"],
        engine=orders["address"],
        parallel=orders["threads"],
        dry_run=orders["preview"],
        organization="organization",
        root_directory=str(root),
    )
    ending: dict[str, Any] = {}
    try:
        with _with_places():
            run(entry, settings, orders["config"], orders["secretKeys"], orders["threads"])
    except BaseException as error:
        file, line = place(error, root)
        message, advice = _words(error)
        ending = {"message": message, "next": advice, "file": file, "line": line}
    with os.fdopen(orders["ending"], "w", encoding="utf-8") as pipe:
        json.dump(ending, pipe)


if __name__ == "__main__":
    _script()
