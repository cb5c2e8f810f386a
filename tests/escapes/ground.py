"""A pool with an attacker and a victim, the people who try, and the record of what they tried."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import estates
from commonpool.embedded import EmbeddedPool

from escapes.attempt import Attempt, Body
from escapes.attempts import CATALOGUE, CORE, OWN, RBAC, pod, thing
from escapes.caller import Answer, Caller

ROOT = Path(__file__).resolve().parents[2]
REFUSALS = frozenset({400, 401, 403, 404, 405, 409, 415, 422})
# What an attack could have changed; secrets and leases of the platform among them.
WATCHED = (
    "/api/v1/namespaces", "/api/v1/resourcequotas", "/api/v1/limitranges", "/api/v1/serviceaccounts", "/api/v1/nodes",
    "/api/v1/services", "/api/v1/endpoints", "/api/v1/persistentvolumes", "/api/v1/persistentvolumeclaims",
    "/apis/networking.k8s.io/v1/networkpolicies", "/apis/networking.k8s.io/v1/ingresses", f"{RBAC}/roles",
    f"{RBAC}/rolebindings", f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings", "/api/v1/configmaps",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/gateway.networking.k8s.io/v1/httproutes", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/pods", "/api/v1/secrets",
    "/apis/apps/v1/statefulsets", "/apis/autoscaling/v2/horizontalpodautoscalers",
)  # fmt: skip


@dataclass
class Ground:
    """The pool and who is on it."""

    pool: EmbeddedPool
    root: Path
    administrator: Caller
    people: dict[str, Caller] = field(default_factory=dict)

    def read(self, path: str) -> Body:
        answer = self.administrator.send("GET", path)
        assert answer.status == 200, (path, answer.words)
        return answer.body

    def attempts(self, group: str) -> list[Attempt]:
        return list(CATALOGUE[group](self.read))

    def state(self) -> dict[str, str]:
        """Everything that is watched, without what machines and controllers say from minute to minute."""
        found = {}
        for path in WATCHED:
            for item in self.read(path).get("items", ()):
                metadata = item["metadata"]
                kept = {
                    word: metadata.get(word)
                    for word in ("labels", "annotations", "ownerReferences", "finalizers", "uid", "deletionTimestamp")
                }
                rest = {word: value for word, value in item.items() if word not in ("metadata", "status")}
                name = f"{path} {metadata.get('namespace', '')}/{metadata['name']}"
                found[name] = json.dumps([kept, rest], sort_keys=True)
        return found

    def audited(self, numbers: Iterable[str], patience: float = 5.0) -> set[str]:
        """Which of these requests are not in the audit log."""
        missing = set(numbers)
        deadline = time.monotonic() + patience
        while missing and time.monotonic() < deadline:
            with self.pool.audit_log.open("rb") as file:
                seen = {json.loads(line)["auditID"] for line in file if line.endswith(b"\n")}
            missing -= seen
        return missing


def apply(pool: EmbeddedPool, root: Path, *words: str) -> None:
    """As a person would."""
    command = [
        sys.executable,
        "-m",
        "commonpool.cli",
        "up",
        "--yes",
        "--skip-preview",
        "--adopt",
        "--no-wait",
        "--estate",
        str(root),
    ]
    ended = subprocess.run(
        [*command, *words, "--kubeconfig", str(pool.kubeconfig)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def declare(root: Path) -> Path:
    """Two departments; water1 offers a service that water0 uses."""
    estates.write(root, 2, prefix="water")
    estates.add_service(
        root,
        "register",
        owner="water1",
        workload={"image": "registry.jiangnan.example/r/register:1", "replicas": 1, "ports": [{"name": "http", "port": 8080}],
                  "resources": {"cpu": "1m", "memory": "1Mi"}},
        endpoint={"protocol": "HTTP"},
        backends=[{"name": "main", "pods": True}],
    )  # fmt: skip
    for name in ("water0", "water1"):
        path = root / "departments" / f"{name}.yaml"
        accounts = "      serviceAccounts: [{name: pipeline, role: developer}, {name: watcher, role: viewer}]\n"
        path.write_text(path.read_text(encoding="utf-8") + accounts + "      consumes: [register]\n", encoding="utf-8")
    return root


def stand(pool: EmbeddedPool, root: Path) -> Ground:
    """Apply the estate, put something into the attacker's namespace, and call the people together."""
    apply(pool, declare(root))
    administrator = Caller.of_kubeconfig("administrator", pool.kubeconfig)
    ground = Ground(pool, root, administrator)
    standing = thing("v1", "Service", "standing", OWN, spec={"ports": [{"port": 80}]})
    pods, services = (f"{CORE}/namespaces/{OWN}/{kind}" for kind in ("pods", "services"))
    waiting = pod("waiting", schedulerName="nobody")
    none: Body = {"replicas": 0, "serviceName": "x", "selector": {"matchLabels": {"a": "b"}}}
    none["template"] = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    sets, resting = (
        f"/apis/apps/v1/namespaces/{OWN}/statefulsets",
        thing("apps/v1", "StatefulSet", "standing", OWN, spec=none),
    )
    for path, body in ((pods, pod("standing")), (pods, waiting), (services, standing), (sets, resting)):
        answer = administrator.send("POST", path, body)
        assert answer.status in (201, 409), answer.words
    reference = {"apiGroup": RBAC.split("/")[2], "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"apiGroup": RBAC.split("/")[2], "kind": "Group", "name": "oidc:mistake"}
    mistake = thing(
        "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "tests-mistake", roleRef=reference, subjects=[subject]
    )
    assert administrator.send("POST", f"{RBAC}/clusterrolebindings", mistake).status in (201, 409)
    groups = {"admin": "oidc:water0-admins", "developer": "oidc:water0-developers", "mistake": "oidc:mistake"}
    for name, group in groups.items():
        credential = root / f"{name}.kubeconfig"
        pool.issue_kubeconfig(f"oidc:{name}", (group,), credential, days=1)
        ground.people[name] = Caller.of_kubeconfig(name, credential)
    server, authority = administrator.server, administrator.authority
    ground.people["account"] = Caller("account", server, authority, token=token(administrator, OWN, "pipeline"))
    ground.people["nobody"] = Caller("nobody", server, authority)
    return ground


def token(administrator: Caller, namespace: str, account: str) -> str:
    asked: dict[str, Any] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    answer = administrator.send("POST", f"{CORE}/namespaces/{namespace}/serviceaccounts/{account}/token", asked)
    assert answer.status == 201, answer.words
    return str(answer.body["status"]["token"])


@dataclass
class Outcome:
    """What became of a group of attempts by one person."""

    tried: int = 0
    survived: list[str] = field(default_factory=list)
    audits: list[str] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)


def attack(caller: Caller, attempts: Iterable[Attempt], query: str = "") -> Outcome:
    """Try everything; what was not refused survived. `query` goes with every request."""
    outcome = Outcome()
    for attempt in attempts:
        answer = send(caller, attempt, query)
        outcome.tried += 1
        outcome.by[who_refused(answer)] += 1
        if answer.status not in REFUSALS:
            outcome.survived.append(f"{attempt}: {answer.status} {str(answer.body)[:300]}")
        elif attempt.method != "GET":
            outcome.audits.append(answer.audit)
    return outcome


def send(caller: Caller, attempt: Attempt, query: str = "") -> Answer:
    path = attempt.path
    if query:
        path += ("&" if "?" in path else "?") + query
    return caller.send(attempt.method, path, attempt.body, attempt.kind, attempt.headers)


def who_refused(answer: Answer) -> str:
    """The admission policy, Pod Security, a quota, the roles, or the API server's own validation."""
    words = answer.words
    if "ValidatingAdmissionPolicy" in words:
        return words.split("ValidatingAdmissionPolicy '", 1)[1].split("'", 1)[0]
    for mark, name in (
        ("PodSecurity", "Pod Security"),
        ("exceeded quota", "quota"),
        ("cannot", "roles"),
        ("Unauthorized", "authentication"),
    ):
        if mark in words:
            return name
    return f"validation ({answer.status})" if answer.status in REFUSALS else "nobody"


def differences(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name}: {before.get(name)} -> {after.get(name)}"
