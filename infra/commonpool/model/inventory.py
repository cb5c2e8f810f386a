"""Machines, from the Ansible inventory that also brings them in: one list, not typed twice.

Read: `all`, `children`, `hosts`, `vars`, ranges such as `rs-[01:12]`, and variables by Ansible's precedence inside one
file (host over child group over parent group). Not read: plug-ins, `group_vars` folders, templates; what the pool
needs to know of a machine stands in plain `commonpool_*` variables.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from commonpool.host_pattern import expand
from commonpool.model.base import Date, Declared, Name, Text
from commonpool.model.cache import Cache
from commonpool.model.document import Location, locate, read
from commonpool.model.problem import Problem, shown
from commonpool.model.quantity import Quantity

Role = Literal["node", "storage", "backend", "agent-only", "retire"]
# What Kubernetes takes for a node and for the label that says its name; nothing that ssh would take for an option.
_NAME = re.compile(r"(?=.{1,63}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_NOBODY = frozenset(("all", "ungrouped", "localhost"))  # groups, and the machine on which Ansible itself runs


class Overrule(Declared):
    """A person's decision against the survey's verdict."""

    role: Role = Field(description="What the machine is to be used as.")
    reason: Text = Field(description="Why, for those who come after.")
    date: Date = Field(description="When it was decided.")


class MachineFacts(Declared):
    """The `commonpool_*` variables of one host, without the prefix."""

    flavor: Name = Field(description="Flavor of the pool.")
    cpu: Quantity = Field(description="Cores.")
    memory: Quantity = Field(description="Bytes.")
    disk: Quantity = Field(default=Quantity.parse("100Gi"), description="Bytes for images and scratch.")
    pods: Annotated[int, Field(ge=1, le=1000)] = Field(default=110, description="Most pods.")
    role: Role = Field(default="node", description="What the machine is good for.")
    year: Annotated[int, Field(ge=1990, le=2100)] | None = Field(default=None, description="Year of purchase.")
    generation: str = Field(default="", description="Hardware generation, for people.")
    rack: str = Field(default="", description="Where it stands.")
    department: Name | None = Field(
        default=None, description="Department whose machine it is; only its services may have it as a backend."
    )
    overrule: Overrule | None = Field(default=None, description="A decision against the survey's verdict.")
    joined: bool = Field(default=False, description="Whether it has joined for real; otherwise it is only simulated.")
    trial: bool = Field(
        default=False,
        description="Whether a test host on the machine that this is tried on plays it; it comes and goes by itself.",
    )


@dataclass(frozen=True)
class Machine:
    """One machine of the pool; `file` is its inventory as messages show it, `where` its entry in there.

    `port` is 0 where its inventory names none; `ssh_arguments` is what it has ssh told, as a jump host.
    """

    name: str
    site: str
    address: str
    facts: MachineFacts
    file: str
    where: Location = ()
    port: int = 0
    ssh_arguments: str = ""

    @property
    def source(self) -> tuple[str, int, int]:
        """File, line and column of its entry; reads the file again, which only a problem is worth."""
        return (self.file, *locate(Path(self.file), self.where))


def read_inventory(path: Path, shown_path: str, site: str, cache: Cache) -> tuple[list[Machine], list[Problem]]:
    """The machines of one site, and what is wrong with its inventory."""
    document = read(path, shown_path, cache)
    if document.values is None:
        return [], list(document.problems)
    values = document.values
    if not isinstance(values, dict) or not isinstance(values.get("all"), dict):
        problem = Problem(
            shown_path,
            1,
            1,
            "the inventory does not start with `all:`",
            "inventory-shape",
            fix="write `all:` with `children:` or `hosts:`",
        )
        return [], [problem]
    misshapen = [_misshaped(path, shown_path, where) for where in _misshapen(values["all"], ("all",))]
    if misshapen:
        return [], misshapen
    machines: dict[str, Machine] = {}
    problems: list[Problem] = []
    for name, variables, where in _hosts(values["all"], {}, ("all",)):
        if not _NAME.fullmatch(name) or name in _NOBODY:
            problems.append(_misnamed(shown_path, *locate(path, where), name))
            continue
        try:
            facts = _facts(variables)
        except ValidationError as error:
            line, column = locate(path, where)
            problems += [_problem(shown_path, line, column, name, dict(item)) for item in error.errors()]
            continue
        address, port = str(variables.get("ansible_host", "")), str(variables.get("ansible_port", ""))
        reached, arguments = int(port) if port.isdecimal() else 0, str(variables.get("ansible_ssh_common_args", ""))
        machines[name] = Machine(name, site, address, facts, shown_path, where, reached, arguments)
    return list(machines.values()), problems


def _misnamed(file: str, line: int, column: int, name: str) -> Problem:
    words = f"{shown(name)!r} is no name of a machine: 1 to 63 of a-z, 0-9, '-' and '.'"
    if name in _NOBODY:
        words = f"{name!r} means something else to Ansible"
    return Problem(file, line, column, words, "machine-name", fix="write its host name, in lower case")


def _misshapen(group: Mapping[str, Any], where: Location) -> Iterator[Location]:
    """What is neither empty nor a mapping although groups, hosts and their variables are."""
    for part in ("vars", "hosts", "children"):
        inner = group.get(part)
        if inner is not None and not isinstance(inner, dict):
            yield (*where, part)
        elif inner and part != "vars":
            for name, value in inner.items():
                if value is not None and not isinstance(value, dict):
                    yield (*where, part, name)
                elif value and part == "children":
                    yield from _misshapen(value, (*where, part, name))


def _misshaped(path: Path, shown_path: str, where: Location) -> Problem:
    words = f"{shown('.'.join(map(str, where)))} is not a mapping"
    return Problem(
        shown_path, *locate(path, where), words, "inventory-shape", fix="write `name: value` pairs, or nothing"
    )


def _hosts(
    group: Mapping[str, Any], inherited: Mapping[str, Any], where: Location
) -> Iterator[tuple[str, dict[str, Any], Location]]:
    variables = {**inherited, **(group.get("vars") or {})}
    for pattern, own in (group.get("hosts") or {}).items():
        for name in expand(str(pattern)):
            yield name, {**variables, **(own or {})}, (*where, "hosts", pattern)
    for name, child in (group.get("children") or {}).items():
        if isinstance(child, dict):
            yield from _hosts(child, variables, (*where, "children", name))


def _facts(variables: Mapping[str, Any]) -> MachineFacts:
    own = {key.removeprefix("commonpool_"): value for key, value in variables.items() if key.startswith("commonpool_")}
    return MachineFacts.model_validate(own)


def _problem(file: str, line: int, column: int, host: str, error: dict[str, Any]) -> Problem:
    field = "commonpool_" + ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return Problem(
            file,
            line,
            column,
            f"machine {host} has no {field}",
            "machine-fact-missing",
            fix=f"add {field} to the host or its group",
        )
    if error["type"] == "extra_forbidden":
        return Problem(
            file,
            line,
            column,
            f"machine {host}: {field} is not a variable of the pool",
            "machine-fact-unknown",
            fix="take it out, or spell it right",
        )
    return Problem(file, line, column, f"machine {host}: {field}: {error['msg']}", "machine-fact-invalid")
