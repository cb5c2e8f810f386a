"""The command line: names, options and help. What commands do is in the modules beside this one, imported when called."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from commonpool.cli import options as o
from commonpool.cli.failure import CommandFailed
from commonpool.cli.groups import GROUPS
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

app = typer.Typer(
    name="commonpool",
    help="One governed Kubernetes pool out of scattered server rooms, declared in files.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def _target(
    estate: Path | None,
    program: Path | None,
    stacks: list[str] | None,
    config: list[str] | None,
    kubeconfig: Path | None,
    context: str | None,
    pool: str,
) -> Target:
    pairs = {}
    for item in config or ():
        key, separator, value = item.partition("=")
        if not separator:
            raise CommandFailed(f"-c {item!r} is not key=value", code="usage")
        pairs[key] = value
    return Target(estate, program, tuple(stacks or ()), pairs, kubeconfig, context, pool)


def _run(verb: str, target: Target, output: Output, **wishes: Any) -> None:  # noqa: ANN401
    from commonpool.cli.plan import Run, Wishes, execute
    from commonpool.engine.duration import seconds

    chosen = wishes.pop("options", {})
    if "timeout" in chosen:
        chosen["timeout"] = seconds(chosen["timeout"])
    raise typer.Exit(execute(Run(target, Wishes(**wishes, options=chosen), output, verb)))


@app.command()
def up(
    estate: o.ESTATE = None,
    program: o.PROGRAM = None,
    stack: o.STACK = None,
    config: o.CONFIG = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    target: o.TARGET = None,
    yes: o.YES = False,
    skip_preview: o.SKIP_PREVIEW = False,
    diff: o.DIFF = False,
    detailed_exitcode: o.DETAILED = False,
    expect_no_changes: o.EXPECT = False,
    parallel: o.PARALLEL = 48,
    wait: o.WAIT = True,
    timeout: o.TIMEOUT = "10m",
    refresh: o.REFRESH = False,
    continue_on_error: o.CONTINUE = False,
    adopt: o.ADOPT = False,
    force_conflicts: o.FORCE = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Make the pool as the estate (or a program) declares it: preview, ask, apply."""
    chosen = {
        "targets": tuple(target or ()),
        "parallel": parallel,
        "wait": wait,
        "timeout": timeout,
        "refresh": refresh,
        "continue_on_error": continue_on_error,
        "adopt": adopt,
        "force_conflicts": force_conflicts,
    }
    _run(
        "up",
        _target(estate, program, stack, config, kubeconfig, context, pool),
        Output(output, color),
        yes=yes,
        diff=diff,
        skip_preview=skip_preview,
        detailed_exitcode=detailed_exitcode,
        expect_no_changes=expect_no_changes,
        options=chosen,
    )


@app.command()
def preview(
    estate: o.ESTATE = None,
    program: o.PROGRAM = None,
    stack: o.STACK = None,
    config: o.CONFIG = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    target: o.TARGET = None,
    diff: o.DIFF = True,
    detailed_exitcode: o.DETAILED = False,
    expect_no_changes: o.EXPECT = False,
    parallel: o.PARALLEL = 48,
    refresh: o.REFRESH = False,
    adopt: o.ADOPT = False,
    force_conflicts: o.FORCE = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Show what `up` would do, asked of the API server; writes nothing."""
    chosen = {
        "targets": tuple(target or ()),
        "parallel": parallel,
        "refresh": refresh,
        "adopt": adopt,
        "force_conflicts": force_conflicts,
    }
    _run(
        "preview",
        _target(estate, program, stack, config, kubeconfig, context, pool),
        Output(output, color),
        diff=diff,
        detailed_exitcode=detailed_exitcode,
        expect_no_changes=expect_no_changes,
        options=chosen,
    )


@app.command()
def destroy(
    estate: o.ESTATE = None,
    program: o.PROGRAM = None,
    stack: o.STACK = None,
    config: o.CONFIG = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    target: o.TARGET = None,
    yes: o.YES = False,
    wait: o.WAIT = True,
    timeout: o.TIMEOUT = "10m",
    parallel: o.PARALLEL = 48,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Delete everything that the stacks made, backwards; what is protected stays and is named."""
    chosen = {"targets": tuple(target or ()), "wait": wait, "timeout": timeout, "parallel": parallel}
    _run(
        "destroy",
        _target(estate, program, stack, config, kubeconfig, context, pool),
        Output(output, color),
        yes=yes,
        options=chosen,
    )


@app.command()
def refresh(
    estate: o.ESTATE = None,
    program: o.PROGRAM = None,
    stack: o.STACK = None,
    config: o.CONFIG = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    detailed_exitcode: o.DETAILED = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Report how the pool differs from what was last applied; the next `up` mends it."""
    _run(
        "refresh",
        _target(estate, program, stack, config, kubeconfig, context, pool),
        Output(output, color),
        detailed_exitcode=detailed_exitcode,
    )


@app.command()
def status(
    estate: o.ESTATE = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """What stands, what drifted, what is about to expire."""
    from commonpool.cli.status import show

    raise typer.Exit(
        show(Target(estate=estate, kubeconfig=kubeconfig, context=context, pool=pool), Output(output, color))
    )


@app.command()
def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Departments' manifests outside of the estate, checked as if they were in it.", show_default=False
        ),
    ] = None,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Check every manifest of an estate; all problems at once, with file, line and the edit that passes."""
    import time

    from commonpool.model import warnings

    started = time.monotonic()
    found = Target(estate=estate).load(files or ())
    beyond = warnings(found)
    for words in beyond:
        Output(output, color).say(f"warning: {words}")
    number = 1 + len(found.departments) + len(found.services)
    if output is Format.JSON:
        Output(output, color).json(
            {
                "apiVersion": "commonpool.dev/v1",
                "kind": "Validation",
                "manifests": number,
                "machines": len(found.machines),
                "problems": [],
                "warnings": beyond,
            }
        )
    else:
        Output(output, color).data(
            f"{number} manifests and {len(found.machines)} machines are valid ({time.monotonic() - started:.2f} s)"
        )


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(help="Pool, Department or SharedService; all into a folder with --write.")
    ] = "Department",
    write: Annotated[
        Path | None, typer.Option("--write", help="Folder to write all schemas to.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of a kind, for editors and other tools."""
    from commonpool.model import KINDS, json_schema

    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        for name in KINDS:
            (write / f"{name.lower()}.json").write_text(
                json.dumps(json_schema(name), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        return
    known = {name.lower(): name for name in KINDS}
    if kind.lower() not in known:
        raise CommandFailed(f"there is no kind {kind!r}", code="usage", next_step=f"there are {', '.join(KINDS)}")
    Output().json(json_schema(known[kind.lower()]))


@app.command()
def explain(field: Annotated[str, typer.Argument(help="For instance department.spec.namespaces.resources.")]) -> None:
    """What a field of a manifest means."""
    from commonpool.model import explain_field

    try:
        Output().data(explain_field(field))
    except KeyError as error:
        raise CommandFailed(str(error.args[0]), code="usage") from error


@app.command()
def ledger(
    estate: o.ESTATE = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a self-contained page.", show_default=False)
    ] = None,
    live: Annotated[
        bool | None,
        typer.Option("--live/--declared", help="Ask the cluster too; default: when it runs.", show_default=False),
    ] = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Capacity and promises: the four numbers of pool, flavors, departments and namespaces."""
    from commonpool.cli.numbers import show

    target = Target(estate=estate, kubeconfig=kubeconfig, context=context, pool=pool)
    raise typer.Exit(show(target, Output(output, color), html=html, live=live))


@app.command()
def version() -> None:
    """Print the version."""
    from commonpool import __version__

    Output().data(f"commonpool {__version__}")
