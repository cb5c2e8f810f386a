"""What proves that a run wrote what it wrote: told before every write, and able to stop it."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

# Heartbeats prove nothing; reviews are questions that the API server happens to take as POST. Whole paths: a namespace may
# be called as one of these.
_NO_WRITE = re.compile(
    r"/apis/(coordination\.k8s\.io/v1/namespaces/[^/]+/leases(/[^/]+)?"
    r"|authentication\.k8s\.io/v1/(selfsubjectreviews|tokenreviews)"
    r"|authorization\.k8s\.io/v1/(selfsubjectaccessreviews|subjectaccessreviews))"
)


class Evidence(Protocol):
    """Somebody who records; returns once it is durable. Both raise `EvidenceUnavailable`, and then nothing is written."""

    async def before_write(self, method: str, path: str, content: bytes | None) -> None:
        """One request that will change the cluster, as it will be sent, each repetition too."""

    async def decided(self, kind: str, data: Mapping[str, Any]) -> None:
        """A decision that is about to be acted on."""


def is_write(method: str, path: str) -> bool:
    """Whether a request changes anything that has to be proved."""
    place, _, query = path.partition("?")
    return method != "GET" and "dryRun=All" not in query.split("&") and not _NO_WRITE.fullmatch(place)
