"""The rendered objects as Pulumi resources, under one component each.

The resources carry pulumi-kubernetes' own type tokens and its version, so the provider treats them as it treats its
generated classes; registering plain dictionaries costs a third of what building their typed arguments does.
"""

import asyncio
from collections.abc import Iterable
from importlib.metadata import version

import pulumi

from commonpool.components.rendering import Body

PROVIDER_VERSION = version("pulumi-kubernetes")
# What would lose data, or everybody's footing, when it went by mistake.
_PROTECTED = frozenset({"StorageClass"})
_RETAINED = frozenset({"PersistentVolume"})


class KubernetesObject(pulumi.CustomResource):
    """One object, by pulumi-kubernetes."""

    def __init__(self, name: str, body: Body, opts: pulumi.ResourceOptions) -> None:
        """`body` is the whole object; `opts` are completed by the provider's version."""
        group, _, api = body["apiVersion"].rpartition("/")
        suffix = "Patch" if _stands_already(body) else ""
        token = f"kubernetes:{group or 'core'}/{api}:{body['kind']}{suffix}"
        opts.version = PROVIDER_VERSION
        super().__init__(token, name, body, opts)


def _stands_already(body: Body) -> bool:
    """Whether it is made by others: a machine that joined, or the account that every namespace comes with."""
    if body["kind"] == "Node":
        return "kwok.x-k8s.io/node" not in body["metadata"].get("annotations", {})
    return (body["kind"], body["metadata"]["name"]) == ("ServiceAccount", "default")


class Group(pulumi.ComponentResource):
    """A component of rendered objects: the pool, a department, a shared service."""

    def __init__(self, kind: str, name: str, bodies: Iterable[Body], *, protected: bool = False) -> None:
        """`kind` is the last part of the type token; `protected` guards the namespaces against deletion."""
        super().__init__(f"commonpool:index:{kind}", name)
        self.namespaces: list[str] = []
        holders: dict[str, KubernetesObject] = {}
        children: list[KubernetesObject] = []
        for body in bodies:
            metadata, kind = body["metadata"], body["kind"]
            namespace = metadata.get("namespace", "")
            # A child is registered after its parent stands and deleted before it, which is all that `depends_on` does.
            opts = pulumi.ResourceOptions(
                parent=holders.get(namespace, self),
                protect=(protected and kind == "Namespace") or kind in _PROTECTED,
                retain_on_delete=kind in _RETAINED or None,
            )
            logical = f"{namespace}.{metadata['name']}" if namespace else metadata["name"]
            found = KubernetesObject(logical, body, opts)
            children.append(found)
            if kind == "Namespace":
                holders[metadata["name"]] = found
                self.namespaces.append(metadata["name"])
        self.children = list(children)
        self.register_outputs({"namespaces": self.namespaces})

    async def registered(self) -> None:
        """Return when every child is registered, whether it succeeded or not."""
        await asyncio.gather(*(child.urn.future() for child in self.children))


async def paced(groups: Iterable[Group], at_a_time: int = 12) -> None:
    """Make components one after the other with a bounded number in flight.

    The SDK looks at every pending output again and again, so thousands at once cost the square of their number.
    """
    pending: set[asyncio.Task[None]] = set()
    for group in groups:
        pending.add(asyncio.ensure_future(group.registered()))
        if len(pending) >= at_a_time:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    if pending:
        await asyncio.gather(*pending)
