"""The commands of `commonpool journal`: names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output

journal = Group(help="The pool's evidence: verify, show, export, anchor.")

FOLDER = Annotated[
    Path | None, typer.Argument(help="A journal's folder; default: that of the pool.", show_default=False)
]
KEYS = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="KEY", help="Public key, or a file with one a line.", show_default=False),
]


@journal.command("verify")
def journal_verify(
    target: o.CLUSTER,
    folder: FOLDER = None,
    key: KEYS = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", metavar="FILE", help="A head that was kept elsewhere.", show_default=False),
    ] = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option(
            "--witness", metavar="DIR", help="A peer's journal that keeps heads of this one.", show_default=False
        ),
    ] = None,
    timestamp_authority: Annotated[
        list[Path] | None,
        typer.Option(
            "--timestamp-authority",
            metavar="FILE",
            help="Root certificates (PEM) of the timestamping service.",
            show_default=False,
        ),
    ] = None,
    estate: Annotated[
        Path | None,
        typer.Option(
            "--estate",
            metavar="DIR",
            help="With the agreements of this estate: whether both departments' keys signed what each exchange rests on.",
            show_default=False,
        ),
    ] = None,
    bodies: Annotated[
        bool, typer.Option("--bodies", help="Read also what was kept of calls: whether all of it is here.")
    ] = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Whether every record is as it was written; names the first that is not. Offline, with public keys only."""
    from commonpool.cli import journal as commands

    code = commands.verify(
        folder,
        target,
        Output(output, color),
        keys=key or (),
        checkpoints=checkpoint or (),
        witnesses=witness or (),
        authorities=timestamp_authority or (),
        estate=estate,
        bodies=bodies,
    )
    raise typer.Exit(code)


@journal.command("show")
def journal_show(
    target: o.CLUSTER,
    folder: FOLDER = None,
    first: Annotated[
        int | None, typer.Option("--from", metavar="N", min=0, help="Begin with this record.", show_default=False)
    ] = None,
    last: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Number of records.")] = 20,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only this kind; with a dot at the end all that begin so.",
            show_default=False,
        ),
    ] = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Who did what and when; the last records unless said otherwise."""
    from commonpool.cli import journal as commands

    code = commands.show(folder, target, Output(output, color), first=first, last=last, kinds=kind or ())
    raise typer.Exit(code)


@journal.command("export")
def journal_export(
    target: o.CLUSTER,
    to: Annotated[Path, typer.Argument(help="New folder.")],
    folder: Annotated[
        Path | None, typer.Option("--journal", metavar="DIR", help="Default: the embedded pool's.", show_default=False)
    ] = None,
) -> None:
    """Copy records, seals and public keys, to be verified on another machine."""
    from commonpool.cli import journal as commands

    raise typer.Exit(commands.export(folder, target, to, Output()))


@journal.command("head")
def journal_head(
    target: o.CLUSTER,
    folder: FOLDER = None,
    since: Annotated[
        int, typer.Option("--since", metavar="N", min=0, help="With the proof that it goes on from that of N records.")
    ] = 0,
) -> None:
    """The newest signed checkpoint, for a peer to keep."""
    from commonpool.cli import journal as commands

    raise typer.Exit(commands.head(folder, target, Output(), since=since))


@journal.command("anchor")
def journal_anchor(
    target: o.CLUSTER,
    source: Annotated[str, typer.Argument(help="A peer's journal, a file with its head, or - for standard input.")],
    folder: Annotated[
        Path | None, typer.Option("--journal", metavar="DIR", help="Default: the embedded pool's.", show_default=False)
    ] = None,
    key: KEYS = None,
) -> None:
    """Keep the head of a peer's journal in ours, so that nobody can cut off or rewrite it unseen."""
    from commonpool.cli import journal as commands

    raise typer.Exit(commands.keep(folder, target, source, Output(), keys=key or ()))


@journal.command("keys")
def journal_keys(
    target: o.CLUSTER,
    folder: FOLDER = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="Seal with a new key from now on.")] = False,
    output: o.OUTPUT = Format.TEXT,
) -> None:
    """The public keys that whoever verifies must know."""
    from commonpool.cli import journal as commands

    raise typer.Exit(commands.keys(folder, target, Output(output), rotate=rotate))


@journal.command("stamp")
def journal_stamp(
    target: o.CLUSTER,
    service: Annotated[
        str,
        typer.Option("--service", metavar="URL", help="RFC 3161 timestamping service.", envvar="COMMONPOOL_TIMESTAMPS"),
    ],
    folder: FOLDER = None,
) -> None:
    """Have the time of the newest checkpoint vouched for by somebody else."""
    from commonpool.cli import journal as commands

    raise typer.Exit(commands.stamp(folder, target, service, Output()))


@journal.command("observe")
def journal_observe(target: o.PLACE) -> None:
    """Record what departments are promised and what their pods ask for now; evaluations count these."""
    from commonpool.cli.evaluate import observe

    raise typer.Exit(observe(target, Output()))
