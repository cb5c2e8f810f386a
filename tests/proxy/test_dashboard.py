"""The dashboard and the scrape configuration name only metrics that a real Envoy gives."""

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commonpool.proxy import metrics

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.load import Load
from proxy.moving import declare
from proxy.test_service_commands import CHECKS

FOLDER = Path(__file__).resolve().parents[2] / "service-proxy"
METRIC = re.compile(r"\benvoy_[a-z0-9_]+(?=[{\[)\s,])")


def dashboard() -> dict[str, Any]:
    return dict(json.loads((FOLDER / "grafana" / "service-proxy.json").read_text(encoding="utf-8")))


def queries() -> list[str]:
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*found, *(one["query"]["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query")]


def names() -> set[str]:
    return {name for query in queries() for name in METRIC.findall(query) if name != "envoy_cluster_name"}


def kept() -> re.Pattern[str]:
    jobs = yaml.safe_load((FOLDER / "prometheus" / "scrape.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    [rule] = jobs[0]["metric_relabel_configs"]
    assert all(job["metric_relabel_configs"] == [rule] for job in jobs)
    return re.compile(rule["regex"])


def test_every_query_has_balanced_brackets_and_names_a_metric() -> None:
    for query in queries():
        assert all(query.count(left) == query.count(right) for left, right in ("()", "{}", "[]")), query
        assert METRIC.search(query), query
    assert len(names()) >= 15


def test_what_the_dashboard_draws_is_kept_by_the_scrape_configuration() -> None:
    read_by_us = {
        metrics.REQUESTS,
        metrics.LATENCY,
        metrics.CHECKS,
        metrics.CHECKS_PASSED,
        metrics.HEALTHY,
        metrics.HOSTS,
    }
    dropped = {name for name in names() | read_by_us if not kept().fullmatch(name)}
    assert dropped == set()


@pytest.fixture
def scraped(proxy: Proxy, start_backend: Callable[[str], Backend]) -> str:
    """A scrape after calls that succeeded and failed, with backends that are checked."""
    name = f"g{uuid.uuid4().hex[:8]}"
    old = start_backend("old")
    old.behave(errors=0.2)
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
    policy = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": name, "namespace": f"service-{name}"},
        "spec": {"targetRefs": [target], "healthCheck": {**CHECKS, "passive": {"consecutive5XxErrors": 1000}}},
    }
    declare(proxy, name, old, start_backend("new"), [{"weight": 100}], policy)
    with Load(proxy.url, f"{name}.test", rate=50) as load:
        until(lambda: bool(load.outcome.statuses[500]), "one call fails")
        wanted = f'{metrics.LATENCY}{{envoy_cluster_name="httproute/service-{name}/'
        until(lambda: wanted in metrics.scrape(proxy.pool.proxy_metrics), "latencies are told")
    return metrics.scrape(proxy.pool.proxy_metrics)


def test_every_metric_of_the_dashboard_exists_in_a_real_scrape(scraped: str) -> None:
    given = set(re.findall(r"^(envoy_[a-z0-9_]+)", scraped, re.M))
    assert names() - given == set()
    assert 'envoy_response_code_class="5"' in scraped
    ours = {metrics.REQUESTS, metrics.LATENCY, metrics.CONNECTIONS, metrics.CONNECTIONS_FAILED, metrics.CHECKS}
    assert {*ours, metrics.CHECKS_PASSED, metrics.HEALTHY, metrics.HOSTS} - given == set()
