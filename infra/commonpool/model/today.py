"""The day that everybody means: China's, wherever the machine stands that asks and whatever its time zone is.

Terms begin and end at midnight there. A pipeline's machine that counts in UTC would take an agreement, or a key that was given
up, to count for eight hours more.
"""

from datetime import date, datetime, timedelta, timezone

CHINA = timezone(timedelta(hours=8))


def today() -> date:
    """The day in China."""
    return datetime.now(CHINA).date()


def day_of(moment: str) -> date:
    """The day there of a moment as records write it. Raises ValueError for what is none."""
    return datetime.fromisoformat(moment).astimezone(CHINA).date()
