"""One Kubernetes object of a run: what is declared, what is recorded, what stands, and whose it is.

What is done with it is decided and done in `step`; nothing here writes to a cluster.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from commonpool.engine import readiness
from commonpool.engine import state as states
from commonpool.engine.claim import other_stack, refusal
from commonpool.engine.cluster import Cluster
from commonpool.engine.condition import BUILT_IN
from commonpool.engine.decision import Decision, unskipped
from commonpool.engine.deployment import Deployment
from commonpool.engine.diff import field_changes
from commonpool.engine.error import Refused, UnknownKind
from commonpool.engine.event import Change, FieldChange, Operation
from commonpool.engine.index import urn_of
from commonpool.engine.ownership import fields_of, keep_owned
from commonpool.engine.record import Identity, Record, digest_body, mark, owned_fields, sealed
from commonpool.engine.registration import (
    AUTONAMED,
    FIELD_MANAGER,
    FORCE,
    REPLACE_UNREADY,
    Registration,
    body_of,
    copied,
    field_manager,
)
from commonpool.engine.unknown import holds_unknown


class Subject:
    """One registration with its record. `slot` is given back while readiness is awaited."""

    def __init__(self, run: Deployment, registration: Registration, cluster: Cluster, slot: asyncio.Semaphore) -> None:
        """Nothing happens before `perform`, which expects the slot to be held."""
        self.run, self.registration, self.cluster, self.slot = run, registration, cluster, slot
        self.urn = registration.urn
        self.order = run.next_order()
        self.record = self._find_record()
        self.manager = self._field_manager()
        self.namespaced, self.namespace = False, ""
        self.body: dict[str, Any] = {}  # what is sent again and again
        self.whole: dict[str, Any] = {}  # what is sent at first: with the fields that later changes ignore
        self.digest = ""
        self.kind_known = True
        self.elsewhere = False  # what is recorded stands in the cluster of another provider

    def _find_record(self) -> Record | None:
        for urn in (self.urn, *self.registration.aliases):
            if urn in self.run.state.records:
                self.run.continued.add(urn)
                return self.run.state.records[urn]
        return None

    def _field_manager(self) -> str:
        """A patch of another name by now goes on under its former one, or its fields would be two managers'."""
        registration, record = self.registration, self.record
        if record is not None and record.patch and registration.patch and not registration.annotation(FIELD_MANAGER):
            return record.owner
        return field_manager(registration)

    def _holder(self) -> tuple[str, ...]:
        """The resource below which it stands, where that is an object too: as in Pulumi it goes after this one."""
        parent = self.registration.parent
        return (parent,) if parent in self.run.state.records else ()

    async def _prepare(self) -> None:
        registration = self.registration
        api_version, kind = registration.values.get("apiVersion", ""), registration.values.get("kind", "")
        self.namespaced = await self._is_namespaced(api_version, kind)
        if self.namespaced:
            self.namespace = await self.run.clusters.namespace(registration.provider)
        self._set_body(self.record.identity if self.record else self._adoptable())

    def _take_place(self, identity: Identity) -> None:
        """Raises `Refused` when another resource of this run is the same object."""
        if self.registration.patch or holds_unknown(list(identity)):
            return
        other = self.run.places.setdefault((self.cluster.url, identity), self.urn)
        if other != self.urn:
            raise Refused(
                f"{identity} is declared twice, as {other} and as {self.urn}; give one of the two another name"
            )

    def _set_body(self, previous: Identity | None, predecessor: str = "") -> None:
        """The suffix of automatic names follows from the stack's key: a run that is repeated finds what it made."""
        run, registration = self.run, self.registration
        key = run.state.key
        suffix = hashlib.blake2b(f"{self.urn}\0{predecessor}".encode(), key=key, digest_size=4).hexdigest()
        body = partial(
            body_of,
            registration,
            namespaced=self.namespaced,
            # Where nobody states one, another context of the kubeconfig moves nothing.
            namespace=previous.namespace
            if previous and not run.clusters.states_namespace(registration.provider)
            else self.namespace,
            previous=previous,
            suffix=suffix,
            kept=self._named_by_us(),
        )
        self.body = body()
        self.whole = body(whole=True) if registration.ignore_changes else self.body
        if not registration.unknowns:
            self.digest = digest_body(key, self.body)

    def _named_by_us(self) -> bool:
        """Whether the name of what is recorded is an automatic one."""
        record = self.record
        found = self.run.index.live.get((record.provider, record.identity)) if record else None
        return found is not None and (found["metadata"].get("annotations") or {}).get(AUTONAMED) == "true"

    def _adoptable(self) -> Identity | None:
        """With --adopt: the object of this stack's label that says it is this resource (the state got lost)."""
        if not self.run.options.adopt:
            return None
        kind = self.registration.values.get("kind")
        for (provider, identity), found in self.run.index.live.items():
            if provider == self.registration.provider and identity.kind == kind and urn_of(found) == self.urn:
                return identity
        return None

    async def _is_namespaced(self, api_version: str, kind: str) -> bool:
        try:
            return (await self.cluster.kind(api_version, kind)).namespaced
        except UnknownKind:
            if not self.run.preview or api_version.rpartition("/")[0] in BUILT_IN:
                raise
            self.kind_known = False  # its CustomResourceDefinition may come with this very run
            metadata = self.registration.values.get("metadata")
            return isinstance(metadata, dict) and "namespace" in metadata

    async def _read(self, identity: Identity) -> dict[str, Any] | None:
        return await self.cluster.read(self.body["apiVersion"], identity.kind, identity.namespace, identity.name)

    async def _stands_elsewhere(self) -> bool:
        """Whether what is recorded stands in another cluster: a new provider may be another way to the same one."""
        record = self.record
        if record is None or record.provider == self.registration.provider:
            return False
        if await self.run.clusters.connect(record.provider) is self.cluster:
            return False
        place = record.identity
        try:
            live = await self.cluster.read(record.api_version, place.kind, place.namespace, place.name)
        except UnknownKind:
            live = None
        self.elsewhere = live is None or live["metadata"]["uid"] != record.uid
        return self.elsewhere

    async def _existing(self, identity: Identity) -> dict[str, Any] | None:
        """Whether an object of that name is there already; what this run's own namespaces hold is ours."""
        if not self.kind_known or (self.registration.provider, identity.namespace) in self.run.fresh_namespaces:
            return None
        return await self._read(identity)

    async def _claim(self, identity: Identity, found: Mapping[str, Any], decision: Decision) -> Decision:
        """How an object that exists already becomes this stack's. Raises when it is somebody else's."""
        if self.registration.import_id not in ("", identity.name, f"{identity.namespace}/{identity.name}"):
            raise Refused(
                f"{self.urn}: import names {self.registration.import_id}, but the declaration is of {identity}"
            )
        if sealed(self.run.state.key, found):
            uid = found["metadata"]["uid"]
            self.run.continued |= {urn for urn, record in self.run.state.records.items() if record.uid == uid}
            return Decision(Operation.UPDATE, "an interrupted run had applied it already", force=True)
        other = other_stack(found, self.run.state.part_of)
        if other is not None and not await self._still_holds(other, found):
            other = None
        upserts = self.run.clusters.upserts(self.registration.provider)
        if other is None and (self.registration.import_id or self.run.options.adopt or upserts):
            return Decision(Operation.ADOPT, f"it exists and is adopted ({decision.reason})")
        raise refusal(identity, found, other)

    async def _still_holds(self, other: tuple[str, str], found: Mapping[str, Any]) -> bool:
        state = await states.load(self.run.pool, *other)
        return any(record.uid == found["metadata"]["uid"] for record in state.records.values())

    def _leave_ignored(self, live: Mapping[str, Any] | None) -> None:
        if live is not None and self.registration.ignore_changes:
            self.body, owned = copied(self.body), fields_of(live, self.manager)
            for expression in self.registration.ignored:
                keep_owned(self.body, live, owned, expression)

    def _must_be_redone(self, live: Mapping[str, Any]) -> bool:
        if self.registration.annotation(REPLACE_UNREADY).lower() != "true":
            return False
        if live["kind"] != "Job":
            self.run.note(f"{Identity.of(live)}: {REPLACE_UNREADY} is for Jobs only and has no effect")
            return False
        return not readiness.condition(unskipped(live)).ready

    def _marked(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.registration.patch:
            return body
        return mark(body, key=self.run.state.key, part_of=self.run.state.part_of, urn=self.urn)

    def _forced(self, force: bool) -> bool:
        asked = self.registration.annotation(FORCE).lower() == "true"
        return (
            force or asked or self.run.options.force_conflicts or self.run.clusters.forced(self.registration.provider)
        )

    def _note_created(self, identity: Identity) -> None:
        if identity.kind == "Namespace" and identity.group == "":
            self.run.fresh_namespaces.add((self.registration.provider, identity.name))

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
            patch=registration.patch,
            transient=identity.kind == "Job" and self.body["spec"].get("ttlSecondsAfterFinished") is not None,
        )

    def _remember(self, record: Record) -> None:
        if self.run.preview:
            return
        changed = self.run.state.records.get(self.urn)
        flags = replace(
            record,
            protect=self.registration.protect,
            retain=self.registration.retain,
            provider=self.registration.provider,
            dependencies=tuple(sorted({*self.registration.dependencies, *self._holder()})),
            deleted_with=self.registration.deleted_with,
            delete_timeout=self.registration.timeouts.get("delete", ""),
            order=changed.order if changed else self.order,
            manager="",
        )
        if flags.owner != self.manager:
            flags = replace(flags, manager=self.manager)
        if self.record and self.record.urn != self.urn:
            self.run.state.drop(self.record.urn)
        self.run.state.put(flags, self.registration.unit)

    def _remember_readiness(self, *, ready: bool) -> None:
        record = self.run.state.records.get(self.urn)
        if record is not None and record.unready is ready:
            self.run.state.put(replace(record, unready=not ready), self.registration.unit)

    def _fields(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
        masked = self.registration.secrets | self.registration.hidden
        return field_changes(before, after, secret_paths=masked)

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
