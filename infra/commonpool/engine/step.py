"""One Kubernetes object of a run: decide what is to be done with it, then do it, or in a preview ask the server.

The decision is a pure function of the record, the live metadata and the new body. Objects are written by server-side
apply with one field manager. Fields that others took from us are taken back only where our own declaration did not
change (that is drift, and is reported); any other conflict is an error that names the other manager.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from commonpool.engine import readiness
from commonpool.engine.answer import holds
from commonpool.engine.cluster import Cluster
from commonpool.engine.deployment import Deployment
from commonpool.engine.diff import field_changes, immutable_refusal
from commonpool.engine.error import (
    EngineError,
    FieldConflict,
    ForeignObject,
    OtherEngine,
    Protected,
    Refused,
    UnknownKind,
)
from commonpool.engine.event import Change, FieldChange, Operation
from commonpool.engine.index import Drift
from commonpool.engine.properties import UNKNOWN, drop_unknowns, show_path
from commonpool.engine.record import HELPERS, Identity, Record, digest_body, mark, owned_fields, sealed
from commonpool.engine.registration import Registration, autonamed, body_of, field_manager

DATA_BEARING = frozenset({"PersistentVolumeClaim", "PersistentVolume", "Namespace"})
RECREATE_SECONDS = 300.0  # how long a replaced object may take to go away


@dataclass(frozen=True)
class Decision:
    """What to do with one object and why; `force` takes drifted fields back."""

    operation: Operation
    reason: str = ""
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """What the program gets to see of the resource: the live object, or in a preview what is known of it."""

    identity: Identity
    live: Mapping[str, Any]
    known: bool = True


def decide(record: Record | None, drift: Drift, identity: Identity, digest: str) -> Decision:
    """Compare what is declared with what was applied and with what stands. Pure."""
    if record is None:
        return Decision(Operation.CREATE, "it is declared and not there yet")
    if record.identity != identity:
        return Decision(Operation.REPLACE, f"its identity changes from {record.identity} to {identity}")
    if drift in (Drift.MISSING, Drift.REPLACED):
        return Decision(Operation.CREATE, drift.value)
    if record.digest != digest:
        return Decision(Operation.UPDATE, "its declaration changed")
    if drift is Drift.CHANGED:
        return Decision(Operation.UPDATE, drift.value, force=True)
    return Decision(Operation.SAME)


class Step:
    """The way of one registration through a run."""

    def __init__(self, run: Deployment, registration: Registration, cluster: Cluster) -> None:
        """Nothing happens before `perform`."""
        self.run, self.registration, self.cluster = run, registration, cluster
        self.urn = registration.urn
        self.order = run.next_order()
        self.manager = field_manager(registration)
        self.record = self._find_record()
        self.body: dict[str, Any] = {}
        self.marked: dict[str, Any] = {}
        self.digest = ""
        self.kind_known = True

    def _find_record(self) -> Record | None:
        for urn in (self.urn, *self.registration.aliases):
            if urn in self.run.state.records:
                return self.run.state.records[urn]
        return None

    async def perform(self) -> Outcome:
        """Do it (or preview it). Raises an `EngineError` when the object is refused, foreign or not ready."""
        await self._prepare()
        identity = Identity.of(self.body)
        if self.registration.unknowns:
            return await self._preview_unknown(identity)
        drift = self.run.index.drift(self.record) if self.record else Drift.NONE
        decision = decide(self.record, drift, identity, self.digest)
        if decision.operation is Operation.CREATE:
            return await self._create(identity, decision)
        if decision.operation is Operation.SAME:
            return await self._same(identity)
        if decision.operation is Operation.REPLACE:
            return await self._replace(identity, decision.reason)
        return await self._update(identity, decision)

    async def _prepare(self) -> None:
        registration, state = self.registration, self.run.state
        api_version, kind = registration.values.get("apiVersion", ""), registration.values.get("kind", "")
        namespaced = await self._namespaced(api_version, kind)
        namespace = await self.run.clusters.namespace(registration.provider) if namespaced else ""
        previous = self.record.identity if self.record else None
        self.body = body_of(registration, namespaced=namespaced, namespace=namespace, previous=previous)
        self.marked = self.body
        if not registration.unknowns:
            self.digest = digest_body(state.key, self.body)
            if not registration.patch:
                self.marked = mark(self.body, key=state.key, part_of=state.part_of, urn=self.urn)

    async def _namespaced(self, api_version: str, kind: str) -> bool:
        try:
            return (await self.cluster.kind(api_version, kind)).namespaced
        except UnknownKind:
            if not self.run.preview:
                raise
            self.kind_known = False  # its CustomResourceDefinition may come with this very run
            return "namespace" in self.registration.values.get("metadata", {})

    async def _read(self, identity: Identity) -> dict[str, Any] | None:
        return await self.cluster.read(self.body["apiVersion"], identity.kind, identity.namespace, identity.name)

    async def _same(self, identity: Identity) -> Outcome:
        live = await self._read(identity)
        if live is None:
            return await self._create(identity, Decision(Operation.CREATE, Drift.MISSING.value))
        assert self.record is not None
        self._remember(replace(self.record, urn=self.urn))
        self._report(Operation.SAME)
        return Outcome(identity, live)

    async def _create(self, identity: Identity, decision: Decision) -> Outcome:
        found = await self._existing(identity)
        if found is not None and not self.registration.patch:
            decision = self._claim(identity, found, decision)
            return await self._update(identity, decision, live=found)
        if self.run.preview:
            return await self._preview_apply(identity, decision, live=found)
        live = await self._apply(force=self.registration.patch)
        self._note_created(identity)
        return await self._settle(identity, live, decision)

    async def _existing(self, identity: Identity) -> dict[str, Any] | None:
        """Whether an object of that name is there already; what this run's own namespaces hold is ours."""
        if not self.kind_known or (self.registration.provider, identity.namespace) in self.run.fresh_namespaces:
            return None
        return await self._read(identity)

    def _claim(self, identity: Identity, found: Mapping[str, Any], decision: Decision) -> Decision:
        if sealed(self.run.state.key, found):
            return Decision(Operation.UPDATE, "an interrupted run had applied it already", force=True)
        if self.registration.import_id or self.run.options.adopt:
            return Decision(Operation.ADOPT, f"it exists and is adopted ({decision.reason})")
        managers = sorted({entry.get("manager", "?") for entry in found["metadata"].get("managedFields", ())})
        words = f"{identity} exists already, written by {', '.join(managers) or 'somebody'}; this stack did not make it"
        if any(manager.startswith("pulumi") for manager in managers):
            error: EngineError = OtherEngine(f"{words}: the Pulumi CLI manages it")
            error.next_step = "take it out of that stack (pulumi state delete URN), then run again with --adopt"
        else:
            error = ForeignObject(words)
            error.next_step = "give the new object another name, or take this one over with --adopt"
        raise error

    async def _update(self, identity: Identity, decision: Decision, live: dict[str, Any] | None = None) -> Outcome:
        if self.run.preview:
            live = live or await self._read(identity)
            if decision.force and live is not None and holds(live, self.body):
                self._report(Operation.SAME)
                return Outcome(identity, live)
            return await self._preview_apply(identity, decision, live=live)
        before = live or (await self._read(identity) if self.run.options.diff or decision.force else None)
        if decision.force and before is not None and holds(before, self.body):
            self._remember(self._record(identity, before))
            self._report(Operation.SAME)
            return Outcome(identity, before)
        try:
            after = await self._apply(force=decision.force or self.run.options.force_conflicts)
        except Refused as error:
            if not immutable_refusal(error):
                raise
            return await self._replace(identity, f"a field that cannot be changed in place differs: {error}")
        fields = self._fields(before, after) if before else ()
        if before is not None and before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]:
            decision = Decision(Operation.SAME)
        return await self._settle(identity, after, decision, fields)

    async def _replace(self, identity: Identity, reason: str) -> Outcome:
        """Another identity stands beside the old one, which the sweep deletes later; the same identity goes first."""
        old = self.record
        if old is not None and old.protect:
            raise Protected(f"{old.identity} is protected and would have to be replaced; take `protect` off first")
        if old is not None and old.identity == identity and identity.kind in DATA_BEARING:
            error = Protected(f"{identity} would have to be deleted and made anew, and its data with it: {reason}")
            error.next_step = "take the change back, or give the new one another name and move the data"
            raise error
        if self.run.preview:
            self._report(Operation.REPLACE, reason, checked=False)
            return Outcome(identity, self.body, known=False)
        same_place = old is None or old.identity == identity
        if same_place and autonamed(self.body) and not self.registration.delete_before_replace:
            self.body["metadata"].pop("name")
            identity = self._rename()
            same_place = False
        if old is not None and (same_place or self.registration.delete_before_replace):
            await self._delete(old)
        live = await self._apply(force=False)
        self._note_created(identity)
        if old is not None and not same_place and not self.registration.delete_before_replace:
            self._supersede(old)
        return await self._settle(identity, live, Decision(Operation.REPLACE, reason))

    def _rename(self) -> Identity:
        state, registration = self.run.state, self.registration
        namespace = self.body["metadata"].get("namespace", "")
        self.body = body_of(registration, namespaced=bool(namespace), namespace=namespace, previous=None)
        self.digest = digest_body(state.key, self.body)
        self.marked = mark(self.body, key=state.key, part_of=state.part_of, urn=self.urn)
        return Identity.of(self.body)

    async def _delete(self, old: Record) -> None:
        await self.run.begin_writing()
        cluster = await self.run.clusters.connect(old.provider)
        place = old.identity
        await cluster.delete(old.api_version, place.kind, place.namespace, place.name, uid=old.uid)
        key = (old.api_version, place.kind, place.namespace, place.name)
        await readiness.wait_gone(cluster, key, old.uid, timeout=RECREATE_SECONDS)

    def _supersede(self, old: Record) -> None:
        """Keep the replaced object under a URN of its own until the sweep deletes it after the new one stands."""
        urn = f"{self.urn}#replaced-{old.uid[:8]}"
        self.run.state.put(replace(old, urn=urn), self.registration.unit)

    async def _apply(self, *, force: bool) -> dict[str, Any]:
        await self.run.begin_writing()
        return await self._send(force=force)

    async def _send(self, *, force: bool, dry_run: bool = False) -> dict[str, Any]:
        """Apply; fields that a helper of ours holds are taken without being asked to, as it works for what is declared."""
        try:
            return await self.cluster.apply(self.marked, force=force, dry_run=dry_run, field_manager=self.manager)
        except FieldConflict as conflict:
            if any(manager not in HELPERS for manager, _ in conflict.conflicts):
                raise
            return await self.cluster.apply(self.marked, force=True, dry_run=dry_run, field_manager=self.manager)

    def _note_created(self, identity: Identity) -> None:
        if identity.kind == "Namespace" and identity.group == "":
            self.run.fresh_namespaces.add((self.registration.provider, identity.name))

    async def _settle(
        self, identity: Identity, live: dict[str, Any], decision: Decision, fields: tuple[FieldChange, ...] = ()
    ) -> Outcome:
        """Record the applied object first, then wait for it: an object that is late is applied all the same."""
        self._remember(self._record(identity, live))
        self._report(decision.operation, decision.reason, fields)
        if self.run.options.wait or identity.kind == "CustomResourceDefinition":
            live = await self._wait(identity, live)
        return Outcome(identity, live)

    async def _wait(self, identity: Identity, live: dict[str, Any]) -> dict[str, Any]:
        if readiness.condition(live).ready:
            return live
        key = (self.body["apiVersion"], identity.kind, identity.namespace, identity.name)
        timeout = readiness.timeout_of(live, self.registration.timeouts, self.run.options.timeout)
        return await readiness.wait_ready(self.cluster, key, live, timeout=timeout, observer=self.run.observer)

    def _record(self, identity: Identity, live: Mapping[str, Any]) -> Record:
        registration = self.registration
        return Record(
            urn=self.urn,
            api_version=self.body["apiVersion"],
            identity=identity,
            uid=live["metadata"]["uid"],
            digest=self.digest,
            fields=owned_fields(live, self.manager),
            order=self.order,
            provider=registration.provider,
            dependencies=registration.dependencies,
            protect=registration.protect,
            retain=registration.retain,
            patch=registration.patch,
            deleted_with=registration.deleted_with,
        )

    def _remember(self, record: Record) -> None:
        if self.run.preview:
            return
        changed = self.run.state.records.get(self.urn)
        flags = replace(
            record,
            protect=self.registration.protect,
            retain=self.registration.retain,
            order=changed.order if changed else self.order,
        )
        if self.record and self.record.urn != self.urn:
            self.run.state.drop(self.record.urn)
        self.run.state.put(flags, self.registration.unit)

    async def _preview_apply(self, identity: Identity, decision: Decision, live: dict[str, Any] | None) -> Outcome:
        """Ask the server what it would do; a namespace or kind of this same run cannot be asked about yet."""
        if not self.kind_known or await self._namespace_is_missing(identity):
            self._report(decision.operation, decision.reason, checked=False)
            return Outcome(identity, self.body, known=False)
        force = decision.force or self.run.options.force_conflicts or self.registration.patch
        try:
            after = await self._send(force=force, dry_run=True)
        except Refused as error:
            if live is None or not immutable_refusal(error):
                raise
            return await self._replace(identity, f"a field that cannot be changed in place differs: {error}")
        if live is None:
            self._note_created(identity)
        fields = self._fields(live, after) if live else ()
        operation = decision.operation
        if live is not None and operation is Operation.UPDATE and not fields:
            operation = Operation.SAME
        self._report(operation, decision.reason, fields)
        return Outcome(identity, after if live else self.body, known=live is not None)

    async def _namespace_is_missing(self, identity: Identity) -> bool:
        if not identity.namespace:
            return False
        if (self.registration.provider, identity.namespace) in self.run.fresh_namespaces:
            return True
        if (self.registration.provider, identity.namespace) in self.run.standing_namespaces:
            return False
        missing = await self.cluster.read("v1", "Namespace", "", identity.namespace) is None
        (self.run.fresh_namespaces if missing else self.run.standing_namespaces).add(
            (self.registration.provider, identity.namespace)
        )
        return missing

    async def _preview_unknown(self, identity: Identity) -> Outcome:
        """Some inputs are outputs of resources that do not exist yet: say so instead of guessing."""
        if not self.run.preview:
            raise Refused(
                f"{self.urn}: {', '.join(show_path(path) for path in sorted(self.registration.unknowns, key=str))} "
                "never got a value, because the resource that gives it failed"
            )
        known = drop_unknowns(self.body)
        fields = tuple(
            FieldChange(show_path(path), "+", new=repr(UNKNOWN)) for path in sorted(self.registration.unknowns, key=str)
        )
        operation = Operation.UPDATE if self.record else Operation.CREATE
        self._report(operation, "some of its fields are known only after other resources are applied", fields, False)
        return Outcome(identity, known, known=False)

    def _fields(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
        return field_changes(before, after, secret_paths=self.registration.secrets)

    def _report(
        self, operation: Operation, reason: str = "", fields: tuple[FieldChange, ...] = (), checked: bool = True
    ) -> None:
        metadata = self.body["metadata"]
        self.run.report(
            Change(
                operation,
                self.urn,
                self.registration.type,
                self.body["apiVersion"],
                self.body["kind"],
                str(metadata.get("namespace", "")),
                str(metadata["name"]),
                reason,
                fields,
                checked,
                self.registration.unit,
            )
        )
