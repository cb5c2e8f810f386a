"""The data dictionary of the estate: what an item means, wherever it appears, and who leads its collection."""

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from commonpool.model.base import Declared, Metadata, Name, Text
from commonpool.model.dataset import Code, ItemType, Sensitivity


class CodeList(Declared):
    """The values that an element may take."""

    name: Name = Field(description="Its name.")
    standard: Text | None = Field(default=None, description="Where the codes come from, for instance GB/T 2261.1-2003.")
    values: dict[str, str] = Field(description="Code and meaning.")


class Element(Declared):
    """One data element."""

    code: Code = Field(description="Its code, unique in the dictionary.")
    title: Text = Field(description="Name for people.")
    type: ItemType = Field(description="Type.")
    length: Annotated[int, Field(ge=1, le=100_000)] | None = Field(default=None, description="Largest length.")
    code_list: Name | None = Field(default=None, description="List of the values that it may take.")
    sensitivity: Sensitivity = Field(default="internal", description="Sensitivity of every item that is this element.")
    standard: Text | None = Field(default=None, description="Standard that defines it.")
    lead: Name | None = Field(
        default=None, description="Department that leads its collection (牵头收集); the others ask that one."
    )


class DictionarySpec(Declared):
    """Elements and their code lists."""

    elements: list[Element] = Field(default=[], max_length=20_000, description="Data elements.")
    code_lists: list[CodeList] = Field(default=[], max_length=2_000, description="Code lists.")


class Dictionary(Declared):
    """The data dictionary; `dictionary.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["Dictionary"] = Field(description="Always Dictionary.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: DictionarySpec = Field(description="What the words mean.")

    @cached_property
    def elements(self) -> dict[str, Element]:
        """Elements by code."""
        return {element.code: element for element in self.spec.elements}
