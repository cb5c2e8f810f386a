"""The commands of `commonpool department`, `machine` and `embedded`: names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import options as o
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

department = typer.Typer(help="Departments: make, list, look at, explain.", no_args_is_help=True, rich_markup_mode=None)
embedded = typer.Typer(
    help="The embedded pool: a real control plane on this machine.", no_args_is_help=True, rich_markup_mode=None
)
machine = typer.Typer(
    help="Machines of the inventories: list, look at, judge.", no_args_is_help=True, rich_markup_mode=None
)


def _names(incomplete: str) -> list[str]:
    """Names of departments for completion: from the file names, without reading a manifest."""
    folder = Target().estate_folder() / "departments"
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem.startswith(incomplete))


NAME = Annotated[str, typer.Argument(help="Name of the department.", autocompletion=_names)]
GROUPS = {"department": department, "machine": machine, "embedded": embedded}


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


@machine.command("list")
def machine_list(
    estate: o.ESTATE = None,
    kubeconfig: o.KUBECONFIG = None,
    context: o.CONTEXT = None,
    pool: o.POOL = "default",
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Every machine: site, flavor, role, and whether it stands, is simulated or absent."""
    from commonpool.cli.machine import list_machines

    target = Target(estate=estate, kubeconfig=kubeconfig, context=context, pool=pool)
    raise typer.Exit(list_machines(target, Output(output, color)))


def _machines(incomplete: str) -> list[str]:
    """Names of machines for completion."""
    return sorted(one.name for one in Target().load().machines if one.name.startswith(incomplete))


MACHINES = Annotated[
    list[str] | None,
    typer.Argument(help="Names of machines; default: all.", show_default=False, autocompletion=_machines),
]
PRIVATE_KEY = Annotated[
    Path | None, typer.Option("--private-key", help="Your SSH key; default: as your ssh does it.", show_default=False)
]
ASK_BECOME = Annotated[bool, typer.Option("--ask-become-pass", "-K", help="Ask for the sudo password.")]


@machine.command("survey")
def machine_survey(
    names: MACHINES = None,
    estate: o.ESTATE = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a self-contained page.", show_default=False)
    ] = None,
    private_key: PRIVATE_KEY = None,
    ask_become_pass: ASK_BECOME = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Look at machines over SSH, change nothing, and say what each is good for, why, and until when."""
    from commonpool.cli.survey import survey

    raise typer.Exit(
        survey(
            Target(estate=estate),
            names or (),
            Output(output, color),
            html=html,
            private_key=private_key,
            ask_become_pass=ask_become_pass,
        )
    )


@machine.command("trust")
def machine_trust(
    names: MACHINES = None,
    estate: o.ESTATE = None,
    replace: Annotated[
        list[str] | None,
        typer.Option("--replace", help="Machine that was reinstalled and has a new key.", show_default=False),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="The keys were compared; pin them without a question.")
    ] = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Confirm the host keys of new machines; a pinned key is never replaced silently."""
    from commonpool.cli.survey import trust

    raise typer.Exit(trust(Target(estate=estate), names or (), Output(output, color), replace=replace or (), yes=yes))


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
