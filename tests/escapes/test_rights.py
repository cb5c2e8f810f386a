"""Least privilege: what each role may do is a list in this repository, and the platform's own credentials do their job and no other (T8)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import estates
import pytest
from commonpool.components import roles
from commonpool.components.catalogue import NAMESPACE as CATALOGUE
from commonpool.model import load_estate

from escapes.attempt import MERGE
from escapes.attempts import CORE, OTHER, OWN, PLATFORM, RBAC, SERVED, SYSTEM, pod, thing
from escapes.caller import Caller
from escapes.ground import ROOT, Ground, token

GOLDEN = Path(__file__).parent / "golden"
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


@pytest.fixture(scope="module")
def callers(ground: Ground) -> dict[str, Caller]:
    """One of each kind of people and accounts."""
    found = dict(ground.people)
    del found["mistake"], found["nobody"]
    for name, group in {
        "viewer": "oidc:water0-viewers",
        "auditor": "oidc:provincial-audit",
        "pipeline": "oidc:pool-pipelines",
        "stranger": "oidc:x",
    }.items():
        path = ground.root / f"{name}.kubeconfig"
        ground.pool.issue_kubeconfig(f"oidc:{name}", (group,), path, days=1)
        found[name] = Caller.of_kubeconfig(name, path)
    admin = ground.administrator
    for name, place in {"engine": PLATFORM, "preview": PLATFORM, "watcher": OWN, "default": OWN}.items():
        found[name] = Caller(name, admin.server, admin.authority, token=token(admin, place, name))
    return found


def rights(caller: Caller, namespace: str) -> Iterator[str]:
    """As `kubectl auth can-i --list` asks, without what everybody authenticated may do."""
    answer = caller.send(
        "POST", REVIEW, thing("authorization.k8s.io/v1", "SelfSubjectRulesReview", "", spec={"namespace": namespace})
    )
    assert answer.status == 201, answer.words
    for rule in answer.body["status"]["resourceRules"]:
        for group in rule.get("apiGroups", ()):
            for resource in rule.get("resources", ()):
                names = f" [{' '.join(sorted(rule['resourceNames']))}]" if rule.get("resourceNames") else ""
                yield f"{namespace}: {group}/{resource}{names}: {' '.join(sorted(rule['verbs']))}"


@pytest.mark.parametrize(
    "who",
    [
        "admin",
        "developer",
        "viewer",
        "auditor",
        "pipeline",
        "stranger",
        "account",
        "watcher",
        "default",
        "engine",
        "preview",
    ],
)
def test_what_a_role_may_do_is_the_golden_list(ground: Ground, callers: dict[str, Caller], who: str) -> None:
    found = [line for place in (OWN, OTHER, SYSTEM, PLATFORM) for line in sorted(set(rights(callers[who], place)))]
    text = "\n".join(found) + "\n"
    path = GOLDEN / f"{who}.txt"
    if os.environ.get("COMMONPOOL_ACCEPT") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "accept a change with COMMONPOOL_ACCEPT=1, and explain it"


def test_every_rule_of_every_role_is_written_out(ground: Ground) -> None:
    pool = load_estate(ground.root).pool
    bodies = [
        one
        for one in (*roles.cluster_roles(pool), *roles.platform_accounts(pool))
        if one["kind"] in ("ClusterRole", "Role")
    ]
    assert len(bodies) == 6
    for one in bodies:
        for rule in one["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not [word for word in words if "*" in word], one["metadata"]["name"]
            assert not {"escalate", "impersonate", "approve", "sign"} & set(rule["verbs"])
            if "bind" in rule["verbs"]:
                assert (rule["verbs"], rule["resourceNames"]) == (["bind"], sorted(roles.ROLES.values())), (
                    "only these three, by name"
                )
            assert not {"nodes/proxy", "serviceaccounts/token", "certificatesigningrequests/approval"} & set(
                rule["resources"]
            )


def test_whatever_a_department_may_make_is_counted(ground: Ground) -> None:
    """F22: of no kind so many that the API server suffers; neither of those that Kubernetes makes of a department's words."""
    hard = ground.read(f"{CORE}/namespaces/{OWN}/resourcequotas/objects")["spec"]["hard"]
    kinds = {
        (resource, group)
        for role in roles.ROLES.values()
        for rule in ground.read(f"{RBAC}/clusterroles/{role}")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if "create" in rule["verbs"] and "/" not in resource
    }
    assert len(kinds) > 10
    kinds.add(("controllerrevisions", "apps"))  # one for each change of a StatefulSet, kept as long as that says
    assert int(hard["count/pods"]) > int(hard["pods"]), "finished ones, which Jobs leave, are counted besides"
    assert [
        one for one in sorted(kinds) if one[0] not in hard and f"count/{'.'.join(filter(None, one))}" not in hard
    ] == []


def run(ground: Ground, credential: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-m",
        "commonpool.cli",
        *words,
        "--estate",
        str(ground.root),
        "--kubeconfig",
        str(credential),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def issue(ground: Ground, path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-m",
        "commonpool.cli",
        "credential",
        "ci",
        "--write",
        str(path),
        "--kubeconfig",
        str(ground.pool.kubeconfig),
    ]
    return subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def credentials(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("credentials")
    for word in ("apply", "preview-only"):
        ended = issue(ground, folder / word, f"--{word}")
        assert ended.returncode == 0, ended.stderr
    return {word: folder / word for word in ("apply", "preview-only")}


def caller_of(ground: Ground, credential: Path) -> Caller:
    values = json.loads(credential.read_text(encoding="utf-8"))
    admin = ground.administrator
    return Caller(credential.name, admin.server, admin.authority, token=values["users"][0]["user"]["token"])


def test_a_credential_is_for_its_owner_and_overwrites_nothing(ground: Ground, credentials: dict[str, Path]) -> None:
    assert [path.stat().st_mode & 0o777 for path in credentials.values()] == [0o600, 0o600]
    ended = issue(ground, credentials["apply"])
    assert (ended.returncode, "exists" in ended.stderr) == (1, True)
    for span in ("5m", "48h", "soon"):
        assert issue(ground, credentials["apply"].with_name("x"), "--for", span).returncode == 1
    assert not credentials["apply"].with_name("x").exists()


def test_the_preview_credential_sees_a_change_and_writes_nothing(ground: Ground, credentials: dict[str, Path]) -> None:
    (ground.root / "departments" / "water2.yaml").write_text(estates.department("water2", 2), encoding="utf-8")
    before = ground.state()
    seen = run(ground, credentials["preview-only"], "preview", "--stack", "departments", "--detailed-exitcode")
    assert (seen.returncode, "water2-main" in seen.stdout) == (2, True), seen.stdout + seen.stderr
    refused = run(ground, credentials["preview-only"], "up", "--stack", "departments", "--yes", "--skip-preview")
    assert (refused.returncode, "writes nothing" in refused.stdout + refused.stderr) == (1, True), (
        refused.stdout + refused.stderr
    )
    assert ground.state() == before
    caller = caller_of(ground, credentials["preview-only"])
    for method, path, body, kind in (
        ("POST", f"{RBAC}/namespaces/{OWN}/rolebindings", bound(OWN), "application/json"),
        ("PATCH", f"{CORE}/namespaces/{OWN}", {"metadata": {"labels": {"a": "b"}}}, MERGE),
        ("DELETE", f"{CORE}/namespaces/{OWN}/resourcequotas/objects", None, ""),
        ("DELETE", f"{CORE}/namespaces/{OWN}", None, ""),
    ):
        answer = caller.send(method, path, body, kind)
        assert (answer.status, "writes nothing" in answer.words) == (403, True), (path, answer.words)


def test_the_pipelines_credential_applies_departments_and_services_and_nothing_beyond(
    ground: Ground, credentials: dict[str, Path]
) -> None:
    path = ground.root / "departments" / "water2.yaml"
    path.write_text(estates.department("water2", 2), encoding="utf-8")
    words = ("up", "--yes", "--skip-preview", "--stack", "services", "--stack", "departments", "--no-wait")
    made = run(ground, credentials["apply"], *words)
    assert made.returncode == 0, made.stdout + made.stderr
    ground.pool.issue_kubeconfig("oidc:member", ("oidc:water2-admins",), ground.root / "member.kubeconfig", days=1)
    member = Caller.of_kubeconfig("member", ground.root / "member.kubeconfig")
    assert member.send("GET", f"{CORE}/namespaces/water2-main/configmaps").status == 200
    path.unlink()
    gone = run(ground, credentials["apply"], *words)
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert (
        ground.administrator.send("GET", f"{CORE}/namespaces/water2-main").body.get("status", {}).get("phase")
        != "Active"
    )


OURS = {"app.kubernetes.io/managed-by": "commonpool", "commonpool.dev/flavor": "performance"}
OURS_ALONE = {"app.kubernetes.io/managed-by": "commonpool"}
ENVOY = "/apis/gateway.envoyproxy.io/v1alpha1"


def fenced(name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A namespace that lets privileged pods in."""
    body = thing("v1", "Namespace", name)
    body["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "privileged", **(labels or {})}
    return body


def deployment(namespace: str) -> dict[str, Any]:
    labels = {"a": "b"}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    body = thing("apps/v1", "Deployment", "x", namespace, spec=spec)
    body["metadata"]["labels"] = OURS_ALONE
    return body


def bound(namespace: str, role: str = "commonpool-admin", to: str = "oidc:x") -> dict[str, Any]:
    """Unless it says otherwise, a binding that the pipeline may give in a department's namespace."""
    group = "rbac.authorization.k8s.io"
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": role}
    subject = {"apiGroup": group, "kind": "Group", "name": to}
    body = thing(f"{group}/v1", "RoleBinding", "x", namespace, roleRef=reference, subjects=[subject])
    body["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "commonpool"}
    return body


def test_the_embedded_pool_writes_departments_by_an_account_that_is_no_administrators(ground: Ground) -> None:
    """The administrator writes the rules and the account; what is declared after that is tried and written under them."""
    path = ground.root / "departments" / "water3.yaml"
    pool = ground.pool
    common = ["--stack", "departments", "--estate", str(ground.root), "--pool", pool.name]
    runs = (["preview"], ["up", "--yes", "--skip-preview", "--no-wait"])
    environment = {**os.environ, "COMMONPOOL_DATA": str(pool.layout.root.parents[1])}
    writers: list[set[str]] = []
    for declared in (True, False):
        path.write_text(estates.department("water3", 3), encoding="utf-8") if declared else path.unlink()
        seen = pool.audit_log.stat().st_size
        for words in runs:
            command = [sys.executable, "-m", "commonpool.cli", *words, *common]
            ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert ended.returncode == 0, ended.stdout + ended.stderr
        with pool.audit_log.open("rb") as file:
            file.seek(seen)
            events = [json.loads(line) for line in file]
        writes = [one for one in events if one.get("objectRef", {}).get("namespace") in ("water3-main", PLATFORM)]
        writers.append({one["user"]["username"] for one in writes if one.get("userAgent", "").startswith("commonpool")})
    engine = "system:serviceaccount:commonpool-system:engine"
    assert writers == [{engine}, {engine}]


BEYOND: list[tuple[str, str, Any, str]] = [
    ("GET", f"{CORE}/namespaces/{OWN}/secrets", None, "cannot"),
    ("GET", f"{CORE}/secrets", None, "cannot"),
    ("POST", f"{CORE}/namespaces/{OWN}/pods/standing/exec?command=id", None, "cannot"),
    ("POST", f"{CORE}/namespaces/{SYSTEM}/configmaps", thing("v1", "ConfigMap", "x", SYSTEM), "into no other"),
    ("POST", f"{CORE}/namespaces/default/services", thing("v1", "Service", "x", "default", spec={"ports": [{"port": 80}]}), "into no other"),
    ("PATCH", f"{CORE}/namespaces/{SYSTEM}", {"metadata": {"labels": {"a": "b"}}}, "and no other"),
    ("DELETE", f"{CORE}/namespaces/{SYSTEM}", None, "may not be deleted"),
    ("DELETE", f"{CORE}/namespaces/kube-node-lease", None, "no other"),
    ("POST", f"{RBAC}/clusterrolebindings", thing("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "x",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}), "cannot"),
    ("POST", f"{RBAC}/namespaces/{OWN}/rolebindings", thing("rbac.authorization.k8s.io/v1", "RoleBinding", "x", OWN,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}), ""),
    ("PATCH", f"{RBAC}/clusterroles/commonpool-engine", {"metadata": {"labels": {"a": "b"}}}, "cannot"),
    ("PATCH", f"{RBAC}/clusterroles/commonpool-viewer", {"metadata": {"labels": {"a": "b"}}}, "cannot"),
    ("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/commonpool-engine", None, "cannot"),
    ("POST", f"{CORE}/namespaces", fenced("commonpool-mine"), "fenced as the pool declares"),
    ("POST", f"{CORE}/namespaces", fenced("mine-main", OURS), "fenced as the pool declares"),
    ("PATCH", f"{CORE}/namespaces/{OWN}", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}, "fenced"),
    ("PATCH", f"{CORE}/namespaces/{OWN}", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce-version": "v1.0"}}}, "fenced"),
    ("PATCH", f"{CORE}/namespaces/{OWN}", {"metadata": {"labels": {"commonpool.dev/flavor": None}}}, "fenced"),
    ("PATCH", f"{CORE}/namespaces/{OWN}", {"metadata": {"annotations": {"commonpool.dev/registries": "docker.io"}}}, "fenced"),
    ("PATCH", f"{CORE}/namespaces/{OWN}", {"metadata": {"labels": {"commonpool.dev/service": "x"}}}, "a department's own"),
    *(("PATCH", f"{CORE}/namespaces/{OWN}", {"metadata": metadata}, "neither owners nor finalizers") for metadata in (
        {"finalizers": ["example.org/never"]}, {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "1"}]})),
    # What a department made itself, in a namespace that the platform made.
    *((method, f"{CORE}/namespaces/{OWN}/{path}", body, "platform's marks") for method, path, body in (
        ("POST", "configmaps", thing("v1", "ConfigMap", "x", OWN)),
        ("PATCH", "configmaps/kube-root-ca.crt", {"data": {"ca.crt": "x"}}), ("DELETE", "configmaps/kube-root-ca.crt", None),
        ("PATCH", "services/standing", {"spec": {"selector": {"a": "b"}}}), ("DELETE", "services/standing", None),
        ("PATCH", "configmaps/kube-root-ca.crt", {"metadata": {"labels": OURS_ALONE}}),
        ("PATCH", "resourcequotas/objects", {"metadata": {"finalizers": ["example.org/never"]}}))),
    *(("POST", f"/apis/apps/v1/namespaces/{place}/deployments", deployment(place), words) for place, words in (
        (OWN, "of shared services"), (PLATFORM, "into no other"), ("commonpool-proxy", "into no other"))),
    *(("POST", f"{RBAC}/namespaces/{place}/rolebindings", bound(place), "into no other")
        for place in (PLATFORM, "commonpool-proxy")),
    ("POST", f"{RBAC}/namespaces/{CATALOGUE}/rolebindings", bound(CATALOGUE), "denied request"),  # by two rules, whichever is asked first
    ("PATCH", f"{CORE}/namespaces/{PLATFORM}/secrets/commonpool.commonpool.pool", {"data": {"a": "eA=="}}, "into no other"),
    ("DELETE", f"{CORE}/namespaces/{PLATFORM}/secrets/commonpool.commonpool.pool", None, "into no other"),
    *(("POST", f"{path}/namespaces/{PLATFORM}/{kind.lower()}s", thing(api, kind, "commonpool.others.dev", PLATFORM), "into no other")
        for path, api, kind in ((CORE, "v1", "Secret"), ("/apis/coordination.k8s.io/v1", "coordination.k8s.io/v1", "Lease"))),
    ("POST", f"{CORE}/namespaces/{PLATFORM}/configmaps", thing("v1", "ConfigMap", "x", PLATFORM), "into no other"),
    ("POST", f"{RBAC}/namespaces/{OWN}/rolebindings", bound(OWN, "commonpool-admin", "oidc:pool-pipelines"), "no pipeline's"),
    *(("POST", f"{RBAC}/namespaces/{CATALOGUE}/rolebindings", bound(CATALOGUE, CATALOGUE, group), "all the world")
        for group in ("system:unauthenticated", "system:authenticated", "system:serviceaccounts")),
    ("POST", f"{ENVOY}/namespaces/{SERVED}/envoyextensionpolicies", thing("gateway.envoyproxy.io/v1alpha1", "EnvoyExtensionPolicy", "x", SERVED, spec={
        "targetSelectors": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]}), "no code"),
    # By keys of somebody's own, from wherever he says, who calls would be whoever he says.
    ("POST", f"{ENVOY}/namespaces/{SERVED}/securitypolicies", thing("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "x", SERVED, spec={
        "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "register"}],
        "jwt": {"providers": [{"name": "x", "remoteJWKS": {"uri": "http://169.254.169.254/keys"},
                               "claimToHeaders": [{"header": "x-commonpool-subject", "claim": "sub"}]}]}}), "callers are known"),
    ("POST", f"{ENVOY}/namespaces/{SERVED}/httproutefilters", thing("gateway.envoyproxy.io/v1alpha1", "HTTPRouteFilter", "x", SERVED, spec={
        "credentialInjection": {"credential": {"valueRef": {"name": "x"}}}}), "no code"),
    *(("POST", f"/apis/gateway.networking.k8s.io/v1/namespaces/{OWN}/{kind.lower()}s", thing("gateway.networking.k8s.io/v1", kind, "x", OWN, spec=spec), "of shared services")
        for kind, spec in (("HTTPRoute", {"parentRefs": [{"name": "shared", "namespace": "commonpool-proxy"}], "hostnames": ["register.water1.pool.jiangnan.example"]}),
                           ("Gateway", {"gatewayClassName": "commonpool", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]}))),
    ("POST", f"{ENVOY}/namespaces/{SERVED}/envoypatchpolicies", thing("gateway.envoyproxy.io/v1alpha1", "EnvoyPatchPolicy", "x", SERVED, spec={
        "type": "JSONPatch", "targetRef": {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "commonpool"},
        "jsonPatches": [{"type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": f"{SERVED}/register/main",
                         "operation": {"op": "add", "path": "/filter_chains/0/filters/0", "value": {}}}]}), "how connections"),
    ("POST", f"{ENVOY}/namespaces/{SERVED}/envoypatchpolicies", thing("gateway.envoyproxy.io/v1alpha1", "EnvoyPatchPolicy", "x", SERVED, spec={
        "type": "JSONPatch", "targetRef": {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "commonpool"},
        "jsonPatches": [{"type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "commonpool-proxy/shared/http",
                         "operation": {"op": "remove", "path": "/filter_chains"}}]}), "how connections"),
    ("PATCH", f"{ENVOY}/namespaces/commonpool-proxy/envoyproxies/commonpool", {"spec": {"concurrency": 1}}, "cannot"),
    ("POST", f"{CORE}/persistentvolumes", thing("v1", "PersistentVolume", "x", spec={
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/"}}), "cannot"),
    ("PATCH", f"{CORE}/nodes/rs-01", {"metadata": {"labels": {"commonpool.dev/flavor": "secure"}}}, "cannot"),
    ("DELETE", f"{CORE}/nodes/rs-01", None, "cannot"),
    ("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", thing("scheduling.k8s.io/v1", "PriorityClass", "x", value=999999999), "cannot"),
    ("POST", f"{CORE}/namespaces/{OTHER}/serviceaccounts/pipeline/token", thing("authentication.k8s.io/v1", "TokenRequest", "", spec={}), "cannot"),
]  # fmt: skip


@pytest.mark.parametrize("attempt", BEYOND, ids=lambda one: f"{one[0]} {one[1].rpartition('v1/')[2]}")
def test_the_pipelines_credential_does_nothing_but_its_job(
    ground: Ground, credentials: dict[str, Path], attempt: tuple[str, str, Any, str]
) -> None:
    method, path, body, words = attempt
    answer = caller_of(ground, credentials["apply"]).send(
        method, path, body, MERGE if method == "PATCH" else "application/json"
    )
    assert (answer.status, words in answer.words) == (403, True), answer.words


def test_a_pods_token_ends_when_it_says(ground: Ground) -> None:
    """T29: not extended to a year, and no request gets one of months."""
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 100_000_000},
    }
    answer = ground.administrator.send("POST", f"{CORE}/namespaces/{OWN}/serviceaccounts/pipeline/token", asked)
    if answer.status == 201:
        assert answer.body["spec"]["expirationSeconds"] <= 86_400
