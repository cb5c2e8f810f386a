"""The `Pool`: sites, flavors, storage, networks and the security baseline of one governed pool."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from commonpool.model.base import (
    Amount,
    Contact,
    Date,
    Decimal,
    Declared,
    DomainName,
    Egress,
    GroupName,
    Level,
    Metadata,
    Name,
    Registry,
    Resources,
    Text,
    refusal,
)
from commonpool.model.clock import SharingRules
from commonpool.model.proxy import Proxy


class Organisation(Declared):
    """Who runs the pool or the department, by its official code."""

    code: Annotated[str, Field(pattern=r"^[0-9A-HJ-NPQRTUWXY]{18}$")] = Field(
        description="Unified social credit code, 18 characters, the last one a check character (GB 32100-2015).",
        examples=["11330000MB0000001L"],
    )
    name: Text = Field(description="Official name, in the language of the register.")


class DepartmentOrganisation(Organisation):
    """The organisation behind a department."""

    level: Level = Field(description="Level of government.")
    parent: str | None = Field(default=None, description="Name of the department that this one belongs to, if any.")


class Contacts(Declared):
    """The roles that answer for it."""

    owner: Contact = Field(description="Answers for content and money.")
    deputy: Contact = Field(description="Stands in for the owner.")
    duty: Contact = Field(description="Is reached at night; a telephone is required.")
    data_steward: Contact = Field(description="Answers for the data and for its correction.")


class Parent(Declared):
    """The pool one level up, as a peer: this pool works without it."""

    name: Name = Field(description="Its name.")
    endpoint: Annotated[str, Field(pattern=r"^https://[^\s]+$")] = Field(
        description="Its exchange address.", examples=["https://exchange.nation.example"]
    )


class Site(Declared):
    """One server room."""

    name: Name = Field(description="Short name; becomes the topology zone of its machines.")
    display_name: Text = Field(description="Name for people.")
    zone: Name = Field(description="Network zone it stands in.")
    inventory: str = Field(
        description="Path of its Ansible inventory, relative to this file; the only list of its machines."
    )


class Price(Declared):
    """Prices for showing cost, in the pool's currency."""

    cpu_hour: Decimal = Field(description="One core for an hour.")
    memory_gi_b_hour: Decimal = Field(alias="memoryGiBHour", description="One GiB of memory for an hour.")


class OverCommit(Declared):
    """How much may be promised of what is there; 1.0 promises every core once."""

    cpu: Decimal = Field(description="Factor for CPU.")
    memory: Decimal = Field(
        description="Factor for memory; above 1.0 pods can be killed when all use what they were promised."
    )


class Flavor(Declared):
    """A class of hardware that departments ask for by name."""

    name: Annotated[Name, Field(max_length=30)] = Field(description="Short name; machines carry it in the inventory.")
    description: Text = Field(description="What hardware it is.")
    trust: Annotated[int, Field(ge=1, le=5)] = Field(
        description="Highest protection level (GB/T 22240-2020, 1 to 5) of the systems that may run on it."
    )
    price: Price = Field(description="What it costs.")
    dedicated: bool = Field(default=False, description="Whether its machines take only pods of this flavor (taint).")
    over_commit: OverCommit | None = Field(default=None, description="Instead of the pool's over-commit.")


class Compute(Declared):
    """Machines, by site and hardware class."""

    sites: list[Site] = Field(min_length=1, description="Server rooms.")
    flavors: list[Flavor] = Field(min_length=1, description="Hardware classes.")
    over_commit: OverCommit = Field(description="Guaranteed promises never exceed capacity times this.")
    system_reserved: Resources = Field(description="Kept on every machine for the system, never promised.")


class Tier(Declared):
    """A class of storage; becomes a StorageClass of the same name."""

    name: Name = Field(description="Name of the tier and of its StorageClass.")
    description: Text = Field(description="What it is good for.")
    media: Literal["ssd", "hdd", "nfs", "tape"] = Field(description="What the data lies on.")
    provisioner: str = Field(
        default="kubernetes.io/no-provisioner", description="CSI driver, or no-provisioner for declared volumes."
    )
    reclaim_policy: Literal["Retain", "Delete"] = Field(
        default="Retain", description="What happens to released volumes."
    )
    binding_mode: Literal["WaitForFirstConsumer", "Immediate"] = Field(
        default="WaitForFirstConsumer", description="When a claim is bound."
    )
    expandable: bool = Field(default=False, description="Whether claims may grow.")
    default: bool = Field(
        default=False, description="Whether claims that name no class get this one; at most one tier."
    )
    price: Decimal = Field(default="0", description="One GiB for a month, in the pool's currency.")


Device = Annotated[str, Field(pattern=r"^/dev/\S+$")]


class NfsExport(Declared):
    """A share of an old file server; a machine of the inventory is made to export it."""

    server: str = Field(description="Address or DNS name.")
    path: Annotated[str, Field(pattern=r"^/\S*$")] = Field(description="Exported path.", examples=["/export/archive"])
    device: Device | None = Field(
        default=None,
        description="Block device of the server, which is a machine of the inventory; mounted at the path as a local disk is.",
    )
    options: list[str] = Field(default=[], description="Mount options, for instance nfsvers=4.1.")


class LocalDisk(Declared):
    """A disk of one machine."""

    machine: Name = Field(description="Name of the machine in the inventory.")
    path: Annotated[str, Field(pattern=r"^/\S*$")] = Field(
        description="Mount point on the machine.", examples=["/data/archive"]
    )
    device: Device | None = Field(
        default=None,
        description="Block device, best by /dev/disk/by-id; an empty one gets a file system. Without it the folder is taken.",
    )


class Volume(Declared):
    """An existing disk or share offered as a static PersistentVolume."""

    name: Name = Field(description="Name of the PersistentVolume.")
    tier: Name = Field(description="Storage tier it belongs to.")
    capacity: Amount = Field(description="Usable size in bytes.")
    access_modes: list[Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"]] = Field(
        default=["ReadWriteOnce"], min_length=1, description="How it may be mounted."
    )
    nfs: NfsExport | None = Field(default=None, description="The NFS share it is; exactly one of nfs and local.")
    local: LocalDisk | None = Field(default=None, description="The disk it is; exactly one of nfs and local.")
    installed: Date | None = Field(default=None, description="When the disk was put into service.")

    def on(self, machine: str, address: str) -> LocalDisk | NfsExport | None:
        """What it is on the machine of this name and address; None where it lies elsewhere."""
        if self.nfs and self.nfs.server in (machine, address):
            return self.nfs
        return self.local if self.local and self.local.machine == machine else None


class Storage(Declared):
    """Tiers and the declared volumes in them."""

    tiers: list[Tier] = Field(min_length=1, description="Storage classes.")
    volumes: list[Volume] = Field(default=[], description="Old disks and NFS exports put back to use.")


class Range(Declared):
    """A block of addresses with one purpose."""

    name: Name = Field(description="Short name.")
    cidr: str = Field(description="The block, for instance 10.20.0.0/16.")
    purpose: Literal["machines", "pods", "services", "storage"] = Field(description="What the addresses are for.")


class Zone(Declared):
    """A network zone with one level of trust."""

    name: Name = Field(description="Short name.")
    display_name: Text = Field(description="Name for people.")
    trust: Annotated[int, Field(ge=1, le=5)] = Field(description="Highest protection level of systems in it.")


class Dns(Declared):
    """Where pods find name resolution; the only thing that every pod may reach."""

    namespace: Name = Field(default="kube-system", description="Namespace of the DNS pods.")
    pod_labels: dict[str, str] = Field(default={"k8s-app": "kube-dns"}, description="Labels of the DNS pods.")


class Network(Declared):
    """Addresses, zones, names, and what may leave the pool."""

    domain: DomainName = Field(description="DNS domain under which services get their names.")
    ranges: list[Range] = Field(min_length=1, description="Address blocks; they must not overlap.")
    zones: list[Zone] = Field(min_length=1, description="Network zones.")
    default_policy: Literal["closed"] = Field(
        default="closed", description="Nothing passes that is not declared; no other value."
    )
    dns: Dns = Field(default=Dns(), description="Name resolution.")
    egress_allow_list: list[Egress] = Field(
        default=[],
        description="What departments may open towards the outside; each of their openings must lie inside one. Of the pool's own "
        "ranges an entry opens what it names itself; a wider one leaves them closed.",
    )
    proxy: Proxy | None = Field(default=None, description="The service proxy; none where nothing is said.")


class PlatformGroups(Declared):
    """Groups of the identity provider for people who run the pool."""

    operators: list[GroupName] = Field(min_length=1, description="Run the pool.")
    auditors: list[GroupName] = Field(default=[], description="Read everything but Secrets.")
    pipelines: list[GroupName] = Field(default=[], description="Preview and apply from CI.")


def _not_kubernetes_own(value: str) -> str:
    if value == "system:":
        raise refusal(
            "prefix-reserved",
            "the prefix system: would let the provider name users and groups of Kubernetes itself, system:masters among them",
            'write another one, for instance "oidc:"',
        )
    return value


IdentityPrefix = Annotated[str, Field(pattern=r"^[a-z0-9-]+:$", max_length=40), AfterValidator(_not_kubernetes_own)]


class Identity(Declared):
    """The OpenID Connect provider, and how its claims become Kubernetes users and groups."""

    issuer: Annotated[str, Field(pattern=r"^https://[^\s]+$")] = Field(
        description="Issuer URL.", examples=["https://id.water.example"]
    )
    client_id: Annotated[str, Field(min_length=1, max_length=100)] = Field(description="Audience of the tokens.")
    username_prefix: IdentityPrefix = Field(default="oidc:", description="Put before user names.")
    groups_prefix: IdentityPrefix = Field(
        default="oidc:",
        description="Put before group names, so that no provider can name a group of Kubernetes itself.",
    )
    groups: PlatformGroups = Field(description="Platform groups.")


AdmissionRule = Literal[
    "bindings",
    "claims",
    "endpoint-addresses",
    "endpoint-writers",
    "engine",
    "kinds",
    "namespaces",
    "nodes",
    "owned",
    "placement",
    "pods",
    "registries",
    "services",
    "sharing",
    "tokens",
]
AdmissionAction = Literal["deny", "warn", "audit"]


class Security(Declared):
    """The baseline that every namespace stands on."""

    identity: Identity = Field(description="Who people are.")
    pod_security: Literal["restricted", "baseline"] = Field(
        default="restricted", description="Pod Security Standard enforced in every namespace."
    )
    registries: list[Registry] = Field(min_length=1, description="Where images may come from.")
    admission_policies: dict[AdmissionRule, AdmissionAction] = Field(
        default={}, description="Action per admission policy; deny where nothing is said."
    )
    audit_level: Literal["Metadata", "Request", "RequestResponse"] = Field(
        default="Metadata",
        description="What the API server's audit log keeps of writes; of Secrets never more than metadata.",
    )


class PoolSpec(Declared):
    """What a pool declares."""

    display_name: Text = Field(description="Name for people.")
    level: Level = Field(description="Level of government.")
    parent: Parent | None = Field(default=None, description="The pool one level up, if any.")
    organisation: Organisation = Field(description="Who runs the pool.")
    contacts: Contacts = Field(description="Roles that answer for it.")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field(
        default="CNY", description="Currency of all prices (ISO 4217)."
    )
    compute: Compute = Field(description="Machines.")
    storage: Storage = Field(description="Disks and shares.")
    network: Network = Field(description="Addresses and policies.")
    security: Security = Field(description="The security baseline.")
    department_groups: dict[Name, Annotated[list[Name], Field(min_length=1)]] = Field(
        default={}, description="Departments that services name together, by the name of their group."
    )
    sharing: SharingRules = Field(default=SharingRules(), description="Time limits of sharing, with their sources.")


class Pool(Declared):
    """One governed pool of machines, storage and networks; `pool.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["Pool"] = Field(description="Always Pool.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: PoolSpec = Field(description="What the pool is made of.")

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    def flavor(self, name: str) -> Flavor | None:
        """A hardware class by name."""
        return next((flavor for flavor in self.spec.compute.flavors if flavor.name == name), None)

    def over_commit(self, flavor: Flavor) -> OverCommit:
        """The factors that hold for a flavor."""
        return flavor.over_commit or self.spec.compute.over_commit
