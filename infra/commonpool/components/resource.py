"""The rendered objects as Pulumi resources, under one component each.

The resources carry pulumi-kubernetes' own type tokens and its version, so the provider treats them as it treats its
generated classes; registering plain dictionaries costs a third of what building their typed arguments does.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

import pulumi
from pulumi.runtime import settings

from commonpool.components.rendering import Body

PROVIDER_VERSION = version("pulumi-kubernetes")
# What would lose data, or everybody's footing, when it went by mistake.
_PROTECTED = frozenset({"StorageClass"})
_RETAINED = frozenset({"PersistentVolume"})
# What leads callers in stands only after what guards it. The workload guards nothing, and its readiness may take minutes:
# the way of a consumer whose agreement is over must not stay open for so long.
_ROUTES = frozenset({"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"})
_NO_GUARDS = _ROUTES | {"Namespace", "Deployment", "Service"}
# Who may work in a namespace comes in only when its fence stands. A run that ended in between would leave people there whose
# pods nothing bounds, until the next one.
_LETS_IN = "RoleBinding"
_FENCE = frozenset({"ResourceQuota", "LimitRange", "NetworkPolicy"})


@dataclass(frozen=True)
class Declared:
    """One rendered object as a resource: its type token, its logical name, what guards it.

    `holder` is the place in the list of the one below which it stands, None for the component itself: a child is
    registered after its parent stands and deleted before it, which is all that `depends_on` does. `after` are the places
    of others on which it depends: it is left as it is when one of them fails. So it is with `fence`, which is not recorded: it
    says nothing of the order in which they go, since they go with their namespace.
    """

    type: str
    name: str
    body: Body
    holder: int | None = None
    after: tuple[int, ...] = ()
    fence: tuple[int, ...] = ()
    protect: bool = False
    retain: bool = False


def declared(bodies: Iterable[Body], *, protected: bool = False) -> list[Declared]:
    """The objects of one component, what lies in a namespace of its own below that Namespace, routes after their guards.

    Who is let in comes last, whatever the order in which they were rendered.
    """
    found: list[Declared] = []
    holders: dict[str, int] = {}
    guards: list[int] = []
    fences: dict[str, list[int]] = {}
    for body in sorted(bodies, key=lambda one: one["kind"] == _LETS_IN):
        metadata, kind = body["metadata"], body["kind"]
        namespace = metadata.get("namespace", "")
        found.append(
            Declared(
                _token(body),
                f"{namespace}.{metadata['name']}" if namespace else metadata["name"],
                body,
                holder=holders.get(namespace),
                after=tuple(guards) if kind in _ROUTES else (),
                fence=tuple(fences.get(namespace, ())) if kind == _LETS_IN else (),
                protect=(protected and kind == "Namespace") or kind in _PROTECTED,
                retain=kind in _RETAINED,
            )
        )
        if kind == "Namespace":
            holders[metadata["name"]] = len(found) - 1
        if kind not in _NO_GUARDS:
            guards.append(len(found) - 1)
        if kind in _FENCE:
            fences.setdefault(namespace, []).append(len(found) - 1)
    return found


def _token(body: Body) -> str:
    group, _, api = body["apiVersion"].rpartition("/")
    return f"kubernetes:{group or 'core'}/{api}:{body['kind']}{'Patch' if _stands_already(body) else ''}"


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
        self.declared = declared(bodies, protected=protected)
        namespaces = [one.name for one in self.declared if one.body["kind"] == "Namespace"]
        self.register_outputs({"namespaces": namespaces})

    async def register(self) -> None:
        """Register every child; return when each is, whether it succeeded or not.

        Our own engine takes them as they are, which spares more than half of the work; the Pulumi CLI gets resources, and
        so does the program's author who transforms them.
        """
        together = getattr(settings.get_monitor(), "register_together", None)
        if together is not None and not self._transformations:
            urn = await self.urn.future()
            await asyncio.get_running_loop().run_in_executor(None, together, urn, self.declared)
            return
        made: list[pulumi.CustomResource] = []
        for one in self.declared:
            opts = pulumi.ResourceOptions(
                parent=self if one.holder is None else made[one.holder],
                depends_on=[made[place] for place in (*one.after, *one.fence)],
                protect=one.protect,
                retain_on_delete=one.retain or None,
                version=PROVIDER_VERSION,
            )
            made.append(pulumi.CustomResource(one.type, one.name, one.body, opts))
        await asyncio.gather(*(resource.urn.future() for resource in made))


async def paced(groups: Iterable[Group], at_a_time: int = 12) -> None:
    """Register components one after the other with a bounded number in flight.

    The SDK looks at every pending output again and again, so thousands at once cost the square of their number.
    """
    pending: set[asyncio.Task[None]] = set()
    for group in groups:
        pending.add(asyncio.ensure_future(group.register()))
        if len(pending) >= at_a_time:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    await asyncio.gather(*pending)
