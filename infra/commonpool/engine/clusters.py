"""The clusters that one program speaks to: the pool itself, and one for every explicit Pulumi provider."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from commonpool.engine import kubeconfig
from commonpool.engine.cluster import Cluster
from commonpool.engine.error import EngineError, Refused
from commonpool.engine.memory_file import memory_file
from commonpool.engine.plugin import not_done
from commonpool.engine.unknown import UNKNOWN

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
    "enablePatchForce",
    "clusterIdentifier",
    "kubeClientSettings",
    "helmReleaseSettings",
    "upsertExistingObjects",
    "version",
    "pluginDownloadURL",
}

_PLACES = frozenset({"kubeconfig", "context", "cluster"})  # which say what cluster it is

_MUTABLE = {
    "ConfigMap": ("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
    "Secret": ("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
}


class Clusters:
    """Connections by provider URN, made at first use; "" is the pool itself, which is not ours to close."""

    def __init__(
        self, pool: Cluster, namespace: str = "", *, named: bool = False, folder: Callable[[], Path] = Path
    ) -> None:
        """`namespace` is where objects without one go, the context's own when empty; `named` wants a provider for each.

        `folder` is what the paths of kubeconfigs are relative to.
        """
        self._open: dict[str, asyncio.Task[Cluster]] = {}
        self._former: list[asyncio.Task[Cluster]] = []
        self._pool, self._named, self._folder = pool, named, folder
        self._stated = namespace
        self._providers: dict[str, Mapping[str, Any]] = {}

    def declare(self, urn: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Remember a provider's inputs, and return what the program says of them.

        Where a program names no kubeconfig, the SDK fills in `$KUBECONFIG`, whatever cluster the command is about.
        Raises `Unsupported` for settings that would change what is applied.
        """
        ambient = os.environ.get("KUBECONFIG")
        inputs = {key: value for key, value in inputs.items() if key != "kubeconfig" or value != ambient}
        unknown = sorted(set(inputs) - (_HARMLESS if urn else _HARMLESS - _PLACES))
        if unknown or str(inputs.get("enableServerSideApply", "true")).lower() == "false":
            words = ", ".join(unknown) or "enableServerSideApply: false"
            whose = f"provider {urn}" if urn else "the configuration of the default provider (kubernetes:…)"
            raise not_done(f"{whose} sets {words}, which the embedded engine does not do")
        if urn in self._open and any(inputs.get(key) != self._providers[urn].get(key) for key in _PLACES):
            self._former.append(self._open.pop(urn))
        self._providers[urn] = inputs
        return inputs

    def admit(self, provider: str, what: str) -> None:
        """Raises `Refused` for what names no provider where the stack's configuration wants one named."""
        if self._named and not provider:
            error = Refused(f"{what} names no provider, and pulumi:disable-default-providers wants one to be named")
            error.next_step = "give it one (ResourceOptions.provider), or take the setting back"
            raise error

    def immutable_data(self, provider: str, kind: str) -> bool:
        """Whether a change of data replaces objects of this kind, as in pulumi-kubernetes unless it is told otherwise."""
        return kind in _MUTABLE and not self._set(provider, *_MUTABLE[kind])

    def forced(self, provider: str) -> bool:
        """Whether the provider takes over fields that other managers own, everywhere."""
        return self._set(provider, "enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE")

    def upserts(self, provider: str) -> bool:
        """Whether the provider takes over objects that exist already, as pulumi-kubernetes always did once."""
        return self._set(provider, "upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS")

    def gives_up(self, provider: str) -> bool:
        """Whether the provider wants what is in its cluster forgotten where that does not answer."""
        return self._set(provider, "deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE")

    def known(self, provider: str) -> bool:
        """Whether the provider's cluster is known already; in a preview its kubeconfig may be an output of something new."""
        inputs = self._providers.get(provider_urn(provider), {})
        return not any(inputs.get(key) is UNKNOWN for key in (*_PLACES, "namespace"))

    def _set(self, provider: str, name: str, variable: str) -> bool:
        value = self._providers.get(provider_urn(provider), {}).get(name, os.environ.get(variable, ""))
        return str(value).lower() in ("true", "1")

    async def connect(self, provider: str) -> Cluster:
        """The connection of a provider reference (`urn::id` or the URN alone)."""
        urn = provider_urn(provider)
        inputs = self._providers.get(urn, {})
        if not urn or not any(map(inputs.get, _PLACES)):
            return self._pool
        if urn not in self._open:
            self._open[urn] = asyncio.create_task(self._opened(inputs))
        return await self._open[urn]

    async def _opened(self, inputs: Mapping[str, Any]) -> Cluster:
        cluster = await _connect(inputs, self._folder)
        cluster.evidence, cluster.trouble = self._pool.evidence, self._pool.trouble
        return cluster

    def states_namespace(self, provider: str) -> bool:
        """Whether a provider, or for resources without one the configuration, states where namespaced objects go."""
        return bool(self._providers.get(provider_urn(provider), {}).get("namespace") or (self._stated and not provider))

    async def namespace(self, provider: str) -> str:
        """Where a namespaced object goes that names no namespace."""
        inputs = self._providers.get(provider_urn(provider), {})
        own = inputs.get("namespace")
        if own:
            return str(own)
        cluster = await self.connect(provider)
        return (cluster is self._pool and self._stated) or cluster.namespace

    async def close(self) -> None:
        """Close what was opened here."""
        for task in (*self._open.values(), *self._former):
            with contextlib.suppress(EngineError):  # who never got a connection has been told
                await (await task).close()


def provider_urn(reference: str) -> str:
    """The URN part of a provider reference `urn::id`; an URN itself has three double colons."""
    return "::".join(reference.split("::")[:4])


async def _connect(inputs: Mapping[str, Any], folder: Callable[[], Path]) -> Cluster:
    text, names = str(inputs.get("kubeconfig", "")), (inputs.get("context"), inputs.get("cluster"))
    if not text:
        return await Cluster.connect(kubeconfig.load(None, *names))
    if "\n" not in text and "{" not in text:
        path = Path(text).expanduser()
        return await Cluster.connect(kubeconfig.load(path if path.is_absolute() else folder() / path, *names))
    with memory_file(text.encode()) as path:
        return await Cluster.connect(kubeconfig.load(path, *names))
