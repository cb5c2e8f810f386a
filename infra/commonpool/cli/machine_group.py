"""The commands of `commonpool machine`: names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli import names
from commonpool.cli import options as o
from commonpool.cli.help import Group
from commonpool.cli.output import Color, Format, Output
from commonpool.cli.target import Target

machine = Group(help="Machines of the inventories: look at, judge, bring in, let go.")


@machine.command("list")
def machine_list(target: o.PLACE, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """Every machine: site, flavor, role, and whether it stands, is simulated or absent."""
    from commonpool.cli.machine import list_machines

    raise typer.Exit(list_machines(target, Output(output, color)))


MACHINES = Annotated[
    list[str] | None,
    typer.Argument(help="Names of machines; default: all.", show_default=False, autocompletion=names.machines),
]
PRIVATE_KEY = Annotated[
    Path | None, typer.Option("--private-key", help="Your SSH key; default: as your ssh does it.", show_default=False)
]
ASK_BECOME = Annotated[bool, typer.Option("--ask-become-pass", "-K", help="Ask for the sudo password.")]


@machine.command("survey")
def machine_survey(
    names: MACHINES = None,
    estate: o.ESTATE = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a self-contained page.", show_default=False)
    ] = None,
    private_key: PRIVATE_KEY = None,
    ask_become_pass: ASK_BECOME = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Look at machines over SSH, change nothing, and say what each is good for, why, and until when."""
    from commonpool.cli.survey import survey

    raise typer.Exit(
        survey(
            Target(estate=estate),
            names or (),
            Output(output, color),
            html=html,
            private_key=private_key,
            ask_become_pass=ask_become_pass,
        )
    )


@machine.command("onboard")
def machine_onboard(
    target: o.PLACE,
    names: Annotated[
        list[str], typer.Argument(help="Names of machines.", show_default=False, autocompletion=names.machines)
    ],
    private_key: PRIVATE_KEY = None,
    ask_become_pass: ASK_BECOME = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would change there.")] = False,
    yes: o.YES = False,
    diff: o.DIFF = False,
    with_data: Annotated[
        list[str] | None,
        typer.Option(
            "--with-data", metavar="VOLUME", help="Take a volume that bears data, as it is.", show_default=False
        ),
    ] = None,
    erase: Annotated[
        list[str] | None,
        typer.Option(
            "--erase", metavar="VOLUME", help="Erase the disk of a volume that bears data.", show_default=False
        ),
    ] = None,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Bring machines in as nodes, storage or backends: survey, preview, ask; nodes are opened once they are whole."""
    from commonpool.cli.onboard import Wishes, onboard

    allowed = tuple(with_data or ()), tuple(erase or ())
    wishes = Wishes(private_key, ask_become_pass, preview, yes, diff, *allowed)
    raise typer.Exit(onboard(target, names, Output(output, color), wishes))


@machine.command("retire")
def machine_retire(
    target: o.PLACE,
    names: Annotated[
        list[str], typer.Argument(help="Names of machines.", show_default=False, autocompletion=names.machines)
    ],
    private_key: PRIVATE_KEY = None,
    ask_become_pass: ASK_BECOME = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only show who is affected.")] = False,
    wipe: Annotated[bool, typer.Option("--wipe", help="Empty the disks and folders that were volumes.")] = False,
    past_budgets: Annotated[
        bool, typer.Option("--past-budgets", help="Delete pods that a disruption budget holds for more than 5 minutes.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "retired",
    yes: o.YES = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Let machines go: show who is affected, ask, move their pods, cut them off, undo, close their records."""
    from commonpool.cli.retire import Farewell, retire

    wishes = Farewell(private_key, ask_become_pass, preview, yes, wipe, reason, past_budgets)
    raise typer.Exit(retire(target, names, Output(output, color), wishes))


@machine.command("reset")
def machine_reset(
    target: o.PLACE,
    names: Annotated[
        list[str], typer.Argument(help="Names of machines.", show_default=False, autocompletion=names.machines)
    ],
    private_key: PRIVATE_KEY = None,
    ask_become_pass: ASK_BECOME = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would be undone.")] = False,
    yes: o.YES = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Undo an onboarding, whole or half, as if it had never been; refused while departments use it."""
    from commonpool.cli.retire import Farewell, reset

    wishes = Farewell(private_key, ask_become_pass, preview, yes)
    raise typer.Exit(reset(target, names, Output(output, color), wishes))


@machine.command("volumes")
def machine_volumes(target: o.PLACE, output: o.OUTPUT = Format.TEXT, color: o.COLOR = Color.AUTO) -> None:
    """Declared disks and shares: tier, capacity, age, and who has claimed them."""
    from commonpool.cli.volumes import volumes

    raise typer.Exit(volumes(target, Output(output, color)))


@machine.command("image")
def machine_image(
    archives: Annotated[list[Path], typer.Argument(metavar="FILE", help="OCI archives.", show_default=False)],
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="NAME",
            help="Machine; may be repeated. Default: all that joined.",
            show_default=False,
            autocompletion=names.machines,
        ),
    ] = None,
    estate: o.ESTATE = None,
    private_key: PRIVATE_KEY = None,
    ask_become_pass: ASK_BECOME = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Bring container images to nodes from files, without any registry."""
    from commonpool.cli.image import image

    access = (private_key, ask_become_pass)
    raise typer.Exit(image(Target(estate=estate), archives, on or (), Output(output, color), access))


@machine.command("trust")
def machine_trust(
    names: MACHINES = None,
    estate: o.ESTATE = None,
    replace: Annotated[
        list[str] | None,
        typer.Option("--replace", help="Machine that was reinstalled and has a new key.", show_default=False),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="The keys were compared; pin them without a question.")
    ] = False,
    output: o.OUTPUT = Format.TEXT,
    color: o.COLOR = Color.AUTO,
) -> None:
    """Confirm the host keys of new machines; a pinned key is never replaced silently."""
    from commonpool.cli.survey import trust

    raise typer.Exit(trust(Target(estate=estate), names or (), Output(output, color), replace=replace or (), yes=yes))
