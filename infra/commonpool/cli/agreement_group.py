"""The commands of `commonpool agreement`: names, options and help."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

agreement = Group(help="Agreements between departments: write, sign, look at, suspend, terminate.")
_YEAR = timedelta(days=365)


NAME = Annotated[str, typer.Argument(help="Name of the agreement.", autocompletion=o.agreements)]
DEPARTMENT = Annotated[
    str, typer.Option("--department", metavar="NAME", help="Who says it.", autocompletion=o.departments)
]
KEY = Annotated[
    Path,
    typer.Option(
        "--key",
        metavar="FILE",
        help="The department's private key, Ed25519 in PEM.",
        envvar="COMMONPOOL_SIGNING_KEY",
        exists=True,
        dir_okay=False,
    ),
]
REASON = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; stands in the signed statement.")]
DRY = Annotated[bool, typer.Option("--dry-run", help="Print what would be written, and write nothing.")]


@agreement.command("new")
def agreement_new(
    name: Annotated[str, typer.Argument(help="Name of the new agreement.")],
    consumer: Annotated[
        str, typer.Option("--consumer", metavar="NAME", help="Department that receives.", autocompletion=o.departments)
    ],
    purpose: Annotated[str, typer.Option("--purpose", metavar="CODE", help="Code of the purpose.")],
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="The task in words.")],
    law: Annotated[str, typer.Option("--law", metavar="TEXT", help="Law on which the task rests.")],
    article: Annotated[str, typer.Option("--article", metavar="TEXT", help="Article of that law.")],
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="NAME", help="Service that is agreed on.", autocompletion=o.services),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="Dataset that is agreed on.", autocompletion=o.datasets),
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option("--item", metavar="PATH", help="The only items; may be repeated.")
    ] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="DATE", help="First day; default: today.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last day; default: in a year.")] = None,
    evidence: Annotated[
        o.Evidence, typer.Option("--evidence", help="What is kept of each call.")
    ] = o.Evidence.METADATA,
    dry_run: DRY = False,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Write a draft that is valid in the estate."""
    from commonpool.cli import agreement as commands
    from commonpool.model.today import today

    day = today()
    draft = commands.Draft(
        consumer,
        service,
        dataset,
        tuple(item or ()),
        purpose,
        description,
        law,
        article,
        start or day.isoformat(),
        end or (day + _YEAR).isoformat(),
        evidence.value,
    )
    raise typer.Exit(commands.new(Target(estate=estate), name, draft, Output(output, color), dry_run=dry_run))


@agreement.command("key")
def agreement_key(
    file: Annotated[Path, typer.Argument(help="Where to write the private key; it must not exist.")],
    id: Annotated[str, typer.Option("--id", metavar="NAME", help="Short name of the key.")] = "office",
) -> None:
    """Make a key pair for a department, and print the line for its manifest."""
    from commonpool.cli import agreement as commands

    raise typer.Exit(commands.make_key(file, id, Output()))


@agreement.command("list")
def agreement_list(estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """All agreements with their states."""
    from commonpool.cli import agreement as commands

    raise typer.Exit(commands.list_agreements(Target(estate=estate), Output(output, color)))


@agreement.command("show")
def agreement_show(
    name: NAME, estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO
) -> None:
    """One agreement: what is agreed, its state, who signed."""
    from commonpool.cli import agreement as commands

    raise typer.Exit(commands.show(Target(estate=estate), name, Output(output, color)))


@agreement.command("verify")
def agreement_verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names; fails unless both sides signed each. Default: all.", autocompletion=o.agreements),
    ] = None,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Check the signatures against the texts and the departments' declared keys."""
    from commonpool.cli import agreement as commands

    raise typer.Exit(commands.verify(Target(estate=estate), names or [], Output(output, color)))


@agreement.command("sign")
def agreement_sign(
    name: NAME,
    department: DEPARTMENT,
    key: KEY,
    dry_run: DRY = False,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Agree, for one side, to the text as it is now."""
    _say("sign", name, department, key, None, dry_run, estate, Output(output, color))


def _verb(act: o.Act, help_: str) -> None:
    @agreement.command(act, help=help_)
    def command(
        name: NAME,
        department: DEPARTMENT,
        key: KEY,
        reason: REASON,
        dry_run: DRY = False,
        estate: o.ESTATE = None,
        output: o.OUTPUT = Format.TEXT,
        color: o.COLOR = Color.AUTO,
    ) -> None:
        _say(act, name, department, key, reason, dry_run, estate, Output(output, color))


def _say(
    act: o.Act,
    name: str,
    department: str,
    key: Path,
    reason: str | None,
    dry_run: bool,
    estate: Path | None,
    output: Output,
) -> None:
    from commonpool.cli import agreement as commands

    target = Target(estate=estate)
    raise typer.Exit(commands.say(target, name, act, department, key, reason, output, dry_run=dry_run))


_verb("suspend", "Stop it for the time being; the next `up` takes the access away.")
_verb("resume", "Take one's own suspension back.")
_verb("terminate", "End it for good, by either side; the next `up` takes the access away.")
