"""The `Department`: who asks, on which basis, for how long, and the namespaces it gets."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from commonpool.model.base import (
    Amount,
    BusinessClass,
    Count,
    Date,
    Declared,
    Egress,
    Environment,
    GroupName,
    Metadata,
    Name,
    ProtectionLevel,
    Registry,
    Resources,
    Text,
)
from commonpool.model.pool import Contacts, DepartmentOrganisation
from commonpool.model.quantity import Quantity
from commonpool.model.statement import SigningKey


class Groups(Declared):
    """Groups of the identity provider, without the pool's prefix."""

    admin: list[GroupName] = Field(
        min_length=1, max_length=20, description="Manage everything in the namespaces but what the pool owns."
    )
    developer: list[GroupName] = Field(
        default=[], max_length=20, description="Deploy and read logs; no roles, no Secrets' values."
    )
    viewer: list[GroupName] = Field(default=[], max_length=20, description="Read, but no Secrets.")


class Filing(Declared):
    """The public record behind the request."""

    number: Text = Field(description="Filing number (备案号), unique in the estate.")
    budget_item: Annotated[str, Field(pattern=r"^[0-9]{3,12}$")] = Field(
        description="Budget item that pays for it.", examples=["2130306"]
    )


class Term(Declared):
    """From when to when; nothing is granted for ever."""

    start: Date = Field(description="First day.")
    review: Date = Field(description="Day by which the need is looked at again.")
    end: Date = Field(description="Last day.")
    on_expiry: Literal["notify", "freeze", "reclaim"] = Field(
        default="notify",
        description="After the last day: only say so, stop new pods, or take guaranteed resources back as well.",
    )


class FlavorResources(Declared):
    """What a namespace gets of one hardware class."""

    flavor: Name = Field(description="Flavor of the pool; the first one listed is where pods go that say nothing.")
    guaranteed: Resources = Field(description="Promised at any time; counted against the pool's capacity.")
    burst: Resources | None = Field(default=None, description="On top when it is free; pods there can be preempted.")


class TierStorage(Declared):
    """What a namespace may claim of one storage tier."""

    tier: Name = Field(description="Tier of the pool.")
    capacity: Amount = Field(description="Sum of its claims in bytes.")
    claims: Annotated[int, Field(ge=1, le=10_000)] = Field(default=10, description="Number of claims.")


class ObjectLimits(Declared):
    """Largest number of objects by kind: what one namespace can cost the API server."""

    pods: Count = Field(default=100, description="Pods that are not finished.")
    services: Count = Field(default=20, description="Services.")
    config_maps: Count = Field(
        default=100, description="ConfigMaps, beside those that the pool and Kubernetes put there."
    )
    secrets: Count = Field(default=100, description="Secrets.")
    persistent_volume_claims: Count = Field(default=20, description="PersistentVolumeClaims.")
    deployments: Count = Field(default=50, description="Deployments.")
    stateful_sets: Count = Field(default=20, description="StatefulSets.")
    jobs: Count = Field(default=100, description="Jobs.")
    cron_jobs: Count = Field(default=20, description="CronJobs.")


class ContainerLimits(Declared):
    """What a container gets that says nothing, and the most that one may ask for."""

    default_request: Resources = Field(
        default=Resources(cpu=Quantity.parse("100m"), memory=Quantity.parse("128Mi")),
        description="Request of a silent container.",
    )
    default_memory_limit: Amount = Field(
        default=Quantity.parse("512Mi"),
        description="Memory limit of a silent container; CPU is not limited, it is shared by weight.",
    )
    maximum: Resources | None = Field(
        default=None, description="Largest limit; as much as the namespace has where nothing is said."
    )


class ServiceAccountRequest(Declared):
    """An account for a pipeline of the department itself."""

    name: Name = Field(description="Name of the ServiceAccount.")
    role: Literal["developer", "viewer"] = Field(description="What it may do in this namespace.")


class NamespaceSpec(Declared):
    """One namespace of a department; Kubernetes calls it `<department>-<name>`."""

    name: Name = Field(description="Short name, unique in the department.")
    description: Text | None = Field(default=None, description="What runs there.")
    environment: Environment = Field(description="What it is used for.")
    business_class: BusinessClass = Field(description="One of the seven business classes (业务分类).")
    protection_level: ProtectionLevel = Field(description="Level of protection, 1 to 5 (等级保护, GB/T 22240-2020).")
    source: Text | None = Field(default=None, description="Where its code lives, for those who look after it later.")
    resources: list[FlavorResources] = Field(min_length=1, max_length=10, description="Compute by hardware class.")
    storage: list[TierStorage] = Field(
        default=[], max_length=20, description="Storage by tier; tiers not listed are closed."
    )
    objects: ObjectLimits = Field(default=ObjectLimits(), description="Limits on the number of objects.")
    containers: ContainerLimits = Field(
        default=ContainerLimits(), description="Defaults and bounds of single containers."
    )
    consumes: list[Name] = Field(default=[], max_length=100, description="SharedServices that its pods may reach.")
    egress: list[Egress] = Field(
        default=[], max_length=100, description="Openings to the outside, inside the pool's allow-list."
    )
    registries: list[Registry] = Field(
        default=[], max_length=20, description="Narrower than the pool's registries; all of them where nothing is said."
    )
    service_accounts: list[ServiceAccountRequest] = Field(default=[], max_length=20, description="Pipeline accounts.")
    suspended: bool = Field(
        default=False, description="Whether new pods are stopped (quota of zero pods); running ones stay."
    )


class System(Declared):
    """An information system (信息系统) of the department that runs outside of the pool and calls services by certificate."""

    name: Name = Field(description="Short name, unique in the department.")
    description: Text = Field(description="What it is, and where it runs.")
    consumes: list[Name] = Field(default=[], max_length=100, description="SharedServices that it may call.")


class DepartmentSpec(Declared):
    """What a department declares."""

    display_name: Text = Field(description="Name for people.")
    description: Text | None = Field(default=None, description="What the department does with the pool.")
    organisation: DepartmentOrganisation = Field(description="Who it is, officially.")
    contacts: Contacts = Field(description="Roles that answer for it.")
    groups: Groups = Field(description="Who may do what.")
    filing: Filing = Field(description="The public record.")
    keys: list[SigningKey] = Field(
        default=[],
        max_length=20,
        description="Keys by which the department itself signs agreements; never the operator's.",
    )
    term: Term = Field(description="From when to when.")
    protected: bool = Field(
        default=False, description="Whether its namespaces cannot be deleted before this is taken back."
    )
    systems: list[System] = Field(
        default=[], max_length=50, description="Its systems outside of the pool that call services of the pool."
    )
    namespaces: list[NamespaceSpec] = Field(min_length=1, max_length=50, description="Its namespaces.")


Standing = Literal["pending", "active", "frozen", "reclaimed"]


class Department(Declared):
    """A department's request; `departments/<name>.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["Department"] = Field(description="Always Department.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: DepartmentSpec = Field(description="What is asked for.")

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    def standing(self, day: date) -> Standing:
        """What its term makes of it on a day: before the first day, and frozen or reclaimed after the last, no new pods."""
        term = self.spec.term
        if day < date.fromisoformat(term.start):
            return "pending"
        if day <= date.fromisoformat(term.end) or term.on_expiry == "notify":
            return "active"
        return "frozen" if term.on_expiry == "freeze" else "reclaimed"

    def lists(self) -> Iterator[tuple[tuple[str | int, ...], list[str]]]:
        """Every list `consumes`, with its place in the manifest."""
        for number, namespace in enumerate(self.spec.namespaces):
            yield ("spec", "namespaces", number, "consumes"), namespace.consumes
        for number, system in enumerate(self.spec.systems):
            yield ("spec", "systems", number, "consumes"), system.consumes

    def listed(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every service that it lists under `consumes`, with the place in the manifest."""
        for place, names in self.lists():
            for index, name in enumerate(names):
                yield (*place, index), name

    def identity(self, system: str, domain: str) -> str:
        """By what a system of its own is known, as its certificate says it (SPIFFE ID)."""
        return f"spiffe://{domain}/department/{self.metadata.name}/system/{system}"

    def namespaces(self) -> Iterator[tuple[str, NamespaceSpec]]:
        """Each namespace with the name that Kubernetes knows it by."""
        for namespace in self.spec.namespaces:
            yield f"{self.metadata.name}-{namespace.name}", namespace
