"""The clusters that one program speaks to: the pool itself, and one for every explicit Pulumi provider."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonpool.engine import kubeconfig
from commonpool.engine.cluster import Cluster
from commonpool.engine.error import Unsupported

# What a provider may say without changing what is applied; the rest is refused by name.
_HARMLESS = {
    "kubeconfig",
    "context",
    "cluster",
    "namespace",
    "enableServerSideApply",
    "suppressDeprecationWarnings",
    "deleteUnreachable",
    "skipUpdateUnreachable",
    "suppressHelmHookWarnings",
    "enableConfigMapMutable",
    "enableSecretMutable",
    "clusterIdentifier",
    "version",
    "pluginDownloadURL",
}


class Clusters:
    """Connections by provider URN, made at first use; "" is the pool itself, which is not ours to close."""

    def __init__(self, pool: Cluster, namespace: str = "") -> None:
        """`namespace` is where objects without one go; the context's own when empty."""
        self._open: dict[str, asyncio.Task[Cluster]] = {}
        self._pool = pool
        self._namespaces = {"": namespace or pool.namespace}
        self._providers: dict[str, Mapping[str, Any]] = {}

    def declare(self, urn: str, inputs: Mapping[str, Any]) -> None:
        """Remember a provider's inputs. Raises `Unsupported` for settings that would change what is applied."""
        unknown = sorted(set(inputs) - _HARMLESS)
        if unknown or str(inputs.get("enableServerSideApply", "true")).lower() == "false":
            words = ", ".join(unknown) or "enableServerSideApply: false"
            raise Unsupported(f"provider {urn} sets {words}, which the embedded engine does not do")
        self._providers[urn] = inputs

    async def connect(self, provider: str) -> Cluster:
        """The connection of a provider reference (`urn::id` or the URN alone)."""
        urn = provider_urn(provider)
        inputs = self._providers.get(urn, {})
        if not inputs.get("kubeconfig") and not inputs.get("context"):
            return self._pool
        if urn not in self._open:
            self._open[urn] = asyncio.create_task(_connect(inputs))
        return await self._open[urn]

    async def namespace(self, provider: str) -> str:
        """Where a namespaced object goes that names no namespace."""
        inputs = self._providers.get(provider_urn(provider), {})
        own = inputs.get("namespace")
        if own:
            return str(own)
        cluster = await self.connect(provider)
        return self._namespaces[""] if cluster is self._pool else cluster.namespace

    async def close(self) -> None:
        """Close what was opened here."""
        for task in self._open.values():
            await (await task).close()


def provider_urn(reference: str) -> str:
    """The URN part of a provider reference `urn::id`; an URN itself has three double colons."""
    return "::".join(reference.split("::")[:4])


async def _connect(inputs: Mapping[str, Any]) -> Cluster:
    text = str(inputs.get("kubeconfig", ""))
    if not text:
        return await Cluster.connect(kubeconfig.load(None, inputs["context"]))
    if "\n" not in text and "{" not in text:
        return await Cluster.connect(kubeconfig.load(Path(text).expanduser(), inputs.get("context")))
    with tempfile.TemporaryDirectory(prefix="commonpool-") as folder:
        path = Path(folder) / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return await Cluster.connect(kubeconfig.load(path, inputs.get("context")))
