"""`commonpool service cutover …`: run a plan in the foreground, and what people have to say while it runs."""

import asyncio
import getpass
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from commonpool.cli.evidence import RunEvidence
from commonpool.cli.failure import CommandFailed, Interrupted
from commonpool.cli.output import Output
from commonpool.cli.service import addresses, cut_over_lines, find
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.engine import Cluster
    from commonpool.engine.lock import Holder
    from commonpool.model import SharedService
    from commonpool.proxy.cut_over import Decision
    from commonpool.proxy.engine import Progress
    from commonpool.proxy.record import Record
    from commonpool.proxy.store import Kept

_SIGNS = {"step": "→", "roll-back": "←", "abort": "←", "done": "✓", "restore": "!", "stay": " "}


def run(target: Target, name: str, metrics: Sequence[str], output: Output, *, again: bool) -> int:
    """Begin or continue; returns when it is over. 0 when the new backend serves, 1 when the old one does."""
    estate = target.load()
    service = find(estate, name)
    plan = service.spec.cut_over
    if plan is None:
        raise CommandFailed(
            f"{name} has no plan", code="no_plan", next_step=f"write spec.cutOver in services/{name}.yaml"
        )
    credentials, known = target.credentials(), addresses(target, metrics)
    output.say(
        f"cut-over of {name}: {plan.from_} → {plan.to}, {len(plan.steps)} steps. It runs here, in the foreground: Ctrl-C stops the "
        "looking, not the traffic; the weights stay as they are and running again goes on from there."
    )

    async def work() -> "Record":
        from commonpool.engine import Cluster
        from commonpool.proxy.engine import CutOverEngine
        from commonpool.proxy.look import Looker

        async with await Cluster.connect(credentials) as cluster:
            evidence = RunEvidence(target, estate.pool.name, list, output.say)
            evidence.watch(cluster)
            engine = CutOverEngine(cluster, service, Looker(cluster, service, known), lambda one: _tell(one, output))
            return await engine.run(plan, again=again)

    try:
        with output.working("looking"):
            record = asyncio.run(work())
    except KeyboardInterrupt:
        step = f"traffic goes on with the present weights and nobody watches the gate: {target.command(f'service cutover run {name}')}"
        raise Interrupted(step) from None
    return _end(record, name, output)


def _tell(progress: "Progress", output: Output) -> None:
    decision = progress.decision
    if decision is None:
        return
    words = f"{decision.weight:>3} %  {decision.reason}"
    if progress.written:
        output.say(f"{decision.at:%H:%M:%S} {_SIGNS.get(decision.action.value, ' ')} {words}")
    output.progress(f"{words}{_seen(progress)}")


def _seen(progress: "Progress") -> str:
    window = progress.window
    return f"; {window.new.requests} requests, {window.new.errors} failed" if window else ""


def _end(record: "Record", name: str, output: Output) -> int:
    from commonpool.proxy.record import Phase
    from commonpool.proxy.view import cut_over_json

    if output.structured:
        output.document("CutOver", **(cut_over_json(record, None) or {}))
    elif record.phase is Phase.DONE:
        output.data(f"{name} is served by {record.plan.to} alone")
        output.say(
            f"  next: in services/{name}.yaml take cutOver out and give {record.plan.to} the weight 1 and {record.plan.from_} 0; "
            "until then `commonpool up` keeps what was reached"
        )
    else:
        output.data(f"{name} is served by {record.plan.from_} alone: {record.phase.value}, {record.reason}")
        output.say(
            f"  next: tell {record.plan.responsible.role}; once mended: commonpool service cutover run {name} --again"
        )
    return 0 if record.phase is Phase.DONE else 1


def status(target: Target, name: str, output: Output, *, history: bool) -> int:
    """Where it stands; with `history` every decision and the numbers that it saw."""
    estate = target.load()
    service = find(estate, name)
    kept, holder = _with_cluster(target, estate.pool.name, lambda cluster: _load(cluster, service))
    if kept is None:
        raise _never_begun(name)
    if output.structured:
        from commonpool.proxy.view import cut_over_json

        last = kept.decisions[-1] if kept.decisions else None
        decisions = {"decisions": [one.to_json() for one in kept.decisions]} if history else {}
        watched = {"watchedBy": vars(holder) if holder else None}
        output.document("CutOver", **(cut_over_json(kept.record, last) or {}), **watched, **decisions)
        return 0
    output.words("\n".join(cut_over_lines(kept.record, output)))
    if not kept.record.over:
        output.words(_watched(holder, target.command(f"service cutover run {name}"), output))
    shown = kept.decisions if history else kept.decisions[-5:]
    rows = [_row(one) for one in shown]
    headings = ["when", "decision", "share", "requests", "errors", "P50 new", "P50 old", "why"]
    output.data("\n" + output.table(headings, rows, left=2))
    return 0


def _watched(holder: "Holder | None", command: str, output: Output) -> str:
    """Whether somebody looks at the gate: after a lost session the share stays, and nothing goes back by itself."""
    if holder is None:
        return output.paint(f"  ! nobody runs it: the share stays, and no gate is looked at; {command}", "red")
    words = f"run by {holder.who} since {holder.since[:19].replace('T', ' ')}"
    return output.paint(f"  ! {words}, who is silent; {command}", "red") if holder.silent else f"  {words}"


def _row(one: "Decision") -> list[str]:
    seen = one.window
    numbers = ["-"] * 4
    if seen:
        medians = ["-" if value is None else f"{value:.1f} ms" for value in (seen.new.median, seen.old.median)]
        numbers = [f"{seen.new.requests:,}", f"{seen.new.errors:,}", *medians]
    return [f"{one.at:%Y-%m-%d %H:%M:%S}", one.action.value, f"{one.weight} %", *numbers, one.reason]


def ask(target: Target, name: str, verb: str, why: str, output: Output) -> int:
    """Pause, resume, approve or abort: written into the record, whoever runs it."""
    estate = target.load()
    service = find(estate, name)

    async def work(cluster: "Cluster") -> "Kept | None":
        from commonpool.proxy import engine, store

        who = await person(cluster)
        changes: dict[str, Callable[[Record], tuple[Record, Decision]]] = {
            "pause": lambda record: engine.pause(record, who, why),
            "resume": lambda record: engine.resume(record, who),
            "approve": lambda record: engine.approve(record, who, why),
            "abort": lambda record: engine.abort(record, who),
        }
        return await store.amend(cluster, service.name, changes[verb])

    kept = _with_cluster(target, estate.pool.name, work)
    if kept is None:
        raise _never_begun(name)
    output.data(f"{name}: {kept.decisions[-1].reason}")
    if verb != "pause":
        command = target.command(f"service cutover run {name}")
        output.say(f"  whoever runs it acts on that within moments; when nobody does: {command}")
    return 0


async def person(cluster: "Cluster") -> str:
    """Who asks: as the API server knows them, and where they sit."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await cluster.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    return f"{answer['status']['userInfo'].get('username', 'unknown')} ({getpass.getuser()}@{socket.gethostname()})"


async def _load(cluster: "Cluster", service: "SharedService") -> "tuple[Kept | None, Holder | None]":
    from commonpool.engine.lock import holder_of
    from commonpool.proxy import store

    return await store.load(cluster, service.name), await holder_of(cluster, store.object_name(service.name))


def _never_begun(name: str) -> CommandFailed:
    return CommandFailed(
        f"the cut-over of {name} never began", code="not_begun", next_step=f"commonpool service cutover run {name}"
    )


def _with_cluster(target: Target, pool: str, work: Callable[["Cluster"], Any]) -> Any:  # noqa: ANN401
    credentials = target.credentials()

    async def connected() -> Any:  # noqa: ANN401
        from commonpool.engine import Cluster

        async with await Cluster.connect(credentials) as cluster:
            RunEvidence(target, pool, list, lambda words: None).watch(cluster)
            return await work(cluster)

    return asyncio.run(connected())
