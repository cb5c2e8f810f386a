"""Spans of time as Pulumi and Kubernetes write them."""

import re

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """`1h30m`, `45s` (Go's form) or plain seconds (`300`). Raises ValueError for anything else."""
    if not text.replace(".", "", 1).isdigit():
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f"{text!r} is no span of time; write 90s, 10m or 1h30m")
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return float(text)
