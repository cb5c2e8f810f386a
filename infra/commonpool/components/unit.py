"""The independent parts of each stack and a digest of everything that each depends on.

An engine that remembers the digests need not evaluate what did not change. Importing this imports no Pulumi.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from commonpool.components import agreement, catalogue, gateway
from commonpool.model import Department, Estate, SharedService
from commonpool.model.share import shares

STAND_INS, WEIGHTS, SIMULATE = "commonpool:standIns", "commonpool:weights", "commonpool:simulatedMachines"
EXCHANGE = "commonpool:exchange"
PROGRAMS = ("pool", "services", "departments")


def units(estate: Estate, program: str, config: Mapping[str, object]) -> dict[str, str]:
    """Digest by name: departments, services, or the pool itself. Raises ValueError for another program."""
    base = f"{code_digest()}:{estate.digests['pool']}"
    estate = replace(estate, exchange=str(config.get(EXCHANGE) or "") or None)
    if program == "pool":
        simulate = str(config.get(SIMULATE, "true"))
        loopback = str(bool(config.get(STAND_INS)))
        return {estate.pool.name: _digest(base, estate.digests["machines"], simulate, loopback, estate.exchange or "")}
    if program == "services":
        stand_ins = str(config.get(STAND_INS, ""))
        datasets = {
            name: _digest(base, *(estate.digests[f"dataset/{one.name}"] for one in some))
            for name, some in catalogue.providers(estate).items()
        }
        return datasets | {
            service.name: _digest(
                base,
                estate.digests[f"service/{service.name}"],
                repr(gateway.consumers(estate, service)),
                json.dumps([agreement.in_force(estate, service), agreement.without_terms(estate, service)]),
                json.dumps(agreement.ended(estate, service)),
                repr(shares(estate, service)),
                estate.exchange or "" if agreement.of_exchange(estate, service) else "",
                _groups(estate.department(service.spec.offered_by)),
                repr(_machines(estate, service)),
                stand_ins if service.spec.backends else "",
                _weights(config, service.name),
            )
            for service in estate.services
        }
    if program == "departments":
        return {
            department.name: _digest(base, *_department(estate, department)) for department in shard(estate, config)
        }
    raise ValueError(f"no program {program!r}; there are {', '.join(PROGRAMS)}")


def shard(estate: Estate, config: Mapping[str, object]) -> list[Department]:
    """The departments of one stack: all, those of a list, or those whose labels match."""
    listed, wanted = config.get("commonpool:departments"), config.get("commonpool:departmentLabels")
    found = list(estate.departments)
    if isinstance(listed, list):
        found = [department for department in found if department.name in listed]
    if isinstance(wanted, Mapping):
        found = [
            department
            for department in found
            if all(department.metadata.labels.get(key) == value for key, value in wanted.items())
        ]
    return found


def _department(estate: Estate, department: Department) -> list[str]:
    names = sorted({name for _, spec in department.namespaces() for name in spec.consumes})
    standing = department.standing(estate.day)
    services = [service for name in names if (service := estate.service(name))]
    return [
        estate.digests[f"department/{department.name}"],
        standing,
        repr(estate.added(department)),
        repr([service.name for service in services if estate.grants(service, department)]),
        *(estate.digests[f"service/{name}"] for name in names),
    ]


def _weights(config: Mapping[str, object], service: str) -> str:
    """At which weights its cut-over stands."""
    told = config.get(WEIGHTS) or {}
    by_service = json.loads(told) if isinstance(told, str) else told
    return json.dumps(by_service.get(service), sort_keys=True) if isinstance(by_service, Mapping) else ""


def _machines(estate: Estate, service: SharedService) -> list[tuple[str, str]]:
    """What a service takes from the inventory: where its machines are reached."""
    names = [name for backend in service.spec.backends for name in backend.machines]
    return [(machine.name, machine.address) for name in names if (machine := estate.machine(name))]


def _groups(owner: Department | None) -> str:
    return owner.spec.groups.model_dump_json() if owner else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def code_digest() -> str:
    """A digest of the code that renders: these modules, the models' and the stacks' programs."""
    here = Path(__file__).resolve()
    folders = [here.parent, here.parent.parent / "model", here.parents[3] / "stacks"]
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else ():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]
