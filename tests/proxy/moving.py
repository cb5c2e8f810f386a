"""A service on the move, with a real route in front of two backends; and its engine, in this process or in one that dies.

`python moving.py KUBECONFIG METRICS FOLDER DIE_AT` runs the cut-over of FOLDER/service.json and kills itself with SIGKILL at
its DIE_AT-th write: right before it is sent, or right after it was answered, in turn.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commonpool.engine import Cluster, kubeconfig
from commonpool.model import SharedService
from commonpool.proxy import store
from commonpool.proxy.engine import CutOverEngine, Progress
from commonpool.proxy.look import Looker
from commonpool.proxy.record import Record
from commonpool.proxy.store import Kept

from proxy.backend import Backend
from proxy.conftest import Proxy
from proxy.declarations import backend, http_route

STEP: dict[str, Any] = {"minimumSeconds": 1, "minimumRequests": 20}


def manifest(name: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """A service that moves from old to new."""
    plan = {
        "from": "old",
        "to": "new",
        "steps": steps,
        "responsible": {"role": "Registry office"},
        "deadline": "2036-12-31",
    }
    spec = {
        "displayName": "Register",
        "description": "A register of the tests",
        "businessClass": "finance",
        "protectionLevel": 2,
        "offeredBy": "d0",
        "owner": {"role": "Office"},
        "duty": {"role": "Duty desk", "phone": "+86 555 0100"},
        "namespace": {"resources": [{"flavor": "standard", "guaranteed": {"cpu": "1", "memory": "1Gi"}}]},
        "consumers": {"everyone": True},
        "endpoint": {"protocol": "HTTP"},
        "backends": [{"name": "old", "machines": ["a"]}, {"name": "new", "machines": ["b"], "weight": 0}],
        "cutOver": plan,
    }
    return {"apiVersion": "commonpool.dev/v1", "kind": "SharedService", "metadata": {"name": name}, "spec": spec}


def route(name: str) -> dict[str, Any]:
    """The service's route as it is before the move, with what makes Envoy count the backends apart."""
    found = http_route(name, {f"{name}-old": 1, f"{name}-new": 0}, namespace=f"service-{name}", host=f"{name}.test")
    for one in found["spec"]["rules"][0]["backendRefs"]:
        said = {"set": [{"name": "x-commonpool-backend", "value": one["name"]}]}
        one["filters"] = [{"type": "RequestHeaderModifier", "requestHeaderModifier": said}]
    return found


@dataclass
class Moving:
    """One service of a test, declared and served."""

    proxy: Proxy
    name: str
    service: SharedService
    backends: tuple[Backend, Backend]
    told: list[Progress] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"{self.name}.test"

    def work(self, do: Callable[[Cluster], Any]) -> Any:
        """Run a coroutine function with a client."""

        async def connected() -> Any:
            async with await Cluster.connect(kubeconfig.load(self.proxy.pool.kubeconfig)) as cluster:
                return await do(cluster)

        return asyncio.run(connected())

    def run(self, *, again: bool = False) -> Record:
        """Run the cut-over here, to its end."""

        async def run(cluster: Cluster) -> Record:
            look = Looker(cluster, self.service, [self.proxy.pool.proxy_metrics])
            engine = CutOverEngine(cluster, self.service, look, self.told.append, 0.2)
            assert self.service.spec.cut_over is not None
            return await engine.run(self.service.spec.cut_over, again=again)

        found: Record = self.work(run)
        return found

    def kept(self) -> Kept:
        """What stands in the cluster."""

        async def load(cluster: Cluster) -> Kept | None:
            return await store.load(cluster, self.name)

        found = self.work(load)
        assert found is not None, "there is no record"
        assert isinstance(found, Kept)
        return found

    def history(self) -> list[tuple[str, str, int]]:
        """Action, cause and weight of every decision that was kept."""
        return [(one.action.value, one.cause.value, one.weight) for one in self.kept().decisions]

    def weights(self) -> list[int]:
        """What stands in the live route."""
        live = self.proxy.read(route(self.name))
        return [one["weight"] for one in live["spec"]["rules"][0]["backendRefs"]]


def declare(
    proxy: Proxy, name: str, old: Backend, new: Backend, steps: list[dict[str, Any]], *policies: dict[str, Any]
) -> Moving:
    """Apply the service's objects, policies before the route, and wait until the old backend answers."""
    namespace = f"service-{name}"
    proxy.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        backend(f"{name}-old", old.port, namespace=namespace),
        backend(f"{name}-new", new.port, namespace=namespace),
        *policies,
        route(name),
    )
    proxy.await_status(f"{name}.test", 200)
    return Moving(proxy, name, SharedService.model_validate(manifest(name, steps)), (old, new))


def dying(cluster: Cluster, die_at: int) -> None:
    """Let this process end at its `die_at`-th write."""
    count = 0

    def wrap(verb: str) -> None:
        real = getattr(cluster, verb)

        async def write(body: Any, **options: Any) -> Any:
            nonlocal count
            if body["kind"] == "Lease":
                return await real(body, **options)
            count += 1
            if count == die_at and die_at % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            found = await real(body, **options)
            if count == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        setattr(cluster, verb, write)

    for verb in ("create", "replace", "apply"):
        wrap(verb)


async def main(config: Path, metrics: str, folder: Path, die_at: int) -> None:
    service = SharedService.model_validate(json.loads((folder / "service.json").read_text()))
    assert service.spec.cut_over is not None
    async with await Cluster.connect(kubeconfig.load(config)) as cluster:
        dying(cluster, die_at)
        look = Looker(cluster, service, [metrics])
        await CutOverEngine(cluster, service, look, lambda progress: None, 0.1).run(service.spec.cut_over)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
