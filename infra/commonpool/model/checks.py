"""What must hold over the whole estate; asks the rules of each kind, and adds those between manifests."""

from collections.abc import Callable

from commonpool.model.department import Department
from commonpool.model.department_check import check_department
from commonpool.model.estate import Estate
from commonpool.model.hostname_check import check_hostnames
from commonpool.model.look_alike import skeleton
from commonpool.model.pool_check import check_pool
from commonpool.model.problem import Problem, shown
from commonpool.model.service_check import check_service
from commonpool.model.subject import Found, Subject, nearest


def check(estate: Estate) -> list[Problem]:
    """Every problem of the estate as a whole."""
    problems = [*check_pool(estate)]
    for department in estate.departments:
        problems += check_department(estate, department)
    for service in estate.services:
        problems += check_service(estate, service)
    return [*problems, *check_hostnames(estate), *_uniqueness(estate), *_parents(estate)]


def _uniqueness(estate: Estate) -> Found:
    facts: list[tuple[str, tuple[str, ...], Callable[[Department], str]]] = [
        ("filing number", ("spec", "filing", "number"), lambda department: department.spec.filing.number),
        ("organisation code", ("spec", "organisation", "code"), lambda department: department.spec.organisation.code),
    ]
    for word, where, value_of in facts:
        owners: dict[str, str] = {}
        for department in estate.departments:
            value = value_of(department)
            if value in owners:
                yield Subject(estate, f"department/{department.name}").problem(
                    where,
                    f"{word} {shown(value)} is that of {owners[value]} too",
                    "value-duplicate",
                    "correct the wrong one of the two",
                )
            owners[value] = department.name
    yield from _collisions(estate)


def _collisions(estate: Estate) -> Found:
    taken: dict[str, str] = {service.namespace_name: f"service {service.name}" for service in estate.services}
    skeletons: dict[str, str] = {}
    for department in estate.departments:
        key = f"department/{department.name}"
        for index, (full_name, _) in enumerate(department.namespaces()):
            if full_name in taken:
                yield Subject(estate, key).problem(
                    ("spec", "namespaces", index, "name"),
                    f"namespace {full_name} belongs to {taken[full_name]} already",
                    "namespace-collision",
                    "choose another name",
                )
            taken[full_name] = department.name
        look = skeleton(department.spec.display_name)
        if look in skeletons:
            yield Subject(estate, key).problem(
                ("spec", "displayName"),
                f"the display name looks like that of {skeletons[look]}",
                "name-confusable",
                "choose one that cannot be mistaken",
            )
        skeletons[look] = department.name


def _parents(estate: Estate) -> Found:
    parents = {department.name: department.spec.organisation.parent for department in estate.departments}
    for name, parent in parents.items():
        if parent is None:
            continue
        where = ("spec", "organisation", "parent")
        if parent not in parents:
            yield Subject(estate, f"department/{name}").problem(
                where, f"there is no department {parent!r}", "department-unknown", nearest(parent, list(parents))
            )
            continue
        chain = [name]
        step: str | None = parent
        while step is not None and step not in chain:
            chain.append(step)
            step = parents.get(step)
        if step == name:
            yield Subject(estate, f"department/{name}").problem(
                where,
                f"the parents form a circle: {' -> '.join([*chain, name])}",
                "parent-cycle",
                "take one of the parents out",
            )
