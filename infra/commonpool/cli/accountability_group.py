"""The commands of `commonpool correction` and `commonpool progress`: names, options and help."""

from enum import StrEnum
from typing import Annotated

import typer

from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

correction = Group(help="Records that are wrong: say so, answer, dispute.")
progress = Group(help="Milestones of old systems: how far, what is late, the month's report.")


class Result(StrEnum):
    """What came of a correction."""

    CORRECTED = "corrected"
    REJECTED = "rejected"


NAME = Annotated[str, typer.Argument(help="Name of the correction.", autocompletion=o.corrections)]


@correction.command("new")
def correction_new(
    name: Annotated[str, typer.Argument(help="Name of the new correction.")],
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="Dataset that holds it.", autocompletion=o.datasets)
    ],
    item: Annotated[str, typer.Option("--item", metavar="PATH", help="Item that is wrong.")],
    record: Annotated[str, typer.Option("--record", metavar="KEY", help="Key of the record; no names of people.")],
    found_by: Annotated[
        str, typer.Option("--found-by", metavar="NAME", help="Who found it.", autocompletion=o.departments)
    ],
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="What is wrong, by which evidence.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be written, and write nothing.")] = False,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Say that a record is wrong."""
    from commonpool.cli import correction as commands

    given = {"dataset": dataset, "item": item, "record": record, "found_by": found_by, "description": description}
    raise typer.Exit(commands.new(Target(estate=estate), name, given, Output(output, color), dry_run=dry_run))


@correction.command("list")
def correction_list(estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """All corrections with their clocks."""
    from commonpool.cli import correction as commands

    raise typer.Exit(commands.list_corrections(Target(estate=estate), Output(output, color)))


@correction.command("answer")
def correction_answer(
    name: NAME,
    result: Annotated[Result, typer.Option("--result", help="What was found.")],
    by: Annotated[str, typer.Option("--by", metavar="ROLE", help="Role that checked or decided.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")],
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Answer it; where it is disputed, decide."""
    from commonpool.cli import correction as commands

    raise typer.Exit(commands.answer(Target(estate=estate), name, result.value, by, reason, Output(output, color)))


@correction.command("dispute")
def correction_dispute(
    name: NAME,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why the outcome is not accepted.")],
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Do not accept the outcome."""
    from commonpool.cli import correction as commands

    raise typer.Exit(commands.dispute(Target(estate=estate), name, reason, Output(output, color)))


@progress.command("list")
def progress_list(estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """The scoreboard: number, progress and effect; then what is late, and with whom."""
    from commonpool.cli import progress as commands

    raise typer.Exit(commands.list_progress(Target(estate=estate), Output(output, color)))


@progress.command("report")
def progress_report(
    month: Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="Default: this month.")] = None,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """The month's report, in Markdown or as a document."""
    from commonpool.cli import progress as commands
    from commonpool.model.today import today

    raise typer.Exit(commands.report(Target(estate=estate), month or today().strftime("%Y-%m"), Output(output, color)))
