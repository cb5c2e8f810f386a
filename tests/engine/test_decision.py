"""What is done with one object, by pure functions."""

import pytest
from commonpool.engine.decision import announced, propagation
from commonpool.engine.record import Identity
from commonpool.engine.unknown import UNKNOWN


@pytest.mark.parametrize(
    ("group", "kind", "asked", "policy"),
    [
        ("apps", "Deployment", "", "Foreground"),
        ("batch", "Job", "", "Foreground"),
        ("", "ReplicationController", "", "Foreground"),
        ("example.org", "Database", "", "Foreground"),
        ("gateway.networking.k8s.io", "HTTPRoute", "", "Background"),
        ("gateway.envoyproxy.io", "Backend", "", "Background"),
        ("commonpool.dev", "Dataset", "", "Background"),
        ("", "ConfigMap", "", "Background"),
        ("apps", "StatefulSet", "orphan", "Orphan"),
        ("apps", "Deployment", "background", "Background"),
    ],
)
def test_what_stands_below_an_object_goes_first_unless_it_says_otherwise(
    group: str, kind: str, asked: str, policy: str
) -> None:
    annotations = {"pulumi.com/deletionPropagationPolicy": asked} if asked else {}
    assert propagation(Identity(group, kind, "n", "a"), annotations) == policy


def test_what_a_server_gives_out_by_chance_is_unknown_beforehand() -> None:
    declared = {
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {"type": "NodePort", "ports": [{"port": 80}, {"nodePort": 30001}]},
    }
    given = {"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "type": "NodePort", "sessionAffinity": "None"}
    tried = {
        **declared,
        "spec": {**given, "ports": [{"port": 80, "nodePort": 31234}, {"nodePort": 30001}]},
        "status": {},
    }
    hidden = {"clusterIP": UNKNOWN, "clusterIPs": UNKNOWN, "type": "NodePort"}
    ports = [{"port": 80, "nodePort": UNKNOWN}, {"nodePort": 30001}]
    assert announced(declared)["spec"] == {**hidden, "ports": ports}
    assert announced(declared, tried)["spec"] == {**hidden, "sessionAffinity": "None", "ports": ports}
    assert "status" not in announced(declared, tried)
    unknown = {**declared, "spec": UNKNOWN}
    assert announced(unknown) == unknown
