"""The command line: names, options and help. What commands do is in the modules beside this one, imported when called."""

from copy import copy
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.models import CommandInfo

from commonpool.cli import options as o
from commonpool.cli.failure import CommandFailed
from commonpool.cli.groups import GROUPS
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

app = Group(
    name="commonpool",
    help="One governed Kubernetes pool out of scattered server rooms, declared in files.",
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def part(words: list[str]) -> typer.Typer:
    """The commands that a command line can mean: to build all of them takes longer than many a command."""
    first = next(iter(words[2:] if words[:1] in (["-C"], ["--cwd"]) else words), "")
    found = copy(app)
    found.registered_groups = [one for one in app.registered_groups if one.name == first]
    found.registered_commands = [one for one in app.registered_commands if _name(one) == first]
    return found if found.registered_groups or found.registered_commands else app


def _name(command: CommandInfo) -> str:
    return str(command.name or getattr(command.callback, "__name__", ""))


def _version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def common(
    cwd: o.CWD = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True, expose_value=False)
    ] = False,
) -> None:
    """One governed Kubernetes pool out of scattered server rooms, declared in files."""


def _target(
    estate: Path | None,
    program: Path | None,
    stacks: list[str] | None,
    config: list[str] | None,
    secret: list[str] | None,
    kubeconfig: Path | None,
    context: str | None,
    pool: str,
) -> Target:
    pairs, secrets = _pairs("-c", config), _pairs("--secret", secret)
    for key, value in secrets.items():
        if value.startswith("@"):
            secrets[key] = Path(value[1:]).read_text(encoding="utf-8").rstrip("\n")
    return Target(estate, program, tuple(stacks or ()), pairs, kubeconfig, context, pool, secrets)


def _pairs(option: str, items: list[str] | None) -> dict[str, str]:
    pairs = {}
    for item in items or ():
        key, separator, value = item.partition("=")
        if not separator or not key:
            given = repr(item) if option == "-c" else "what was given"  # it may be the secret
            raise CommandFailed(
                f"{option}: {given} is not key=value", code="usage", next_step=f"write {option} key=value"
            )
        pairs[key] = value
    return pairs


def _run(verb: str, target: Target, output: Output, **wishes: Any) -> None:  # noqa: ANN401
    from commonpool.cli.plan import execute
    from commonpool.cli.stack_run import Run, Wishes
    from commonpool.engine.duration import seconds

    chosen = wishes.pop("options", {})
    if "timeout" in chosen:
        try:
            chosen["timeout"] = seconds(chosen["timeout"])
        except ValueError as error:
            raise CommandFailed(f"--timeout: {error}", code="usage") from error
    raise typer.Exit(execute(Run(target, Wishes(**wishes, options=chosen), output, verb)))


@app.command()
def up(
    estate: o.ESTATE = None,
    program: o.PROGRAM = None,
    stack: o.STACK = None,
    config: o.CONFIG = None,
    secret: o.SECRET = None,
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
    """Make the pool as it is declared: preview, ask, apply."""
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
        _target(estate, program, stack, config, secret, kubeconfig, context, pool),
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
    secret: o.SECRET = None,
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
    """Show what `up` would do, field by field; writes nothing."""
    chosen = {
        "targets": tuple(target or ()),
        "parallel": parallel,
        "refresh": refresh,
        "adopt": adopt,
        "force_conflicts": force_conflicts,
    }
    _run(
        "preview",
        _target(estate, program, stack, config, secret, kubeconfig, context, pool),
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
    secret: o.SECRET = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    target: o.TARGET = None,
    yes: o.YES = False,
    exclude_protected: Annotated[
        bool, typer.Option("--exclude-protected", help="Keep what is protected and delete the rest.")
    ] = False,
    wait: o.WAIT = True,
    timeout: o.TIMEOUT = "10m",
    parallel: o.PARALLEL = 48,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Delete what the stacks made; asks for a name."""
    chosen = {
        "targets": tuple(target or ()),
        "exclude_protected": exclude_protected,
        "wait": wait,
        "timeout": timeout,
        "parallel": parallel,
    }
    _run(
        "destroy",
        _target(estate, program, stack, config, secret, kubeconfig, context, pool),
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
    secret: o.SECRET = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    detailed_exitcode: o.DETAILED = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Report how the pool drifted from what was applied."""
    _run(
        "refresh",
        _target(estate, program, stack, config, secret, kubeconfig, context, pool),
        Output(output, color),
        detailed_exitcode=detailed_exitcode,
    )


@app.command()
def status(target: o.PLACE, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """What stands, what drifted, what is about to expire."""
    from commonpool.cli.status import show

    raise typer.Exit(show(target, Output(output, color)))


@app.command()
def doctor(target: o.PLACE, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """Hold a running pool against the threat model: rules, rights, drift, certificates, audit, encryption, network, clock."""
    from commonpool.cli.doctor import examine

    raise typer.Exit(examine(target, Output(output, color)))


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
    """Check every manifest; all problems at once."""
    from commonpool.cli.manifest import check

    check(Target(estate=estate), files or (), Output(output, color))


@app.command()
def schema(
    kind: o.KIND = "Department",
    write: Annotated[
        Path | None, typer.Option("--write", help="Folder to write the schemas of all kinds to.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of a kind, for editors and other tools."""
    from commonpool.cli.manifest import schema as show

    show(kind, write, Output())


@app.command()
def explain(field: o.FIELD, output: o.OUTPUT = Format.TEXT) -> None:
    """What a field of a manifest means, as `kubectl explain` does."""
    from commonpool.cli.manifest import explain as show

    show(field, Output(output))


@app.command()
def ledger(
    target: o.PLACE,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a self-contained page.", show_default=False)
    ] = None,
    live: o.LIVE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Capacity and promises: the four numbers of everything."""
    from commonpool.cli.numbers import show

    raise typer.Exit(show(target, Output(output, color), html=html, live=live))


@app.command()
def evaluate(
    target: o.PLACE,
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day, for instance 2026-01-01.")],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day.")],
    journal: Annotated[
        list[Path] | None,
        typer.Option(
            "--journal",
            metavar="DIR",
            help="A journal or its export; may be repeated. Default: the embedded pool's.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="KEY", help="Public key of a journal, or a file with one a line.", show_default=False
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            metavar="DIR",
            help="Write JSON, page, PDF, and the proposed edit as patch and pull request.",
            show_default=False,
        ),
    ] = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Judge every department by what the journals prove; anybody who has them gets the same bytes."""
    from commonpool.cli.evaluate import run

    out = Output(output, color)
    code = run(target, out, journals=journal or (), keys=key or (), first=first, last=last, write=write)
    raise typer.Exit(code)


@app.command()
def version() -> None:
    """Print the version."""
    from commonpool import __version__

    Output().data(f"commonpool {__version__}")


@app.command()
def completion(
    shell: Annotated[o.Shell, typer.Argument(help="Which shell: bash, zsh, fish, powershell or pwsh.")],
) -> None:
    """Print a completion script, for `source <(…)`."""
    from typer._completion_shared import get_completion_script

    Output().data(get_completion_script(prog_name="commonpool", complete_var="_COMMONPOOL_COMPLETE", shell=shell))
