"""The agreements in force on a service, for the process that filters fields and keeps evidence in the way of calls. Pure.

Everything else that an agreement becomes stands where such things stand: the caller's rule in `gateway`, its time limits
and rates in `envoy_gateway.policy`, the network policy and the credential with the department that consumes.
"""

import base64
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


def ended(estate: Estate, service: SharedService) -> list[str]:
    """The agreements on a service that admit nobody any more, or not at present."""
    over = ("suspended", "terminated", "expired")
    return [
        one.name
        for one in estate.agreements
        if estate.service_of(one) == service.name and estate.standings[one.name].state in over
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
        "signed": [f"{one.department}/{one.key}" for one in estate.signatures(agreement)],
        "volume": spec.rate.requests_per_day,
        "recipients": _recipients(estate, agreement) if spec.evidence == "body" else [],
    }


def _recipients(estate: Estate, agreement: Agreement) -> list[str]:
    """The two departments' own keys that count today, in OpenSSH's words, which age encrypts to; none unless both have one."""
    by_party = [keys(estate, party) for party in agreement.parties]
    return [key for found in by_party for key in found] if all(by_party) else []


def keys(estate: Estate, name: str) -> list[str]:
    """A department's keys that count today, as age takes them."""
    department, today = estate.department(name), estate.day.isoformat()
    if department is None:
        return []
    return [openssh(key.public) for key in department.spec.keys if key.counts(today)]


def openssh(public: str) -> str:
    """A public key of a manifest in OpenSSH's form (RFC 8709)."""
    parts = (b"ssh-ed25519", base64.b64decode(public))
    encoded = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"ssh-ed25519 {base64.b64encode(encoded).decode()}"


def without_terms(estate: Estate, service: SharedService) -> list[str]:
    """The departments that may call it although no agreement of theirs is in force: the process refuses everybody else."""
    consumers = estate.consumers.get(service.name, {})
    return sorted(name for name in consumers if estate.terms(service.name, name) is None)


def of_exchange(estate: Estate, service: SharedService) -> bool:
    """Whether calls of the service pass that process: where an agreement needs it, and where calls may last for ever.

    A call that has no limit would outlive its agreement; the process ends it.
    """
    found = [estate.terms(service.name, name) for name in estate.consumers.get(service.name, {})]
    terms = [one for one in found if one is not None]
    endless = bool(terms) and service.spec.timeouts.unlimited
    return gateway.is_seen(service) and (endless or any(needs_exchange(one) for one in terms))


def objects(estate: Estate, service: SharedService) -> list[Body]:
    """The ConfigMap `agreements-<service>`, and the way through that process where an agreement needs it."""
    found = in_force(estate, service)
    if not found:
        return []
    content = {
        "agreements.json": json.dumps(found, ensure_ascii=False, indent=1),
        "others.json": json.dumps(without_terms(estate, service)),
        "audiences.json": json.dumps(gateway.audiences(estate.pool, service)),
    }
    name, namespace = f"agreements-{service.name}", service.namespace_name
    listed = body("v1", "ConfigMap", name, estate.pool, namespace=namespace, data=content)
    listed["metadata"]["labels"][LABEL] = "true"
    if estate.exchange is None or not of_exchange(estate, service):
        return [listed]
    # All rules of the routes: whether Envoy asks at all follows from the one that matches before a token is read.
    routes = gateway.route_names(estate, service)
    return [listed, *exchange.objects(estate.pool, service, gateway.route_kind(service), routes, estate.exchange)]
