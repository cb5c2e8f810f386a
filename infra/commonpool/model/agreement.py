"""The `Agreement`: what one department lets another one have, which of it, why, from when to when, and on which terms.

Its text is what both departments sign (`statement`); whether it is in force is no part of it but follows from their
statements and the day (`standing`).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from commonpool.model.base import Contact, Date, Declared, Metadata, Name, Resources, Text, refusal
from commonpool.model.dataset import ItemPath
from commonpool.model.sharing import Basis

Evidence = Literal["none", "metadata", "digest", "body"]


class Purpose(Declared):
    """What the data may be used for, and nothing else."""

    code: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$")] = Field(
        description="Code of the purpose; stands in the evidence of every call."
    )
    description: Text = Field(description="The task in words.")


class AgreementTerm(Declared):
    """First and last day, both included; days begin at midnight in China (UTC+8)."""

    start: Date = Field(description="First day.")
    end: Date = Field(description="Last day; the proxy refuses calls from the next midnight on.")


class Rate(Declared):
    """How much the consumer may call; instead of its equal share of the service's limits."""

    requests_per_second: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Calls that begin in a second; above it the proxy answers 429."
    )
    concurrent: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Calls under way at the same time."
    )
    requests_per_day: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Agreed volume of a day in China; above it 429 until midnight. Each call is recorded, to be counted.",
    )


class AgreedQuota(Declared):
    """What the consumer gets of the pool to work on what it receives, as long as the agreement is in force."""

    namespace: Name = Field(description="Namespace of the consumer, as its manifest calls it.")
    flavor: Name = Field(description="Flavor that the namespace has already.")
    guaranteed: Resources = Field(description="On top of what the manifest guarantees; counted as a promise to it.")


class Cost(Declared):
    """Who pays for operating it."""

    consumer_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="The consumer's part of what the service's namespace is guaranteed."
    )
    note: Text | None = Field(default=None, description="What is counted, and how it is settled.")


class Parties(Declared):
    """Whom to call, on both sides."""

    provider: Contact = Field(description="At the provider.")
    consumer: Contact = Field(description="At the consumer.")


class AgreementSpec(Declared):
    """What two departments put their signatures under."""

    provider: Name = Field(description="Department that gives.")
    consumer: Name = Field(description="Department that receives.")
    service: Name | None = Field(default=None, description="The SharedService that is agreed on, or")
    dataset: Name | None = Field(default=None, description="the Dataset, and with it the service by which it is read.")
    items: list[ItemPath] | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The only fields of JSON answers that the consumer gets; all of them where nothing is said.",
    )
    purpose: Purpose = Field(description="What it is for.")
    basis: Basis = Field(description="The law on which the consumer's task rests.")
    term: AgreementTerm = Field(description="From when to when.")
    rate: Rate = Field(default=Rate(), description="How much may be called.")
    quota: list[AgreedQuota] = Field(
        default=[], max_length=20, description="What is added to the quotas of the consumer's namespaces."
    )
    evidence: Evidence = Field(default="metadata", description="What is kept of each call; the service's words.")
    cost: Cost = Field(default=Cost(), description="Who pays.")
    contacts: Parties = Field(description="Whom to call.")

    @model_validator(mode="after")
    def _one_object(self) -> "AgreementSpec":
        if (self.service is None) == (self.dataset is None):
            raise refusal(
                "agreement-object",
                "an agreement is about one service or one dataset",
                "write either service: or dataset:",
            )
        return self


class Agreement(Declared):
    """An agreement between two departments; `agreements/<name>.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["Agreement"] = Field(description="Always Agreement.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: AgreementSpec = Field(description="What is agreed.")

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def parties(self) -> tuple[str, str]:
        """Provider and consumer."""
        return self.spec.provider, self.spec.consumer
