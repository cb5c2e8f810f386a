"""The agreements in force on a service, for the process that filters fields and keeps evidence in the way of calls. Pure.

Everything else that an agreement becomes stands where such things stand: the caller's rule in `gateway`, its time limits
and rates in `envoy_gateway.policy`, the network policy and the credential with the department that consumes.
"""

import json

from commonpool.components import gateway
from commonpool.components.envoy_gateway import exchange
from commonpool.components.rendering import PREFIX, Body, body
from commonpool.model import Agreement, Estate, SharedService
from commonpool.model.estate import needs_exchange

LABEL = f"{PREFIX}/agreements"
# The proxy's own log holds what `metadata` means; the process in the way of calls keeps digests and bodies.
_EVIDENCE = {"none": "none", "metadata": "none", "digest": "digest", "body": "body"}


def in_force(estate: Estate, service: SharedService) -> list[Body]:
    """What `agreements.json` holds, by name."""
    return [
        _entry(estate, service, one)
        for one in estate.agreements
        if estate.service_of(one) == service.name and estate.standings[one.name].in_force
    ]


def _entry(estate: Estate, service: SharedService, agreement: Agreement) -> Body:
    spec = agreement.spec
    return {
        "agreement": agreement.name,
        "digest": estate.texts[agreement.name],
        "service": service.name,
        "provider": spec.provider,
        "consumer": spec.consumer,
        "items": spec.items,
        "purpose": spec.purpose.code,
        "evidence": _EVIDENCE[spec.evidence],
        "start": spec.term.start,
        "end": spec.term.end,
    }


def of_exchange(estate: Estate, service: SharedService) -> bool:
    """Whether calls of the service pass that process."""
    seen = gateway.is_seen(service)
    terms = (estate.terms(service.name, name) for name in estate.consumers.get(service.name, {}))
    return seen and any(one is not None and needs_exchange(one) for one in terms)


def objects(estate: Estate, service: SharedService) -> list[Body]:
    """The ConfigMap `agreements-<service>`, and the way through that process where an agreement needs it."""
    found = in_force(estate, service)
    if not found:
        return []
    content = {"agreements.json": json.dumps(found, ensure_ascii=False, indent=1)}
    name, namespace = f"agreements-{service.name}", service.namespace_name
    listed = body("v1", "ConfigMap", name, estate.pool, namespace=namespace, data=content)
    listed["metadata"]["labels"][LABEL] = "true"
    if estate.exchange is None or not of_exchange(estate, service):
        return [listed]
    routes = gateway.route_names(estate, service)
    return [listed, *exchange.objects(estate.pool, service, gateway.route_kind(service), routes, estate.exchange)]
