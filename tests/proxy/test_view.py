"""What is said of a backend's health, as far as it can be known; Envoy's numbers, and histograms. Pure."""

import pytest
from commonpool.model.backend import Health
from commonpool.proxy import metrics
from commonpool.proxy.histogram import Histogram
from commonpool.proxy.sample import Members, Sample
from commonpool.proxy.view import counted_together, health

TEXT = """\
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="httproute/service-a/a/rule/0/backend/0"} 95
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="httproute/service-a/a/rule/0/backend/0"} 5
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="httproute/service-a/a/rule/1/backend/0"} 100
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="httproute/service-a/a/rule/1/backend/1"} 7
envoy_cluster_membership_healthy{envoy_cluster_name="httproute/service-a/a/rule/0/backend/0"} 1
envoy_cluster_membership_total{envoy_cluster_name="httproute/service-a/a/rule/0/backend/0"} 2
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/service-a/a/rule/0/backend/0",le="1"} 50
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/service-a/a/rule/0/backend/0",le="5"} 100
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="httproute/service-a/a/rule/0/backend/0",le="+Inf"} 100
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="httproute/service-b/b/rule/0"} 9
"""


def route(*weights: int) -> dict[str, object]:
    references = [{"name": name, "weight": weight} for name, weight in zip(("a-old", "a-new"), weights, strict=True)]
    return {
        "kind": "HTTPRoute",
        "metadata": {"namespace": "service-a", "name": "a"},
        "spec": {"rules": [{"backendRefs": references}, {"backendRefs": references}]},
    }


NAMES = {"a-old": "old", "a-new": "new"}


def test_the_clusters_of_all_rules_add_up_by_backend() -> None:
    found = metrics.read(TEXT, metrics.clusters([route(90, 10)], NAMES), calls=True)
    old, new = found.counts["old"], found.counts["new"]
    assert (old.requests, old.errors, new.requests, new.errors) == (200, 5, 7, 0)
    assert found.members["old"] == Members(1, 2)
    assert (old.latency.quantile(0.5), old.latency.quantile(0.99)) == (1.0, 4.92)


def test_backends_that_share_one_cluster_are_not_told_apart() -> None:
    shared = TEXT.replace("rule/0/backend/0", "rule/0")
    assert metrics.read(shared, metrics.clusters([route(100, 0)], NAMES), calls=True).counts["old"].requests == 200
    found = metrics.read(shared, metrics.clusters([route(90, 10)], NAMES), calls=True)
    assert found.counts["old + new"].requests == 100
    assert counted_together(Sample({"a": found})) == {"old": "old + new", "new": "old + new"}


def test_a_histogram_adds_up_takes_apart_and_knows_its_quantiles() -> None:
    first = Histogram.of({1: 10, 5: 20, float("inf"): 20})
    more = first + Histogram.of({1: 0, 5: 30, float("inf"): 40})
    assert more - first == Histogram.of({1: 0, 5: 30, float("inf"): 40})
    assert (more.count, more.quantile(0.5), more.quantile(1.0)) == (60, 3.0, 5)
    assert Histogram().quantile(0.5) is None
    assert Histogram.from_json(more.to_json()) == more


@pytest.mark.parametrize(
    ("members", "share", "age", "watched", "said"),
    [
        (None, 0, None, 100.0, "unwatched"),
        (None, 100, None, 100.0, "unknown"),
        (Members(2, 2), 100, 1.0, 100.0, "healthy"),
        (Members(1, 2), 100, 1.0, 100.0, "partly"),
        (Members(0, 2), 100, 1.0, 100.0, "down"),
        (Members(2, 2), 100, 61.0, 100.0, "unknown"),
        (Members(2, 2), 100, None, 5.0, "healthy"),
        (Members(2, 2), 100, None, 61.0, "unknown"),
    ],
)
def test_evidence_that_expired_proves_nothing(
    members: Members | None, share: float, age: float | None, watched: float, said: str
) -> None:
    assert health(members, share, age, watched, Health()) == said


def test_connections_that_are_passed_on_have_one_cluster_whose_rule_has_no_number() -> None:
    passed: dict[str, object] = {**route(1, 1), "kind": "TCPRoute"}
    assert metrics.clusters([passed], NAMES)["tcproute/service-a/a/rule/-1"] == "old + new"
