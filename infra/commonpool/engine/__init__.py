"""Runs Pulumi programs without the Pulumi CLI, with the pool itself as the state.

What it refuses: to force fields over silently, to adopt or delete what it did not make, to skip what it does not
support. Importing this package imports no part of the Pulumi SDK; a run that finds nothing to do never does.
"""

from commonpool.engine.cluster import Cluster
from commonpool.engine.deployment import Options, Program
from commonpool.engine.event import Change, Event, FieldChange, Observer, Operation, ResourceProblem, Result
from commonpool.engine.run import destroy, preview, refresh, up

__all__ = [
    "Change",
    "Cluster",
    "Event",
    "FieldChange",
    "Observer",
    "Operation",
    "Options",
    "Program",
    "ResourceProblem",
    "Result",
    "destroy",
    "preview",
    "refresh",
    "up",
]
