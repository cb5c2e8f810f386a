"""Each rule can deny, warn or only note, and what it would refuse is told by name: `commonpool policy` and `commonpool doctor`."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commonpool.components.admission import RULES
from commonpool.engine.refusals import NOTE, of_line

from escapes.attempt import MERGE
from escapes.attempts import ADMISSION, CORE, OWN, RBAC, container, pod, thing
from escapes.caller import Caller
from escapes.ground import ROOT, Ground, apply

ELSEWHERE = pod("elsewhere", containers=[container(image="docker.io/library/busybox")])
NODE_PORT = thing("v1", "Service", "out", OWN, spec={"type": "NodePort", "ports": [{"port": 80}]})


def run(ground: Ground, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "commonpool.cli", *words, "--estate", str(ground.root), "--pool", ground.pool.name]
    environment = {
        "COMMONPOOL_DATA": str(ground.pool.layout.root.parents[1]),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "infra"),
    }
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def rows(ground: Ground, *words: str) -> list[dict[str, Any]]:
    ended = run(ground, "policy", "explain", *words, "-o", "json")
    assert ended.returncode in (0, 1), ended.stderr
    return list(json.loads(ended.stdout)["items"])


@pytest.fixture
def relaxed(ground: Ground) -> Iterator[Ground]:
    """The pool with one rule that warns and one that only notes."""
    path = ground.root / "pool.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace(
            "    podSecurity:", "    admissionPolicies: {registries: warn, services: audit}\n    podSecurity:"
        ),
        encoding="utf-8",
    )
    apply(ground.pool, ground.root, "--stack", "pool")
    yield ground
    path.write_text(text, encoding="utf-8")
    apply(ground.pool, ground.root, "--stack", "pool")
    until_probe(ground.administrator, passes=False)


def until_probe(caller: Caller, *, passes: bool) -> None:
    """The API server knows of a changed rule within moments, not at once: an image from elsewhere passes, or does not."""
    deadline = time.monotonic() + 30
    while (caller.send("POST", f"{CORE}/namespaces/{OWN}/pods?dryRun=All", ELSEWHERE).status == 201) is not passes:
        assert time.monotonic() < deadline, "the rule stands as it stood"
        time.sleep(0.1)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    deployment = thing("apps/v1", "Deployment", "web", spec={
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": ELSEWHERE["spec"]}})  # fmt: skip
    fine = thing("v1", "ConfigMap", "fine")
    path = tmp_path / "web.yaml"
    path.write_text(yaml.safe_dump_all([deployment, NODE_PORT, fine]), encoding="utf-8")
    return path


def found(items: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    return {(row["rule"], row["action"], row["department"], row["what"]) for row in items}


def test_a_manifest_is_tried_as_the_department_and_every_refusal_is_named(ground: Ground, manifest: Path) -> None:
    before = ground.state()
    ended = run(ground, "policy", "explain", str(manifest), "-n", OWN, "-o", "json")
    assert ended.returncode == 1, ended.stderr
    assert found(json.loads(ended.stdout)["items"]) == {
        ("registries", "deny", "water0", "Pod web"),
        ("services", "deny", "water0", "Service out"),
    }
    assert before == ground.state(), "explaining writes nothing"


def test_rules_that_warn_or_note_let_pass_and_are_told_all_the_same(relaxed: Ground, manifest: Path) -> None:
    person = relaxed.people["developer"]
    until_probe(person, passes=True)
    passed = person.send("POST", f"{CORE}/namespaces/{OWN}/pods", ELSEWHERE)
    assert passed.status == 201, passed.words
    assert "registry that this namespace is granted" in " ".join(passed.warnings)
    noted = person.send("POST", f"{CORE}/namespaces/{OWN}/services", NODE_PORT)
    assert noted.status in (201, 403), noted.words
    assert "ClusterIP" not in noted.words, "the quota may refuse it, the rule does not"
    assert relaxed.audited([passed.audit, noted.audit]) == set()
    told = found(rows(relaxed, str(manifest), "-n", OWN))
    assert ("registries", "warn", "water0", "Pod web") in told
    last = [row for row in rows(relaxed, "--since", "10m") if row["what"] in ("pods elsewhere", "services out")]
    assert {(row["rule"], row["action"], row["department"], row["who"]) for row in last} >= {
        ("registries", "warn", "water0", "oidc:developer"),
        ("services", "audit", "water0", "oidc:developer"),
    }
    person.send("DELETE", f"{CORE}/namespaces/{OWN}/pods/elsewhere")
    person.send("DELETE", f"{CORE}/namespaces/{OWN}/services/out")
    ill = run(relaxed, "doctor").stdout
    assert "registries stands in warn, services stands in audit" in ill


def test_every_rule_is_listed_with_how_it_stands(ground: Ground) -> None:
    ended = run(ground, "policy", "list", "-o", "json")
    items = json.loads(ended.stdout)["items"]
    assert {row["rule"]: row["stands"] for row in items} == dict.fromkeys(RULES, "deny")


@pytest.mark.parametrize("words", [[], ["x.yaml", "--since", "3d"], ["--since", "soon"]])
def test_a_question_that_cannot_be_answered_is_refused_with_what_to_write(ground: Ground, words: list[str]) -> None:
    ended = run(ground, "policy", "explain", *words)
    assert ended.returncode == 1
    assert "next:" in ended.stderr


def test_a_line_of_the_audit_log_that_was_cut_off_tells_nothing() -> None:
    assert of_line('{"annotations": {"' + NOTE) == []


ILLNESSES: dict[str, tuple[str, str, Any, str]] = {
    "a rule that is gone": ("DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/commonpool-registries.all", None, "is let pass"),
    "a rule that was weakened": (
        "PATCH", f"{ADMISSION}/validatingadmissionpolicies/commonpool-owned", {"spec": {"failurePolicy": "Ignore"}}, "is not what the estate declares"),
    "a namespace of lower walls": (
        "PATCH", f"{CORE}/namespaces/{OWN}", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}, "drifted"),
    "rights that nobody declared": ("POST", f"{RBAC}/namespaces/{OWN}/rolebindings", thing("rbac.authorization.k8s.io/v1", "RoleBinding", "strange", OWN,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "commonpool-admin"},
        subjects=[{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "oidc:strange"}]), "gives rights"),
}  # fmt: skip


@pytest.fixture(scope="module")
def healthy(ground: Ground) -> Iterator[Ground]:
    """Without the person who was made cluster-admin by mistake, whom the doctor finds too."""
    binding = ground.read(f"{RBAC}/clusterrolebindings/tests-mistake")
    ground.administrator.send("DELETE", f"{RBAC}/clusterrolebindings/tests-mistake")
    yield ground
    del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
    ground.administrator.send("POST", f"{RBAC}/clusterrolebindings", binding)


def test_a_pool_that_was_applied_is_well(healthy: Ground) -> None:
    apply(healthy.pool, healthy.root)
    ended = run(healthy, "doctor", "-o", "json")
    findings = json.loads(ended.stdout)["findings"]
    assert [one for one in findings if one["state"] == "ill"] == []
    assert ended.returncode == 0
    assert {one["check"] for one in findings} >= {
        "rules",
        "enforcement",
        "fence",
        "drift",
        "certificates",
        "evidence",
        "audit",
        "encryption",
        "network",
        "clock",
    }
    [network] = [one for one in findings if one["check"] == "network"]
    assert network["state"] == "unknown", "where every node is simulated, nothing is claimed"
    assert "no real node is ready" in network["words"]


def test_the_doctor_names_every_illness_and_what_mends_it_and_that_mends_it(healthy: Ground) -> None:
    for method, path, body, _ in ILLNESSES.values():
        kind = MERGE if method == "PATCH" else "application/json"
        assert healthy.administrator.send(method, path, body, kind).status < 300
    until_probe(healthy.administrator, passes=True)
    ended = run(healthy, "doctor")
    missed = [illness for illness, (*_, words) in ILLNESSES.items() if words not in ended.stdout]
    assert (ended.returncode, missed) == (1, []), ended.stdout + ended.stderr
    assert "mend:" in ended.stdout
    healthy.administrator.send("DELETE", f"{RBAC}/namespaces/{OWN}/rolebindings/strange")
    apply(healthy.pool, healthy.root)
    until_probe(healthy.administrator, passes=False)
    again = run(healthy, "doctor")
    assert again.returncode == 0, again.stdout
