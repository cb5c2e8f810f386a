"""The commands of `commonpool dataset`: names, options and help."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

dataset = Group(help="The catalogue of datasets: search, look at, bring in, give out.")


class Exchange(StrEnum):
    """Forms of a catalogue for others."""

    DCAT = "dcat"
    CSV = "csv"


class Sharing(StrEnum):
    """Classes of sharing."""

    UNCONDITIONAL = "unconditional"
    CONDITIONAL = "conditional"
    NOT_SHARED = "not-shared"


class Category(StrEnum):
    """Kinds of catalogue."""

    BASE = "base"
    THEME = "theme"
    DEPARTMENT = "department"


PROVIDER = Annotated[
    str | None, typer.Option("--provider", metavar="NAME", help="Only this department's.", autocompletion=o.departments)
]
SHARING = Annotated[Sharing | None, typer.Option("--sharing", help="Only this class of sharing.")]
CATEGORY = Annotated[Category | None, typer.Option("--category", help="Only this kind of catalogue.")]
LIMIT = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Most lines.")]


@dataset.command("list")
def dataset_list(
    provider: PROVIDER = None,
    sharing: SHARING = None,
    category: CATEGORY = None,
    limit: LIMIT = 100,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """All datasets by name."""
    from commonpool.cli import dataset as commands

    filters = {"provider": provider or "", "sharing": sharing or "", "category": category or ""}
    raise typer.Exit(commands.search(Target(estate=estate), "", filters, limit, Output(output, color)))


@dataset.command("search")
def dataset_search(
    words: Annotated[
        list[str], typer.Argument(help="Words that must all be there, in any language; parts of them do.")
    ],
    provider: PROVIDER = None,
    sharing: SHARING = None,
    category: CATEGORY = None,
    limit: LIMIT = 20,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Find datasets by name, abstract, class, code, provider or item."""
    from commonpool.cli import dataset as commands

    filters = {"provider": provider or "", "sharing": sharing or "", "category": category or ""}
    raise typer.Exit(commands.search(Target(estate=estate), " ".join(words), filters, limit, Output(output, color)))


@dataset.command("show")
def dataset_show(
    name: Annotated[str, typer.Argument(help="Name of the dataset.", autocompletion=o.datasets)],
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """One dataset: core metadata, items, who has it."""
    from commonpool.cli import dataset as commands

    raise typer.Exit(commands.show(Target(estate=estate), name, Output(output, color)))


@dataset.command("export")
def dataset_export(
    form: Annotated[
        Exchange, typer.Option("--form", help="dcat: DCAT-AP in JSON-LD; csv: the official table.")
    ] = Exchange.DCAT,
    estate: o.ESTATE = None,
) -> None:
    """The whole catalogue, for others' catalogues and for spreadsheets."""
    from commonpool.cli import dataset as commands

    raise typer.Exit(commands.export(Target(estate=estate), form.value, Output()))


@dataset.command("import")
def dataset_import(
    file: Annotated[Path, typer.Argument(help="A .csv table, or DCAT in JSON-LD.", exists=True, dir_okay=False)],
    provider: Annotated[
        str, typer.Option("--provider", metavar="NAME", help="Department for entries that name none of ours.")
    ] = "",
    budget_item: Annotated[
        str, typer.Option("--budget-item", metavar="NUMBER", help="Budget item for entries without one.")
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Write datasets anew that stand in the estate.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and write nothing.")] = False,
    estate: o.ESTATE = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Write manifests for the datasets of a file; all of them valid or none."""
    from commonpool.cli import dataset as commands

    target = Target(estate=estate)
    raise typer.Exit(
        commands.import_file(
            target, file, provider, budget_item, Output(output, color), replace=replace, dry_run=dry_run
        )
    )
