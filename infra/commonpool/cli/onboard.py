"""`commonpool machine onboard`: survey, preview, ask, bring in. Machines that may not come in are told why and left alone."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.consent import answered
from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output, count
from commonpool.cli.survey import Progress, access_of, chosen, machines_folder
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.engine.kubeconfig import Credentials
    from commonpool.machines import Access, Survey
    from commonpool.machines.onboard import Consent, ControlPlane, Joined
    from commonpool.model import Estate


@dataclass(frozen=True)
class Wishes:
    """The options of `onboard`."""

    private_key: Path | None
    ask_become_pass: bool
    preview: bool
    yes: bool
    diff: bool
    with_data: tuple[str, ...] = ()
    erase: tuple[str, ...] = ()


def onboard(target: Target, names: Sequence[str], output: Output, wishes: Wishes) -> int:
    """0 when every named machine is in; 1 when one is not."""
    from commonpool.machines import survey

    began = time.monotonic()
    estate = target.load()
    machines = chosen(estate, names)
    credentials = target.credentials()
    plane = control_plane(target, estate, credentials, output)
    if not (wishes.yes or wishes.preview or output.interactive):
        raise CommandFailed(
            "nobody can be asked whether to change these machines",
            code="declined",
            next_step="look with --preview, then add --yes",
        )
    access = access_of(output, wishes.private_key, ask_become_pass=wishes.ask_become_pass)
    folder = machines_folder(estate)
    output.phase(f"survey {count(len(machines), 'machine')}")
    with output.working("connecting"):
        surveys = survey(machines, folder, access, Progress(output, len(machines)).take)
    work = _Work(estate, credentials, plane, folder, access, output, _consent(estate, wishes, output))
    if not wishes.yes:
        output.phase("preview")
        planned = work.run(surveys, check=True)
        _show(planned, output, diff=wishes.diff or not output.interactive)
        willing = [one for one in planned if one.state != "refused"]
        if wishes.preview or not willing:
            return 1 if any(one.state in ("failed", "refused") for one in planned) else 0
        _ask(len(willing), output)
    output.phase("bring in")
    found = work.run(surveys, check=False)
    _show(found, output, diff=wishes.diff)
    output.say(f"{time.monotonic() - began:.0f} s")
    return 1 if any(one.state in ("failed", "refused") for one in found) else 0


@dataclass(frozen=True)
class _Work:
    estate: "Estate"
    credentials: "Credentials"
    plane: "ControlPlane"
    folder: Path
    access: "Access"
    output: Output
    consent: "Consent"

    def run(self, surveys: "Sequence[Survey]", *, check: bool) -> "list[Joined]":
        from commonpool.engine import Cluster
        from commonpool.machines.onboard import onboard

        progress = Progress(self.output, len(surveys))

        async def work() -> "list[Joined]":
            async with await Cluster.connect(self.credentials) as cluster:
                return await onboard(
                    cluster,
                    self.estate.pool,
                    surveys,
                    self.plane,
                    self.folder,
                    self.access,
                    progress.take,
                    check=check,
                    consent=self.consent,
                )

        with self.output.working("preparing the cluster"):
            return asyncio.run(work())


def _consent(estate: "Estate", wishes: Wishes, output: Output) -> "Consent":
    """What was allowed by name; erasing is asked for once more, with the name typed."""
    from commonpool.machines.onboard import Consent

    volumes = estate.pool.spec.storage.volumes
    known = [volume.name for volume in volumes if any(volume.on(one.name, one.address) for one in estate.machines)]
    for name in (*wishes.with_data, *wishes.erase):
        if name not in known:
            raise CommandFailed(
                f"pool.yaml declares no volume {name!r} on a machine of the inventory",
                code="volume_unknown",
                next_step=nearest(name, known),
            )
    for name in wishes.erase if not (wishes.yes or wishes.preview) else ():
        if answered(f"the disk of {name} will be erased. Type {name} to allow it: ", output) != name:
            raise CommandFailed("not confirmed; nothing was changed", code="declined")
    ports: dict[str, dict[int, str]] = {}
    for service in estate.services:
        for backend in service.spec.backends:
            for machine in backend.machines if backend.port else ():
                by_port = ports.setdefault(machine, {})
                port = backend.port or 0
                by_port[port] = ", ".join(filter(None, (by_port.get(port, ""), service.name)))
    return Consent(wishes.with_data, wishes.erase, ports)


def control_plane(target: Target, estate: "Estate", credentials: "Credentials", output: Output) -> "ControlPlane":
    """How machines reach the cluster, with the archive of what they need. Raises `CommandFailed`, `EmbeddedError`."""
    from commonpool.embedded import EmbeddedPool
    from commonpool.embedded.binaries import VERSION
    from commonpool.embedded.configuration import POD_RANGE
    from commonpool.embedded.node_archive import node_archive
    from commonpool.machines.onboard import ControlPlane

    server, pods = credentials.server, POD_RANGE
    proxies: tuple[str, ...] = ()
    if target.embedded:
        server = EmbeddedPool(target.pool).node_server
        proxies = (server.removeprefix("https://").rpartition(":")[0],)
    else:
        named = [one.cidr for one in estate.pool.spec.network.ranges if one.purpose == "pods"]
        if not named:
            raise CommandFailed(
                "pool.yaml names no range for pods", code="usage", next_step="add it to spec.network.ranges"
            )
        pods = named[0]
    with output.working("preparing what nodes need"):
        archive = node_archive(output.build)
    return ControlPlane(
        server,
        credentials.ca,
        archive.path,
        archive.digest,
        archive.pause_image,
        archive.dns_image,
        pods,
        VERSION,
        network=target.embedded,
        proxies=proxies,
    )


def _show(found: "Sequence[Joined]", output: Output, *, diff: bool) -> None:
    if output.structured:
        items = [one.to_json() for one in found]
        output.document("MachineOnboardingList", items=items)
        return
    rows = [
        [one.machine.name, one.machine.site, one.state, count(len(one.changed), "step"), _words(one)] for one in found
    ]
    output.data(output.table(["machine", "site", "state", "changed", "why"], rows, left=3))
    for one in found if diff else ():
        for part in one.diffs:
            output.say(_diff(one.machine.name, part), whole=True)


def _words(one: "Joined") -> str:
    return f"{one.step}: {one.words}" if one.step else one.words


def _diff(name: str, part: object) -> str:
    """One change of a file, as the run reported it."""
    from difflib import unified_diff

    if not isinstance(part, dict):
        return f"{name}: {part}"
    before, after = (str(part.get(word) or "").splitlines() for word in ("before", "after"))
    title = str(part.get("after_header") or part.get("before_header") or "")
    lines = [line for line in unified_diff(before, after, lineterm="", n=1) if not line.startswith(("---", "+++"))]
    return "\n".join([f"{name}: {title}", *lines])


def _ask(number: int, output: Output) -> None:
    if answered(f"change {count(number, 'machine')} as shown? yes / no [no]: ", output).lower() not in ("y", "yes"):
        raise CommandFailed("declined; nothing was changed", code="declined")
