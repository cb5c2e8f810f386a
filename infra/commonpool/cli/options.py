"""The options that several commands share, each with its help, in one place."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commonpool.cli.output import Color, Format
from commonpool.cli.target import stack_names

ESTATE = Annotated[
    Path | None,
    typer.Option(
        "--estate", "-e", help="Folder of the estate; default: this folder, else examples/estate.", show_default=False
    ),
]
PROGRAM = Annotated[
    Path | None,
    typer.Option(
        "--program", help="Folder of any Pulumi Python project to run instead of our stacks.", show_default=False
    ),
]


def _stacks(incomplete: str) -> list[str]:
    return [name for name in stack_names() if name.startswith(incomplete)]


STACK = Annotated[
    list[str] | None,
    typer.Option(
        "--stack",
        "-s",
        help="Stack; may be repeated. Default: all of ours, or dev.",
        show_default=False,
        autocompletion=_stacks,
    ),
]
CONFIG = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", help="Configuration as key=value; may be repeated.", show_default=False),
]
KUBECONFIG = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="Cluster to work on; default: the embedded pool.",
        show_default=False,
        envvar="COMMONPOOL_KUBECONFIG",
    ),
]
CONTEXT = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", show_default=False)]
POOL = Annotated[str, typer.Option("--pool", help="Name of the embedded pool.", envvar="COMMONPOOL_POOL")]
OUTPUT = Annotated[Format, typer.Option("--output", "-o", help="How data is printed.")]
COLOR = Annotated[Color, typer.Option("--color", help="When colour is used; NO_COLOR is honoured.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Apply without a question.")]
DIFF = Annotated[bool, typer.Option("--diff", help="Show every field that differs.")]
DETAILED = Annotated[bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes.")]
EXPECT = Annotated[bool, typer.Option("--expect-no-changes", help="Fail when there are changes.")]
TARGET = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="Only these departments, services or URNs; * matches.", show_default=False),
]
PARALLEL = Annotated[int, typer.Option("--parallel", "-p", min=1, max=512, help="Resources at a time.")]
WAIT = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until what was applied is ready.")]
TIMEOUT = Annotated[str, typer.Option("--timeout", help="Longest wait for one resource, for instance 90s or 10m.")]
REFRESH = Annotated[bool, typer.Option("--refresh", help="Evaluate everything, also what did not change.")]
CONTINUE = Annotated[bool, typer.Option("--continue-on-error", help="Go on with what does not depend on a failure.")]
ADOPT = Annotated[bool, typer.Option("--adopt", help="Take over existing objects of the same name.")]
FORCE = Annotated[
    bool, typer.Option("--force-conflicts", help="Take over fields that other managers own; each is reported.")
]
SKIP_PREVIEW = Annotated[
    bool, typer.Option("--skip-preview", "-f", help="With --yes: apply without asking the server first.")
]


class Environment(StrEnum):
    """What a namespace is used for."""

    PRODUCTION = "production"
    STAGING = "staging"
    TEST = "test"
    DEVELOPMENT = "development"
