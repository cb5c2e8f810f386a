"""How one object is named towards the API server."""

from typing import NamedTuple


class Key(NamedTuple):
    """API version, kind, namespace ("" for what lives in none) and name."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """`Deployment water-flood/api`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"
