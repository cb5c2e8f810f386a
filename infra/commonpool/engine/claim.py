"""An object of the wanted name exists already: whose is it, and may this stack have it?

Ours by its seal, adopted because somebody said so, or refused with the name of its owner and the way to take it over.
"""

from collections.abc import Mapping
from typing import Any

from commonpool.engine.error import EngineError, ForeignObject, OtherEngine
from commonpool.engine.index import urn_of
from commonpool.engine.record import MANAGER, PART_OF, Identity

MANAGED_BY = "app.kubernetes.io/managed-by"
_PULUMI = "pulumi"  # how the field managers of the Pulumi CLI's provider begin


def made_by_pulumi(found: Mapping[str, Any]) -> bool:
    """Whether the Pulumi CLI's provider wrote it: by its field managers, or its label without any of ours."""
    managers = _managers(found)
    if any(manager.startswith(_PULUMI) for manager in managers):
        return True
    return MANAGER not in managers and (found["metadata"].get("labels") or {}).get(MANAGED_BY) == _PULUMI


def other_stack(found: Mapping[str, Any], part_of: str) -> tuple[str, str] | None:
    """(project, stack) of the stack of this engine that the object says it belongs to, when that is another one."""
    if (found["metadata"].get("labels") or {}).get(PART_OF) in (None, part_of):
        return None
    parts = urn_of(found).split(":")
    return (parts[4], parts[2]) if len(parts) > 4 else None


def refusal(identity: Identity, found: Mapping[str, Any], other: tuple[str, str] | None) -> EngineError:
    """Why the object is not simply taken, and what to do."""
    managers = _managers(found)
    words = f"{identity} exists already, written by {', '.join(managers) or 'somebody'}; this stack did not make it"
    if other is not None:
        project, stack = other
        error: EngineError = ForeignObject(
            f"{identity} exists already and belongs to stack {stack} of project {project}"
        )
        error.next_step = (
            f"take it out of stack {stack} (retain_on_delete keeps the object), or give this one another name"
        )
    elif made_by_pulumi(found):
        error = OtherEngine(f"{words}: the Pulumi CLI manages it")
        error.next_step = "take it out of that stack (pulumi state delete URN), then run again with --adopt"
    else:
        error = ForeignObject(words)
        error.next_step = "give the new object another name, or take this one over with --adopt"
    return error


def handed_over(found: Mapping[str, Any], manager: str) -> list[dict[str, Any]] | None:
    """`managedFields` in which what the Pulumi CLI's provider owned is the given manager's; None when it owned nothing.

    Without that, every later change of an adopted object would be a conflict with an engine that is gone.
    """
    theirs = [
        entry for entry in _entries(found) if entry["manager"].startswith(_PULUMI) and not entry.get("subresource")
    ]
    if not theirs:
        return None
    merged: dict[str, Any] = {}
    for entry in theirs:
        merged = _merged(merged, entry.get("fieldsV1") or {})
    ours = {**theirs[0], "manager": manager, "operation": "Apply", "fieldsV1": merged}
    return [ours, *(entry for entry in _entries(found) if entry not in theirs)]


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _merged(one[key], other[key]) if key in one and key in other else (one if key in one else other)[key]
        for key in (*one, *(key for key in other if key not in one))
    }


def _entries(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [dict(entry) for entry in found["metadata"].get("managedFields", ()) if entry.get("manager")]


def _managers(found: Mapping[str, Any]) -> list[str]:
    return sorted({entry["manager"] for entry in _entries(found)})
