"""The `Dataset`: one entry of the catalogue, with the official core metadata (政务信息资源目录编制指南) and its items."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from commonpool.model.base import Date, Declared, Level, Metadata, Name, Text, refusal
from commonpool.model.department import Filing
from commonpool.model.sharing import Sharing

Sensitivity = Literal["public", "internal", "personal", "sensitive-personal"]
ItemType = Literal["string", "integer", "decimal", "boolean", "date", "datetime", "binary", "object", "list"]
_ITEM = re.compile(r"[^\W\d][\w-]{0,62}(\.[^\W\d][\w-]{0,62}){0,7}")
_CODE = r"^[0-9A-Za-z][0-9A-Za-z._/-]{1,63}$"


def _item_path(value: str) -> str:
    if not _ITEM.fullmatch(value):
        raise refusal(
            "item-path",
            f"{value[:80]!a} is not the path of an item: names of fields with dots between them",
            "write for instance address.city",
        )
    return value


ItemPath = Annotated[str, AfterValidator(_item_path), Field(max_length=200)]
Code = Annotated[str, Field(pattern=_CODE)]


class Item(Declared):
    """One item (信息项) of a dataset."""

    name: ItemPath = Field(description="Path of the field, as answers and files spell it: address.city.")
    title: Text = Field(description="Name for people (信息项名称).")
    type: ItemType = Field(description="Type (数据类型).")
    element: Code | None = Field(
        default=None, description="Element of the data dictionary that it is; by it repeated collection is found."
    )
    sensitivity: Sensitivity | None = Field(
        default=None, description="Sensitivity; the dictionary's where nothing is said, else internal."
    )
    origin: Literal["collected", "received", "derived"] = Field(
        default="received",
        description="collected: asked of people or measured by the provider itself; received: from another department; "
        "derived: computed from others.",
    )


class Openness(Declared):
    """Whether the public may have it (开放属性)."""

    open: bool = Field(default=False, description="Whether it is open to the public.")
    conditions: Text | None = Field(default=None, description="Conditions of opening (开放条件).")


class ReturnFlow(Declared):
    """Data that came from below and goes back to those who need it there (数据回流)."""

    to: Level = Field(description="Level of government that gets it back.")
    departments: list[Name] = Field(default=[], max_length=100, description="Departments of the pool that get it back.")
    every_days: Annotated[int, Field(ge=1, le=366)] = Field(description="Longest time between two deliveries, in days.")
    delivered: Date | None = Field(default=None, description="Day of the last delivery.")


class DatasetSpec(Declared):
    """What a dataset declares."""

    display_name: Text = Field(description="Name (信息资源名称).")
    code: Code = Field(description="Code of the resource (信息资源代码), unique in the estate.")
    category: Literal["base", "theme", "department"] = Field(
        description="Kind of catalogue (目录类别): base (基础), theme (主题) or department (部门)."
    )
    classification: Text = Field(description="Class (信息资源分类), from the widest to the narrowest, with / between.")
    role: Literal["business", "master", "parameter"] = Field(
        default="business",
        description="business: data of a task; master: the one source of it (主数据); parameter: code tables and settings (参数).",
    )
    provider: Name = Field(description="Department that provides it (提供方); its organisation code is the 提供方代码.")
    abstract: Text = Field(description="What is in it (摘要).")
    formats: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]{0,30}$")]] = Field(
        min_length=1, max_length=20, description="Formats (格式): csv, json, xml, xlsx, table, jpeg …"
    )
    items: list[Item] = Field(min_length=1, max_length=500, description="Items (信息项) with their types.")
    sharing: Sharing = Field(default=Sharing(), description="Class and conditions of sharing (共享类型, 共享条件).")
    modes: list[Literal["interface", "file", "table"]] = Field(
        default=["interface"], min_length=1, max_length=3, description="Ways of sharing (共享方式)."
    )
    openness: Openness = Field(default=Openness(), description="Openness to the public (开放属性).")
    update: Literal["realtime", "daily", "weekly", "monthly", "quarterly", "yearly", "irregular"] = Field(
        description="Update cycle (更新周期)."
    )
    published: Date = Field(description="Day of publication (发布日期).")
    related: list[Code] = Field(default=[], max_length=100, description="Codes of related resources (关联资源代码).")
    filing: Filing = Field(description="The public record, and the budget item that pays for it.")
    service: Name | None = Field(default=None, description="SharedService by which it is read item by item, if any.")
    return_flow: ReturnFlow | None = Field(default=None, description="Obligation to give it back to a lower level.")


class Dataset(Declared):
    """An entry of the catalogue; `datasets/<name>.yaml` of an estate."""

    api_version: Literal["commonpool.dev/v1"] = Field(description="Always commonpool.dev/v1.")
    kind: Literal["Dataset"] = Field(description="Always Dataset.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: DatasetSpec = Field(description="What is in it and who may have it.")

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    def covers(self, path: str) -> bool:
        """Whether an item, or the object that holds it, is declared: `address` covers `address.city`."""
        return any(path == item.name or path.startswith(f"{item.name}.") for item in self.spec.items)
