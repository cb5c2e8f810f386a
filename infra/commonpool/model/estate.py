"""A folder of manifests as one estate: everything that people edit, read at once or refused with every problem at once."""

import gc
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel, ValidationError

from commonpool.model.base import suggestion
from commonpool.model.department import Department
from commonpool.model.document import Location, locate, locate_key, read
from commonpool.model.inventory import Machine, read_inventory
from commonpool.model.pool import Pool
from commonpool.model.problem import EstateRefused, Problem, shown
from commonpool.model.service import SharedService

M = TypeVar("M", Pool, Department, SharedService)
POOL_FILE, DEPARTMENTS, SERVICES = "pool.yaml", "departments", "services"
WHO = {
    "Pool": "the pool's operators (pool.yaml)",
    "Department": "the department (its own manifest)",
    "SharedService": "the team that offers the service (its own manifest)",
}


@dataclass(frozen=True)
class Estate:
    """One pool with everything declared in it, as it is on a `day`. Departments and services are sorted by name."""

    root: Path
    pool: Pool
    machines: tuple[Machine, ...]
    departments: tuple[Department, ...]
    services: tuple[SharedService, ...]
    digests: Mapping[str, str]
    sources: Mapping[str, Path] = field(repr=False)
    day: date = field(default_factory=date.today)

    def department(self, name: str) -> Department | None:
        """A department by name."""
        return next((department for department in self.departments if department.name == name), None)

    def service(self, name: str) -> SharedService | None:
        """A shared service by name."""
        return next((service for service in self.services if service.name == name), None)

    def machine(self, name: str) -> Machine | None:
        """A machine by name."""
        return self._machines.get(name)

    @cached_property
    def _machines(self) -> Mapping[str, Machine]:
        return {machine.name: machine for machine in self.machines}

    @cached_property
    def consumers(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """By service the departments that list it under `consumes`, with the namespaces that do."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for department in self.departments:
            for full_name, spec in department.namespaces():
                for name in spec.consumes:
                    by_department = found.setdefault(name, {})
                    by_department[department.name] = (*by_department.get(department.name, ()), full_name)
        return found

    def locate(self, key: str, *where: str | int) -> tuple[str, int, int]:
        """File, line and column of a value; `key` is "pool", "department/<name>" or "service/<name>"."""
        path = self.sources[key]
        return (show_path(path, self.root), *locate(path, where))


def load_estate(root: Path, proposed: Sequence[Path] = ()) -> Estate:
    """Read an estate. Raises `EstateRefused` with all problems of all files; nothing is half read.

    `proposed` are manifests of departments and shared services that lie elsewhere and are read as though they were in the
    estate.
    """
    from commonpool.model.checks import check

    collecting = gc.isenabled()
    gc.disable()  # millions of small values that all stay: collection only costs
    try:
        estate, problems = _read(root, proposed)
        if estate is not None and not problems:
            problems = check(estate)
        if estate is None or problems:
            raise EstateRefused(problems)
        return estate
    finally:
        if collecting:
            gc.enable()


def show_path(path: Path, root: Path) -> str:
    """A path as messages show it: relative to where the person stands when that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _read(root: Path, proposed: Sequence[Path]) -> tuple[Estate | None, list[Problem]]:
    problems: list[Problem] = []
    sources: dict[str, Path] = {}
    digests: dict[str, str] = {}
    if not (root / POOL_FILE).is_file():
        place = show_path(root / POOL_FILE, root)
        problem = Problem(
            place,
            1,
            1,
            "there is no pool.yaml, so this folder is no estate",
            "estate-missing",
            WHO["Pool"],
            "name the estate's folder with --estate",
        )
        return None, [problem]
    pool = _manifest(root / POOL_FILE, root, Pool, "pool", sources, digests, problems)
    departments = [
        found
        for path in (*_files(root / DEPARTMENTS, root, problems), *(path for path in proposed if not _offers(path)))
        if (found := _manifest(path, root, Department, "department", sources, digests, problems))
    ]
    services = [
        service
        for path in (*_files(root / SERVICES, root, problems), *(path for path in proposed if _offers(path)))
        if (service := _manifest(path, root, SharedService, "service", sources, digests, problems))
    ]
    if pool is None:
        return None, problems
    machines = _machines(root, pool, problems)
    machine_text = repr(
        [(machine.name, machine.site, machine.address, machine.facts.model_dump_json()) for machine in machines]
    )
    digests["machines"] = hashlib.sha256(machine_text.encode()).hexdigest()
    estate = Estate(
        root,
        pool,
        tuple(machines),
        tuple(sorted(departments, key=lambda d: d.name)),
        tuple(sorted(services, key=lambda s: s.name)),
        digests,
        sources,
    )
    return estate, problems


def _offers(path: Path) -> bool:
    """Whether a proposed manifest says that it is a shared service; what says nothing is read as a department's."""
    values = read(path, path.name).values
    return isinstance(values, dict) and values.get("kind") == "SharedService"


def _files(folder: Path, root: Path, problems: list[Problem]) -> list[Path]:
    if not folder.is_dir():
        return []
    inside = folder.resolve()
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".yml":
            problems.append(
                Problem(
                    show_path(path, root),
                    1,
                    1,
                    "manifests end in .yaml",
                    "file-name",
                    fix=f"rename it to {path.stem}.yaml",
                )
            )
        if path.suffix != ".yaml":
            continue
        if not path.resolve().is_relative_to(inside):
            problems.append(
                Problem(
                    show_path(path, root),
                    1,
                    1,
                    "the file is a link that leaves the estate",
                    "file-link",
                    fix="put the manifest itself here",
                )
            )
            continue
        found.append(path)
    return found


def _manifest(
    path: Path,
    root: Path,
    model: type[M],
    word: str,
    sources: dict[str, Path],
    digests: dict[str, str],
    problems: list[Problem],
) -> M | None:
    name = show_path(path, root)
    document = read(path, name)
    problems += document.problems
    if document.problems:
        return None
    try:
        manifest = model.model_validate(document.values)
    except ValidationError as error:
        problems += problems_of(error, path, name, model)
        return None
    key = "pool" if word == "pool" else f"{word}/{manifest.metadata.name}"
    if word != "pool" and path.stem != manifest.metadata.name:
        line, column = locate(path, ("metadata", "name"))
        fix = f"rename the file to {manifest.metadata.name}.yaml, or the manifest to {suggestion(path.stem, 40)}"
        problems.append(
            Problem(
                name,
                line,
                column,
                f"the name {manifest.metadata.name!r} differs from the file's",
                "file-name",
                WHO[model.__name__],
                fix,
            )
        )
    if key in sources:
        other = show_path(sources[key], root)
        line, column = locate(path, ("metadata", "name"))
        problems.append(
            Problem(
                name,
                line,
                column,
                f"{manifest.metadata.name!r} is declared in {other} too",
                "name-duplicate",
                fix="choose another name",
            )
        )
    sources[key] = path
    canonical = pydantic_core.to_json(document.values)
    digests[key] = hashlib.sha256(canonical).hexdigest()
    return manifest


def _machines(root: Path, pool: Pool, problems: list[Problem]) -> list[Machine]:
    machines: list[Machine] = []
    seen: dict[str, str] = {}
    for index, site in enumerate(pool.spec.compute.sites):
        path = root / site.inventory
        if not path.is_file():
            line, column = locate(root / POOL_FILE, ("spec", "compute", "sites", index, "inventory"))
            problems.append(
                Problem(
                    show_path(root / POOL_FILE, root),
                    line,
                    column,
                    f"there is no inventory {shown(site.inventory)}",
                    "inventory-missing",
                    WHO["Pool"],
                    "correct the path; it is relative to pool.yaml",
                )
            )
            continue
        found, wrong = read_inventory(path, show_path(path, root), site.name)
        problems += wrong
        for machine in found:
            if machine.name in seen:
                problems.append(
                    Problem(
                        *machine.source,
                        f"machine {machine.name} stands in {seen[machine.name]} too",
                        "machine-duplicate",
                        WHO["Pool"],
                        "give one of the two another name",
                    )
                )
            seen[machine.name] = machine.file
        machines += found
    return sorted(machines, key=lambda machine: machine.name)


def problems_of(error: ValidationError, path: Path, name: str, model: type[BaseModel]) -> list[Problem]:
    """Errors of pydantic with file, line, column, our rule and the edit that passes."""
    return [_problem(dict(item), path, name, model) for item in error.errors(include_url=False)]


def _problem(item: dict[str, Any], path: Path, name: str, model: type[BaseModel]) -> Problem:
    where: Location = tuple(part for part in item["loc"] if part not in ("[key]",))
    kind, context = item["type"], item.get("ctx") or {}
    who = WHO.get(model.__name__, "")
    place = ".".join(str(part) for part in where) or "the document"
    if kind == "extra_forbidden":
        line, column = locate_key(path, where)
        near = get_close_matches(str(where[-1]), _fields_at(model, where[:-1]), n=1)
        fix = f"write {near[0]}" if near else "take it out"
        return Problem(name, line, column, f"there is no field {shown(place)!r}", "field-unknown", who, fix)
    line, column = locate(path, where)
    if kind == "missing":
        return Problem(name, line, column, f"{shown(place)} is missing", "field-missing", who, f"add {where[-1]}:")
    if "fix" in context:
        return Problem(name, line, column, f"{shown(place)}: {context['message']}", kind, who, context["fix"])
    if kind == "value_error":
        return Problem(
            name,
            line,
            column,
            f"{shown(place)}: {context.get('error', item['msg'])}",
            "quantity-invalid",
            who,
            "write for instance 500m, 4 or 64Gi",
        )
    rule, fix = _rule(kind, item)
    return Problem(name, line, column, f"{shown(place)}: {shown(item['msg'])}", rule, who, fix)


def _rule(kind: str, item: dict[str, Any]) -> tuple[str, str]:
    if kind.endswith("_type"):
        value = item.get("input")
        quoted = isinstance(value, (int, float, bool)) and "string" in kind
        return (
            "type-wrong",
            f'put it in quotes: "{shown(value)}"' if quoted else f"write a {kind.removesuffix('_type')}",
        )
    if kind == "literal_error":
        expected = str((item.get("ctx") or {}).get("expected", ""))
        words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        near = get_close_matches(str(item.get("input")), words, n=1)
        return "value-unknown", f"write {near[0]}" if near else f"write one of {expected}"
    context = item.get("ctx") or {}
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    words = [f"{word} {context[key]}" for key, word in bounds.items() if key in context]
    if "min_length" in context or "max_length" in context:
        words = [f"{context['min_length']} or more" if "min_length" in context else f"at most {context['max_length']}"]
    return "value-out-of-range", f"write {' and '.join(words)}" if words else ""


def _fields_at(model: type[BaseModel], where: Location) -> list[str]:
    """The field names that exist where an unknown one stands."""
    current: Any = model
    for part in where:
        if isinstance(part, int):
            continue
        info = next((info for field, info in current.model_fields.items() if (info.alias or field) == part), None)
        current = _inner_model(info.annotation) if info else None
        if current is None:
            return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _inner_model(annotation: Any) -> Any:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found:
            return found
    return None
