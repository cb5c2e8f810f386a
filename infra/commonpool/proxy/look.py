"""One look at what every Envoy of the pool says of a service's backends. Changes nothing."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from commonpool.engine.cluster import Cluster
from commonpool.model import SharedService
from commonpool.model.traffic import WITH_REQUESTS
from commonpool.proxy import metrics, weights
from commonpool.proxy.metrics import NoNumbers
from commonpool.proxy.sample import Instance, Sample


@dataclass(frozen=True)
class Looker:
    """`await looker()` is one sample; `addresses` are the Prometheus endpoints of all Envoys."""

    cluster: Cluster
    service: SharedService
    addresses: Sequence[str]

    async def __call__(self) -> Sample:
        """Raises `NoNumbers` when one Envoy is silent: half of the callers are no base for a decision."""
        routes = await weights.routes(self.cluster, self.service)
        if not routes:
            raise NoNumbers(f"{self.service.name} has no route yet; `commonpool up` makes it")
        if not self.addresses:
            raise NoNumbers("no address of an Envoy's metrics is known; name them with --metrics")
        backends = metrics.clusters(routes, weights.backends_by_object(self.service))
        found = await asyncio.gather(*(asyncio.to_thread(self._read, url, backends) for url in self.addresses))
        return Sample(dict(zip(self.addresses, found, strict=True)))

    def _read(self, url: str, backends: dict[str, str | None]) -> Instance:
        endpoint = self.service.spec.endpoint
        calls = endpoint is not None and endpoint.protocol in WITH_REQUESTS
        wanted = rf"^cluster\.[a-z]+route/{re.escape(self.service.namespace_name)}/"
        return metrics.read(metrics.scrape(url, wanted), backends, calls=calls)
