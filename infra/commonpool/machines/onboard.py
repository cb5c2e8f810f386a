"""Bringing machines in: judged, joined, looked at, and only then opened for pods. Running it again goes on from anywhere.

A machine that goes wrong stops no other; what is half joined keeps its taint, so nothing is scheduled to it.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commonpool.components.compute import node as declared_node
from commonpool.components.rendering import SIMULATED
from commonpool.engine import Cluster
from commonpool.engine.error import EngineError, Stale
from commonpool.machines import asset, dns
from commonpool.machines.approval import approve
from commonpool.machines.error import MachineError
from commonpool.machines.facts import Facts, digest
from commonpool.machines.joining import JOINING, MACHINE, Token, ready, rights, shut, without_joining
from commonpool.machines.run import Event, MachineRun, Observer, Play, played
from commonpool.machines.survey import Access, Survey, explain
from commonpool.model import Machine, Pool

MANAGER = "commonpool-machines"
READY_SECONDS = 90.0
RESOLVED = "/run/systemd/resolve/resolv.conf"  # of systemd-resolved: without its stub at loopback
OLDER_KUBELET = 3  # minor versions
# As what a machine may serve, by the inventory's word, with the verdicts that bear it.
SERVING: Mapping[str, tuple[str, ...]] = {
    "node": ("node",),
    "storage": ("node", "storage"),
    "backend": ("node", "storage", "backend"),
}


@dataclass(frozen=True)
class ControlPlane:
    """How machines reach the cluster, and what they get. `network` is whether our agent makes the pods' network.

    `kubelet` is its version. `proxies` are addresses from which the service proxy reaches pods, where it is no pod itself.
    """

    server: str
    authority: bytes
    archive: Path
    digest: str
    pause_image: str
    dns_image: str
    pods: str
    kubelet: str = ""
    network: bool = True
    proxies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Consent:
    """What a person allowed by name: volumes that bear data, taken as they are or erased; and who calls backends where.

    `ports` are by machine the ports at which services reach it, each with the services' names.
    """

    with_data: tuple[str, ...] = ()
    erase: tuple[str, ...] = ()
    ports: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Joined:
    """What became of one machine. `state` is joined, unchanged, failed or refused; `changed` names some of its `steps`."""

    machine: Machine
    state: str
    step: str = ""
    words: str = ""
    changed: tuple[str, ...] = ()
    diffs: tuple[Any, ...] = ()
    steps: tuple[Event, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One item of a list."""
        return {
            "name": self.machine.name,
            "site": self.machine.site,
            "state": self.state,
            "step": self.step,
            "words": self.words,
            "changed": list(self.changed),
            "diffs": list(self.diffs),
            "steps": [
                {"step": one.step, "state": one.state, "seconds": round(one.seconds, 2)}
                for one in self.steps
                if one.state != "skipped"
            ],
        }


def refusal(one: Survey) -> str:
    """Why a machine is not brought in as what the inventory says; empty when it is."""
    name, role = one.machine.name, one.machine.facts.role
    if one.failure or one.verdict is None:
        return one.failure or "it was never looked at"
    if role not in SERVING:
        return f"the inventory says {role}; set commonpool_role: {one.verdict.role} for {name}"
    if one.verdict.role not in SERVING[role]:
        return f"its verdict is {one.verdict.role}: {one.verdict.why()}"
    if role == "node" and not (one.machine.facts.joined or one.machine.facts.trial):
        return f"the inventory has it simulated; set commonpool_joined: true for {name}"
    if role == "node" and one.facts and one.facts.kubelets:
        return (
            f"it is a node already, by {', '.join(one.facts.kubelets)}: one of this cluster needs no onboarding, another"
            " cluster is to let it go first"
        )
    return ""


def elsewhere(one: Survey, plane: ControlPlane) -> str:
    """Of which other pool a machine is a node; empty when of none. A kubelet stays with the API server that certified it."""
    seen = one.facts
    if seen is None or seen.pool_server is None:
        return ""
    if (seen.pool_server, seen.pool_authority) == (plane.server, digest(plane.authority)):
        return ""
    return (
        f"it is a node of the pool at {seen.pool_server}, which is to let it go first; where that one is no more, commonpool"
        f" machine reset {one.machine.name} does it"
    )


def skew(server: str, kubelet: str) -> str:
    """What the versions of an API server and of a kubelet have against one another; empty for nothing. Pure.

    Source: https://kubernetes.io/releases/version-skew-policy/#kubelet.
    """
    minors = [int("".join(filter(str.isdecimal, one.split(".")[1]))) for one in (server, kubelet)]
    if 0 <= minors[0] - minors[1] <= OLDER_KUBELET:
        return ""
    return (
        f"the API server is {server}, and machines get kubelet {kubelet}: never newer than its API server, and at most"
        f" {OLDER_KUBELET} minor versions older"
    )


async def onboard(
    cluster: Cluster,
    pool: Pool,
    surveys: Sequence[Survey],
    plane: ControlPlane,
    folder: Path,
    access: Access,
    observer: Observer,
    *,
    check: bool = False,
    consent: Consent = Consent(),
) -> list[Joined]:
    """Bring in what may come in; with `check`, only say what would change. Every survey has its answer, in order."""
    refused = {one.machine.name: words for one in surveys if (words := refusal(one))}
    willing = [one.machine for one in surveys if one.machine.name not in refused and one.machine.facts.role == "node"]
    standing = await _nodes(cluster, willing)
    strange = [one for one in surveys if one.machine in willing and not ready(standing.get(one.machine.name, {}))]
    refused |= {one.machine.name: words for one in strange if (words := elsewhere(one, plane))}
    chosen = [one for one in surveys if one.machine.name not in refused]
    answers = {name: Joined(_machine(surveys, name), "refused", words=words) for name, words in refused.items()}
    if chosen:
        machines = [one.machine for one in chosen]
        nodes = [one for one in machines if one.facts.role == "node"]
        if nodes and not plane.network and (words := skew(await cluster.version(), plane.kubelet)):
            raise MachineError(words, code="version_skew", next_step="bring the cluster to that version first")
        tokens = {} if check or not nodes else await _prepare(cluster, pool, nodes, standing, plane)
        try:
            names = await _name_service(cluster) if nodes and not plane.network else dns.ADDRESS
            wanted = _play(pool, chosen, plane, names, tokens, access, consent, check=check)
            runs = await _run(cluster, wanted, folder, tokens, observer)
        finally:
            await _forget(cluster, tokens)
        opened: Mapping[str, str] = {}
        if not check:
            opened = await _open(cluster, pool, [one for one in nodes if not runs[one.name].failed], observer)
            whole = [one for one in chosen if not runs[one.machine.name].failed and not opened.get(one.machine.name)]
            await _register(cluster, whole)
        answers |= {one.name: _answer(one, runs[one.name], opened.get(one.name, ""), check) for one in machines}
    return [answers[one.machine.name] for one in surveys]


async def _register(cluster: Cluster, surveys: Sequence[Survey]) -> None:
    """Open the asset records of what was brought in."""
    known, now = await asset.assets(cluster), datetime.now(UTC)
    await asset.keep(
        cluster,
        [asset.record(one, one.machine.facts.role, address(one), known.get(one.machine.name), now) for one in surveys],
    )


def _machine(surveys: Sequence[Survey], name: str) -> Machine:
    return next(one.machine for one in surveys if one.machine.name == name)


def _answer(machine: Machine, run: MachineRun, trouble: str, check: bool) -> Joined:
    seen = Joined(machine, "", changed=tuple(run.changed), steps=tuple(run.steps))
    if run.failed:
        words = explain(machine, run.words)[0] if run.state == "unreachable" else run.words
        return replace(seen, state="failed", step=run.step or "connecting", words=words)
    if trouble:
        return replace(seen, state="failed", step="Open for pods", words=trouble)
    word = ("would change" if check else "joined") if run.changed else "unchanged"
    return replace(seen, state=word, diffs=tuple(run.diffs))


async def _nodes(cluster: Cluster, machines: Sequence[Machine]) -> dict[str, dict[str, Any]]:
    """The nodes of these machines. Raises `MachineError` where a simulated one stands in a real one's place."""
    found = {}
    for machine in machines:
        node = await cluster.read("v1", "Node", "", machine.name)
        if node is not None:
            found[machine.name] = node
    simulated = [name for name, node in found.items() if node["metadata"].get("labels", {}).get(SIMULATED) == "true"]
    if simulated:
        raise MachineError(
            f"{', '.join(simulated)} is still simulated in the cluster",
            code="machine_simulated",
            next_step="commonpool up, which takes the simulated node away now that the inventory says joined",
        )
    return found


async def _prepare(
    cluster: Cluster,
    pool: Pool,
    machines: Sequence[Machine],
    standing: Mapping[str, dict[str, Any]],
    plane: ControlPlane,
) -> dict[str, Token]:
    """What joining needs in the cluster, and a token for each machine that is not ready yet."""
    names = [one.name for one in machines]
    await asset.let_in(cluster, names, closed=plane.network)
    resolution = dns.objects(plane.dns_image, pool.spec.network.domain) if plane.network else []
    for body in [*rights(names, network=plane.network), *resolution]:
        await cluster.apply(body, field_manager=MANAGER)
    tokens = {one.name: Token(one.name) for one in machines if not ready(standing.get(one.name, {}))}
    await _end_tokens(cluster, names)
    for name, token in tokens.items():
        if name in standing:  # declared before it came: close it until it is whole
            await _taint(cluster, name, [{"key": JOINING, "effect": "NoSchedule"}])
        await cluster.create(token.secret(datetime.now(UTC)))
    return tokens


async def _name_service(cluster: Cluster) -> str:
    """Where pods of a cluster that is not ours ask for names. Raises `MachineError` where none is found."""
    service = await cluster.read("v1", "Service", dns.NAMESPACE, "kube-dns")
    if service is None:
        raise MachineError(
            f"the cluster has no Service kube-dns in {dns.NAMESPACE}, so pods on new nodes would resolve no name",
            code="dns_missing",
            next_step="install CoreDNS there; its Service has this name by convention",
        )
    return str(service["spec"]["clusterIP"])


async def _end_tokens(cluster: Cluster, machines: Sequence[str]) -> None:
    """Tokens of earlier runs that did not come to their end, also of machines that need none any more."""
    for old in (await cluster.list_objects("v1", "Secret", namespace="kube-system", selector=MACHINE))[0]:
        if old["metadata"]["labels"][MACHINE] in machines:
            await cluster.delete("v1", "Secret", "kube-system", old["metadata"]["name"])


async def _forget(cluster: Cluster, tokens: Mapping[str, Token]) -> None:
    for token in tokens.values():
        await cluster.delete("v1", "Secret", "kube-system", token.secret_name)


def _play(
    pool: Pool,
    chosen: Sequence[Survey],
    plane: ControlPlane,
    names: str,
    tokens: Mapping[str, Token],
    access: Access,
    consent: Consent,
    *,
    check: bool,
) -> Play:
    machines = [one.machine for one in chosen]
    reserved = pool.spec.compute.system_reserved
    variables = {
        "container_runtime_archive": str(plane.archive),
        "container_runtime_digest": plane.digest,
        "container_runtime_pause_image": plane.pause_image,
        "container_runtime_pod_network": plane.network,
        "container_runtime_nfs": any(volume.nfs for volume in pool.spec.storage.volumes),
        "node_digest": plane.digest,
        "node_server": plane.server,
        "node_authority": plane.authority.decode(),
        "node_dns": names,
        "node_pods": plane.pods,
        "node_network": plane.network,
        "node_proxies": list(plane.proxies),
        "node_reserved": {"cpu": str(reserved.cpu), "memory": str(reserved.memory)},
        "storage_export_with_data": list(consent.with_data),
        "storage_export_erase": list(consent.erase),
    }
    return access.to(
        "commonpool.pool.onboard",
        machines,
        variables,
        host_variables={
            one.machine.name: _own(one, tokens) | _storage(pool, one) | _backend(pool, one, consent) for one in chosen
        },
        secret_files={
            f"bootstrap/{name}": token.kubeconfig(plane.server, plane.authority) for name, token in tokens.items()
        },
        check=check,
    )


def _own(one: Survey, tokens: Mapping[str, Token]) -> dict[str, Any]:
    assert one.facts is not None
    driver = "systemd" if one.facts.cgroup == "v2" else "cgroupfs"
    name = one.machine.name
    bootstrap = {"node_bootstrap": "{{ commonpool_secrets }}/bootstrap/" + name} if name in tokens else {}
    resolution = {"node_resolv_conf": RESOLVED} if one.facts.resolv_conf == RESOLVED else {}
    return {
        "node_name": name,
        "node_address": address(one),
        "node_max_pods": one.machine.facts.pods,
        "node_cgroup_driver": driver,
        "container_runtime_cgroup_driver": driver,
        **bootstrap,
        **resolution,
    }


def _storage(pool: Pool, one: Survey) -> dict[str, Any]:
    """The declared volumes that lie on this machine: its disks and folders, and which of them it exports to whom."""
    assert one.facts is not None
    return {
        "storage_export_volumes": [
            {
                "name": volume.name,
                "path": place.path,
                "device": place.device or "",
                "capacity": volume.capacity.bytes,
                "shared": volume.nfs is not None,
            }
            for volume in pool.spec.storage.volumes
            if (place := volume.on(one.machine.name, one.machine.address)) is not None
        ],
        "storage_export_clients": [block.cidr for block in pool.spec.network.ranges if block.purpose == "machines"],
        "storage_export_server": "ganesha" if one.facts.kernel_exports is False else "kernel",
        "storage_export_stands": one.facts.exports_for_pool,
    }


def _backend(pool: Pool, one: Survey, consent: Consent) -> dict[str, Any]:
    ports = consent.ports.get(one.machine.name, {})
    services = ", ".join(sorted(set(ports.values()))) or "no service yet"
    notice = (
        f"This machine is an asset of {pool.spec.display_name} ({pool.name}): {services} of the pool stands on it.\n"
    )
    return {"onboard_as": one.machine.facts.role, "backend_agent_ports": sorted(ports), "backend_agent_notice": notice}


def address(one: Survey) -> str:
    """The address by which other nodes reach it: the inventory's, else the one by which we do, else the first that it has."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(one.machine.address))
    seen = one.facts or Facts()
    own = sorted((word.partition("/")[0] for word in seen.addresses), key=lambda word: ":" in word)
    return seen.reached or next(iter(own), one.machine.address)


async def _run(
    cluster: Cluster, wanted: Play, folder: Path, tokens: Mapping[str, Token], observer: Observer
) -> dict[str, MachineRun]:
    """The playbook, and beside it the approval of what its machines ask for."""
    approving = asyncio.create_task(approve(cluster, {token.user: token for token in tokens.values()}, observer))
    try:
        return await played(wanted, folder / "runs", observer)
    finally:
        approving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await approving


async def _open(cluster: Cluster, pool: Pool, machines: Sequence[Machine], observer: Observer) -> dict[str, str]:
    """Open each once it is ready; returns what stood against it."""

    async def one(machine: Machine) -> tuple[str, str]:
        try:
            return machine.name, await _opened(cluster, pool, machine, observer)
        except EngineError as error:
            return machine.name, str(error)

    return dict(await asyncio.gather(*(one(machine) for machine in machines)))


async def _opened(cluster: Cluster, pool: Pool, machine: Machine, observer: Observer) -> str:
    """Wait until it is ready, label it as declared, take the taint away; returns what stood against it."""
    observer(Event(machine.name, "Wait until it is ready", "started"))
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    node = None
    while not (node and ready(node) and not shut(node)):
        if asyncio.get_running_loop().time() > deadline:
            return f"not ready after {READY_SECONDS:.0f} s: {_why_not_ready(node)}"
        await asyncio.sleep(0.3)
        node = await cluster.read("v1", "Node", "", machine.name)
    body = declared_node(pool, replace(machine, facts=machine.facts.model_copy(update={"joined": True})))
    labels = {"apiVersion": "v1", "kind": "Node", "metadata": body["metadata"]}
    await cluster.apply(labels, field_manager=MANAGER)
    await _taint(cluster, machine.name, [])
    observer(Event(machine.name, "Open for pods", "ok"))
    return ""


async def _taint(cluster: Cluster, name: str, ours: list[dict[str, str]]) -> None:
    """Give a node these taints of ours, and leave the others as they are now: they are one list, in which controllers write too."""
    while node := await cluster.read("v1", "Node", "", name):
        taints = node.get("spec", {}).get("taints") or []
        wanted = [*without_joining(taints), *ours]
        if wanted == taints:
            return
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        with contextlib.suppress(Stale):
            await cluster.merge_patch("v1", "Node", "", name, {"metadata": version, "spec": {"taints": wanted}})
            return


def _why_not_ready(node: Mapping[str, Any] | None) -> str:
    if node is None:
        return "it never registered; journalctl -u commonpool-kubelet on the machine says why"
    conditions = node.get("status", {}).get("conditions") or ()
    return next((str(one.get("message")) for one in conditions if one["type"] == "Ready"), "it said nothing yet")
