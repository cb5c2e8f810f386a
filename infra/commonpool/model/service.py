"""The `SharedService`: something that one department offers and others call by a stable name."""

from typing import Annotated, Literal

from pydantic import Field

from commonpool.model.backend import Backend, Health
from commonpool.model.base import (
    BusinessClass,
    Contact,
    Declared,
    Environment,
    Metadata,
    Name,
    ProtectionLevel,
    Resources,
    Text,
)
from commonpool.model.cut_over import CutOver
from commonpool.model.department import Filing, FlavorResources, ObjectLimits, TierStorage
from commonpool.model.sharing import Sharing
from commonpool.model.traffic import Endpoint, Limits, Notice, Retries, Timeouts


class ServiceNamespace(Declared):
    """The service's own namespace, `service-<name>`; where it is granted nothing, nothing runs there."""

    environment: Environment = Field(default="production", description="What it is used for.")
    resources: list[FlavorResources] = Field(
        default=[],
        max_length=10,
        description="Compute by hardware class; none where its backends stand elsewhere, and nothing can run there then.",
    )
    storage: list[TierStorage] = Field(default=[], description="Storage by tier; only beside resources.")
    objects: ObjectLimits = Field(
        default=ObjectLimits(), description="Limits on the number of objects; only beside resources."
    )


Variable = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]


class ServicePort(Declared):
    """A port that callers use."""

    name: Annotated[Name, Field(max_length=15, pattern="[a-z]")] = Field(description="Name of the port, with a letter.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(description="Number.")
    protocol: Literal["TCP", "UDP"] = Field(default="TCP", description="Transport protocol.")


MOST_REPLICAS = 500


class Workload(Declared):
    """What runs in the service's namespace, when it runs in the pool at all."""

    image: Annotated[str, Field(pattern=r"^[a-z0-9][a-zA-Z0-9._/:@-]+$", max_length=300)] = Field(
        description="Image, from one of the pool's registries; a digest is better than a tag."
    )
    replicas: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] = Field(default=2, description="Number of pods.")
    ports: list[ServicePort] = Field(min_length=1, max_length=20, description="Ports.")
    resources: Resources = Field(description="What one pod asks for and may use.")
    command: list[str] = Field(default=[], description="Instead of the image's own command.")
    environment: dict[Variable, str] = Field(
        default={}, description="Environment variables; nothing secret belongs here."
    )


class Consumers(Declared):
    """Who may call: departments by name or by group, or everybody. Not by their labels, which they write themselves."""

    departments: list[Name] = Field(default=[], description="Departments by name.")
    groups: list[Name] = Field(default=[], description="Groups of the pool's departmentGroups.")
    everyone: bool = Field(default=False, description="Whether every department of the pool may call.")


class SharedServiceSpec(Declared):
    """What a service declares."""

    display_name: Text = Field(description="Name for people.")
    description: Text = Field(description="What it does for its callers.")
    business_class: BusinessClass = Field(description="One of the seven business classes (业务分类).")
    protection_level: ProtectionLevel = Field(description="Level of protection, 1 to 5 (等级保护, GB/T 22240-2020).")
    offered_by: Name = Field(description="Department that offers it.")
    owner: Contact = Field(description="Answers for it.")
    duty: Contact = Field(description="Is reached at night; a telephone is required.")
    namespace: ServiceNamespace = Field(default=ServiceNamespace(), description="Its namespace.")
    workload: Workload | None = Field(
        default=None, description="What runs there; nothing when its backends stand elsewhere."
    )
    sharing: Sharing | None = Field(
        default=None, description="Class of sharing; as `consumers` says where nothing is said, and that is everybody."
    )
    consumers: Consumers = Field(
        default=Consumers(everyone=True), description="Who may call it; not beside `sharing`, whose class decides."
    )
    filing: Filing | None = Field(
        default=None, description="Its own public record; its department's where nothing is said."
    )
    endpoint: Endpoint | None = Field(
        default=None, description="How callers reach it through the proxy; its pods directly where nothing is said."
    )
    backends: list[Backend] = Field(default=[], max_length=16, description="What stands behind its name.")
    health: Health = Field(default=Health(), description="How backends are watched.")
    timeouts: Timeouts = Field(default=Timeouts(), description="Time limits of connections and calls.")
    retries: Retries = Field(default=Retries(), description="What is tried again.")
    limits: Limits = Field(default=Limits(), description="What consumers may use.")
    notice: Notice | None = Field(default=None, description="Switches the service off and tells its callers so.")
    cut_over: CutOver | None = Field(default=None, description="Its move from one backend to another.")
    evidence: Literal["none", "metadata", "digest", "body"] = Field(
        default="metadata", description="What is kept of each call."
    )


class SharedService(Declared):
    """A service for other departments; `services/<name>.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["SharedService"] = Field(description="Always SharedService.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: SharedServiceSpec = Field(description="What is offered.")

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def namespace_name(self) -> str:
        """The namespace that Kubernetes knows."""
        return f"service-{self.metadata.name}"

    def host(self, domain: str) -> str:
        """Its stable name, which is the audience of its callers' tokens too."""
        return f"{self.name}.{self.spec.offered_by}.{domain}"

    def backend(self, name: str) -> Backend | None:
        """A backend by name."""
        return next((backend for backend in self.spec.backends if backend.name == name), None)
