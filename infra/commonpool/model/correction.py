"""The `Correction`: a consumer says that a record is wrong, the provider's clock runs, the outcome is written down (校核)."""

from typing import Literal

from pydantic import Field

from commonpool.model.base import Date, Declared, Metadata, Name, Text
from commonpool.model.dataset import ItemPath


class Outcome(Declared):
    """What came of it."""

    result: Literal["corrected", "rejected"] = Field(description="Whether the record was wrong and is right now.")
    day: Date = Field(description="Day of the answer.")
    by: Text = Field(description="Role that checked.")
    reason: Text = Field(description="What was found.")


class Dispute(Declared):
    """The other side does not agree with the outcome, and somebody above both decides."""

    day: Date = Field(description="Day on which it was raised.")
    reason: Text = Field(description="Why.")
    decided: Outcome | None = Field(default=None, description="The decision, which binds both.")


class CorrectionSpec(Declared):
    """Which record, what is wrong with it, and the answer."""

    dataset: Name = Field(description="Dataset that holds the record.")
    item: ItemPath = Field(description="Item that is wrong.")
    record: Text = Field(
        description="By what the provider finds the record: a case number or a key; no names and no values of people."
    )
    found_by: Name = Field(description="Department that found it.")
    description: Text = Field(description="What is wrong, and by which evidence.")
    submitted: Date = Field(description="Day on which the provider received it.")
    outcome: Outcome | None = Field(default=None, description="The provider's answer.")
    dispute: Dispute | None = Field(default=None, description="Where the two do not agree.")


class Correction(Declared):
    """A record that is said to be wrong; `corrections/<name>.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["Correction"] = Field(description="Always Correction.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: CorrectionSpec = Field(description="What is wrong, and what came of it.")

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name
