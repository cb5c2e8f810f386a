"""What an API server's refusal means: one function from a response to an error. Pure.

The server's own message is kept; a body that is no Kubernetes Status is cut, because it may be somebody's login page.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from commonpool.engine.error import CredentialRefused, EngineError, FieldConflict, Refused, Stale

LONGEST_TEXT = 256  # bytes of an answer that is not JSON: enough to recognise a proxy, little enough for a log
_BROKEN = frozenset({500, 502, 503, 504})
# Refusals that pass by themselves within moments of creating a namespace: its controllers fill these in.
_UNCOUNTED, _NO_ACCOUNT = "status unknown for quota", "error looking up service account"
# What does not fit the kind's schema is the server's own failure by its status, and stays so however often it is sent.
_MISTYPED, _UNKNOWN_FIELD = "failed to create typed patch object", "unknown field"
_OVER_QUOTA = "exceeded quota: "
_RULED = ("ValidatingAdmissionPolicy '", '" cannot ')


def problem(status: int, content: bytes, server: str, credential: str) -> EngineError:
    """The error for a response that is no success. `credential` names what we showed, for a 401."""
    answer = status_of(content)
    message = str(answer.get("message") or content[:LONGEST_TEXT].decode(errors="replace").strip() or f"HTTP {status}")
    reason = str(answer.get("reason") or "")
    if status == 401:
        return CredentialRefused(f"{server} does not accept {credential}: {message}")
    if 300 <= status < 400:
        return Refused(f"{server} answers with a redirection ({status}); name the API server itself", status=status)
    causes = (answer.get("details") or {}).get("causes") or ()
    conflicts = tuple(
        (_manager(str(cause.get("message", ""))), str(cause.get("field", "")))
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )
    if conflicts:
        return FieldConflict(message, conflicts)
    if status == 409 and reason == "Conflict" and "modified" in message:
        return Stale(message)
    return Refused(message, status=status, reason=reason)


def settles(error: EngineError, *, dry_run: bool = False) -> bool:
    """Whether the refusal is one that a fresh namespace gives until its controllers have seen it.

    A dry run waits for no account: who asks makes none, and it may come with what is asked about.
    """
    settling = (_UNCOUNTED,) if dry_run else (_UNCOUNTED, _NO_ACCOUNT)
    return isinstance(error, Refused) and error.status == 403 and any(words in str(error) for words in settling)


def ruled_out(error: EngineError) -> bool:
    """Whether an admission policy refused it, or a right that is missing, and not the kind's own validation or a quota."""
    return isinstance(error, Refused) and error.status in (403, 422) and any(words in str(error) for words in _RULED)


def over_quota(error: EngineError) -> bool:
    """Whether a ResourceQuota has no room for it."""
    return isinstance(error, Refused) and error.status == 403 and _OVER_QUOTA in str(error)


def mistyped(error: EngineError) -> bool:
    """Whether it has a field that the schema of its kind does not have."""
    return isinstance(error, Refused) and any(words in str(error) for words in (_MISTYPED, _UNKNOWN_FIELD))


def is_broken(status: int, content: bytes) -> bool:
    """Whether the server could not do its work, and may be able to in a moment."""
    return status in _BROKEN and _MISTYPED.encode() not in content


def retry_after(text: str) -> float:
    """Seconds of a Retry-After header; 0 without one. Dates are not used by API servers."""
    return float(text) if text.isdigit() else 0.0


def status_of(content: bytes) -> Mapping[str, Any]:
    """The Status in a body; empty for anything else."""
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def holds(found: Any, sent: Any) -> bool:  # noqa: ANN401
    """Whether everything that was sent stands in what was found: the mark by which a lost answer was a success.

    What the server adds may differ, and the resourceVersion must; empty values that it drops count as standing.
    """
    if isinstance(sent, Mapping):
        return isinstance(found, Mapping) and all(
            key in ("resourceVersion", "managedFields")
            or (value in (None, {}, []) and not found.get(key))
            or holds(found.get(key), value)
            for key, value in sent.items()
        )
    if isinstance(sent, list):
        return (
            isinstance(found, list)
            and len(found) == len(sent)
            and all(holds(one, other) for one, other in zip(found, sent, strict=True))
        )
    return bool(found == sent)


def _manager(message: str) -> str:
    # The server says: conflict with "kubectl-edit" using v1
    return message.partition('"')[2].partition('"')[0] or message
