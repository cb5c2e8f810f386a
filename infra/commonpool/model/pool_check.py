"""What must hold of a pool as a whole: its ranges, references, names and machines. Pure but for positions."""

import ipaddress
from pathlib import PurePosixPath
from posixpath import normpath

from commonpool.model import address
from commonpool.model.estate import Estate
from commonpool.model.organisation_code import WRONG_CODE, is_valid
from commonpool.model.pool import NfsExport
from commonpool.model.problem import Problem, shown
from commonpool.model.subject import Found, Subject, nearest
from commonpool.model.violation import WHO


def check_pool(estate: Estate) -> Found:
    """Every problem of pool.yaml and the inventories that it names."""
    subject = Subject(estate, "pool")
    yield from _ranges(estate, subject)
    yield from _references(estate, subject)
    yield from _volumes(estate, subject)
    yield from _folders(estate, subject)
    yield from _names(estate, subject)
    yield from _machines(estate)
    if not is_valid(estate.pool.spec.organisation.code):
        yield subject.problem(("spec", "organisation", "code"), *WRONG_CODE)


def _ranges(estate: Estate, subject: Subject) -> Found:
    known: list[tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network]] = []
    for index, block in enumerate(estate.pool.spec.network.ranges):
        where = ("spec", "network", "ranges", index, "cidr")
        try:
            network = ipaddress.ip_network(block.cidr)
        except ValueError as error:
            yield subject.problem(
                where,
                f"{shown(block.cidr)} is not an address block: {error}",
                "cidr-invalid",
                "write for instance 10.20.0.0/16",
            )
            continue
        for other, taken in known:
            if network.version == taken.version and network.overlaps(taken):
                yield subject.problem(
                    where,
                    f"{block.cidr} overlaps range {other!r} ({taken})",
                    "cidr-overlap",
                    "choose a block of its own",
                )
        known.append((block.name, network))
    for index, egress in enumerate(estate.pool.spec.network.egress_allow_list):
        if address.block(egress.cidr, strict=False) is None:
            yield subject.problem(
                ("spec", "network", "egressAllowList", index, "cidr"),
                f"{shown(egress.cidr)} is not an address block",
                "cidr-invalid",
                "write for instance 192.0.2.0/24",
            )


def _references(estate: Estate, subject: Subject) -> Found:
    spec = estate.pool.spec
    zones = [zone.name for zone in spec.network.zones]
    departments = [department.name for department in estate.departments]
    for group, members in spec.department_groups.items():
        place = ("spec", "departmentGroups", group)
        yield from subject.twice(place, members, "department", "")
        for index, name in enumerate(members):
            if name not in departments:
                yield subject.problem(
                    (*place, index),
                    f"there is no department {name!r}",
                    "department-unknown",
                    nearest(name, departments),
                )
    for index, site in enumerate(spec.compute.sites):
        if site.zone not in zones:
            yield subject.problem(
                ("spec", "compute", "sites", index, "zone"),
                f"there is no zone {site.zone!r}",
                "zone-unknown",
                nearest(site.zone, zones),
            )
    if sum(tier.default for tier in spec.storage.tiers) > 1:
        yield subject.problem(
            ("spec", "storage", "tiers"), "more than one tier is the default", "tier-default", "keep one"
        )
    for flavor_index, flavor in enumerate(spec.compute.flavors):
        if flavor.name.endswith("-burst"):  # the class of what is guaranteed there would be that of another's burst
            yield subject.problem(
                ("spec", "compute", "flavors", flavor_index, "name"),
                f"flavor {flavor.name!r} ends in -burst, as the classes of preemptible pods do",
                "name-reserved",
                f"write {flavor.name.removesuffix('-burst')}",
            )
        if estate.pool.over_commit(flavor).cpu in ("0", "0.0"):
            yield subject.problem(
                ("spec", "compute", "flavors", flavor_index),
                "an over-commit of zero promises nothing",
                "over-commit-zero",
                'write at least "1.0"',
            )


def _volumes(estate: Estate, subject: Subject) -> Found:
    spec = estate.pool.spec
    tiers, machines = [tier.name for tier in spec.storage.tiers], [machine.name for machine in estate.machines]
    for index, volume in enumerate(spec.storage.volumes):
        where = ("spec", "storage", "volumes", index)
        if volume.tier not in tiers:
            yield subject.problem(
                (*where, "tier"), f"there is no tier {volume.tier!r}", "tier-unknown", nearest(volume.tier, tiers)
            )
        if (volume.nfs is None) == (volume.local is None):
            yield subject.problem(
                where,
                f"volume {volume.name!r} needs exactly one of nfs and local",
                "volume-source",
                "keep one of the two",
            )
        if volume.local and volume.local.machine not in machines:
            yield subject.problem(
                (*where, "local", "machine"),
                f"there is no machine {volume.local.machine!r}",
                "machine-unknown",
                nearest(volume.local.machine, machines),
            )
        if volume.nfs and volume.nfs.device and not any(volume.on(one.name, one.address) for one in estate.machines):
            yield subject.problem(
                (*where, "nfs", "device"),
                f"the server {volume.nfs.server!r} is no machine of the inventory, so nobody can mount its disk there",
                "device-elsewhere",
                "remove device, or write the server as the inventory's ansible_host",
            )


def _folders(estate: Estate, subject: Subject) -> Found:
    """One folder is one volume: two would go to two departments, and each would read what the other keeps."""
    known: list[tuple[str, str, PurePosixPath, str | None]] = []
    for index, volume in enumerate(estate.pool.spec.storage.volumes):
        source = volume.nfs or volume.local
        if source is None:
            continue
        home = source.server if isinstance(source, NfsExport) else source.machine
        machine = next((one.name for one in estate.machines if home in (one.name, one.address)), home)
        path = PurePosixPath(normpath(source.path))
        for name, place, other, device in known:
            if place != machine:
                continue
            inside = path.is_relative_to(other) or other.is_relative_to(path)
            if inside or (device is not None and device == source.device):
                yield subject.problem(
                    ("spec", "storage", "volumes", index),
                    f"volume {volume.name!r} at {path} and {name!r} at {other} are on {machine} one inside the other, or one disk",
                    "volume-overlap",
                    "keep one of the two, or give each a folder and a disk of its own",
                )
        known.append((volume.name, machine, path, source.device))


def _names(estate: Estate, subject: Subject) -> Found:
    spec = estate.pool.spec
    groups: list[tuple[str, tuple[str | int, ...], list[str]]] = [
        ("site", ("spec", "compute", "sites"), [item.name for item in spec.compute.sites]),
        ("flavor", ("spec", "compute", "flavors"), [item.name for item in spec.compute.flavors]),
        ("tier", ("spec", "storage", "tiers"), [item.name for item in spec.storage.tiers]),
        ("volume", ("spec", "storage", "volumes"), [item.name for item in spec.storage.volumes]),
        ("egress", ("spec", "network", "egressAllowList"), [item.name for item in spec.network.egress_allow_list]),
    ]
    for word, where, names in groups:
        for index, name in enumerate(names):
            if name in names[:index]:
                yield subject.problem(
                    (*where, index, "name"),
                    f"{word} {name!r} is declared twice",
                    "name-duplicate",
                    "choose another name",
                )


def _machines(estate: Estate) -> Found:
    flavors = [flavor.name for flavor in estate.pool.spec.compute.flavors]
    for machine in estate.machines:
        if machine.facts.flavor not in flavors:
            message = f"machine {machine.name}: there is no flavor {machine.facts.flavor!r}"
            yield Problem(
                *machine.source, message, "flavor-unknown", WHO["Pool"], nearest(machine.facts.flavor, flavors)
            )
