"""What holds for one service: until when an agreement lets pass, how its backends are watched, how much each consumer may use. Pure."""

import base64
from datetime import date, datetime, time, timedelta

from commonpool.components import gateway
from commonpool.components.agreement import of_exchange
from commonpool.components.envoy_gateway import VERSION, target
from commonpool.components.gateway import EXCHANGE_HEADER, Consumer
from commonpool.components.rendering import Body, body
from commonpool.model import Estate, SharedService
from commonpool.model.backend import Health
from commonpool.model.share import shares
from commonpool.model.today import CHINA
from commonpool.model.traffic import Share

_UNSENT = ("connect-failure", "refused-stream", "reset-before-request")
_SEEN = (*_UNSENT, "reset", "gateway-error")
_NOT_LIMITED = 100_000  # calls; instead of Envoy's own 1,024, which nobody declared
_OFTEN_BRIEF = (404, 408, 429, 500, 502, 503, 504)  # what servers say while they start, stop or are busy
_FEWEST_RETRIES = 5  # always allowed, so that the budget of a quiet service is not zero


def objects(estate: Estate, service: SharedService) -> list[Body]:
    """The policies of a service that has an endpoint."""
    consumers = gateway.consumers(estate, service)
    if not gateway.is_seen(service):
        return [_traffic(estate, service, service.name, [target(gateway.route_kind(service), service.name)], Share())]
    if not consumers:
        return []
    return [*_terms(estate, service, consumers), *_shares(estate, service, consumers)]


def _sections(estate: Estate, service: SharedService, consumers: list[Consumer], *, reads: bool) -> list[Body]:
    """The rules of all consumers, or those for what they read."""
    kind = gateway.route_kind(service)
    names = {gateway.reads_name(one.department) if reads else one.department for one in consumers}
    return [target(kind, route, rule) for route, rule in gateway.rules(estate, service) if rule in names]


def _terms(estate: Estate, service: SharedService, consumers: list[Consumer]) -> list[Body]:
    """One policy for each consumer with an agreement: its permission ends by itself, and no run is needed at midnight.

    Who passes at all, the rules of the routes say (`gateway`). Where calls are to pass the exchange, only those pass that did:
    a call that its filter misses, because it is refused, gone or not yet there, is refused as well.
    """
    found = []
    agreed = [(one, terms) for one in consumers if (terms := estate.terms(service.name, one.department))]
    kind, rules = gateway.route_kind(service), gateway.rules(estate, service) if agreed else []
    exchanged = estate.exchange is not None and of_exchange(estate, service)
    for one, terms in agreed:
        begins, ends = midnight(terms.spec.term.start), midnight(terms.spec.term.end, days=1)
        within = f"request.time >= timestamp('{begins}') && request.time < timestamp('{ends}')"
        if exchanged:
            within += f" && request.headers['{EXCHANGE_HEADER}'] == '{terms.name}'"
        own = (one.department, gateway.reads_name(one.department))
        spec = {
            "targetRefs": [target(kind, route, rule) for route, rule in rules if rule in own],
            "mergeType": "StrategicMerge",
            "authorization": {
                "defaultAction": "Deny",
                "rules": [{"name": "in-force", "action": "Allow", "cel": within}],
            },
        }
        name, namespace = _of_department(service, one.department), service.namespace_name
        found.append(body(VERSION, "SecurityPolicy", name, estate.pool, namespace=namespace, spec=spec))
    return found


def _of_department(service: SharedService, department: str) -> str:
    """The name of a policy that is about one consumer."""
    return f"{service.name}.department.{department}"


def midnight(day: str, days: int = 0) -> str:
    """When a day of an agreement begins, `days` later: at midnight in China."""
    return datetime.combine(date.fromisoformat(day) + timedelta(days), time(), CHINA).isoformat()


def _shares(estate: Estate, service: SharedService, consumers: list[Consumer]) -> list[Body]:
    """One policy for all consumers, and one for each with an agreed rate: every rule has counters and connections of its own."""
    common, agreed = shares(estate, service)
    kind = gateway.route_kind(service)
    routes = [target(kind, name) for name in gateway.route_names(estate, service)]
    found = [_traffic(estate, service, service.name, routes, common)]
    groups = [(service.name, [one for one in consumers if one.department not in agreed], common)]
    groups += [
        (_of_department(service, name), [one for one in consumers if one.department == name], share)
        for name, share in agreed.items()
    ]
    for name, members, share in groups:
        if name != service.name:
            writes = _sections(estate, service, members, reads=False)
            found.append(_traffic(estate, service, name, writes, share))
        if members and gateway.splits_reads(service):
            reads = _sections(estate, service, members, reads=True)
            found.append(_traffic(estate, service, f"{name}.reads", reads, share, repeats=True))
    return found


def _traffic(
    estate: Estate, service: SharedService, name: str, targets: list[Body], share: Share, *, repeats: bool = False
) -> Body:
    spec = service.spec
    seen = gateway.is_seen(service)
    found: Body = {
        "targetRefs": targets,
        "loadBalancer": {"type": "LeastRequest"},
        "healthCheck": _health(service, service.host(estate.pool.spec.network.domain)),
        "circuitBreaker": _circuit_breaker(service, share),
        "timeout": {"tcp": {"connectTimeout": spec.timeouts.connect}},
    }
    if seen:
        http: Body = {"streamIdleTimeout": spec.timeouts.idle, "connectionIdleTimeout": "1m"}
        if not spec.timeouts.unlimited:
            # The time limits of routes begin when a request has ended: who never ends one would go on for ever, also
            # when its agreement is over or its line is gone.
            http["maxStreamDuration"] = spec.timeouts.request
        if gateway.route_kind(service) == "GRPCRoute":
            http["requestTimeout"] = "0s" if spec.timeouts.unlimited else spec.timeouts.request
        found["timeout"]["http"] = http
        if spec.retries.attempts:
            found["retry"] = _retries(service, repeats=repeats or spec.retries.repeat == "all")
        if share.requests_per_second:
            limit = {"limit": {"requests": share.requests_per_second, "unit": "Second"}}
            found["rateLimit"] = {"local": {"rules": [limit]}}
    return body(VERSION, "BackendTrafficPolicy", name, estate.pool, namespace=service.namespace_name, spec=found)


def _circuit_breaker(service: SharedService, share: Share) -> Body:
    most = share.concurrent or service.spec.limits.total.concurrent or _NOT_LIMITED
    found: Body = {"maxConnections": max(most, 8), "maxPendingRequests": most, "maxParallelRequests": most}
    if gateway.is_seen(service):
        percent = {"numerator": service.spec.retries.budget_percent, "denominator": 100}
        found["retryBudget"] = {"percent": percent, "minRetryConcurrency": _FEWEST_RETRIES}
    return found


def _retries(service: SharedService, *, repeats: bool) -> Body:
    retries = service.spec.retries
    per_retry: Body = {"backOff": {"baseInterval": "25ms", "maxInterval": "250ms"}}
    if retries.timeout:
        per_retry["timeout"] = retries.timeout
    found: Body = {
        "numRetries": retries.attempts,
        "retryOn": {"triggers": list(_SEEN if repeats else _UNSENT)},
        "perRetry": per_retry,
    }
    if any(backend.priority for backend in service.spec.backends):
        found["numAttemptsPerPriority"] = 1
    return found


def _health(service: SharedService, host: str) -> Body:
    health = service.spec.health
    active: Body = {
        "interval": health.interval,
        "timeout": health.timeout,
        "unhealthyThreshold": health.unhealthy_after,
        "healthyThreshold": health.healthy_after,
        **_check(service, health, host),
    }
    passive = {
        "interval": "1s",
        "consecutive5XxErrors": health.passive.consecutive_errors,
        "consecutiveGatewayErrors": health.passive.consecutive_errors,
        "baseEjectionTime": health.passive.ejection,
        "maxEjectionPercent": 50,  # a fault of everybody is rather one of the callers' doing
        "alwaysEjectOneEndpoint": True,
    }
    # No panic: a backend that fails its checks gets nothing, however many of them there are.
    return {"active": active, "passive": passive, "panicThreshold": 0}


def _check(service: SharedService, health: Health, host: str) -> Body:
    protocol = service.spec.endpoint.protocol if service.spec.endpoint else "HTTP"
    if protocol == "GRPC":
        return {"type": "GRPC", "grpc": {"service": health.grpc_service} if health.grpc_service else {}}
    if protocol != "HTTP":
        tcp = {"send": _bytes(health.send), "receive": _bytes(health.receive)}
        return {"type": "TCP", "tcp": {key: value for key, value in tcp.items() if value}}
    expected = health.statuses or [200]
    http: Body = {"path": health.path or "/", "hostname": health.host or host, "expectedStatuses": list(expected)}
    # Without these, one such answer would take the backend out at once, whatever `unhealthyAfter` says.
    http["retriableStatuses"] = [status for status in _OFTEN_BRIEF if status not in expected]
    if health.body:
        http["expectedResponse"] = {"type": "Text", "text": health.body}
    return {"type": "HTTP", "http": http}


def _bytes(text: str | None) -> Body | None:
    return {"type": "Binary", "binary": base64.b64encode(bytes.fromhex(text)).decode()} if text else None
