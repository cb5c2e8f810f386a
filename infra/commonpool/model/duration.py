"""Spans of time as Kubernetes' Gateway API writes them: a whole number and one unit."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from commonpool.model.base import refusal

_DURATION = re.compile(r"([0-9]{1,5})(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(value: str) -> str:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise refusal("duration-invalid", f"{value[:40]!a} is not a duration", "write for instance 500ms, 5s, 2m or 1h")
    if not int(match[1]):
        raise refusal("duration-zero", "the duration is zero", "leave the field out when nothing is meant")
    return value


def seconds(value: str) -> float:
    """A declared duration in seconds."""
    match = _DURATION.fullmatch(value)
    return int(match[1]) * _SECONDS[match[2]] if match else 0.0


Duration = Annotated[str, AfterValidator(_duration), Field(json_schema_extra={"pattern": f"^{_DURATION.pattern}$"})]
