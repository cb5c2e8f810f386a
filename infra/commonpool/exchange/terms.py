"""The agreements in force, by service and consumer, as the cluster tells them. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Self

from commonpool.exchange.fields import Tree, tree
from commonpool.model.today import today

LABEL = "commonpool.dev/agreements"
DEPARTMENT = "commonpool.dev/department"
CONTENT, OTHERS, AUDIENCES = "agreements.json", "others.json", "audiences.json"
Level = Literal["none", "digest", "body"]


@dataclass(frozen=True)
class Terms:
    """What one consumer may have of one service. `items` None means every field, `volume` None any number of calls a day."""

    agreement: str
    digest: str
    service: str
    provider: str
    consumer: str
    purpose: str
    evidence: Level
    start: date
    end: date
    items: Tree | None = None
    signed: tuple[str, ...] = ()  # keys of the departments that signed the text
    recipients: tuple[str, ...] = ()  # who alone can open kept bodies, as age recipients
    volume: int | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """As the agreements' renderer writes it. Raises ValueError, KeyError or TypeError for anything else."""
        if values["evidence"] not in ("none", "digest", "body"):
            raise ValueError(f"{values['evidence']!r} is no level of evidence")
        return cls(
            agreement=str(values["agreement"]),
            digest=str(values["digest"]),
            service=str(values["service"]),
            provider=str(values["provider"]),
            consumer=str(values["consumer"]),
            purpose=str(values["purpose"]),
            evidence=values["evidence"],
            start=date.fromisoformat(values["start"]),
            end=date.fromisoformat(values["end"]),
            items=None if values["items"] is None else tree(values["items"]),
            signed=tuple(values.get("signed") or ()),
            recipients=tuple(values.get("recipients") or ()),
            volume=None if values.get("volume") is None else int(values["volume"]),
        )

    def holds(self, day: date) -> bool:
        """Whether it is in force on a day."""
        return self.start <= day <= self.end

    @property
    def silent(self) -> bool:
        """Whether nothing is taken out, nothing is kept and nothing counted."""
        return self.items is None and self.evidence == "none" and self.volume is None


@dataclass
class Book:
    """What is known now; `broken` are services whose list could not be read: nobody passes there."""

    services: dict[str, tuple[Terms, ...]] = field(default_factory=dict)
    others: dict[str, frozenset[str]] = field(default_factory=dict)  # who needs no agreement, by service
    audiences: dict[str, frozenset[str]] = field(default_factory=dict)  # of proven callers, as the proxy writes them
    broken: dict[str, str] = field(default_factory=dict)
    departments: dict[str, str] = field(default_factory=dict)  # by namespace
    codes: dict[str, str] = field(default_factory=dict)  # organisation code by department, where it is known

    def take(self, event: str, item: Mapping[str, Any]) -> None:
        """A change of a ConfigMap with agreements: the service's own, and no other that bears its label, wherever it lies.

        In a cluster that does other work too, people write ConfigMaps with any label into namespaces that are not the pool's.
        """
        service = str(item["metadata"]["namespace"]).removeprefix("service-")
        if (item["metadata"]["namespace"], item["metadata"]["name"]) != (f"service-{service}", f"agreements-{service}"):
            return
        self.broken.pop(service, None)
        if event == "DELETED":
            self.services.pop(service, None)
            self.others.pop(service, None)
            self.audiences.pop(service, None)
            return
        try:
            listed = json.loads(item["data"][CONTENT])
            self.others[service] = frozenset(json.loads(item["data"].get(OTHERS, "[]")))
            self.audiences[service] = frozenset(json.loads(item["data"][AUDIENCES]))
            self.services[service] = tuple(Terms.from_json(one) for one in listed)
        except (KeyError, TypeError, ValueError) as error:
            self.broken[service] = f"the agreements of {service} cannot be read: {error}"

    def settle(self, event: str, namespace: Mapping[str, Any]) -> None:
        """A change of a namespace: whose it is."""
        metadata = namespace["metadata"]
        owner = metadata.get("labels", {}).get(DEPARTMENT)
        if event == "DELETED" or not owner:
            self.departments.pop(metadata["name"], None)
        else:
            self.departments[metadata["name"]] = owner

    def department(self, subject: str) -> str:
        """The department of a verified subject; empty for who is neither a pod of the pool nor a department's system."""
        words = subject.split("/")
        if words[0] == "spiffe:" and words[3:4] == ["department"] and words[5:6] == ["system"]:
            return words[4]
        parts = subject.split(":")
        return (
            self.departments.get(parts[2], "") if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4 else ""
        )

    def stands(self, terms: Terms) -> bool:
        """Whether the agreement of a call that has begun is still in force."""
        known = self.of(terms.service, terms.consumer)
        return any(one.agreement == terms.agreement and one.holds(today()) for one in known)

    def of(self, service: str, department: str) -> tuple[Terms, ...]:
        """Every agreement of a consumer on a service, in force or not."""
        return tuple(one for one in self.services.get(service, ()) if one.consumer == department)
