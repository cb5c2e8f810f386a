"""The commands of `commonpool service` and `commonpool service cutover`: names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import names
from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

service = Group(help="Shared services behind the proxy: list, look at, watch, move.")
cutover = Group(help="Moving a service from one backend to another, by the plan in its manifest.")
service.add_typer(cutover, name="cutover")


NAMES = Annotated[
    list[str] | None,
    typer.Argument(
        help="Names of services; default: all with an endpoint.", show_default=False, autocompletion=o.services
    ),
]
METRICS = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="URL",
        help="Prometheus endpoint of an Envoy; once for each. Default: the embedded pool's.",
        show_default=False,
        envvar="COMMONPOOL_METRICS",
    ),
]
WHY = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept with the decision.")]
AGAIN = Annotated[bool, typer.Option("--again", help="Begin anew after a roll-back or an abort.")]
HISTORY = Annotated[bool, typer.Option("--history", help="Every decision with the numbers that it saw.")]
EVERY = Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.2, help="Time between two looks.")]
LOOKS = Annotated[int, typer.Option("--looks", metavar="N", min=0, help="Number of looks; 0 for no end.")]


@service.command("list")
def service_list(
    target: o.PLACE, metrics: METRICS = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO
) -> None:
    """Every service: protocol, who offers it, its backends with share and health, its cut-over."""
    from commonpool.cli import service as commands

    raise typer.Exit(commands.list_services(target, metrics or (), Output(output, color)))


@service.command("show")
def service_show(
    target: o.PLACE,
    name: o.SERVICE,
    metrics: METRICS = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """One service: where it is served, every backend with the time of the last evidence, its cut-over, complaints."""
    from commonpool.cli import service as commands

    raise typer.Exit(commands.show(target, name, metrics or (), Output(output, color)))


@service.command("watch")
def service_watch(
    target: o.PLACE,
    names: NAMES = None,
    every: EVERY = 2.0,
    looks: LOOKS = 0,
    metrics: METRICS = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """The same again and again: live on a terminal, lines elsewhere, one document a line with -o json."""
    from commonpool.cli import service as commands

    out = Output(output, color)
    raise typer.Exit(commands.watch(target, names or (), metrics or (), out, every=every, looks=looks))


@service.command("credential")
def service_credential(
    target: o.PLACE,
    name: o.SERVICE,
    caller: Annotated[
        str,
        typer.Option(
            "--caller", metavar="NAMESPACE", help="Namespace that consumes it.", autocompletion=names.namespaces
        ),
    ],
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="Service account of its pods.")] = "default",
    seconds: Annotated[int, typer.Option("--seconds", min=600, max=86_400, help="How long it is valid.")] = 3600,
    curl: Annotated[bool, typer.Option("--curl", help="As a configuration for `curl --config -`.")] = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """The token by which a service knows a caller, for trying it out; pods get theirs from Kubernetes."""
    from commonpool.cli import credential

    whom = credential.Caller(caller, account)
    raise typer.Exit(credential.show(target, name, whom, seconds, Output(output, color), curl=curl))


@service.command("x-road")
def service_x_road(
    client: Annotated[
        str, typer.Option("--client", metavar="INSTANCE/CLASS/MEMBER[/SUBSYSTEM]", help="Whom X-Road-Client must name.")
    ],
    system: Annotated[
        Path | None,
        typer.Option(
            "--system",
            metavar="FILE",
            help="SYSTEM.json of `service certificate`, with the certificate and the key beside it.",
        ),
    ] = None,
    consume: Annotated[
        Path | None,
        typer.Option(
            "--consume",
            metavar="DIR",
            help="In a pod instead: where ConfigMaps consume-<service> are mounted, each by its service's name.",
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where only the department's clients are.")
    ] = "127.0.0.1:8088",
) -> None:
    """Stand beside an X-Road client as its security server: /r1/… comes in, a certificate or token is added. Runs until it is ended."""
    from commonpool.cli import x_road

    raise typer.Exit(x_road.serve(client, system, consume, x_road.Place.of(listen), Output()))


@service.command("certificate")
def service_certificate(
    target: o.PLACE,
    department: Annotated[str, typer.Argument(help="Name of the department.", autocompletion=o.departments)],
    system: Annotated[
        str, typer.Argument(help="One of its systems outside of the pool.", autocompletion=names.systems)
    ],
    write: Annotated[Path, typer.Option("--write", metavar="FOLDER", help="Where the three files go.")],
    span: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it is good: 10m to 168h.")] = "24h",
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """The certificate by which services know a system outside of the pool; a new one replaces the files of the old one."""
    from commonpool.cli import certificate

    raise typer.Exit(certificate.make(target, department, system, write, span, Output(output, color)))


@service.command("dns")
def service_dns(estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """What a cluster's CoreDNS needs to answer for the names of services, and in JSON the names that resolve."""
    from commonpool.cli import service as commands

    raise typer.Exit(commands.dns(Target(estate=estate), Output(output, color)))


@cutover.command("run")
def cutover_run(
    target: o.PLACE,
    name: o.SERVICE,
    again: AGAIN = False,
    metrics: METRICS = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Begin or continue the plan, in the foreground, to its end: 0 moved, 1 rolled back or aborted, 130 interrupted."""
    from commonpool.cli import cut_over as commands

    raise typer.Exit(commands.run(target, name, metrics or (), Output(output, color), again=again))


@cutover.command("status")
def cutover_status(
    target: o.PLACE,
    name: o.SERVICE,
    history: HISTORY = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Where it stands, step by step, and the last decisions."""
    from commonpool.cli import cut_over as commands

    raise typer.Exit(commands.status(target, name, Output(output, color), history=history))


def _verb(verb: str, help_: str) -> None:
    @cutover.command(verb, help=help_)
    def command(target: o.PLACE, name: o.SERVICE, reason: WHY = "") -> None:
        from commonpool.cli import cut_over as commands

        raise typer.Exit(commands.ask(target, name, verb, reason, Output()))


for _name, _help in (
    ("pause", "Stay at the present share; a failed gate still rolls back."),
    ("resume", "Go on after a pause."),
    ("approve", "Agree to what comes after the present step, where the plan asks for a person."),
    ("abort", "Return to the old backend."),
):
    _verb(_name, _help)
