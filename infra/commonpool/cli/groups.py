"""The commands of `commonpool department`, `machine` and `embedded`: names, options and help."""

from pathlib import Path
from typing import Annotated, Any

import typer

from commonpool.cli import names
from commonpool.cli import options as o
from commonpool.cli.accountability_group import correction, progress
from commonpool.cli.agreement_group import agreement
from commonpool.cli.credential_group import credential
from commonpool.cli.dataset_group import dataset
from commonpool.cli.drop_group import drop
from commonpool.cli.help import Group
from commonpool.cli.journal_group import journal
from commonpool.cli.machine_group import machine
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.policy_group import policy
from commonpool.cli.request_group import request
from commonpool.cli.service_group import service
from commonpool.cli.target import Target

department = Group(help="Departments: make, list, look at, explain.")
embedded = Group(help="The embedded pool: a real control plane on this machine.")
GROUPS = {
    "department": department,
    "machine": machine,
    "service": service,
    "policy": policy,
    "credential": credential,
    "dataset": dataset,
    "agreement": agreement,
    "request": request,
    "correction": correction,
    "progress": progress,
    "drop": drop,
    "journal": journal,
    "embedded": embedded,
}


@department.command("list")
def department_list(estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """All departments with what they are promised."""
    from commonpool.cli import department as commands

    raise typer.Exit(commands.list_departments(Target(estate=estate), Output(output, color)))


@department.command("show")
def department_show(
    name: o.DEPARTMENT, estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO
) -> None:
    """One department: who it is, its namespaces, its numbers."""
    from commonpool.cli import department as commands

    raise typer.Exit(commands.show(Target(estate=estate), name, Output(output, color)))


@department.command("explain")
def department_explain(
    target: o.PLACE,
    name: o.DEPARTMENT,
    live: o.LIVE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Why it was admitted or refused, with the numbers, and what would fit."""
    from commonpool.cli import department as commands

    raise typer.Exit(commands.explain(target, name, Output(output, color), live=live))


def _wish(words: str, offered: names.Completer | None = None) -> Any:  # noqa: ANN401
    return typer.Option(help=words, show_default=False, autocompletion=offered)


@department.command("new")
def department_new(
    name: Annotated[str, typer.Argument(help="Name of the new department.")],
    display_name: Annotated[str | None, _wish("Name for people.")] = None,
    organisation_code: Annotated[str | None, _wish("Unified social credit code, 18 characters.")] = None,
    level: Annotated[o.Level | None, _wish("Level of government; default: the pool's.")] = None,
    filing_number: Annotated[str | None, _wish("Filing number.")] = None,
    budget_item: Annotated[str | None, _wish("Budget item.")] = None,
    email: Annotated[str | None, _wish("Mailbox of the owner's office.")] = None,
    deputy_email: Annotated[str | None, _wish("Mailbox of the deputy; default: the owner's.")] = None,
    steward_email: Annotated[str | None, _wish("Mailbox of the data steward; default: the owner's.")] = None,
    phone: Annotated[str | None, _wish("Telephone of the duty desk.")] = None,
    start: Annotated[str | None, _wish("First day; default: today.")] = None,
    review: Annotated[str | None, _wish("Day of review; default: next June.")] = None,
    end: Annotated[str | None, _wish("Last day; default: the end of the year after next.")] = None,
    on_expiry: Annotated[o.OnExpiry, typer.Option(help="What follows the last day.")] = o.OnExpiry.NOTIFY,
    namespace: Annotated[str | None, _wish("Its first namespace; default: main.")] = None,
    environment: Annotated[o.Environment | None, _wish("What that is used for; default: production.")] = None,
    business_class: Annotated[str | None, _wish("One of the seven business classes.", names.business_classes)] = None,
    protection_level: Annotated[int | None, _wish("Protection level, 1 to 5; default: 2.")] = None,
    flavor: Annotated[str | None, _wish("Hardware class; default: the pool's first.", names.flavors)] = None,
    cpu: Annotated[str | None, _wish("Guaranteed cores; default: 4.")] = None,
    memory: Annotated[str | None, _wish("Guaranteed memory; default: 16Gi.")] = None,
    estate: o.ESTATE = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the manifest, write nothing.")] = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Write a department's manifest: asks for what no option says, checks it, shows the decision."""
    from commonpool.cli import department as commands

    given = {
        "display_name": display_name,
        "code": organisation_code,
        "level": level,
        "filing": filing_number,
        "budget": budget_item,
        "email": email,
        "deputy_email": deputy_email,
        "steward_email": steward_email,
        "phone": phone,
        "start": start,
        "review": review,
        "end": end,
        "on_expiry": on_expiry,
        "namespace": namespace,
        "environment": environment,
        "business_class": business_class,
        "protection_level": None if protection_level is None else str(protection_level),
        "flavor": flavor,
        "cpu": cpu,
        "memory": memory,
    }
    raise typer.Exit(commands.new(Target(estate=estate), name, given, Output(output, color), dry_run=dry_run))


@embedded.command("start")
def embedded_start(
    name: o.POOL_NAME = "default",
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on; kept.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=65535, help="Port of the API server; kept.", show_default="a free one"),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(metavar="URL", help="OpenID Connect provider that people sign in at; kept.", show_default="none"),
    ] = None,
    audience: Annotated[str, typer.Option(metavar="ID", help="Client that its tokens are for.")] = "commonpool",
    issuer_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM of who vouches for it.", show_default="the system's authorities"),
    ] = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Start it; builds Kubernetes once, the first time on a machine."""
    from commonpool.cli import control_plane

    provider = (issuer, audience, issuer_ca) if issuer else None
    control_plane.start(name, Output(output, color), listen=listen, port=port, provider=provider)


@embedded.command("stop")
def embedded_stop(names: o.POOLS = None, color: o.COLOR = Color.AUTO) -> None:
    """Stop it, or several by name; data stay."""
    from commonpool.cli import control_plane

    control_plane.stop(names or [o.own_pool()], Output(color=color))


@embedded.command("status")
def embedded_status(names: o.POOLS = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """Processes, memory, readiness, certificates; of all pools or those that are named."""
    from commonpool.cli import control_plane

    control_plane.status(names or [], Output(output, color))


@embedded.command("logs")
def embedded_logs(
    component: o.COMPONENT,
    name: o.POOL = "default",
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=1, help="Lines from the end.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes.")] = False,
) -> None:
    """The log of one component."""
    from commonpool.embedded import EmbeddedPool

    for line in EmbeddedPool(name).logs(component, lines, follow):
        Output().data(line)


@embedded.command("hosts")
def embedded_hosts(
    estate: o.ESTATE = None,
    pool: o.POOL = "default",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until they have joined.")] = True,
    stop: Annotated[bool, typer.Option("--stop", help="Shut them down; their disks stay.")] = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Test hosts on this machine play machines of the estate, and join for real over SSH (root only)."""
    from commonpool.cli.hosts import hosts

    raise typer.Exit(hosts(Target(estate=estate, pool=pool), Output(output, color), wait=wait, stop=stop))


@embedded.command("reset")
def embedded_reset(names: o.POOLS = None, yes: o.YES = False, color: o.COLOR = Color.AUTO) -> None:
    """Stop it, or several by name, and delete all of their data."""
    from commonpool.cli import control_plane

    control_plane.reset(names or [o.own_pool()], Output(color=color), yes=yes)


@embedded.command("kubeconfig")
def embedded_kubeconfig(
    user: Annotated[str, typer.Option("--user", help="User name in the certificate.")] = "",
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="Group, with the pool's prefix (oidc:…); may be repeated.", show_default=False),
    ] = None,
    name: o.POOL = "default",
    path: Annotated[
        Path | None,
        typer.Option("--write", help="File to write; default: print where the administrator's is.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=365, help="Validity of the certificate.")] = 30,
) -> None:
    """A kubeconfig for a member of a group, or the place of the administrator's."""
    from commonpool.cli import control_plane

    control_plane.kubeconfig(name, user, tuple(group or ()), path, days, Output())
