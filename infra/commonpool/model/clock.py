"""Clocks of requests and corrections: by when an answer is due, and to whom its absence is taken.

The numbers are the pool's configuration (`spec.sharing` of pool.yaml), each with the rule that it comes from next to it.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from commonpool.model.base import Declared, Level, Text
from commonpool.model.working_day import Deadline, Holidays, deadline, working_days_between

State = Literal["open", "overdue", "answered", "answered-late"]


class Limit(Declared):
    """How long an answer may take."""

    working_days: Annotated[int, Field(ge=1, le=250)] = Field(description="Working days after the day of receipt.")
    level: Level | None = Field(
        default=None, description="Level of government of who answers; all where nothing is said."
    )
    source: Text = Field(description="The rule that sets the number, so that it can be checked and changed with it.")


class Escalation(Declared):
    """Who hears of an answer that is late."""

    after: Annotated[int, Field(ge=0, le=250)] = Field(description="Working days after the last day.")
    to: Text = Field(description="Role that hears of it and acts.")


_ANSWER = Limit.model_validate(
    {
        "workingDays": 10,
        "source": "政务信息资源共享管理暂行办法（国发〔2016〕51号）：提供部门应在10个工作日内予以答复；"
        "政务数据共享条例（国务院令第809号）",
    }
)
_CORRECTION = Limit.model_validate(
    {"workingDays": 10, "source": "政务数据共享条例（国务院令第809号）关于校核的规定；天数由本级主管部门核对后写明"}
)


class SharingRules(Declared):
    """Time limits of sharing, and what follows when they pass."""

    answer: list[Limit] = Field(
        default=[_ANSWER], min_length=1, max_length=10, description="For answering a request; the first that fits."
    )
    correction: list[Limit] = Field(
        default=[_CORRECTION],
        min_length=1,
        max_length=10,
        description="For checking a record that is said to be wrong.",
    )
    escalation: list[Escalation] = Field(
        default=[
            Escalation(after=0, to="data steward of the provider"),
            Escalation(after=5, to="data governance office of the pool"),
            Escalation(after=10, to="government office that supervises both"),
        ],
        max_length=10,
        description="Who hears of what is late, step by step.",
    )


@dataclass(frozen=True)
class Clock:
    """Where a period stands on a day."""

    due: Deadline
    state: State
    late: int  # working days after the last day
    source: str
    escalated: str = ""

    def words(self) -> str:
        """The clock as a clause."""
        if self.state == "open":
            return f"due {self.due.words()}"
        if self.state == "overdue":
            told = f", with the {self.escalated}" if self.escalated else ""
            return f"overdue since {self.due.day} by {self.late} working days{told}"
        return "answered in time" if self.state == "answered" else f"answered {self.late} working days late"


def clock(
    received: str,
    answered: str | None,
    level: Level,
    limits: list[Limit],
    rules: SharingRules,
    holidays: Holidays,
    day: date,
) -> Clock:
    """The clock of an answer that somebody of a level owes since a day."""
    limit = next((one for one in limits if one.level in (None, level)), limits[-1])
    due = deadline(date.fromisoformat(received), limit.working_days, holidays)
    end = date.fromisoformat(answered) if answered else day
    late = working_days_between(due.day, end, holidays)
    if answered:
        return Clock(due, "answered-late" if late else "answered", late, limit.source)
    if end <= due.day:
        return Clock(due, "open", 0, limit.source)
    steps = [one.to for one in sorted(rules.escalation, key=lambda one: one.after) if late >= one.after]
    return Clock(due, "overdue", late, limit.source, steps[-1] if steps else "")
