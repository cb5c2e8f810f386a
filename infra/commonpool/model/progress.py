"""`Progress`: a department's milestones for each old system, with who answers for them and by when, and its rectification tickets."""

from typing import Annotated, Literal

from pydantic import Field

from commonpool.model.base import Contact, Date, Declared, Metadata, Name, Text


class Milestone(Declared):
    """One thing that is done on a day."""

    name: Name = Field(description="Short name, unique in the system.")
    title: Text = Field(description="What is done then.")
    due: Date = Field(description="Day by which it is done.")
    responsible: Contact = Field(description="Answers for it.")
    done: Date | None = Field(default=None, description="Day on which it was done.")
    percent: Annotated[int, Field(ge=0, le=100)] = Field(default=0, description="How far it is (进度); 100 when done.")
    effect: Text | None = Field(default=None, description="What it brought (成效), in figures where there are some.")


class System(Declared):
    """An old system that is integrated or shut down."""

    name: Name = Field(description="Short name, unique in the department.")
    title: Text = Field(description="Name for people.")
    service: Name | None = Field(default=None, description="SharedService that stands for it, if any.")
    milestones: list[Milestone] = Field(min_length=1, max_length=50, description="Its milestones.")


class Rectification(Declared):
    """A ticket by which something that was found has to be mended (整改)."""

    number: Text = Field(description="Number of the ticket, unique in the estate.")
    problem: Text = Field(description="What was found, and by whom.")
    opened: Date = Field(description="Day of the finding.")
    due: Date = Field(description="Day by which it is mended.")
    responsible: Contact = Field(description="Answers for it.")
    closed: Date | None = Field(default=None, description="Day on which it was found mended.")
    result: Text | None = Field(default=None, description="What was done.")


class ProgressSpec(Declared):
    """What is promised, and how far it is."""

    systems: list[System] = Field(default=[], max_length=200, description="Old systems.")
    rectifications: list[Rectification] = Field(default=[], max_length=200, description="Tickets.")


class Progress(Declared):
    """A department's progress; `progress/<department>.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["Progress"] = Field(description="Always Progress.")
    metadata: Metadata = Field(description="The department's name.")
    spec: ProgressSpec = Field(description="Milestones and tickets.")

    @property
    def name(self) -> str:
        """The department's name."""
        return self.metadata.name
