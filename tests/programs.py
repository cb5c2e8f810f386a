"""Writing Pulumi programs of somebody else's into a folder, and running them, as tests of whole runs want it."""

import asyncio
import textwrap
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, Options, Program, Result, destroy, kubeconfig, preview, refresh, up
from commonpool.engine import state as states
from commonpool.engine.project import load

T = TypeVar("T")

HEAD = """
import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions as Options
config = pulumi.Config()
name = config.require("name")
space = k8s.core.v1.Namespace("space", metadata={"name": name})
inside = {"namespace": space.metadata.name}
def config_map(logical, data=None, **options):
    metadata = {**inside, "name": options.pop("called", logical)}
    return k8s.core.v1.ConfigMap(logical, metadata=metadata, data=data, opts=Options(**options))
"""
# Without pulumi_kubernetes, whose import is most of the time that a small run takes.
BARE = """
import pulumi
from pulumi import ResourceOptions as Options
config = pulumi.Config()
name = config.require("name")
def resource(kind, logical, body, **options):
    body = {"apiVersion": "v1", "kind": kind, **body}
    return pulumi.CustomResource(f"kubernetes:core/v1:{kind}", logical, body, Options(**options))
space = resource("Namespace", "space", {"metadata": {"name": name}})
def config_map(logical, data=None, named=True):
    metadata = {"namespace": name, **({"name": logical} if named else {})}
    return resource("ConfigMap", logical, {"metadata": metadata, "data": data or {}}, depends_on=[space])
"""


class Stack:
    """One stack on one pool, whose program a test changes as it goes."""

    def __init__(self, pool: EmbeddedPool, folder: Path, name: str, head: str = HEAD) -> None:
        """`name` is the project's, and the namespace's that the `head` of every program makes."""
        self.pool, self.folder, self.name, self.head = pool, folder, name, head
        self.kubeconfig = pool.kubeconfig
        self.notes: list[str] = []

    def load(self, source: str, secret: dict[str, str] | None = None, **config: str) -> Program:
        """Write the program and read it as a stack called dev."""
        (self.folder / "Pulumi.yaml").write_text(f"name: {self.name}\nruntime: python\n", encoding="utf-8")
        (self.folder / "__main__.py").write_text(self.head + textwrap.dedent(source), encoding="utf-8")
        return load(self.folder, "dev", {"name": self.name, **config}, secret)

    def run(self, verb: Any, program: Program, **options: Any) -> Result:
        """One of the four verbs."""

        async def connected() -> Result:
            async with await Cluster.connect(kubeconfig.load(self.kubeconfig)) as cluster:
                result: Result = await verb(
                    program,
                    cluster,
                    observer=lambda event: self.notes.append(event.message),
                    options=Options(**options),
                )
                return result

        return asyncio.run(connected())

    def ask(self, work: Callable[[Cluster], Coroutine[Any, Any, T]]) -> T:
        """Something of the cluster, as its administrator."""

        async def connected() -> T:
            async with await Cluster.connect(kubeconfig.load(self.pool.kubeconfig)) as cluster:
                return await work(cluster)

        return asyncio.run(connected())

    def read(self, api_version: str, kind: str, namespace: str, name: str) -> Any:
        """One object."""
        return self.ask(lambda cluster: cluster.read(api_version, kind, namespace, name))

    def state(self) -> states.State:
        """What the pool remembers."""
        return self.ask(lambda cluster: states.load(cluster, self.name, "dev"))

    def up(self, source: str, secret: dict[str, str] | None = None, **config: str) -> Result:
        """Apply it."""
        return self.run(up, self.load(source, secret, **config))

    def preview(self, source: str, secret: dict[str, str] | None = None, **config: str) -> Result:
        """Ask what applying it would do."""
        return self.run(preview, self.load(source, secret, **config))

    def refresh(self) -> Result:
        """Compare."""
        return self.run(refresh, self.load(""))

    def destroy(self, **options: Any) -> Result:
        """Delete everything."""
        return self.run(destroy, self.load(""), **options)


def messages(result: Result) -> str:
    """What went wrong, as one text."""
    return "\n".join(f"{one.urn} {one.code}: {one.message} {one.next_step}" for one in result.problems)
