"""The resources of a run's program, as they are registered: what is asked of each, and what the program is told of it.

All of it is done on the run's own loop; `Monitor` is how programs reach it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import resource_pb2

from commonpool.engine import index, lookup, manifest_component, stack_reference
from commonpool.engine.clusters import provider_urn
from commonpool.engine.deployment import Deployment
from commonpool.engine.error import EngineError, Interrupted, Refused, Unsupported
from commonpool.engine.event import Change, Operation
from commonpool.engine.neighbour import Neighbours
from commonpool.engine.plugin import needs_plugin
from commonpool.engine.program import program_folder
from commonpool.engine.properties import (
    UNKNOWN_SENTINEL,
    Properties,
    decode,
    encode,
    reference,
    secret_outputs,
    secret_values,
)
from commonpool.engine.record import Identity, unmarked
from commonpool.engine.registration import (
    PROVIDER_TYPE,
    Registration,
    as_request,
    inherit,
    inherited_aliases,
    make_urn,
    parse,
)
from commonpool.engine.step import Outcome, Step
from commonpool.engine.transform import Transforms
from commonpool.engine.unknown import UNKNOWN

if TYPE_CHECKING:
    from commonpool.components.resource import Declared

STACK_TYPE = "pulumi:pulumi:Stack"
STACK_REFERENCE = "pulumi:pulumi:StackReference"


class Registrar:
    """Of one run. A resource that fails is told to the program as failed, and the run goes on or stops."""

    def __init__(self, run: Deployment) -> None:
        self.run = run
        self.root = ""  # the URN of the stack
        self.limit = asyncio.Semaphore(run.options.parallel)
        self.neighbours = Neighbours()
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.inherited: dict[str, Any] = {}  # by the URN of a parent: a request with the options that children inherit
        self.transforms = Transforms(run.program.project, run.program.stack)
        self.left_out: set[str] = set()  # what does not exist yet and is not among the targets of the run
        self.made: dict[str, tuple[str, struct_pb2.Struct]] = {}  # what components of manifests made: id, outputs
        self.members: dict[str, list[str]] = {}  # of each of these components

    async def register(self, request: Any) -> resource_pb2.RegisterResourceResponse:  # noqa: ANN401
        """One registration; a resource that fails is reported to the program as failed, and the run goes on or stops."""
        run = self.run
        urn = make_urn(run.program.stack, run.program.project, request.parent, request.type, request.name)
        unit = self._unit(request)
        if not self._enter(urn, unit):
            return _failed(urn)
        if request.transforms or self.transforms:
            try:
                request = await self.transforms.apply(urn, request)
            except EngineError as error:
                run.fail(urn, error)
                return _failed(urn)
        self.aliases[urn] = inherited_aliases(request, self.aliases.get(request.parent, ()))
        self._inherit(urn, request)
        # Components of manifests have no objects of their own: what waits for one goes before what it made.
        request.dependencies.extend([made for one in request.dependencies for made in self.members.get(one, ())])
        if not request.custom and not request.remote:
            if request.type == STACK_TYPE:
                self.root = urn
            return resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
        if request.remote and request.type in manifest_component.TYPES:
            return await self._manifests(request, urn, unit)
        if run.stops(unit) or self._lacks(request):
            run.failed.add(urn)
            return _failed(urn)
        try:
            return await self._custom(request, urn, unit)
        except EngineError as error:
            run.fail(urn, error)
            return _failed(urn)

    def _lacks(self, request: Any) -> bool:  # noqa: ANN401
        """Whether something that it needs failed: without its own provider it would land in the pool."""
        several = getattr(request, "providers", {})  # which only what may be a component has
        providers = map(provider_urn, (request.provider, *several.values()))
        return not self.run.failed.isdisjoint((*request.dependencies, request.parent, *providers))

    def _inherit(self, urn: str, request: Any) -> None:  # noqa: ANN401
        if request.parent in self.inherited:
            inherit(request, self.inherited[request.parent])
        options = resource_pb2.RegisterResourceRequest()
        inherit(options, request)
        if options.ByteSize():
            self.inherited[urn] = options

    def _enter(self, urn: str, unit: str) -> bool:
        """Note a registration; False when there is one of that name already."""
        run = self.run
        if urn in run.registered:
            run.fail(urn, Unsupported(f"{urn} is declared twice; give one of the two another name"))
            return False
        run.registered.add(urn)
        run.unit_of[urn] = unit
        return True

    async def children(self, parent: str, children: "Sequence[Declared]") -> None:
        """Register what a component declares of itself, in the order of what it needs; returns when all are."""
        run = self.run
        unit = run.unit_of[parent]
        if unit:
            run.wanted.setdefault(unit, set()).update(Identity.of(child.body) for child in children)
        begun: list[asyncio.Task[str]] = []

        async def one(child: "Declared") -> str:
            above = parent if child.holder is None else await begun[child.holder]
            urn = make_urn(run.program.stack, run.program.project, above, child.type, child.name)
            if not self._enter(urn, unit):
                return urn
            needed = tuple([await begun[place] for place in child.after])
            before = (*needed, *[await begun[place] for place in child.fence])
            if run.stops(unit) or above in run.failed or not run.failed.isdisjoint(before):
                self._leave(urn, before)
                return urn
            registration = Registration(
                urn,
                child.type,
                child.name,
                above,
                unit,
                child.body,
                dependencies=needed,
                protect=child.protect,
                retain=child.retain,
            )
            try:
                await self._perform(await self._transformed(registration))
            except EngineError as error:
                run.fail(urn, error)
            return urn

        async with asyncio.TaskGroup() as tasks:
            for child in children:
                begun.append(tasks.create_task(one(child)))

    def _leave(self, urn: str, needed: Sequence[str]) -> None:
        """Count a resource as failed that is not tried; where something that it needs failed, that is said."""
        told = {problem.urn for problem in self.run.problems}
        names = [one.rsplit("::", 1)[-1] for one in needed if one in told]
        if not names:
            self.run.failed.add(urn)
            return
        error = Refused(f"left as it is, because what has to stand before it failed: {', '.join(names)}")
        error.next_step = "mend that, and run again"
        self.run.fail(urn, error)

    async def _custom(self, request: Any, urn: str, unit: str) -> resource_pb2.RegisterResourceResponse:  # noqa: ANN401
        if request.type == PROVIDER_TYPE:
            return await self._provider(request, urn)
        if not request.type.startswith("kubernetes:") or (request.remote and not request.custom):
            package = request.type.split(":")[2 if request.type.startswith("pulumi:providers:") else 0]
            raise needs_plugin(f"{request.type} {request.name!r}", package)
        self.run.clusters.admit(request.provider, f"{request.type} {request.name!r}")
        registration = parse(request, urn, unit, self.aliases[urn])
        outcome = await self._perform(registration)
        if urn in self.left_out:
            return _failed(urn)  # which is how the SDK takes what it gives out for unknown
        if self.run.program.units is not None:
            # Programs in units read no outputs of their objects; the SDK answers from the inputs what it is not told.
            return resource_pb2.RegisterResourceResponse(urn=urn, id=_identifier(outcome))
        return self._response(registration, outcome)

    async def _perform(self, registration: Registration) -> Outcome:
        run = self.run
        if "apiVersion" not in registration.values:
            raise needs_plugin(f"{registration.type} {registration.name!r}", registration.type)
        for value in secret_values(Properties(registration.values, set(registration.secrets))):
            run.masks.hide(value)
        if run.preview and not run.clusters.known(registration.provider):
            run.report(_elsewhere(registration))
            return Outcome(Identity("", "", "", ""), registration.values, known=False)
        cluster = await run.clusters.connect(registration.provider)
        if self._untargeted(registration):
            return await self._as_it_stands(registration, cluster)
        if missing := self.left_out.intersection((*registration.dependencies, registration.parent)):
            names = ", ".join(sorted(one.rsplit("::", 1)[-1] for one in missing))
            raise Refused(f"it needs {names}, not among the targets and not there yet; name that as a target too")

        async def attempt() -> Outcome:
            async with self.limit:
                return await Step(run, registration, cluster, self.limit).perform()

        return await self.neighbours.patiently(attempt, lambda: run.stops(registration.unit))

    async def _manifests(self, request: Any, urn: str, unit: str) -> resource_pb2.RegisterResourceResponse:  # noqa: ANN401
        """A component that the CLI's provider would build: it is built here."""
        run = self.run
        try:
            if run.stops(unit) or self._lacks(request):
                raise Interrupted("not tried, because something else failed before it")
            inputs = decode(request.object)
            provider = request.provider or request.providers.get("kubernetes", "")
            if inputs.unknowns or not run.clusters.known(provider):
                run.note(f"{request.name}: its inputs are outputs of something new; this preview lacks what it makes")
                run.registered |= manifest_component.recorded(urn, run.state.records)  # which nothing says will go
                return resource_pb2.RegisterResourceResponse(urn=urn, object=encode({"resources": UNKNOWN}))
            run.clusters.admit(provider, f"{request.type} {request.name!r}")
            template = replace(
                parse(manifest_component.plain(request), urn, unit, ()),
                provider=provider,
                secrets=frozenset(),
                values={"namespace": await run.clusters.namespace(provider)},
            )

            async def one(child: Registration) -> None:
                run.registered.add(child.urn)
                run.unit_of[child.urn] = unit
                if run.stops(unit) or not run.failed.isdisjoint(child.dependencies):
                    run.failed.add(child.urn)
                    return
                try:
                    child = await self._transformed(child)
                    outcome = await self._perform(child)
                except EngineError as error:
                    run.fail(child.urn, error)
                    return
                self.made[child.urn] = (_identifier(outcome), self._response(child, outcome).object)

            cluster = await run.clusters.connect(provider)
            directory = program_folder(run.program)
            urns = await manifest_component.register(template, inputs, directory, cluster, one)
            self.members[urn] = urns
            references = [reference(child, self.made[child][0]) for child in urns if child in self.made]
            if len(references) < len(urns):
                run.failed.add(urn)
            return resource_pb2.RegisterResourceResponse(urn=urn, object=encode({"resources": references}))
        except Interrupted:
            run.failed.add(urn)
        except EngineError as error:
            run.fail(urn, error)
        return _failed(urn)

    async def _transformed(self, child: Registration) -> Registration:
        """What is registered without a request of the program's, as transforms of its parents and of the stack want it."""
        if not self.transforms:
            return child
        request = await self.transforms.apply(child.urn, as_request(child))
        return parse(request, child.urn, child.unit, tuple(request.aliasURNs))

    async def _provider(self, request: Any, urn: str) -> resource_pb2.RegisterResourceResponse:  # noqa: ANN401
        run = self.run
        decoded = decode(request.object)
        for value in secret_values(decoded):
            run.masks.hide(value)
        inputs = run.clusters.declare(urn, decoded.values)
        recorded = run.state.providers.get(urn)
        if recorded not in (None, inputs) and run.clusters.known(urn):
            for reference in {one.provider for one in run.state.records.values() if provider_urn(one.provider) == urn}:
                await self._look_again(reference, request.name)
        if not run.preview:
            run.state.providers[urn] = inputs
        return resource_pb2.RegisterResourceResponse(urn=urn, id="provider", object=request.object)

    async def _look_again(self, provider: str, name: str) -> None:
        """A provider of other settings than those of the last run. Raises `Refused` when it means another cluster now."""
        run = self.run
        await index.again(run.index, run.clusters.connect, run.state, provider)
        made = {record.uid for record in run.state.records.values() if record.provider == provider}
        standing = {found["metadata"]["uid"] for place, found in run.index.standing() if place[0] == provider}
        if provider in run.index.closed or not made.isdisjoint(standing) or run.options.adopt:
            return
        cluster = await run.clusters.connect(provider)
        error = Refused(
            f"provider {name} names {cluster.url} now, where none of the {len(made)} objects stands that this stack made "
            "by it: what it made before would be left behind"
        )
        error.next_step = (
            "give the provider another name, and they are made there and deleted where they are; "
            "where that cluster is gone for good, `up --adopt` makes them anew"
        )
        raise error

    def _unit(self, request: Any) -> str:  # noqa: ANN401
        parent = self.run.unit_of.get(request.parent)
        if parent:
            return parent
        units = self.run.program.units
        return str(request.name) if units is not None and request.name in units and not request.custom else ""

    def _untargeted(self, registration: Registration) -> bool:
        from fnmatch import fnmatchcase

        targets = self.run.options.targets
        names = (registration.urn, registration.unit, registration.name)
        return bool(targets) and not any(fnmatchcase(name, target) for target in targets for name in names)

    async def _as_it_stands(self, registration: Registration, cluster: Any) -> Outcome:  # noqa: ANN401
        record = self.run.state.records.get(registration.urn)
        if record is None:
            self.left_out.add(registration.urn)
            return Outcome(Identity("", "", "", ""), {}, known=False)
        place = record.identity
        live = await cluster.read(record.api_version, place.kind, place.namespace, place.name)
        return Outcome(place, live or {}, known=live is not None)

    def _response(self, registration: Registration, outcome: Outcome) -> resource_pb2.RegisterResourceResponse:
        named = registration.secret_outputs | {str(path[0]) for path in registration.secrets if path}
        secrets = secret_outputs(registration.values.get("kind"), named)
        return resource_pb2.RegisterResourceResponse(
            urn=registration.urn, id=_identifier(outcome), object=encode(unmarked(outcome.live), secrets)
        )

    async def read(self, request: Any) -> resource_pb2.ReadResourceResponse:  # noqa: ANN401
        """Look at something that this stack does not own."""
        run = self.run
        urn = make_urn(run.program.stack, run.program.project, request.parent, request.type, request.name)
        if self._lacks(request):
            return resource_pb2.ReadResourceResponse(urn=urn, result=resource_pb2.Result.FAIL)
        try:
            if request.type == STACK_REFERENCE:
                properties = await stack_reference.read(run, request)
            else:
                properties = await lookup.read(run, request, urn)
            identifier = "" if request.id == UNKNOWN_SENTINEL else request.id
            return resource_pb2.ReadResourceResponse(urn=urn, properties=properties, id=identifier)
        except EngineError as error:
            run.fail(urn, error)
            return resource_pb2.ReadResourceResponse(urn=urn, result=resource_pb2.Result.FAIL)


def _identifier(outcome: Outcome) -> str:
    place = outcome.identity
    name = f"{place.namespace}/{place.name}" if place.namespace else place.name
    return name if outcome.known else ""


def _elsewhere(registration: Registration) -> Change:
    """A resource of a cluster that is not known before the run."""
    values = registration.values
    metadata = values["metadata"] if isinstance(values.get("metadata"), dict) else {}
    name, namespace = (
        str(metadata.get(key, fallback)) for key, fallback in (("name", registration.name), ("namespace", ""))
    )
    return Change(
        Operation.CREATE,
        registration.urn,
        registration.type,
        str(values.get("apiVersion", "")),
        str(values.get("kind", "")),
        namespace,
        name,
        "its cluster is an output of something new",
        checked=False,
        unit=registration.unit,
    )


def _failed(urn: str) -> resource_pb2.RegisterResourceResponse:
    return resource_pb2.RegisterResourceResponse(urn=urn, result=resource_pb2.Result.FAIL)
