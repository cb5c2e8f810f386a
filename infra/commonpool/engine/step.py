"""One Kubernetes object of a run: decide what is to be done with it, then do it, or in a preview ask the server.

The decision is a pure function of the record, the live metadata and the new body. Objects are written by server-side
apply with one field manager. Fields that others took from us are taken back only where our own declaration did not
change (that is drift, and is reported); any other conflict is an error that names the other manager.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from commonpool.engine import readiness
from commonpool.engine.answer import holds
from commonpool.engine.claim import handed_over
from commonpool.engine.decision import Decision, Outcome, announced, decide, propagation
from commonpool.engine.diff import immutable_refusal, immutable_words
from commonpool.engine.error import FieldConflict, Protected, Refused, Stale
from commonpool.engine.event import FieldChange, Operation
from commonpool.engine.index import Drift
from commonpool.engine.neighbour import missing_reference
from commonpool.engine.ownership import differs
from commonpool.engine.properties import show_path
from commonpool.engine.record import HELPERS, REPLACED, Identity, Record
from commonpool.engine.registration import REPLACE_UNREADY, autonamed
from commonpool.engine.subject import Subject
from commonpool.engine.unknown import UNKNOWN

DATA_BEARING = frozenset({"PersistentVolumeClaim", "PersistentVolume", "Namespace"})
TAKE_OVER_TRIES = 5  # an object whose controller writes it many times a second
RECREATE_SECONDS = 300.0  # how long a replaced object may take to go away


class Step(Subject):
    """The way of one registration through a run."""

    async def perform(self) -> Outcome:
        """Do it (or preview it). Raises an `EngineError` when the object is refused, foreign or not ready."""
        await self._prepare()
        identity = Identity.of(self.body)
        self._take_place(identity)
        if identity.kind == "Namespace":
            self.run.declared_namespaces.add(identity.name)
        if self.registration.unknowns:
            return await self._preview_unknown(identity)
        drift = self.run.index.drift(self.record) if self.record else Drift.NONE
        decision = decide(self.record, drift, identity, self.digest)
        if drift in (Drift.NONE, Drift.CHANGED) and await self._stands_elsewhere():
            decision = Decision(Operation.REPLACE, f"its provider is one of another cluster now, {self.cluster.url}")
        if decision.operation is Operation.CREATE:
            return await self._create(identity, decision)
        if decision.operation is Operation.SAME:
            return await self._same(identity)
        if decision.operation is Operation.REPLACE:
            return await self._replace(identity, decision.reason)
        return await self._update(identity, decision)

    async def _same(self, identity: Identity) -> Outcome:
        assert self.record is not None
        waiting = self.record.unready and self.run.options.wait and not self.run.preview
        if self.run.program.units is not None and not waiting and not self.registration.annotation(REPLACE_UNREADY):
            # Such programs read no outputs, and that it stands as it was applied has been seen in the lists.
            self._remember(replace(self.record, urn=self.urn))
            self._report(Operation.SAME)
            return Outcome(identity, self.body)
        live = await self._read(identity)
        if live is None and not self.record.transient:
            return await self._create(identity, Decision(Operation.CREATE, Drift.MISSING.value))
        if live is not None and self._must_be_redone(live):
            return await self._replace(identity, f"it did not complete ({REPLACE_UNREADY})")
        self._remember(replace(self.record, urn=self.urn))
        self._report(Operation.SAME)
        if waiting and live is not None:
            live = await self._wait(identity, live)
        return Outcome(identity, live or self.body)

    async def _create(self, identity: Identity, decision: Decision) -> Outcome:
        registration = self.registration
        found = await self._existing(identity)
        if found is not None and found["metadata"].get("deletionTimestamp") and not registration.patch:
            found = await self._after_its_deletion(identity, found)
        if found is not None and not registration.patch:
            decision = await self._claim(identity, found, decision)
            return await self._update(identity, decision, live=found)
        fresh = (registration.provider, identity.namespace) in self.run.fresh_namespaces
        if registration.patch and found is None and self.run.preview and self._is_of_this_run(identity):
            self._report(Operation.CREATE, decision.reason, checked=False)
            return Outcome(identity, announced(self.whole), known=False)
        if registration.import_id or (registration.patch and found is None and self.kind_known and not fresh):
            # In a namespace of this very run, what Kubernetes itself puts there may come a moment later.
            verb = "imported" if registration.import_id else "patched"
            if not (self.run.preview and await self._namespace_is_missing(identity)):
                raise Refused(f"{identity} is to be {verb}, but does not exist", status=404, reason="NotFound")
        if self.run.preview:
            return await self._preview_apply(identity, decision, live=found)
        live = await self._apply(self.whole, force=False)
        self._note_created(identity)
        return await self._settle(identity, live, decision)

    async def _after_its_deletion(self, identity: Identity, found: dict[str, Any]) -> dict[str, Any] | None:
        if self.run.preview:
            return None
        key = (self.body["apiVersion"], identity.kind, identity.namespace, identity.name)
        await readiness.wait_gone(self.cluster, key, found["metadata"]["uid"], timeout=RECREATE_SECONDS)
        return await self._read(identity)

    async def _update(self, identity: Identity, decision: Decision, live: dict[str, Any] | None = None) -> Outcome:
        if self.run.preview or self.run.options.diff or decision.force or self.registration.ignore_changes:
            live = live or await self._read(identity)
        # Not where somebody took a field over and wrote what it was: it would be his, and what he writes next would be no drift.
        if decision.force and decision.reason != Drift.CHANGED.value and live is not None and holds(live, self.body):
            return self._as_it_stands(identity, live)
        self._leave_ignored(live)
        if reason := await self._forced_replacement(identity, live):
            return await self._replace(identity, reason)
        if self.run.preview:
            return await self._preview_apply(identity, decision, live=live)
        if decision.operation is Operation.ADOPT and live is not None:
            await self._take_over(live)
        try:
            after = await self._apply(self.body, force=decision.force)
        except Refused as error:
            if not immutable_refusal(error):
                raise
            return await self._replace(identity, immutable_words(error))
        fields = self._fields(live, after) if live else ()
        if live is not None and live["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]:
            decision = Decision(Operation.SAME)
        return await self._settle(identity, after, decision, fields)

    def _as_it_stands(self, identity: Identity, live: dict[str, Any]) -> Outcome:
        if not self.run.preview:
            self._remember(self._record(identity, live))
        self._report(Operation.SAME)
        return Outcome(identity, live)

    async def _take_over(self, live: dict[str, Any]) -> None:
        """What the Pulumi CLI's provider owned becomes ours; an object that others write all the time is read again."""
        found: dict[str, Any] | None = live
        place, tries = Identity.of(live), TAKE_OVER_TRIES
        while found is not None and (entries := handed_over(found, self.manager)) is not None:
            await self.run.begin_writing()
            metadata = {"resourceVersion": found["metadata"]["resourceVersion"], "managedFields": entries}
            try:
                await self.cluster.merge_patch(
                    found["apiVersion"], place.kind, place.namespace, place.name, {"metadata": metadata}
                )
                return
            except Stale:
                tries -= 1
                if not tries:
                    raise
            found = await self._read(place)

    async def _forced_replacement(self, identity: Identity, live: Mapping[str, Any] | None) -> str:
        """Why the object must be replaced although the server would change it in place; empty when it need not be."""
        wanted = self.registration.replacing
        if autonamed(self.body) and self.run.clusters.immutable_data(self.registration.provider, identity.kind):
            # As in pulumi-kubernetes: a new name makes whatever refers to it roll out.
            wanted = (*wanted, "data", "binaryData", "type")
        if self.record is None or not wanted:
            return ""
        live = live or await self._read(identity)
        if live is None:
            return ""
        try:
            after = await self.cluster.apply(
                self._marked(self.body), dry_run=True, force=True, field_manager=self.manager
            )
        except Refused:
            return ""  # the apply itself says why
        changed = [
            path for path in wanted if (self._fields(live, after) if path == "*" else differs(live, after, path))
        ]
        return f"{', '.join(changed)} differs, and that replaces it" if changed else ""

    async def _replace(self, identity: Identity, reason: str) -> Outcome:
        """Another identity stands beside the old one, which the sweep deletes later; the same identity goes first."""
        old = self.record
        if old is not None and old.protect:
            raise Protected(f"{old.identity} is protected and would have to be replaced; take `protect` off first")
        if old is not None and old.identity == identity and identity.kind in DATA_BEARING:
            error = Protected(f"{identity} would have to be deleted and made anew, and its data with it: {reason}")
            error.next_step = "take the change back, or give the new one another name and move the data"
            raise error
        same_place = old is None or (old.identity == identity and not self.elsewhere)
        if same_place and autonamed(self.body):  # a new name makes whatever refers to it follow
            self._set_body(None, predecessor=identity.name)
            identity, same_place = Identity.of(self.body), False
        if not same_place and (found := await self._existing(identity)) is not None:
            await self._claim(identity, found, Decision(Operation.REPLACE, reason))
        if self.run.preview:
            self._report(Operation.REPLACE, reason, checked=False)
            return Outcome(identity, self.body, known=False)
        if old is not None and (same_place or self.registration.delete_before_replace):
            await self._delete(old)
        live = await self._apply(self.whole, force=False)
        self._note_created(identity)
        if old is not None and not same_place and not self.registration.delete_before_replace:
            self._supersede(old)
        return await self._settle(identity, live, Decision(Operation.REPLACE, reason))

    async def _delete(self, old: Record) -> None:
        await self.run.begin_writing()
        cluster = await self.run.clusters.connect(old.provider)
        place = old.identity
        annotations = self.body["metadata"].get("annotations") or {}
        await cluster.delete(
            old.api_version,
            place.kind,
            place.namespace,
            place.name,
            uid=old.uid,
            propagation=propagation(place, annotations),
        )
        key = (old.api_version, place.kind, place.namespace, place.name)
        await readiness.wait_gone(cluster, key, old.uid, timeout=RECREATE_SECONDS)

    def _supersede(self, old: Record) -> None:
        """Keep the replaced object under a URN of its own until the sweep deletes it after the new one stands."""
        urn = f"{self.urn}{REPLACED}{old.uid[:8]}"
        self.run.state.put(replace(old, urn=urn, manager=old.owner), self.registration.unit)

    async def _apply(self, body: dict[str, Any], *, force: bool) -> dict[str, Any]:
        await self.run.begin_writing()
        return await self._send(body, force=force)

    async def _send(self, body: dict[str, Any], *, force: bool, dry_run: bool = False) -> dict[str, Any]:
        """Apply; fields that a helper of ours holds are taken without being asked to, as it works for what is declared."""
        marked, force = self._marked(body), self._forced(force)
        try:
            return await self.cluster.apply(marked, force=force, dry_run=dry_run, field_manager=self.manager)
        except FieldConflict as conflict:
            if any(manager not in HELPERS for manager, _ in conflict.conflicts):
                raise
            return await self.cluster.apply(marked, force=True, dry_run=dry_run, field_manager=self.manager)

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
            self._remember_readiness(ready=True)
            return live
        self._remember_readiness(ready=False)
        key = (self.body["apiVersion"], identity.kind, identity.namespace, identity.name)
        timeout = readiness.timeout_of(live, self.registration.timeouts, self.run.options.timeout)
        self.slot.release()
        try:
            waiting = readiness.wait_ready(self.cluster, key, live, timeout=timeout, observer=self.run.tell)
            live = await self.run.unless_interrupted(waiting, live)
        finally:
            await self.slot.acquire()
        self._remember_readiness(ready=not self.run.interrupted)
        return live

    async def _preview_apply(self, identity: Identity, decision: Decision, live: dict[str, Any] | None) -> Outcome:
        """Ask the server what it would do; a namespace or kind of this same run cannot be asked about yet."""
        missing = await self._namespace_is_missing(identity)
        if missing:
            self.run.expect_namespace(identity.namespace, self.urn)
        if missing or not self.kind_known:
            self._report(decision.operation, decision.reason, checked=False)
            if live is None:
                self._note_created(identity)
            return Outcome(identity, announced(self.whole), known=False)
        adopted = decision.operation is Operation.ADOPT and live is not None and handed_over(live, self.manager)
        body = self.body if live is not None else self.whole
        try:
            after = await self._send(body, force=decision.force or bool(adopted), dry_run=True)
        except Refused as error:
            if self._comes_with_this_run(error):
                self._report(decision.operation, decision.reason, checked=False)
                return Outcome(identity, announced(self.whole), known=False)
            if live is None or not immutable_refusal(error):
                raise
            return await self._replace(identity, immutable_words(error))
        if live is None:
            self._note_created(identity)
        fields = self._fields(live, after) if live else ()
        operation = decision.operation
        if live is not None and operation is Operation.UPDATE and not fields:
            operation = Operation.SAME
        self._report(operation, decision.reason, fields)
        return Outcome(identity, after if live else announced(self.whole, after), known=live is not None)

    def _comes_with_this_run(self, error: Refused) -> bool:
        """Whether what the server misses is a resource of this run, which a preview does not make."""
        missing = missing_reference(error, self.body)
        return missing is not None and self._is_of_this_run(missing)

    def _is_of_this_run(self, identity: Identity) -> bool:
        """Whether a resource of this run has been declared to be that object."""
        return (self.cluster.url, identity) in self.run.places

    async def _preview_unknown(self, identity: Identity) -> Outcome:
        """Some inputs are outputs of resources that do not exist yet: say so instead of guessing."""
        if not self.run.preview:
            raise Refused(
                f"{self.urn}: {', '.join(show_path(path) for path in sorted(self.registration.unknowns, key=str))} "
                "never got a value, because the resource that gives it failed"
            )
        fields = tuple(
            FieldChange(show_path(path), "+", new=repr(UNKNOWN)) for path in sorted(self.registration.unknowns, key=str)
        )
        operation = Operation.UPDATE if self.record else Operation.CREATE
        self._report(operation, "some of its fields are known only after other resources are applied", fields, False)
        return Outcome(identity, announced(self.body), known=False)


__all__ = ["Outcome", "Step"]
