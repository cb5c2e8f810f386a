"""The commands of `commonpool credential`: names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output

credential = Group(help="Credentials that end, and can do one job.")


@credential.callback()
def about() -> None:
    """Credentials that end, and can do one job."""


@credential.command("ci")
def credential_ci(
    target: o.CLUSTER,
    write: Annotated[Path, typer.Option("--write", metavar="FILE", help="The kubeconfig to write.")],
    preview_only: Annotated[
        bool, typer.Option("--preview-only/--apply", help="For pull requests: it tries, and writes nothing.")
    ] = False,
    span: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it is good: 10m to 24h.")] = "1h",
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """A kubeconfig for a pipeline: previews, or applies services and departments; never the rules themselves."""
    from commonpool.cli.pipeline_credential import make

    raise typer.Exit(make(target, write, span, Output(output, color), preview_only=preview_only))
