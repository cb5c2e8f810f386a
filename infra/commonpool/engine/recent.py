"""What this client changed a moment ago, and which refusals pass by themselves because of it. Pure, but for the clock.

An API server, and the controllers behind it, heed a changed rule, kind or quota only a little after it was written.
"""

import re
import time
from dataclasses import dataclass, field

from commonpool.engine.answer import mistyped, over_quota, ruled_out
from commonpool.engine.error import EngineError

RULE_SECONDS = 5.0  # an API server heeds a changed admission policy, or right, up to about a second after it took it
KIND_SECONDS = 5.0  # and the fields of a changed kind; among several servers the others follow later
QUOTA_SECONDS = 10.0  # the quota controller counts anew after what it counted is gone, or its limits are others
NEVER = float("-inf")
_GROUP = re.compile(r"/apis/([^/?]+)/")
_NAMESPACE = re.compile(r"/namespaces/([^/?]+)/")


@dataclass
class Recent:
    """When what was last changed, by the monotonic clock."""

    ruled: float = NEVER  # who may write what
    defined: dict[str, float] = field(default_factory=dict)  # kinds, by group
    freed: dict[str, float] = field(default_factory=dict)  # room in quotas, by namespace

    def explains(self, path: str, refusal: EngineError) -> bool:
        """Whether what refuses a request may be the state of before one of these changes."""
        now = time.monotonic()
        if ruled_out(refusal):
            return now < self.ruled + RULE_SECONDS
        if over_quota(refusal):
            return now < self.freed.get(_first(_NAMESPACE, path), NEVER) + QUOTA_SECONDS
        return mistyped(refusal) and now < self.defined.get(_first(_GROUP, path), NEVER) + KIND_SECONDS


def _first(pattern: re.Pattern[str], path: str) -> str:
    found = pattern.search(path)
    return found[1] if found else ""
