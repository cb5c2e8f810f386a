"""`commonpool service list|show|watch|dns`: what stands behind each name, how it is, and how the name resolves."""

import asyncio
import sys
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Format, Output, encoded, folded
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.engine import Cluster
    from commonpool.model import Estate, SharedService
    from commonpool.proxy.record import Record
    from commonpool.proxy.store import Kept
    from commonpool.proxy.view import BackendState, Evidence, ServiceState

LOOK_SECONDS = 2.0
LONGEST_PROOF_SECONDS = 12.0  # `show` waits no longer for a check; slower ones are for `watch`
PAUSE_SECONDS = 0.5
_COLORS = {"healthy": "green", "down": "red", "partly": "yellow", "unknown": "yellow"}


def find(estate: "Estate", name: str) -> "SharedService":
    """A service by name, or the nearest one in the message."""
    from commonpool.model import shown

    found = estate.service(name)
    if found is None:
        step = nearest(name, [service.name for service in estate.services])
        raise CommandFailed(f"there is no shared service {shown(name)!r}", code="service_unknown", next_step=step)
    return found


def addresses(target: Target, metrics: Sequence[str]) -> tuple[str, ...]:
    """Where the Envoys' metrics are: as named, else the embedded pool's."""
    if metrics or not target.embedded:
        return tuple(metrics)
    from commonpool.embedded import EmbeddedPool

    return (EmbeddedPool(target.pool).proxy_metrics,)


def served_at(target: Target, estate: "Estate", service: "SharedService") -> tuple[int, str]:
    """The port that a service declares, 0 without an endpoint; and where the embedded pool serves that on this machine."""
    proxy, endpoint = estate.pool.spec.network.proxy, service.spec.endpoint
    if endpoint is None or proxy is None:
        return 0, ""
    port = endpoint.port or proxy.http_port
    if not target.embedded:
        return port, ""
    from commonpool.embedded import EmbeddedPool

    pool = EmbeddedPool(target.pool)
    return port, f"{pool.proxy_address}:{pool.proxy_port(port)}"


@dataclass
class Viewer:
    """Looks at services again and again."""

    target: Target
    estate: "Estate"
    cluster: "Cluster"
    metrics: tuple[str, ...]
    evidence: "dict[str, Evidence]" = field(default_factory=dict)

    async def look(self, services: "Sequence[SharedService]", *, thorough: bool = False) -> "list[ServiceState]":
        """One look at each; `thorough` reads what the proxy has against its objects as well."""
        from commonpool.proxy import store
        from commonpool.proxy.look import scrapes
        from commonpool.proxy.metrics import NoNumbers

        kept = await store.load_all(self.cluster)
        namespace = services[0].namespace_name if len(services) == 1 else ""
        texts, silent = {}, ""
        try:
            texts = await scrapes(self.metrics, namespace)
        except NoNumbers as problem:
            silent = f"{problem}; {self._mending()}"
        return [await self._one(one, kept.get(one.name), texts, silent, thorough) for one in services]

    def _mending(self) -> str:
        """What somebody does about an Envoy that is silent: nothing restarts one that hangs."""
        if not self.target.embedded:
            return "where it lasts, look at its pods and restart them"
        name = self.target.pool
        return f"where it lasts, commonpool embedded stop {name} && commonpool embedded start {name}"

    async def _one(
        self, service: "SharedService", kept: "Kept | None", texts: dict[str, str], silent: str, thorough: bool
    ) -> "ServiceState":
        from commonpool.proxy import look, view, weights
        from commonpool.proxy.complaint import complaints
        from commonpool.proxy.metrics import NoNumbers

        routes = await weights.routes(self.cluster, service)
        seen = self.evidence.setdefault(service.name, view.Evidence())
        before, now = seen.sample, datetime.now(UTC)
        said = [silent] if silent and service.spec.endpoint else []
        try:
            if service.spec.endpoint and not silent:
                seen.add(look.read(texts, service, routes), now)
        except NoNumbers as problem:
            said.append(str(problem))
        if thorough:
            said += await complaints(self.cluster, service)
            said += self._refused(service)
        seen.at = now
        host, address = self._address(service)
        return view.state(service, host, address, routes, seen, before, kept, said, self._played())

    def _played(self) -> Container[str]:
        if not self.target.embedded:
            return ()
        from commonpool.embedded import EmbeddedPool

        return EmbeddedPool(self.target.pool).played()

    def _refused(self, service: "SharedService") -> list[str]:
        if not self.target.embedded:
            return []
        from commonpool.embedded import EmbeddedPool

        return EmbeddedPool(self.target.pool).refusals()

    def _address(self, service: "SharedService") -> tuple[str, str]:
        """Its name, and where that is served: by the proxy's address on this machine for the embedded pool."""
        host = service.host(self.estate.pool.spec.network.domain)
        port, served = served_at(self.target, self.estate, service)
        return host, served or (f"{host}:{port}" if port else "")


def _viewing(target: Target, metrics: Sequence[str], work: Any) -> Any:  # noqa: ANN401
    """Run `work(viewer)` with a connection."""
    estate, credentials, known = target.load(), target.credentials(), addresses(target, metrics)

    async def connected() -> Any:  # noqa: ANN401
        from commonpool.engine import Cluster

        async with await Cluster.connect(credentials) as cluster:
            return await work(Viewer(target, estate, cluster, known))

    return asyncio.run(connected())


def list_services(target: Target, metrics: Sequence[str], output: Output) -> int:
    """Every service with its backends and its move."""

    async def work(viewer: Viewer) -> "list[ServiceState]":
        await viewer.look(viewer.estate.services)
        await asyncio.sleep(PAUSE_SECONDS)
        return await viewer.look(viewer.estate.services)

    found = _viewing(target, metrics, work)
    headings = ["service", "protocol", "offered by", "backend", "health", "share", "cut-over"]
    items = (one.to_json() for one in found)
    rows = (row for one in found for row in _rows(one))
    output.listing("SharedServiceList", items, headings, rows, "0 services; a manifest in services/ makes the first")
    if not output.structured and any(not backend.proven for one in found for backend in one.backends):
        output.say("?: no check has proven it yet; `commonpool service show NAME` waits for one")
    return 0


def _rows(state: "ServiceState") -> Iterator[list[str]]:
    """One for each backend; what is the service's stands in the first."""
    spec = state.service.spec
    head = [state.service.name, spec.endpoint.protocol if spec.endpoint else "-", spec.offered_by]
    backends = [
        [one.name, _condition(one), "-" if one.share is None else _share(one.share)] for one in state.backends
    ] or [["pods", "without the proxy", "-"]]
    for number, backend in enumerate(backends):
        yield [*head, *backend, state.move or "-"] if number == 0 else ["", "", "", *backend, ""]


def _brief(backend: "BackendState") -> str:
    share = "" if backend.share is None else f" {_share(backend.share)}"
    return f"{backend.name}{share} {_condition(backend)}"


def _condition(backend: "BackendState") -> str:
    return f"{_health(backend)}{' (stand-in)' if backend.stand_in else ''}"


def _health(backend: "BackendState") -> str:
    return backend.health + ("" if backend.proven else "?")


def _share(share: float) -> str:
    return f"{share:g} %"


def show(target: Target, name: str, metrics: Sequence[str], output: Output) -> int:
    """One service; waits for a health check, so that what is said is known and not remembered."""
    service = find(target.load(), name)

    async def work(viewer: Viewer) -> "ServiceState":
        from commonpool.model.duration import seconds

        health = service.spec.health
        patience = min(seconds(health.interval) + seconds(health.timeout), LONGEST_PROOF_SECONDS)
        deadline = time.monotonic() + patience + PAUSE_SECONDS
        [found] = await viewer.look([service])
        while waiting := [one.name for one in found.backends if not one.proven]:
            if time.monotonic() > deadline:
                break
            output.progress(f"waiting for a health check of {', '.join(waiting)}")
            await asyncio.sleep(PAUSE_SECONDS)
            [found] = await viewer.look([service])
        [found] = await viewer.look([service], thorough=True)
        return found

    with output.working(f"looking at {name}"):
        found = _viewing(target, metrics, work)
    if output.structured:
        output.document("SharedServiceState", **found.to_json())
        return 0
    output.data("\n".join(lines(found, output)))
    return 0


def lines(found: "ServiceState", output: Output) -> list[str]:
    """The screen of one service."""
    spec, endpoint = found.service.spec, found.service.spec.endpoint
    parts = [output.title(f"{spec.display_name} ({found.service.name})"), output.prose(spec.description)]
    if endpoint is None:
        return [*parts, "  callers reach its pods directly; spec.endpoint puts it behind the proxy"]
    parts += [output.prose(f"{endpoint.protocol} {found.host}, served at {found.address}"), ""]
    rows = [
        [
            one.name,
            f"{one.place} (stand-in)" if one.stand_in else one.place,
            "-" if one.share is None else _share(one.share),
            output.paint(_health(one), _COLORS.get(one.health, "dim")),
            _age(one, found.at),
            f"{one.total.requests:,}",
            f"{one.total.errors:,}",
            _milliseconds(one.total.median),
            _milliseconds(one.total.p99),
        ]
        for one in found.backends
    ]
    headings = ["backend", "stands on", "share", "health", "evidence", "requests", "errors", "P50", "P99"]
    parts.append(output.table(headings, rows, left=2))
    told: list[str] = []
    if found.record:
        told += ["", *cut_over_lines(found.record, output)]
        if found.last:
            told.append(f"  last decision {found.last.at:%H:%M:%S}: {found.last.action.value}, {found.last.reason}")
    elif spec.cut_over:
        plan = spec.cut_over
        told += ["", f"a cut-over from {plan.from_} to {plan.to} is planned and has not begun"]
    told += ["", *(output.paint(f"! {one}", "red") for one in found.complaints)] if found.complaints else []
    return [*parts, *(folded(one, output.width) for one in told)]


def cut_over_lines(record: "Record", output: Output) -> list[str]:
    """Where a cut-over stands, step by step."""
    from commonpool.proxy.cut_over import percent

    plan = record.plan
    head = f"cut-over {plan.from_} → {plan.to}: {record.phase.value}, {plan.to} gets {record.weight} %"
    found = [output.paint(head, "bold")]
    for number, step in enumerate(plan.steps):
        mark = "✓" if number < record.step or record.phase.value == "done" else ">" if number == record.step else " "
        gate = f"at least {step.minimum_seconds} s and {step.minimum_requests:,} requests, errors ≤ {percent(float(step.maximum_error_rate))}"
        ratio = f", median ≤ {step.maximum_latency_ratio} × old" if step.maximum_latency_ratio else ""
        approval = ""
        if step.approval:
            approval = ", approved" if number in record.approved else ", asks for approval"
        found.append(f"  {mark} {step.weight:>3} %  {gate}{ratio}{approval}")
    who = plan.responsible
    found.append(f"  responsible {who.role}{f' {who.email}' if who.email else ''}, by {plan.deadline}")
    if record.reason:
        found.append(f"  {record.reason}")
    return found


def _age(backend: "BackendState", now: datetime) -> str:
    if backend.health == "unwatched":
        return "-"
    if backend.proof is None:
        return f"none in {backend.watched:.0f} s"
    return f"{max(0.0, (now - backend.proof).total_seconds()):.1f} s ago"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def dns(target: Target, output: Output) -> int:
    """Lines for a server block of CoreDNS, once for a pool: the records themselves are objects of the stack `services`."""
    from commonpool.components import names
    from commonpool.components.service import exposure

    estate = target.load()
    domain = estate.pool.spec.network.domain
    lines = names.rewriting(domain)
    if output.structured:
        named = [one for one in estate.services if any(map(names.is_name, exposure(estate, one, {})))]
        resolved = [one.host(domain) for one in named]
        output.document("NameResolution", domain=domain, corefile=lines, names=resolved)
    else:
        output.data(lines.rstrip())
    return 0


def watch(
    target: Target, names: Sequence[str], metrics: Sequence[str], output: Output, *, every: float, looks: int
) -> int:
    """Live on a terminal; elsewhere a line for each backend and look, or a document for each look."""
    estate = target.load()
    services = [find(estate, name) for name in names] or [one for one in estate.services if one.spec.endpoint]
    if not services:
        raise CommandFailed(
            "no service of this estate has an endpoint", code="nothing_to_watch", next_step="commonpool service list"
        )

    async def work(viewer: Viewer) -> None:
        done = 0
        await viewer.look(services)  # what the first one shown is compared with
        await asyncio.sleep(min(every, PAUSE_SECONDS))
        with _screen(output) as put:
            while not looks or done < looks:
                put(await viewer.look(services, thorough=len(services) == 1))
                done += 1
                if done != looks:
                    await asyncio.sleep(every)

    # Nothing else ends a look without end.
    with nullcontext() if looks else suppress(KeyboardInterrupt):
        _viewing(target, metrics, work)
    return 0


@contextmanager
def _screen(output: Output) -> Iterator[Any]:
    living = sys.stdout.isatty() and output.format is Format.TEXT
    if not living:
        yield lambda found: output.data("\n".join(_plain(found, output)))
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(highlight=False), auto_refresh=False, transient=False) as live:

        def put(found: "list[ServiceState]") -> None:
            text = "\n\n".join("\n".join(lines(one, output)) for one in found)
            live.update(Text.from_ansi(f"{found[0].at:%H:%M:%S} UTC, Ctrl-C ends\n\n{text}"), refresh=True)

        yield put


def _plain(found: "list[ServiceState]", output: Output) -> list[str]:
    if output.structured:
        items = [one.to_json() for one in found]
        document = {"apiVersion": "commonpool.dev/v1", "kind": "SharedServiceList", "items": items}
        if output.format is Format.JSON:
            import json

            return [json.dumps(document, ensure_ascii=False)]  # one line for each look
        return ["---", encoded(document, output.format)]
    return [
        f"{state.at:%H:%M:%S}  {state.service.name}  {_brief(one)}  +{one.recent.requests} requests  "
        f"+{one.recent.errors} errors  {_milliseconds(one.recent.median)}  {state.move}".rstrip()
        for state in found
        for one in state.backends
    ]
