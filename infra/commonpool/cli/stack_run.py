"""What the phases of `up`, `preview`, `destroy` and `refresh` hand on to each other, and how they were asked for."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from commonpool.cli.evidence import RunEvidence
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.engine import Cluster, Program, Result
    from commonpool.model import Estate


@dataclass(frozen=True)
class Wishes:
    """How a run was asked for."""

    yes: bool = False
    diff: bool = False
    skip_preview: bool = False
    detailed_exitcode: bool = False
    expect_no_changes: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """What the phases hand on to each other."""

    target: Target
    wishes: Wishes
    output: Output
    verb: str
    estate: "Estate | None" = None
    programs: "list[Program]" = field(default_factory=list)
    cluster: "Cluster | None" = None
    engine: "Cluster | None" = None  # by the account that writes services and departments
    connections: AsyncExitStack = field(default_factory=AsyncExitStack)
    results: "list[Result]" = field(default_factory=list)
    writing: bool = False
    previewed: set[tuple[str, str]] | None = None
    consent: str = "--yes"
    evidence: RunEvidence | None = None
    started: float = field(default_factory=time.monotonic)
    laps: dict[str, float] = field(default_factory=dict)  # seconds by phase
