"""The options that several commands share, each with its help, in one place."""

import functools
import inspect
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from commonpool.cli import names
from commonpool.cli.output import Color, Format
from commonpool.cli.target import Target


def own_pool() -> str:
    """The embedded pool that is meant when none is named."""
    return os.environ.get("COMMONPOOL_POOL", "default")


departments, services, datasets = names.files("departments"), names.files("services"), names.files("datasets")
agreements, requests, corrections = names.files("agreements"), names.files("requests"), names.files("corrections")


def _logs(incomplete: str) -> list[str]:
    from commonpool.embedded.process import COMPONENTS

    return [name for name in sorted((*COMPONENTS, "audit", "supervisor")) if name.startswith(incomplete)]


ESTATE = Annotated[
    Path | None,
    typer.Option(
        "--estate",
        "-e",
        metavar="DIR",
        help="Folder of the estate; default: this folder, else the sample estate.",
        show_default=False,
        envvar="COMMONPOOL_ESTATE",
    ),
]
PROGRAM = Annotated[
    Path | None,
    typer.Option(
        "--program",
        metavar="DIR",
        help="Folder of any Pulumi Python project to run instead of our stacks.",
        show_default=False,
    ),
]
STACK = Annotated[
    list[str] | None,
    typer.Option(
        "--stack",
        "-s",
        metavar="NAME",
        help="Stack; may be repeated. Default: all of ours, or dev.",
        show_default=False,
        autocompletion=names.stacks,
    ),
]
CONFIG = Annotated[
    list[str] | None,
    typer.Option(
        "--config", "-c", metavar="KEY=VALUE", help="Configuration as key=value; may be repeated.", show_default=False
    ),
]
SECRET = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        metavar="KEY=VALUE",
        help="Secret configuration as key=value or key=@file; shown nowhere; may be repeated.",
        show_default=False,
    ),
]
KUBECONFIG = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="Cluster to work on; default: the embedded pool.",
        show_default=False,
        envvar="COMMONPOOL_KUBECONFIG",
    ),
]
CONTEXT = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="NAME",
        help="Context of the kubeconfig.",
        show_default=False,
        envvar="COMMONPOOL_CONTEXT",
        autocompletion=names.contexts,
    ),
]
POOL = Annotated[
    str,
    typer.Option(
        "--pool",
        metavar="NAME",
        help="Name of the embedded pool.",
        envvar="COMMONPOOL_POOL",
        autocompletion=names.pools,
    ),
]
OUTPUT = Annotated[
    Format,
    typer.Option(
        "--output", "-o", help="How data is printed; markdown is for pull requests.", envvar="COMMONPOOL_OUTPUT"
    ),
]
COLOR = Annotated[
    Color, typer.Option("--color", help="When colour is used; NO_COLOR is honoured.", envvar="COMMONPOOL_COLOR")
]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Go on without a question.")]
DIFF = Annotated[bool, typer.Option("--diff/--no-diff", help="Show every field that differs.")]
DETAILED = Annotated[bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes.")]
EXPECT = Annotated[bool, typer.Option("--expect-no-changes", help="Fail when there are changes.")]
TARGET = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="Only these departments or services, with --program these URNs; * matches.",
        show_default=False,
        autocompletion=names.files("departments", "services"),
    ),
]
PARALLEL = Annotated[
    int,
    typer.Option(
        "--parallel", "-p", metavar="N", min=1, max=512, help="Resources at a time.", envvar="COMMONPOOL_PARALLEL"
    ),
]
WAIT = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until what was applied is ready.")]
TIMEOUT = Annotated[
    str,
    typer.Option(
        "--timeout",
        metavar="TIME",
        help="Longest wait for one resource, for instance 90s or 10m.",
        envvar="COMMONPOOL_TIMEOUT",
    ),
]
REFRESH = Annotated[bool, typer.Option("--refresh", help="Evaluate everything, also what did not change.")]
CONTINUE = Annotated[
    bool,
    typer.Option(
        "--continue-on-error",
        help="Go on with what does not depend on a failure, also in the same department or service.",
    ),
]
ADOPT = Annotated[bool, typer.Option("--adopt", help="Take over existing objects of the same name.")]
FORCE = Annotated[
    bool, typer.Option("--force-conflicts", help="Take over fields that other managers own; each is reported.")
]
SKIP_PREVIEW = Annotated[
    bool, typer.Option("--skip-preview", "-f", help="With --yes: apply without asking the server first.")
]
LIVE = Annotated[
    bool | None,
    typer.Option("--live/--declared", help="Ask the cluster too; default: when it runs.", show_default=False),
]
DEPARTMENT = Annotated[str, typer.Argument(help="Name of the department.", autocompletion=departments)]
SERVICE = Annotated[str, typer.Argument(help="Name of the service.", autocompletion=services)]
FIELD = Annotated[
    str, typer.Argument(help="For instance department.spec.namespaces.resources.", autocompletion=names.fields)
]
COMPONENT = Annotated[str, typer.Argument(help="A component, or supervisor, or audit.", autocompletion=_logs)]
POOL_NAME = Annotated[
    str, typer.Argument(help="Name of the embedded pool.", envvar="COMMONPOOL_POOL", autocompletion=names.pools)
]
POOLS = Annotated[
    list[str] | None, typer.Argument(help="Names of embedded pools.", show_default=False, autocompletion=names.pools)
]
KIND = Annotated[
    str,
    typer.Argument(help="A kind of manifest: Pool, Department, SharedService, Dataset …", autocompletion=names.kinds),
]


PLACE = Annotated[Target, "estate", "kubeconfig", "context", "pool"]
CLUSTER = Annotated[Target, "kubeconfig", "context", "pool"]
_OPTIONS = {
    "estate": (ESTATE, None),
    "kubeconfig": (KUBECONFIG, None),
    "context": (CONTEXT, None),
    "pool": (POOL, "default"),
}


def spread(function: Callable[..., None]) -> Callable[..., None]:
    """The function as the parser reads it: in place of a `PLACE` or `CLUSTER` the options that it is made of."""
    own = inspect.signature(function).parameters
    about = next((one for one in own.values() if get_args(one.annotation)[:1] == (Target,)), None)
    if about is None:
        return function
    chosen = get_args(about.annotation)[1:]

    @functools.wraps(function)
    def command(**given: Any) -> None:  # noqa: ANN401
        target = Target(**{name: given.pop(name) for name in chosen})
        function(**given, **{about.name: target})

    others = {name: one for name, one in own.items() if one is not about}
    for name in chosen:
        option, default = _OPTIONS[name]
        others[name] = inspect.Parameter(name, about.kind, default=default, annotation=option)
    last = [others.pop(name) for name in ("output", "color") if name in others]  # where every help has them
    read = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*others.values(), *last)]
    command.__signature__ = inspect.Signature(read)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in read}
    return command


def enter(folder: Path | None) -> None:
    """`-C DIR`: work as if started there."""
    if folder is not None:
        os.chdir(folder)


CWD = Annotated[
    Path | None,
    typer.Option(
        "--cwd",
        "-C",
        metavar="DIR",
        help="Work as if started in this folder; may stand anywhere.",
        show_default=False,
        callback=enter,
        is_eager=True,
        expose_value=False,
    ),
]


class Shell(StrEnum):
    """Shells that can complete our commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    PWSH = "pwsh"


class Level(StrEnum):
    """Levels of government."""

    NATION = "nation"
    PROVINCE = "province"
    CITY = "city"


class OnExpiry(StrEnum):
    """What follows the last day of a term."""

    NOTIFY = "notify"
    FREEZE = "freeze"
    RECLAIM = "reclaim"


class Evidence(StrEnum):
    """What is kept of each call under an agreement."""

    NONE = "none"
    METADATA = "metadata"
    DIGEST = "digest"
    BODY = "body"


Act = Literal["sign", "suspend", "resume", "terminate"]


class Environment(StrEnum):
    """What a namespace is used for."""

    PRODUCTION = "production"
    STAGING = "staging"
    TEST = "test"
    DEVELOPMENT = "development"
