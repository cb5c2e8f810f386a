"""What an Envoy's Prometheus endpoint says of the backends of one service, read over loopback. Changes nothing.

Envoy knows clusters, not backends. Envoy Gateway names a cluster by kind, namespace and name of the route, the number of
the rule and of the reference in it; the live routes say which backend that is.
"""

import http.client
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from commonpool.proxy.histogram import Histogram
from commonpool.proxy.sample import Counts, Instance, Members

PATIENCE_SECONDS = 3.0
TOGETHER = " + "  # between the names of backends that Envoy counts as one
LARGEST = 64 << 20  # bytes of one scrape
_LINE = re.compile(r"^(envoy_cluster_[a-z0-9_]+)\{(.*)\} ([0-9.eE+]+|NaN)$")
_GRPC = re.compile(r"^envoy_cluster_grpc_([0-9]+)$")
# UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: what google.rpc.Code maps to a 5xx of HTTP.
_SERVER_FAULTS = frozenset({2, 4, 12, 13, 14, 15})
_LABEL = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')
CLUSTER = "envoy_cluster_name"
# Every metric that is read here or by the dashboard, so that a test can hold them against a real scrape.
REQUESTS = "envoy_cluster_upstream_rq_xx"
LATENCY = "envoy_cluster_upstream_rq_time_bucket"
CONNECTIONS = "envoy_cluster_upstream_cx_total"
CONNECTIONS_FAILED = "envoy_cluster_upstream_cx_connect_fail"
CHECKS = "envoy_cluster_health_check_attempt"
CHECKS_PASSED = "envoy_cluster_health_check_success"
HEALTHY = "envoy_cluster_membership_healthy"
HOSTS = "envoy_cluster_membership_total"


class NoNumbers(Exception):
    """Nobody answers, or what is answered does not tell the backends of a move apart; the message says which."""


def scrape(url: str, statistics: str = "") -> str:
    """The text of one scrape, of the statistics whose names match a regular expression. Raises `NoNumbers`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", parts.path + (f"?filter={quote(statistics)}" if statistics else ""))
        answer = connection.getresponse()
        body = answer.read(LARGEST)
    except (OSError, http.client.HTTPException) as error:
        raise NoNumbers(f"Envoy does not answer at {url}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise NoNumbers(f"{url} answers with {answer.status}")
    return body.decode(errors="replace")


def lines(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(name, labels, value) of every statistic of a cluster."""
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            yield match[1], dict(_LABEL.findall(match[2])), float(match[3])


def clusters(routes: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, str]:
    """Backend by cluster, several joined where they share one. `names` are backends by their object's name."""
    found: dict[str, str] = {}
    for route in routes:
        metadata = route["metadata"]
        prefix = f"{route['kind'].lower()}/{metadata['namespace']}/{metadata['name']}/rule"
        for number, rule in enumerate(route["spec"].get("rules", ())):
            references = [
                (index, names[one["name"]])
                for index, one in enumerate(rule.get("backendRefs", ()))
                if one["name"] in names and one.get("weight", 1)
            ]
            found |= {f"{prefix}/{number}/backend/{index}": name for index, name in references}
            if references:
                # Of connections that are passed on there is one rule only, and its number is -1.
                only = -1 if route["kind"] in ("TCPRoute", "TLSRoute") else number
                found[f"{prefix}/{only}"] = TOGETHER.join(name for _, name in references)
    return found


def read(text: str, backends: Mapping[str, str], *, calls: bool) -> Instance:
    """What one scrape says of each backend; `calls` counts answers, else connections."""
    numbers: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    buckets: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    members: dict[str, Members] = {}
    for name, labels, value in lines(text):
        cluster = labels.get(CLUSTER, "")
        if cluster not in backends or math.isnan(value):
            continue
        backend = backends[cluster]
        if name == LATENCY:
            buckets[backend][math.inf if labels["le"] == "+Inf" else float(labels["le"])] += value
        elif name == REQUESTS:
            numbers[backend][f"{name}:{labels.get('envoy_response_code_class', '')}"] += value
        else:
            numbers[backend][name] += value
    for backend, found in numbers.items():
        if HOSTS in found:
            members[backend] = Members(int(found[HEALTHY]), int(found[HOSTS]))
    return Instance({name: _counts(found, buckets[name], calls) for name, found in numbers.items()}, members)


def _counts(found: Mapping[str, float], buckets: Mapping[float, float], calls: bool) -> Counts:
    answered = sum(value for name, value in found.items() if name.startswith(f"{REQUESTS}:"))
    # A gRPC call that failed is an HTTP call that succeeded. Envoy counts its own refusals of gRPC calls as both.
    requests, errors = answered, max(found.get(f"{REQUESTS}:5", 0.0), _faults(found))
    if not calls:
        requests, errors = found.get(CONNECTIONS, 0.0), found.get(CONNECTIONS_FAILED, 0.0)
    checks, passed = found.get(CHECKS, 0.0), found.get(CHECKS_PASSED, 0.0)
    return Counts(int(requests), int(errors), Histogram.of(buckets), int(checks), int(max(0.0, checks - passed)))


def _faults(found: Mapping[str, float]) -> float:
    codes = {name: match for name in found if (match := _GRPC.match(name))}
    return sum(found[name] for name, match in codes.items() if int(match[1]) in _SERVER_FAULTS)
