"""The commands of `commonpool drop`: names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

drop = Group(help="Bulk exchange under an agreement: pack, fetch, acknowledge.")


KEY = Annotated[
    Path,
    typer.Option(
        "--key", metavar="FILE", help="The department's private key, Ed25519 in PEM.", envvar="COMMONPOOL_SIGNING_KEY"
    ),
]


@drop.command("pack")
def drop_pack(
    agreement: Annotated[str, typer.Argument(help="Agreement under which it is given.", autocompletion=o.agreements)],
    files: Annotated[list[Path], typer.Argument(help="Files.", exists=True, dir_okay=False)],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="New folder, to be served by HTTP.")],
    key: KEY,
    estate: o.ESTATE = None,
    pool: o.POOL = "default",
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Encrypt files to the consumer's own keys, with a signed manifest of digests."""
    from commonpool.cli import drop as commands

    raise typer.Exit(commands.pack(Target(estate=estate, pool=pool), agreement, files, to, key, Output(output, color)))


@drop.command("fetch")
def drop_fetch(
    place: Annotated[str, typer.Argument(help="URL of the drop, or its folder.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where the files go.")],
    key: KEY,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="NAME: VALUE",
            help="Sent with every request; @FILE as the value reads it there.",
            show_default=False,
        ),
    ] = None,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Fetch a drop, or go on where it broke off; verifies, opens, and writes the signed receipt."""
    from commonpool.cli import drop as commands

    raise typer.Exit(commands.fetch(Target(estate=estate), place, into, key, header or (), Output(output, color)))


@drop.command("acknowledge")
def drop_acknowledge(
    receipt: Annotated[Path, typer.Argument(help="The consumer's receipt.json.", exists=True, dir_okay=False)],
    manifest: Annotated[
        Path, typer.Option("--manifest", metavar="FILE", help="The drop's manifest.json.", exists=True)
    ],
    estate: o.ESTATE = None,
    pool: o.POOL = "default",
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Record the consumer's receipt, when it is theirs."""
    from commonpool.cli import drop as commands

    raise typer.Exit(commands.acknowledge(Target(estate=estate, pool=pool), receipt, manifest, Output(output, color)))
