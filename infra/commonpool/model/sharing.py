"""The three classes of sharing (共享类型): shared with all, shared under conditions, not shared and by which law.

Sharing is the rule; a condition that is not written down does not exist, and a refusal cites its law and ends one day.
Source: Regulations on the Sharing of Government Data (政务数据共享条例, State Council Decree 809), which divide all data into
these three classes and forbid further conditions.
"""

from typing import Literal

from pydantic import Field

from commonpool.model.base import Date, Declared, Text

SharingClass = Literal["unconditional", "conditional", "not-shared"]


class Basis(Declared):
    """A place in a law, by which somebody else can check it."""

    law: Text = Field(description="Name of the law or regulation, as it is published.")
    article: Text = Field(description="Article, and paragraph where there are several.")


class Sharing(Declared):
    """Who may have it, and on which terms."""

    class_: SharingClass = Field(
        default="unconditional",
        alias="class",
        description="unconditional (无条件共享): granted at once; conditional (有条件共享): by an agreement; "
        "not-shared (不予共享): refused, with the law that says so.",
    )
    conditions: list[Text] = Field(
        default=[],
        max_length=20,
        description="Conditions of conditional sharing (共享条件); no others may be asked for.",
    )
    basis: Basis | None = Field(default=None, description="not-shared: the law that forbids sharing.")
    exemption_ends: Date | None = Field(
        default=None, description="not-shared: last day of the exemption; after it the refusal has to be renewed."
    )
