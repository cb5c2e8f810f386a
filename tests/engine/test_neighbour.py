"""What stands before what it refers to, under a deployer who is no administrator."""

from pathlib import Path
from typing import Any

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster
from commonpool.engine.error import Refused, UnknownKind
from commonpool.engine.neighbour import is_missing_neighbour, missing_reference
from commonpool.engine.record import Identity
from programs import BARE, Stack, messages

RBAC = "rbac.authorization.k8s.io"


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "team"}}


def binding(kind: str, name: str) -> dict[str, Any]:
    role = {"apiGroup": RBAC, "kind": kind, "name": name}
    return {"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "team"}, "roleRef": role}


@pytest.mark.parametrize(
    ("words", "status", "body", "missing"),
    [
        # The server names the role by the kind that was asked for, which is the binding.
        (f'rolebindings.{RBAC} "r" not found', 404, binding("Role", "r"), Identity(RBAC, "Role", "team", "r")),
        (f'role.{RBAC} "r" not found', 404, binding("Role", "r"), Identity(RBAC, "Role", "team", "r")),
        (
            f'clusterroles.{RBAC} "r" not found',
            404,
            binding("ClusterRole", "r"),
            Identity(RBAC, "ClusterRole", "", "r"),
        ),
        (
            'pods "web" is forbidden: no PriorityClass with name high was found',
            403,
            POD,
            Identity("scheduling.k8s.io", "PriorityClass", "", "high"),
        ),
    ],
)
def test_what_is_referred_to_and_missing_is_named(
    words: str, status: int, body: dict[str, Any], missing: Identity
) -> None:
    error = Refused(words, status=status)
    assert missing_reference(error, body) == missing
    assert is_missing_neighbour(error)


@pytest.mark.parametrize(
    ("error", "is_neighbour"),
    [
        (Refused('namespaces "team" not found', status=404), True),
        (UnknownKind("the API server serves no kind Widget", status=404), True),
        (Refused('configmaps "a" not found', status=404), False),
        (Refused('pods "web" is forbidden: exceeded quota: few', status=403), False),
    ],
)
def test_other_refusals_name_nothing(error: Refused, is_neighbour: bool) -> None:
    assert missing_reference(error, POD) is None
    assert missing_reference(error, binding("Role", "r")) is None
    assert is_missing_neighbour(error) is is_neighbour


SOURCE = """
    group = "rbac.authorization.k8s.io"
    def of(kind, logical, api_version, body):
        body = {"apiVersion": api_version, "kind": kind, **body}
        return pulumi.CustomResource(f"kubernetes:{api_version}:{kind}", logical, body)
    here = {"namespace": name, "name": "reading"}
    granted = {"apiGroup": group, "kind": "Role", "name": "reader"}
    people = [{"apiGroup": group, "kind": "User", "name": "somebody"}]
    of("RoleBinding", "binding", f"{group}/v1", {"metadata": here, "roleRef": granted, "subjects": people})
    pod = {"priorityClassName": name, "containers": [{"name": "c", "image": "web:1"}]}
    of("Pod", "pod", "v1", {"metadata": {"namespace": name, "name": "web",
        "annotations": {"pulumi.com/skipAwait": "true"}}, "spec": pod})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    of("Role", "role", f"{group}/v1", {"metadata": {"namespace": name, "name": "reader"}, "rules": rules})
    of("PriorityClass", "priority", "scheduling.k8s.io/v1", {"metadata": {"name": name}, "value": 7})
"""


def test_a_deployer_who_is_no_administrator_binds_a_role_and_uses_a_priority_class_of_the_same_run(
    embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str
) -> None:
    rights = [
        ("", ["namespaces", "secrets", "configmaps", "pods", "serviceaccounts"]),
        ("coordination.k8s.io", ["leases"]),
        ("scheduling.k8s.io", ["priorityclasses"]),
        (RBAC, ["roles", "rolebindings"]),
    ]
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    rules = [{"apiGroups": [group], "resources": kinds, "verbs": verbs} for group, kinds in rights]
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": fresh}, "rules": rules}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": fresh},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": fresh},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": fresh}],
    }
    stack = Stack(embedded_pool, tmp_path, fresh, head=BARE)

    async def allow(cluster: Cluster) -> None:
        await cluster.apply(role)
        await cluster.apply(binding)

    async def forbid(cluster: Cluster) -> None:
        await cluster.delete(f"{RBAC}/v1", "ClusterRoleBinding", "", fresh)
        await cluster.delete(f"{RBAC}/v1", "ClusterRole", "", fresh)

    stack.ask(allow)
    try:
        stack.kubeconfig = embedded_pool.issue_kubeconfig(fresh, ("deployers",), tmp_path / "kubeconfig")
        assert stack.up("").problems == ()
        shown = stack.preview(SOURCE)
        assert shown.problems == (), messages(shown)
        assert {(change.kind, change.checked) for change in shown.changes} == {
            ("RoleBinding", False),
            ("Pod", False),
            ("Role", True),
            ("PriorityClass", True),
        }
        made = stack.up(SOURCE)
        assert (made.problems, made.counts) == ((), {"create": 4}), messages(made)
        nobody = """
            roles = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"}
            body = {"metadata": {"namespace": name, "name": "w"}, "roleRef": roles, "subjects": []}
            body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", **body}
            pulumi.CustomResource("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "w", body)
        """
        for verb in (stack.preview, stack.up):
            assert '"writer" not found' in messages(verb(nobody))
        assert stack.destroy().problems == ()
    finally:
        stack.ask(forbid)
