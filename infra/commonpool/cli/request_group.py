"""The commands of `commonpool request`: names, options and help."""

from typing import Annotated

import typer

from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

request = Group(help="Requests for data: ask, watch the clock, decide.")


NAME = Annotated[str, typer.Argument(help="Name of the request.", autocompletion=o.requests)]
DRY = Annotated[bool, typer.Option("--dry-run", help="Print what would be written, and write nothing.")]


@request.command("new")
def request_new(
    name: Annotated[str, typer.Argument(help="Name of the new request.")],
    consumer: Annotated[
        str, typer.Option("--consumer", metavar="NAME", help="Department that asks.", autocompletion=o.departments)
    ],
    purpose: Annotated[str, typer.Option("--purpose", metavar="CODE", help="Code of the purpose.")],
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="The task in words.")],
    law: Annotated[str, typer.Option("--law", metavar="TEXT", help="Law on which the task rests.")],
    article: Annotated[str, typer.Option("--article", metavar="TEXT", help="Article of that law.")],
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="Service asked for.", autocompletion=o.services)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Dataset asked for.", autocompletion=o.datasets)
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option("--item", metavar="PATH", help="An item that is needed; may be repeated.")
    ] = None,
    collect: Annotated[
        list[str] | None,
        typer.Option("--collect", metavar="CODE", help="An element that would be collected anew; may be repeated."),
    ] = None,
    dry_run: DRY = False,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Ask another department; its clock runs from tomorrow."""
    from commonpool.cli import request as commands

    wish = commands.Wish(
        consumer, service, dataset, tuple(item or ()), tuple(collect or ()), purpose, description, law, article
    )
    raise typer.Exit(commands.new(Target(estate=estate), name, wish, Output(output, color), dry_run=dry_run))


@request.command("list")
def request_list(estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """All requests with their clocks."""
    from commonpool.cli import request as commands

    raise typer.Exit(commands.list_requests(Target(estate=estate), Output(output, color)))


@request.command("show")
def request_show(
    name: NAME, estate: o.ESTATE = None, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO
) -> None:
    """One request: what is asked, the clock and the rule behind it, the answer."""
    from commonpool.cli import request as commands

    raise typer.Exit(commands.show(Target(estate=estate), name, Output(output, color)))


@request.command("decide")
def request_decide(
    name: NAME,
    grant: Annotated[bool, typer.Option("--grant/--refuse", help="The answer.")],
    by: Annotated[str, typer.Option("--by", metavar="ROLE", help="Role that decides.")],
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why it is refused.")] = None,
    law: Annotated[str | None, typer.Option("--law", metavar="TEXT", help="Law of a refusal.")] = None,
    article: Annotated[str | None, typer.Option("--article", metavar="TEXT", help="Its article.")] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="DATE", help="First day of what is granted.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last day of what is granted.")] = None,
    dry_run: DRY = False,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Answer: an agreement to be signed by both, or a refusal with its reason."""
    from commonpool.cli import request as commands

    answer = commands.Answer(grant, by, reason, law, article, start, end)
    raise typer.Exit(commands.decide(Target(estate=estate), name, answer, Output(output, color), dry_run=dry_run))
