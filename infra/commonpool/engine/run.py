"""The four verbs: preview, up, destroy, refresh.

A run reads what the pool remembers and one metadata list per kind. Where the program's units and their digests are
known, a run that finds nothing to do ends there, without starting the program and without a single write.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from typing import Any

from commonpool.engine import index as indexes
from commonpool.engine import state as states
from commonpool.engine.cluster import Cluster
from commonpool.engine.clusters import Clusters, provider_urn
from commonpool.engine.deployment import Deployment, Options, Program, now
from commonpool.engine.error import ConfigRefused, EngineError, ProgramFailed, StateDamaged
from commonpool.engine.event import Change, Event, Observer, Operation, Result
from commonpool.engine.index import Drift
from commonpool.engine.mask import MASK
from commonpool.engine.record import Record
from commonpool.engine.state import EVERYTHING, State
from commonpool.engine.unknown import holds_unknown, known_only
from commonpool.model import garbage


def silent(event: Event) -> None:
    """An observer that does not look."""


@dataclass
class _Clock:
    """Where the time of a run went, in seconds by phase."""

    timings: dict[str, float]
    started: float

    def lap(self, phase: str) -> None:
        moment = time.perf_counter()
        self.timings[phase] = self.timings.get(phase, 0.0) + moment - self.started
        self.started = moment


async def preview(
    program: Program, cluster: Cluster, *, observer: Observer = silent, options: Options | None = None
) -> Result:
    """What `up` would do, asked of the API server (dry run), without any write. Raises `EngineError`."""
    return await _evaluate(program, cluster, observer, options or Options(), preview=True)


async def up(
    program: Program, cluster: Cluster, *, observer: Observer = silent, options: Options | None = None
) -> Result:
    """Make the pool as the program declares it. Raises `EngineError`; problems of single resources are in the result."""
    return await _evaluate(program, cluster, observer, options or Options(), preview=False)


async def destroy(
    program: Program,
    cluster: Cluster,
    *,
    observer: Observer = silent,
    options: Options | None = None,
    preview: bool = False,
) -> Result:
    """Delete everything that the pool remembers of the stack, backwards; the program is not run."""
    chosen = options or Options()
    clock = _Clock({}, time.perf_counter())
    async with _opened(program, cluster, observer, chosen, preview=preview) as run:
        from commonpool.engine.sweep import sweep, unprotected

        clock.lap("read")
        _need_providers(run)
        victims = [record for record in run.state.records.values() if _targeted(record, run)]
        if chosen.exclude_protected:
            victims = unprotected(victims)
        victims.sort(key=lambda record: -record.order)
        observer(Event("phase", "deleting", total=len(victims)))
        try:
            await sweep(run, "the stack is destroyed", victims)
        except asyncio.CancelledError:
            run.interrupt()
            raise
        finally:
            await _store(run, finished=False)
        if not preview and not run.state.records and run.state.exists and not run.problems and not run.unsettled:
            await run.begin_writing()
            await states.remove(cluster, run.state)
        clock.lap("delete")
        return _result(run, clock, outputs={})


async def refresh(
    program: Program, cluster: Cluster, *, observer: Observer = silent, options: Options | None = None
) -> Result:
    """Report how the pool differs from what was last applied; nothing is written, and records stay as they are.

    The pool is the state: nothing else has to be refreshed, and the next `up` mends what is reported here.
    """
    clock = _Clock({}, time.perf_counter())
    async with _opened(program, cluster, observer, options or Options(), preview=True) as run:
        for record in list(run.state.records.values()):
            drift = run.index.drift(record)
            if drift is Drift.NONE:
                run.unchanged += 1
                continue
            run.report(_drifted(record, drift, run.state.unit_of[record.urn]))
        for live in run.index.smuggled(run.state):
            run.note(
                f"{live['kind']} {live['metadata']['name']} carries this stack's label but is not of it; left alone"
            )
        clock.lap("read")
        return _result(run, clock)


def drifted_units(state: State, index: indexes.Index) -> set[str]:
    """Units of which an object is gone or changed. Pure."""
    return {state.unit_of[urn] for urn, record in state.records.items() if index.drift(record) is not Drift.NONE}


def select(program: Program, state: State, index: indexes.Index, options: Options) -> frozenset[str] | None:
    """The units that must be evaluated; None for all of a program that has no units. Pure."""
    if program.units is None:
        return None
    changed = _changed(program.units, state)
    if EVERYTHING in state.pending or options.refresh:
        changed |= set(program.units)
    if index.leftovers(state):  # whose unit is not known: only a whole evaluation tells what nobody declares any more
        changed |= set(program.units)
    changed |= drifted_units(state, index) | set(state.pending)
    chosen = changed & (set(program.units) | {""})
    if options.targets:
        chosen = {unit for unit in chosen if any(fnmatchcase(unit, target) for target in options.targets)}
    return frozenset(chosen)


def _changed(units: Mapping[str, str], state: State) -> set[str]:
    return {unit for unit, digest in units.items() if state.units.get(unit) != digest}


async def _evaluate(
    program: Program, cluster: Cluster, observer: Observer, options: Options, *, preview: bool
) -> Result:
    clock = _Clock({}, time.perf_counter())
    async with _opened(program, cluster, observer, options, preview=preview) as run:
        clock.lap("read")
        removed = set(run.state.units) - set(program.units or ())
        recovering = bool(run.state.pending)
        if run.selected is not None and not run.selected and not removed and not recovering and run.state.exists:
            run.unchanged = len(run.state.records)
            return _result(run, clock, outputs=run.state.outputs)
        observer(Event("phase", "evaluating", units=run.selected))
        _warn_smuggled(run)
        complete = await _run_program(run)
        clock.lap("evaluate and apply" if not preview else "evaluate and ask")
        if complete and not options.targets and not run.halted and not run.interrupted:
            from commonpool.engine.sweep import sweep

            await sweep(run, "it is no longer declared")
            clock.lap("delete")
        if run.selected is not None:
            run.unchanged += sum(1 for urn in run.state.records if urn not in run.registered)
        await _store(run, finished=complete and not run.interrupted)
        clock.lap("record")
        return _result(run, clock)


async def _run_program(run: Deployment) -> bool:
    """Evaluate the program; False when it did not come to its end. Cancellation lets writes in flight finish."""
    from commonpool.engine import program as programs
    from commonpool.engine.monitor import Monitor

    if run.selected is not None and run.program.units is not None:
        unchanged = sorted(set(run.program.units) - run.selected)
        run.program = replace(run.program, config={**run.program.config, "commonpool:unchanged": list(unchanged)})
    task = asyncio.create_task(programs.evaluate(run, Monitor(run, asyncio.get_running_loop())))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        run.interrupt()
        run.note("interrupted: writes in flight finish, nothing new begins")
        await asyncio.wait([task])
        await _store(run, finished=False)
        raise
    except ProgramFailed as error:
        run.fail_program(error)
        return False
    if run.preview and not run.problems and not run.options.targets:
        run.refuse_missing_namespaces()
    return True


async def _store(run: Deployment, *, finished: bool) -> None:
    """Write the state when it differs; the units of failed resources stay to be evaluated again."""
    if run.preview:
        return
    state, program = run.state, run.program
    if finished:
        if run.outputs is not None:
            _remember_outputs(state, run.outputs, run.secret_outputs)
        broken = {run.unit_of.get(urn, "") for urn in run.failed}
        if program.units is not None and run.selected is not None:
            kept = {unit: digest for unit, digest in state.units.items() if unit in program.units}
            done = {unit: program.units[unit] for unit in run.selected if unit and unit not in broken}
            state.units = {unit: digest for unit, digest in (kept | done).items() if unit not in broken}
        state.pending = tuple(sorted(broken | run.unsettled))
    if not finished and not run.writing:
        return  # nothing was applied, so there is nothing to remember
    if states.changed(state):
        await run.begin_writing()
        if finished:
            state.pending = tuple(sorted({run.unit_of.get(urn, "") for urn in run.failed} | run.unsettled))
            state.last_run = {**state.last_run, "finished": now()}
        await run.save()


def _remember_outputs(state: State, outputs: dict[str, object], secret: tuple[str, ...]) -> None:
    """The new outputs; one whose resource failed keeps the value that it had, and stays secret where that was."""
    before = state.outputs
    kept = {key for key, value in outputs.items() if key in before and holds_unknown(value)}
    hidden = {*secret, *kept.intersection(state.secret_outputs)}
    state.outputs = {
        key: before[key] if key in kept else value
        for key, value in outputs.items()
        if key in kept or not holds_unknown(value)
    }
    state.secret_outputs = tuple(sorted(hidden.intersection(state.outputs)))


@asynccontextmanager
async def _opened(
    program: Program, cluster: Cluster, observer: Observer, options: Options, *, preview: bool
) -> AsyncIterator[Deployment]:
    observer(Event("phase", f"reading what {cluster.url} remembers of stack {program.stack}"))
    from commonpool.engine.program import program_folder

    namespace = str(program.config.get("kubernetes:namespace", ""))
    folder = partial(program_folder, program)
    clusters = Clusters(cluster, namespace, named=wants_providers(program), folder=folder)
    clusters.declare("", default_provider(program))
    try:
        run = await _looked(program, cluster, clusters, observer, options, preview=preview)
        try:
            yield run
        finally:
            await asyncio.shield(run.finish())
    finally:
        await clusters.close()


async def _looked(
    program: Program, cluster: Cluster, clusters: Clusters, observer: Observer, options: Options, *, preview: bool
) -> Deployment:
    """A run that knows what is recorded and what stands, and so which units it is about."""
    with garbage.put_off():
        state, index = await _read(program, cluster, clusters)
    if state.lost and not options.adopt:
        raise StateDamaged(
            f"what the pool remembered of stack {program.stack} is gone, although it was applied; restore the Secrets of "
            f"{states.NAMESPACE} from a backup, or run `up --adopt` to take over the objects that the program declares"
        )
    for words in state.damage:
        observer(Event("note", f"{words}: everything is looked at, and what it held is rebuilt"))
    with garbage.put_off():
        await indexes.complete(index, clusters.connect, state, everything=bool(state.pending) or options.adopt)
        selected = select(program, state, index, options)
    unsettled = frozenset(state.pending if index.unseen else ())
    if index.unseen:
        left = (
            "; a run that ended early may have left something there, so the next one looks again" if unsettled else ""
        )
        observer(Event("note", f"{indexes.unseen_words(index.unseen)}{left}"))
    run = Deployment(program, options, preview, cluster, clusters, state, index, observer, selected, unsettled)
    run.order = max((record.order for record in state.records.values()), default=0)
    return run


async def _read(program: Program, cluster: Cluster, clusters: Clusters) -> tuple[State, indexes.Index]:
    """What the pool remembers, and what stands of the kinds that it names: the server lists them while records are read."""
    index, lists = indexes.Index(), list[asyncio.Task[None]]()

    def expect(state: State) -> None:
        for urn, inputs in state.providers.items():
            clusters.declare(urn, inputs)
        lists.append(asyncio.create_task(indexes.extend(index, clusters.connect, state, state.expected)))
        if program.units is None or _changed(program.units, state):  # then it will be evaluated
            asyncio.get_running_loop().run_in_executor(None, import_module, "commonpool.engine.monitor")

    try:
        state = await states.load(cluster, program.project, program.stack, expect)
        await asyncio.gather(*lists)
    finally:
        for task in lists:
            task.cancel()
    return state, index


def default_provider(program: Program) -> dict[str, Any]:
    """What the configuration says of the provider that resources without an explicit one use.

    Which cluster that is has been decided by whoever made the connection.
    """
    values = {
        key.removeprefix("kubernetes:"): value for key, value in program.config.items() if key.startswith("kubernetes:")
    }
    decided = {"kubeconfig", "context", "namespace"} | (set() if values.get("cluster") else {"cluster"})
    return {key: value for key, value in values.items() if key not in decided}


def wants_providers(program: Program) -> bool:
    """Whether resources have to name their provider, as `pulumi:disable-default-providers` says. Raises `ConfigRefused`."""
    told = program.config.get("pulumi:disable-default-providers") or []
    try:
        packages: Any = json.loads(told) if isinstance(told, str) else told
        return not {"*", "kubernetes"}.isdisjoint(packages)
    except (TypeError, ValueError):
        raise ConfigRefused(f"pulumi:disable-default-providers is {told!r}, not a list of packages' names") from None


def _need_providers(run: Deployment) -> None:
    """Raises `StateDamaged` when nobody knows any more in which cluster something is."""
    explicit = {record.provider for record in run.state.records.values() if record.provider}
    if lost := sorted(urn for urn in explicit if provider_urn(urn) not in run.state.providers):
        raise StateDamaged(
            f"the settings of provider {', '.join(lost)} got lost; run `up` once, which records them again"
        )


def _targeted(record: Record, run: Deployment) -> bool:
    names = (record.urn, run.state.unit_of[record.urn], record.urn.rsplit("::", 1)[-1])
    targets = run.options.targets
    return not targets or any(fnmatchcase(name, target) for target in targets for name in names)


def _warn_smuggled(run: Deployment) -> None:
    for live in run.index.smuggled(run.state):
        metadata = live["metadata"]
        place = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
        run.note(f"{live['kind']} {place} carries this stack's label, but this stack did not make it; it is left alone")


def _drifted(record: Record, drift: Drift, unit: str) -> Change:
    place = record.identity
    gone = drift is not Drift.CHANGED
    return Change(
        Operation.DELETE if gone else Operation.UPDATE,
        record.urn,
        record.type,
        record.api_version,
        place.kind,
        place.namespace,
        place.name,
        drift.value,
        unit=unit,
    )


def _result(run: Deployment, clock: _Clock, outputs: dict[str, object] | None = None) -> Result:
    clock.lap("close")
    if outputs is None and run.outputs is not None:
        shown, hidden = run.outputs, set(run.secret_outputs)
    else:
        shown, hidden = run.state.outputs if outputs is None else outputs, set(run.state.secret_outputs)
    shown = {key: MASK if key in hidden else known_only(value) for key, value in sorted(shown.items())}
    return Result(
        stack=run.program.stack,
        preview=run.preview,
        changes=tuple(run.changes),
        unchanged=run.unchanged,
        outputs=shown,
        timings=clock.timings,
        problems=tuple(run.problems),
        damage=tuple(run.state.damage),
        halted=run.halted,
    )


__all__ = ["EngineError", "destroy", "drifted_units", "preview", "refresh", "select", "silent", "up"]
