"""The commands of `commonpool policy`: names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import names
from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output

policy = Group(help="Admission rules: which there are, what they would refuse, what they refused.")


@policy.command("list")
def policy_list(target: o.PLACE, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """Every rule: what it refuses, whether it denies, warns or only notes, and whether it stands so in the cluster."""
    from commonpool.cli import policy as commands

    raise typer.Exit(commands.list_rules(target, Output(output, color)))


@policy.command("explain")
def policy_explain(
    target: o.PLACE,
    file: Annotated[
        Path | None, typer.Argument(help="Manifests to try, written nowhere; - for standard input.", show_default=False)
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", help="For objects that name none.", show_default=False, autocompletion=names.namespaces
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Read the audit log instead: 3d, 12h, 90m.", show_default=False),
    ] = None,
    audit_log: Annotated[
        Path | None,
        typer.Option("--audit-log", metavar="FILE", help="Default: the embedded pool's.", show_default=False),
    ] = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Which objects of which departments a rule would refuse: of a manifest, or of the last days."""
    from commonpool.cli import policy as commands

    chosen = commands.Question(file, namespace or "", since or "", audit_log)
    raise typer.Exit(commands.explain(target, chosen, Output(output, color)))
