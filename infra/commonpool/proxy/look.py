"""Looks at what every Envoy of the pool says of the backends of services. Changes nothing."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from commonpool.engine.cluster import Cluster
from commonpool.model import SharedService
from commonpool.model.traffic import WITH_REQUESTS
from commonpool.proxy import metrics, weights
from commonpool.proxy.metrics import NoNumbers
from commonpool.proxy.sample import Sample
from commonpool.proxy.weights import Route


@dataclass(frozen=True)
class Looker:
    """`await looker()` is one sample; `addresses` are the Prometheus endpoints of all Envoys."""

    cluster: Cluster
    service: SharedService
    addresses: Sequence[str]

    async def __call__(self) -> Sample:
        """Raises `NoNumbers` when one Envoy is silent: half of the callers are no base for a decision."""
        routes = await weights.routes(self.cluster, self.service)
        texts = await scrapes(self.addresses, self.service.namespace_name)
        found = read(texts, self.service, routes)
        plan = self.service.spec.cut_over
        for name in {name for one in found.instances.values() for name in one.counts} if plan else ():
            if metrics.TOGETHER in name:
                raise NoNumbers(
                    f"Envoy counts {name} together, so that no gate can be read; `commonpool up` mends that"
                )
        return found


async def scrapes(addresses: Sequence[str], namespace: str = "") -> dict[str, str]:
    """What each Envoy says of the routes of one namespace, or of all. Raises `NoNumbers`."""
    if not addresses:
        raise NoNumbers("no address of an Envoy's metrics is known; name them with --metrics")
    wanted = rf"^cluster\.[a-z]+route/{re.escape(namespace)}/" if namespace else r"^cluster\.[a-z]+route/"
    found = await asyncio.gather(*(asyncio.to_thread(metrics.scrape, url, wanted) for url in addresses))
    return dict(zip(addresses, found, strict=True))


def read(texts: Mapping[str, str], service: SharedService, routes: Iterable[Route]) -> Sample:
    """What was scraped, by Envoy and backend. Raises `NoNumbers`. Pure."""
    routes = list(routes)
    if not routes:
        raise NoNumbers(f"{service.name} has no route yet; `commonpool up` makes it")
    backends = metrics.clusters(routes, weights.backends_by_object(service))
    endpoint = service.spec.endpoint
    calls = endpoint is not None and endpoint.protocol in WITH_REQUESTS
    return Sample({url: metrics.read(text, backends, calls=calls) for url, text in texts.items()})
