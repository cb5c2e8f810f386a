"""Moving a service from one backend to another, as data: steps, the gate of each, who answers for it, and by when."""

from typing import Annotated

from pydantic import Field

from commonpool.model.base import Contact, Date, Decimal, Declared, Name


class CutOverStep(Declared):
    """One step: the new backend's share, and what must have been seen before the next one."""

    weight: Annotated[int, Field(ge=1, le=100)] = Field(
        description="Percent of the requests that the new backend gets."
    )
    minimum_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = Field(
        default=60, description="Shortest stay at this step."
    )
    minimum_requests: Annotated[int, Field(ge=0, le=1_000_000_000)] = Field(
        default=100, description="Requests that the new backend must have served at this step."
    )
    maximum_error_rate: Decimal = Field(
        default="0.01", description="Share of failed requests at the new backend above which it is rolled back."
    )
    maximum_latency_ratio: Decimal | None = Field(
        default=None,
        description="Median latency of new against old above which it is rolled back; not looked at where none.",
    )
    approval: bool = Field(default=False, description="Whether a person must agree before the next step.")


class CutOver(Declared):
    """The plan: from one backend to another; a failed gate rolls back by itself."""

    from_: Name = Field(alias="from", description="Backend that serves now.")
    to: Name = Field(description="Backend that shall serve.")
    steps: list[CutOverStep] = Field(
        min_length=1, max_length=50, description="Steps with rising weights; the last one is 100."
    )
    responsible: Contact = Field(description="Answers for the move, and is told of a roll-back.")
    deadline: Date = Field(description="Day by which it is done; after it the plan is late, and nothing else happens.")
