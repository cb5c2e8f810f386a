"""What an engine run reports: changes, events on the way, and the result.

Pure data. Secrets never get in here: whoever builds a `FieldChange` masks first, because events end in logs.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Operation(StrEnum):
    """What happens to one resource, in Pulumi's words."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    SAME = "same"
    READ = "read"
    ADOPT = "adopt"

    @property
    def sign(self) -> str:
        """One character, so that colour never carries the meaning alone."""
        return {"create": "+", "update": "~", "replace": "±", "delete": "-", "same": "=", "read": ">", "adopt": "^"}[
            self
        ]


@dataclass(frozen=True)
class FieldChange:
    """One field that differs; `path` is dotted with list indices in brackets, values are masked already."""

    path: str
    operation: Literal["+", "-", "~"]
    old: object = None
    new: object = None


@dataclass(frozen=True)
class Change:
    """What a run does, or would do, to one resource, and why.

    `checked` is False where the API server could not be asked beforehand, for instance because the
    object's namespace does not exist yet. `unit` names the part of the program that declared it. `kept` says of a
    deletion that the object itself stays (`retain_on_delete`).
    """

    operation: Operation
    urn: str
    type: str
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    reason: str = ""
    fields: tuple[FieldChange, ...] = ()
    checked: bool = True
    unit: str = ""
    kept: bool = False

    @property
    def patch(self) -> bool:
        """Whether it is about fields on an object that somebody else owns, and not about the object."""
        return self.type.rsplit(":", 1)[-1] == f"{self.kind}Patch"


@dataclass(frozen=True)
class Event:
    """One report on the way. `done` of `total` counts resources; `total` is None while it is unknown.

    `units` are the parts of the program that will be evaluated, told once before anything is written.
    """

    kind: Literal["phase", "resource", "wait", "note"]
    message: str
    change: Change | None = None
    done: int = 0
    total: int | None = None
    units: frozenset[str] | None = None


Observer = Callable[[Event], None]


@dataclass(frozen=True)
class ResourceProblem:
    """A resource that was refused or failed, in the API server's own words, and what may be done about it."""

    urn: str
    code: str
    message: str
    next_step: str = ""


@dataclass(frozen=True)
class Result:
    """The outcome of one preview, up, destroy or refresh of one stack. Timings are in seconds by phase."""

    stack: str
    preview: bool
    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    outputs: Mapping[str, object] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[ResourceProblem, ...] = ()
    halted: bool = False  # whether a problem concerns more than the unit in which it was met
    damage: tuple[str, ...] = ()  # what of the pool's memory was found missing or altered; an `up` rebuilds it

    @property
    def counts(self) -> dict[str, int]:
        """Number of changes by operation, without those that are the same."""
        return dict(Counter(str(change.operation) for change in self.changes if change.operation is not Operation.SAME))

    @property
    def changed(self) -> bool:
        """Whether anything differs (reads do not count)."""
        return any(change.operation not in (Operation.SAME, Operation.READ) for change in self.changes)
