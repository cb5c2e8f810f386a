"""The command line: names, options and help. What commands do is in the modules beside this one, imported when called."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from commonpool.cli import options as o
from commonpool.cli.failure import CommandFailed
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
department = typer.Typer(help="Departments: make, list, look at, explain.", no_args_is_help=True, rich_markup_mode=None)
embedded = typer.Typer(
    help="The embedded pool: a real control plane on this machine.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(department, name="department")
app.add_typer(embedded, name="embedded")


def _names(incomplete: str) -> list[str]:
    """Names of departments for completion: from the file names, without reading a manifest."""
    folder = Target().estate_folder() / "departments"
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem.startswith(incomplete))


NAME = Annotated[str, typer.Argument(help="Name of the department.", autocompletion=_names)]


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


@department.command("list")
def department_list(estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """All departments with what they are promised."""
    from commonpool.cli import department as commands

    raise typer.Exit(commands.list_departments(Target(estate=estate), Output(output, color)))


@department.command("show")
def department_show(
    name: NAME, estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO
) -> None:
    """One department: who it is, its namespaces, its numbers."""
    from commonpool.cli import department as commands

    raise typer.Exit(commands.show(Target(estate=estate), name, Output(output, color)))


@department.command("explain")
def department_explain(
    name: NAME, estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO
) -> None:
    """Why it was admitted or refused, with the numbers, and what would fit."""
    from commonpool.cli import department as commands

    raise typer.Exit(commands.explain(Target(estate=estate), name, Output(output, color)))


@department.command("new")
def department_new(
    name: Annotated[str, typer.Argument(help="Name of the new department.")],
    display_name: Annotated[str | None, typer.Option(help="Name for people.", show_default=False)] = None,
    organisation_code: Annotated[
        str | None, typer.Option(help="Unified social credit code, 18 characters.", show_default=False)
    ] = None,
    filing_number: Annotated[str | None, typer.Option(help="Filing number.", show_default=False)] = None,
    budget_item: Annotated[str | None, typer.Option(help="Budget item.", show_default=False)] = None,
    email: Annotated[str | None, typer.Option(help="Mailbox of the owner's office.", show_default=False)] = None,
    phone: Annotated[str | None, typer.Option(help="Telephone of the duty desk.", show_default=False)] = None,
    business_class: Annotated[
        str | None, typer.Option(help="One of the seven business classes.", show_default=False)
    ] = None,
    flavor: Annotated[str | None, typer.Option(help="Hardware class.", show_default=False)] = None,
    cpu: Annotated[str, typer.Option(help="Guaranteed cores.")] = "4",
    memory: Annotated[str, typer.Option(help="Guaranteed memory.")] = "16Gi",
    namespace: Annotated[str, typer.Option(help="Its first namespace.")] = "main",
    environment: Annotated[
        o.Environment, typer.Option(help="What the namespace is used for.")
    ] = o.Environment.PRODUCTION,
    protection_level: Annotated[int, typer.Option(min=1, max=5, help="Protection level.")] = 2,
    estate: o.ESTATE = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the manifest, write nothing.")] = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Write a department's manifest: asks for what no option says, checks it in the estate, shows the admission."""
    from commonpool.cli import department as commands

    given = {
        "display_name": display_name,
        "code": organisation_code,
        "filing": filing_number,
        "budget": budget_item,
        "email": email,
        "phone": phone,
        "business_class": business_class,
        "flavor": flavor,
    }
    fixed = {
        "cpu": cpu,
        "memory": memory,
        "namespace": namespace,
        "environment": environment.value,
        "level_number": str(protection_level),
    }
    target, out = Target(estate=estate), Output(output, color)
    raise typer.Exit(commands.new(target, name, given, fixed, out, dry_run=dry_run))


POOL_NAME = Annotated[str, typer.Argument(help="Name of the embedded pool.")]


@embedded.command("start")
def embedded_start(name: POOL_NAME = "default", color: o.COLOR = Color.AUTO) -> None:
    """Start it; builds Kubernetes once, the first time on a machine."""
    from commonpool.cli import control_plane

    control_plane.start(name, Output(color=color))


@embedded.command("stop")
def embedded_stop(name: POOL_NAME = "default") -> None:
    """Stop it; its data stays."""
    from commonpool.cli import control_plane

    control_plane.stop(name, Output())


@embedded.command("status")
def embedded_status(
    name: Annotated[str | None, typer.Argument(help="One pool; default: all.", show_default=False)] = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Processes, memory, readiness, certificates."""
    from commonpool.cli import control_plane

    control_plane.status(name, Output(output, color))


@embedded.command("logs")
def embedded_logs(
    component: Annotated[
        str,
        typer.Argument(help="etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok, supervisor, audit."),
    ],
    name: Annotated[str, typer.Option("--pool", help="Name of the embedded pool.")] = "default",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Lines from the end.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes.")] = False,
) -> None:
    """The log of one component."""
    from commonpool.embedded import EmbeddedPool

    for line in EmbeddedPool(name).logs(component, lines, follow):
        Output().data(line)


@embedded.command("reset")
def embedded_reset(name: POOL_NAME = "default", yes: o.YES = False) -> None:
    """Stop it and delete all of its data."""
    from commonpool.cli import control_plane

    control_plane.reset(name, Output(), yes=yes)


@embedded.command("kubeconfig")
def embedded_kubeconfig(
    user: Annotated[str, typer.Option("--user", help="User name in the certificate.")] = "",
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="Group, with the pool's prefix (oidc:…); may be repeated.", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option("--pool", help="Name of the embedded pool.")] = "default",
    path: Annotated[
        Path | None,
        typer.Option("--write", help="File to write; default: print where the administrator's is.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=365, help="Validity of the certificate.")] = 30,
) -> None:
    """A kubeconfig for a member of a group, or the place of the administrator's."""
    from commonpool.cli import control_plane

    control_plane.kubeconfig(name, user, tuple(group or ()), path, days, Output())
