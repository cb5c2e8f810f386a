"""Everything that people declare, as one value: lookups, and who is granted what on a day."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel

from commonpool.model.agreement import AgreedQuota, Agreement
from commonpool.model.base import Resources
from commonpool.model.clock import Clock, clock
from commonpool.model.correction import Correction
from commonpool.model.dataset import Dataset
from commonpool.model.department import Department, FlavorResources, NamespaceSpec
from commonpool.model.dictionary import Dictionary
from commonpool.model.document import locate
from commonpool.model.inventory import Machine
from commonpool.model.pool import Pool
from commonpool.model.progress import Progress
from commonpool.model.request import SharingRequest
from commonpool.model.service import SharedService
from commonpool.model.standing import Standing, fault, standing
from commonpool.model.statement import Statement
from commonpool.model.today import day_of, today
from commonpool.model.working_day import Holidays, announced

FOLDERS: dict[str, tuple[str, type[BaseModel]]] = {
    "department": ("departments", Department),
    "service": ("services", SharedService),
    "dataset": ("datasets", Dataset),
    "agreement": ("agreements", Agreement),
    "statement": ("agreements/statements", Statement),
    "request": ("requests", SharingRequest),
    "correction": ("corrections", Correction),
    "progress": ("progress", Progress),
}
KIND_OF = {
    "pool": "Pool",
    "dictionary": "Dictionary",
    "holidays": "Holidays",
    **{word: kind.__name__ for word, (_, kind) in FOLDERS.items()},
}


@dataclass(frozen=True)
class Estate:
    """One pool with everything declared in it, as it is on a `day`. What has a name is sorted by it.

    `texts` are the digests of the agreements' texts by name, `statements` are by the names of their files; `exchange` is the
    address of the process that filters fields and keeps evidence, where the pool has one.
    """

    root: Path
    pool: Pool
    machines: tuple[Machine, ...]
    departments: tuple[Department, ...]
    services: tuple[SharedService, ...]
    digests: Mapping[str, str]
    sources: Mapping[str, Path] = field(repr=False)
    day: date = field(default_factory=today)
    datasets: tuple[Dataset, ...] = ()
    dictionary: Dictionary | None = None
    agreements: tuple[Agreement, ...] = ()
    statements: Mapping[str, Statement] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    exchange: str | None = None
    requests: tuple[SharingRequest, ...] = ()
    corrections: tuple[Correction, ...] = ()
    progress: tuple[Progress, ...] = ()
    own_holidays: Holidays | None = None

    def as_of(self, day: date) -> "Estate":
        """The same at the end of a day: what departments stated after it was not said yet."""
        said = {name: one for name, one in self.statements.items() if day_of(one.at) <= day}
        return replace(self, day=day, statements=said)

    def department(self, name: str) -> Department | None:
        """A department by name."""
        return self._departments.get(name)

    def service(self, name: str) -> SharedService | None:
        """A shared service by name."""
        return self._services.get(name)

    def dataset(self, name: str) -> Dataset | None:
        """A dataset by name."""
        return self._datasets.get(name)

    def agreement(self, name: str) -> Agreement | None:
        """An agreement by name."""
        return next((agreement for agreement in self.agreements if agreement.name == name), None)

    def machine(self, name: str) -> Machine | None:
        """A machine by name."""
        return self._machines.get(name)

    @cached_property
    def _departments(self) -> Mapping[str, Department]:
        return {department.name: department for department in self.departments}

    @cached_property
    def _services(self) -> Mapping[str, SharedService]:
        return {service.name: service for service in self.services}

    @cached_property
    def _datasets(self) -> Mapping[str, Dataset]:
        return {dataset.name: dataset for dataset in self.datasets}

    @cached_property
    def _machines(self) -> Mapping[str, Machine]:
        return {machine.name: machine for machine in self.machines}

    @cached_property
    def standings(self) -> Mapping[str, Standing]:
        """Where every agreement stands on this day; statements that do not hold do not count."""
        return {one.name: standing(one, self.said(one), self.day) for one in self.agreements}

    def said(self, agreement: Agreement) -> Sequence[Statement]:
        """The valid statements about an agreement's very text."""
        return self._said.get(agreement.name, ())

    @cached_property
    def _said(self) -> Mapping[str, Sequence[Statement]]:
        found: dict[str, list[Statement]] = {}
        for statement in self.statements.values():
            agreement = self.agreement(statement.agreement)
            if agreement and not fault(statement, agreement, *self._signed_by(statement))[0]:
                found.setdefault(agreement.name, []).append(statement)
        return found

    def signatures(self, agreement: Agreement) -> list[Statement]:
        """The valid signatures of an agreement's very text."""
        return [one for one in self.said(agreement) if one.act == "sign"]

    def _signed_by(self, statement: Statement) -> tuple[str, Department | None]:
        return self.texts.get(statement.agreement, ""), self.department(statement.department)

    def service_of(self, agreement: Agreement) -> str | None:
        """The service that an agreement is about, directly or as the way to a dataset."""
        dataset = self.dataset(agreement.spec.dataset) if agreement.spec.dataset else None
        return dataset.spec.service if dataset else agreement.spec.service

    @cached_property
    def _by_service(self) -> Mapping[tuple[str | None, str], tuple[Agreement, ...]]:
        found: dict[tuple[str | None, str], tuple[Agreement, ...]] = {}
        for agreement in self.agreements:
            key = (self.service_of(agreement), agreement.spec.consumer)
            found[key] = (*found.get(key, ()), agreement)
        return found

    def agreements_on(self, service: str, consumer: str) -> Sequence[Agreement]:
        """Every agreement on a service with a department, whatever its state."""
        return self._by_service.get((service, consumer), ())

    def terms(self, service: str, consumer: str) -> Agreement | None:
        """The agreement in force by which a department calls a service, if there is one."""
        found = self.agreements_on(service, consumer)
        return next((one for one in found if self.standings[one.name].in_force), None)

    def resources(self, department: Department, namespace: NamespaceSpec) -> list[FlavorResources]:
        """What one of its namespaces gets today: what its manifest says, and what agreements in force add."""
        found = list(namespace.resources)
        for more in self.added(department):
            if more.namespace == namespace.name:
                found = [_with(one, more.guaranteed) if one.flavor == more.flavor else one for one in found]
        return found

    def added(self, department: Department) -> list[AgreedQuota]:
        """What agreements in force add to the resources of its namespaces today."""
        agreements = self._quotas.get(department.name, ())
        return [more for one in agreements if self.standings[one.name].in_force for more in one.spec.quota]

    @cached_property
    def _quotas(self) -> Mapping[str, tuple[Agreement, ...]]:
        found: dict[str, tuple[Agreement, ...]] = {}
        for agreement in self.agreements:
            if agreement.spec.quota:
                found[agreement.spec.consumer] = (*found.get(agreement.spec.consumer, ()), agreement)
        return found

    def grants(self, service: SharedService, department: Department) -> bool:
        """Whether a department that lists a service may call it today."""
        terms = self.terms(service.name, department.name)
        if terms is not None:
            return self.exchange is not None or not needs_exchange(terms)
        return self.serves(service, department)

    def serves(self, service: SharedService, department: Department) -> bool:
        """Whether a department may call a service without an agreement."""
        sharing, consumers = service.spec.sharing, service.spec.consumers
        if sharing:
            return department.name == service.spec.offered_by or sharing.class_ == "unconditional"
        groups = (self.pool.spec.department_groups.get(name, ()) for name in consumers.groups)
        return consumers.everyone or any(department.name in names for names in (consumers.departments, *groups))

    @cached_property
    def holidays(self) -> Holidays:
        """The announced years that come with the product, and the estate's own."""
        return announced().with_(self.own_holidays)

    def provider_of(self, request: SharingRequest) -> str | None:
        """The department that a request is addressed to."""
        service = self.service(request.spec.service) if request.spec.service else None
        dataset = self.dataset(request.spec.dataset) if request.spec.dataset else None
        return service.spec.offered_by if service else dataset.spec.provider if dataset else None

    def request_clock(self, request: SharingRequest) -> Clock:
        """Where the answer to a request stands today."""
        decision = request.spec.decision
        answered = decision.day if decision else None
        return self._clock(self.provider_of(request), request.spec.submitted, answered, "answer")

    def correction_clock(self, correction: Correction) -> Clock:
        """Where the answer to a correction stands today."""
        dataset, outcome = self.dataset(correction.spec.dataset), correction.spec.outcome
        answered = outcome.day if outcome else None
        return self._clock(
            dataset.spec.provider if dataset else None, correction.spec.submitted, answered, "correction"
        )

    def _clock(self, provider: str | None, received: str, answered: str | None, word: str) -> Clock:
        rules, department = self.pool.spec.sharing, self.department(provider or "")
        level = department.spec.organisation.level if department else self.pool.spec.level
        return clock(received, answered, level, getattr(rules, word), rules, self.holidays, self.day)

    @cached_property
    def consumers(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """By service the departments that list it under `consumes` and are granted it, with the namespaces that do.

        None of them for a department of which only a system outside of the pool lists it.
        """
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for department in self.departments:
            for full_name, spec in department.namespaces():
                for name in spec.consumes:
                    service = self.service(name)
                    if service is None or self.grants(service, department):
                        by_department = found.setdefault(name, {})
                        by_department[department.name] = (*by_department.get(department.name, ()), full_name)
            for name in (name for system in department.spec.systems for name in system.consumes):
                service = self.service(name)
                if service is None or self.grants(service, department):
                    found.setdefault(name, {}).setdefault(department.name, ())
        return found

    def locate(self, key: str, *where: str | int) -> tuple[str, int, int]:
        """File, line and column of a value; `key` is "pool" or "<word>/<name>", for instance "department/water"."""
        path = self.sources[key]
        return (show_path(path, self.root), *locate(path, where))


def _with(one: FlavorResources, more: Resources) -> FlavorResources:
    kept = one.guaranteed
    both = kept.model_copy(update={"cpu": kept.cpu + more.cpu, "memory": kept.memory + more.memory})
    return one.model_copy(update={"guaranteed": both})


def needs_exchange(agreement: Agreement) -> bool:
    """Whether its calls pass the process that takes fields out of answers, counts them and keeps their evidence."""
    spec = agreement.spec
    counted = spec.rate.requests_per_day is not None
    return spec.items is not None or counted or spec.evidence in ("digest", "body")


def show_path(path: Path, root: Path) -> str:
    """A path as messages show it: relative to where the person stands when that is shorter."""
    whole, here = os.path.abspath(path), os.path.join(os.getcwd(), "")
    return whole.removeprefix(here) if whole.startswith(here) else str(path)
