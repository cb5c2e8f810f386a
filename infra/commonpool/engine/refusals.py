"""What admission rules refused, or would have refused, as the API server's audit log tells it. Pure, but for reading files.

A rule in `warn` or `audit` lets a request pass and notes the failure; one in `deny` notes it as well. The notes are
Kubernetes' own (audit annotations of ValidatingAdmissionPolicy), so any cluster's audit log can be read.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NOTE = "validation.policy.admission.k8s.io/validation_failure"


@dataclass(frozen=True)
class Refusal:
    """One rule's no to one request."""

    moment: datetime
    policy: str
    action: str  # deny, warn or audit
    message: str
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    tried: bool  # a dry run, which would have written nothing
    number: str  # of the request in the audit log


def read(files: Iterable[Path], since: datetime) -> Iterator[Refusal]:
    """From logs and rotated logs, packed ones too; what is no audit event is passed over."""
    for path in files:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", errors="replace") as file:
            for line in file:
                if NOTE in line:
                    yield from (found for found in of_line(line) if found.moment >= since)


def of_line(line: str) -> list[Refusal]:
    """The refusals of one event; none where the line was cut off."""
    try:
        event = json.loads(line)
        notes = json.loads(event["annotations"][NOTE])
        return [_refusal(event, note) for note in notes]
    except (ValueError, KeyError, TypeError):
        return []


def _refusal(event: Mapping[str, Any], note: Mapping[str, Any]) -> Refusal:
    about = event.get("objectRef") or {}
    part = f"/{about['subresource']}" if about.get("subresource") else ""
    actions = [str(action).lower() for action in note.get("validationActions", ())]
    return Refusal(
        moment=datetime.fromisoformat(event["requestReceivedTimestamp"]).astimezone(UTC),
        policy=note["policy"],
        action=next((action for action in ("deny", "warn") if action in actions), "audit"),
        message=note.get("message", ""),
        user=(event.get("impersonatedUser") or event["user"]).get("username", ""),
        verb=event["verb"],
        resource=about.get("resource", "") + part,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        tried="dryRun=All" in event.get("requestURI", ""),
        number=event.get("auditID", ""),
    )


def rotated(log: Path) -> list[Path]:
    """A log and what it was before, the oldest first, as the API server names them (`audit-<time>.log`)."""
    older = sorted([*log.parent.glob(f"{log.stem}-*{log.suffix}"), *log.parent.glob(f"{log.stem}-*{log.suffix}.gz")])
    return [*older, *([log] if log.exists() else [])]
