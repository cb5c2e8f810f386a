"""What somebody put into a namespace before it was the pool's neither widens what is granted nor takes the fence away."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import estates
import pytest
from commonpool.components import network
from commonpool.model import load_estate

from escapes.attempts import CORE, thing
from escapes.ground import ROOT, Ground

SPACE = "mere-main"
POLICIES = f"/apis/networking.k8s.io/v1/namespaces/{SPACE}/networkpolicies"


def up(ground: Ground) -> "subprocess.CompletedProcess[str]":
    """The administrator, who takes over what is there."""
    words = [
        "up",
        "--yes",
        "--skip-preview",
        "--no-wait",
        "--adopt",
        "--stack",
        "departments",
        "--estate",
        str(ground.root),
    ]
    command = [sys.executable, "-m", "commonpool.cli", *words, "--kubeconfig", str(ground.pool.kubeconfig)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def declared(ground: Ground) -> Iterator[Ground]:
    """A department whose namespace stands already when it asks for it."""
    manifest = ground.root / "departments" / "mere.yaml"
    listed = "      registries: [registry.jiangnan.example/mere]\n"
    manifest.write_text(estates.department("mere", 6) + listed, encoding="utf-8")
    yield ground
    manifest.unlink()
    assert up(ground).returncode == 0
    deadline = time.monotonic() + 60
    while ground.administrator.send("DELETE", f"{CORE}/namespaces/{SPACE}").status != 404:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def made(ground: Ground, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = ground.administrator.send("POST", path, body)
    assert answer.status == 201, answer.words
    return answer.body


def test_a_label_by_which_every_registry_is_granted_does_not_stay(declared: Ground) -> None:
    space = thing("v1", "Namespace", SPACE)
    space["metadata"]["labels"] = {"commonpool.dev/registries": "all"}
    made(declared, f"{CORE}/namespaces", space)
    told = up(declared)
    assert (told.returncode, "commonpool.dev/registries [field_conflict]" in told.stderr + told.stdout) == (1, True)


def test_a_fence_that_would_go_with_an_object_of_the_departments_is_not_taken_over(declared: Ground) -> None:
    """Whoever may delete its owner would have the garbage collector delete it, whom every rule lets pass."""
    made(declared, f"{CORE}/namespaces", thing("v1", "Namespace", SPACE))
    bait = made(declared, f"{CORE}/namespaces/{SPACE}/configmaps", thing("v1", "ConfigMap", "bait", SPACE))
    spec = network.baseline(load_estate(declared.root).pool, SPACE)["spec"]  # in which nothing conflicts
    closed = thing("networking.k8s.io/v1", "NetworkPolicy", "closed", SPACE, spec=spec)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "bait", "uid": bait["metadata"]["uid"]}
    closed["metadata"]["ownerReferences"] = [owner]
    made(declared, POLICIES, closed)
    told = up(declared)
    assert (told.returncode, "belongs to nothing" in told.stderr + told.stdout) == (1, True), told.stdout
    assert "labels" not in declared.read(f"{POLICIES}/closed")["metadata"]
    assert declared.administrator.send("DELETE", f"{POLICIES}/closed").status == 200
    again = up(declared)
    assert again.returncode == 0, again.stdout
