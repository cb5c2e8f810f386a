"""The `SharingRequest`: one department asks another for data; it opens a clock and ends in an agreement or a reasoned refusal."""

from typing import Literal

from pydantic import Field, model_validator

from commonpool.model.agreement import Purpose
from commonpool.model.base import Date, Declared, Metadata, Name, Text, refusal
from commonpool.model.dataset import Code, ItemPath
from commonpool.model.sharing import Basis


class RequestDecision(Declared):
    """The answer of the department that is asked."""

    outcome: Literal["granted", "refused"] = Field(description="The answer.")
    day: Date = Field(description="Day of the answer.")
    by: Text = Field(description="Role that decided.")
    agreement: Name | None = Field(default=None, description="granted: the agreement that it ended in.")
    reason: Text | None = Field(default=None, description="refused: why.")
    basis: Basis | None = Field(default=None, description="refused: the law that it rests on, where there is one.")

    @model_validator(mode="after")
    def _complete(self) -> "RequestDecision":
        if self.outcome == "granted" and self.agreement is None:
            raise refusal("decision-incomplete", "what is granted ends in an agreement", "add agreement: NAME")
        if self.outcome == "refused" and self.reason is None:
            raise refusal("decision-incomplete", "a refusal gives its reason", "add reason:")
        return self


class SharingRequestSpec(Declared):
    """What is asked for."""

    consumer: Name = Field(description="Department that asks.")
    service: Name | None = Field(default=None, description="The SharedService that it asks for, or")
    dataset: Name | None = Field(default=None, description="the Dataset.")
    items: list[ItemPath] | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The items that the task needs; all where nothing is said.",
    )
    collects: list[Code] = Field(
        default=[],
        max_length=200,
        description="Elements of the dictionary that it would collect itself for the same task; it is told who holds them.",
    )
    purpose: Purpose = Field(description="What it is for.")
    basis: Basis = Field(description="The law on which the task rests.")
    submitted: Date = Field(
        description="Day on which the other department received it; the clock runs from the next day."
    )
    decision: RequestDecision | None = Field(default=None, description="The answer.")

    @model_validator(mode="after")
    def _one_object(self) -> "SharingRequestSpec":
        if (self.service is None) == (self.dataset is None):
            raise refusal(
                "request-object", "a request is about one service or one dataset", "write either service: or dataset:"
            )
        return self


class SharingRequest(Declared):
    """A request for data; `requests/<name>.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["SharingRequest"] = Field(description="Always SharingRequest.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: SharingRequestSpec = Field(description="What is asked for, and the answer.")

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name
