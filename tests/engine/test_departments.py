"""Whole runs of the departments' stack: nothing lost, nothing written twice, nobody else's department touched."""

import asyncio
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import departments_run
import estates
import pytest
from commonpool.components import department
from commonpool.components.catalogue import NAMESPACE
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, Result, destroy, preview, up
from commonpool.engine import state as states
from commonpool.engine.answer import holds
from commonpool.engine.record import PART_OF
from commonpool.model import load_estate

OnCluster = Callable[[Callable[[Cluster], Coroutine[Any, Any, Any]]], Any]
Writes = Callable[[], list[dict[str, Any]]]
pytestmark = pytest.mark.usefixtures("catalogue")
KINDS = ("Namespace", "ResourceQuota", "LimitRange", "ServiceAccount", "RoleBinding", "NetworkPolicy")


@pytest.fixture
def apply(on_cluster: OnCluster) -> Callable[..., Result]:
    """One `up` in this process."""

    def run(folder: Path, stack: str, config: dict[str, Any] | None = None) -> Result:
        program = departments_run.program_of(folder, stack, config)
        result: Result = on_cluster(lambda cluster: up(program, cluster))
        assert not result.problems
        return result

    return run


def namespaces_written(events: list[dict[str, Any]]) -> set[str]:
    """Namespaces in which objects were written, without the engine's own Lease and Secrets.

    What lets a department read the catalogue stands there under the department's name, and counts as its own.
    """
    found = set()
    for event in events:
        reference = event["objectRef"]
        space = reference.get("namespace") or reference.get("name", "")
        if space == NAMESPACE:
            space = f"{reference['name'].removeprefix('readers-')}-main"
        if space != "commonpool-system":
            found.add(space)
    return found


def test_no_change_writes_nothing_and_one_change_writes_only_that_department(
    tmp_path: Path, fresh: str, apply: Callable[..., Result], writes: Writes
) -> None:
    estates.write(tmp_path, 20, prefix=fresh)
    first = apply(tmp_path, fresh)
    assert first.counts == {"create": len(first.changes)}
    assert len(namespaces_written(writes())) == 20
    assert apply(tmp_path, fresh).counts == {}
    assert writes() == []
    changed = tmp_path / "departments" / f"{fresh}7.yaml"
    changed.write_text(estates.department(f"{fresh}7", 7, cpu="250m"), encoding="utf-8")
    second = apply(tmp_path, fresh)
    assert [(change.kind, change.name) for change in second.changes] == [("ResourceQuota", "guaranteed-performance")]
    assert namespaces_written(writes()) == {f"{fresh}7-main"}


def test_which_kinds_to_list_is_known_before_the_records_are_read(
    tmp_path: Path, fresh: str, apply: Callable[..., Result], on_cluster: OnCluster
) -> None:
    estates.write(tmp_path, 2, prefix=fresh)
    apply(tmp_path, fresh)
    seen: list[tuple[frozenset[states.Kind], int]] = []

    def expect(state: states.State) -> None:
        seen.append((state.expected, len(state.records)))

    state = on_cluster(lambda cluster: states.load(cluster, "commonpool", fresh, expect))
    assert seen == [(frozenset(state.kinds()), 0)]


def test_what_an_older_version_recorded_without_its_kinds_is_looked_at_all_the_same(
    tmp_path: Path, fresh: str, apply: Callable[..., Result], on_cluster: OnCluster, writes: Writes
) -> None:
    estates.write(tmp_path, 2, prefix=fresh)
    pack = states._pack
    with pytest.MonkeyPatch.context() as older:
        older.setattr(states, "_pack", lambda values: pack({key: values[key] for key in values if key != "kinds"}))
        apply(tmp_path, fresh)
    writes()
    assert apply(tmp_path, fresh).counts == {}
    assert writes() == []
    gone = ("networking.k8s.io/v1", "NetworkPolicy", f"{fresh}1-main", "closed")
    assert on_cluster(lambda cluster: cluster.delete(*gone))
    assert [(one.kind, one.namespace, one.name) for one in apply(tmp_path, fresh).changes] == [gone[1:]]


def test_a_removed_department_goes_and_the_others_stay(
    tmp_path: Path, fresh: str, apply: Callable[..., Result], writes: Writes
) -> None:
    estates.write(tmp_path, 3, prefix=fresh)
    apply(tmp_path, fresh)
    writes()
    (tmp_path / "departments" / f"{fresh}1.yaml").unlink()
    gone = apply(tmp_path, fresh)
    assert set(gone.counts) == {"delete"}
    assert namespaces_written(writes()) <= {f"{fresh}1-main"}
    assert apply(tmp_path, fresh).counts == {}


def test_what_one_department_put_in_the_way_keeps_nothing_of_the_others_from_being_written_or_deleted(
    tmp_path: Path, fresh: str, apply: Callable[..., Result], on_cluster: OnCluster
) -> None:
    """An object of the name that its manifest will ask for is enough: one of its people may make it, and fills a quota as well."""
    estates.write(tmp_path, 3, prefix=fresh)
    apply(tmp_path, fresh)
    names = [f"{fresh}{number}" for number in range(3)]
    files = [tmp_path / "departments" / f"{name}.yaml" for name in names]
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "later", "namespace": f"{names[0]}-main"},
    }
    on_cluster(lambda cluster: cluster.create(account))
    text = files[0].read_text(encoding="utf-8")
    files[0].write_text(f"{text}      serviceAccounts: [{{name: later, role: viewer}}]\n", encoding="utf-8")
    files[1].write_text(estates.department(names[1], 1, cpu="250m"), encoding="utf-8")
    files[2].unlink()
    program = departments_run.program_of(tmp_path, fresh)
    result = on_cluster(lambda cluster: up(program, cluster))
    assert [(one.code, one.urn.rsplit("::", 1)[-1]) for one in result.problems] == [
        ("foreign_object", f"{names[0]}-main.later")
    ]
    assert not result.halted
    done = {(one.operation, one.kind, one.namespace or one.name) for one in result.changes}
    assert {("update", "ResourceQuota", f"{names[1]}-main"), ("delete", "Namespace", f"{names[2]}-main")} <= done
    on_cluster(lambda cluster: cluster.delete("v1", "ServiceAccount", f"{names[0]}-main", "later"))
    again = apply(tmp_path, fresh)
    assert {(one.kind, one.name) for one in again.changes} <= {
        ("ServiceAccount", "later"),
        ("RoleBinding", "account-later"),
    }
    assert on_cluster(lambda cluster: differing(cluster, declared(tmp_path))) == []


def test_the_account_that_every_namespace_comes_with_is_patched_and_its_drift_is_found(
    tmp_path: Path, fresh: str, apply: Callable[..., Result], on_cluster: OnCluster
) -> None:
    estates.write(tmp_path, 2, prefix=fresh)
    apply(tmp_path, fresh)

    async def open_up(cluster: Cluster) -> None:
        await cluster.merge_patch(
            "v1", "ServiceAccount", f"{fresh}0-main", "default", {"automountServiceAccountToken": True}
        )

    on_cluster(open_up)
    changes = apply(tmp_path, fresh).changes
    assert [(one.operation, one.kind, one.namespace) for one in changes] == [
        ("update", "ServiceAccount", f"{fresh}0-main")
    ]
    assert on_cluster(lambda cluster: differing(cluster, declared(tmp_path))) == []
    assert apply(tmp_path, fresh).counts == {}


def test_a_field_that_somebody_changed_and_put_back_is_ours_again_so_that_the_next_change_is_found(
    tmp_path: Path, fresh: str, apply: Callable[..., Result], on_cluster: OnCluster
) -> None:
    """T4: whoever wrote a field last owns it, also when he wrote what stood there; only what we own shows that it drifts."""
    estates.write(tmp_path, 1, prefix=fresh)
    apply(tmp_path, fresh)
    level, space = "pod-security.kubernetes.io/enforce", f"{fresh}0-main"

    def write(value: str) -> None:
        on_cluster(
            lambda cluster: cluster.merge_patch("v1", "Namespace", "", space, {"metadata": {"labels": {level: value}}})
        )

    for value in ("baseline", "restricted"):
        write(value)
    apply(tmp_path, fresh)
    assert apply(tmp_path, fresh).counts == {}
    write("privileged")
    assert [(one.operation, one.kind, one.name) for one in apply(tmp_path, fresh).changes] == [
        ("update", "Namespace", space)
    ]
    live = on_cluster(lambda cluster: cluster.read("v1", "Namespace", "", space))
    assert live["metadata"]["labels"][level] == "restricted"


def test_a_protected_department_is_not_deleted(
    tmp_path: Path, fresh: str, on_cluster: OnCluster, apply: Callable[..., Result]
) -> None:
    estates.write(tmp_path, 1, prefix=fresh)
    path = tmp_path / "departments" / f"{fresh}0.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  namespaces:", "  protected: true\n  namespaces:"), encoding="utf-8")
    apply(tmp_path, fresh)
    program = departments_run.program_of(tmp_path, fresh)
    kept = on_cluster(lambda cluster: destroy(program, cluster))
    assert [problem.code for problem in kept.problems] == ["protected"]
    live = on_cluster(lambda cluster: cluster.read("v1", "Namespace", "", f"{fresh}0-main"))
    assert live is not None
    assert "deletionTimestamp" not in live["metadata"]
    path.write_text(text, encoding="utf-8")
    apply(tmp_path, fresh)
    assert not on_cluster(lambda cluster: destroy(departments_run.program_of(tmp_path, fresh), cluster)).problems


def test_a_protected_department_that_is_no_longer_declared_stays_and_keeps_no_other_one(
    tmp_path: Path, fresh: str, on_cluster: OnCluster, apply: Callable[..., Result]
) -> None:
    """Rights that were taken away elsewhere go all the same."""
    estates.write(tmp_path, 3, prefix=fresh)
    files = [tmp_path / "departments" / f"{fresh}{number}.yaml" for number in range(3)]
    text = files[0].read_text(encoding="utf-8")
    files[0].write_text(text.replace("  namespaces:", "  protected: true\n  namespaces:"), encoding="utf-8")
    apply(tmp_path, fresh)
    files[0].unlink()
    files[1].unlink()
    program = departments_run.program_of(tmp_path, fresh)
    result = on_cluster(lambda cluster: up(program, cluster))
    assert [problem.code for problem in result.problems] == ["protected"]
    assert {one.unit for one in result.changes if one.operation == "delete"} == {f"{fresh}1"}
    live = on_cluster(lambda cluster: cluster.read("v1", "Namespace", "", f"{fresh}0-main"))
    assert "deletionTimestamp" not in live["metadata"]
    files[0].write_text(text, encoding="utf-8")
    apply(tmp_path, fresh)


def test_departments_split_over_stacks_by_list_and_by_label_do_not_touch_each_other(
    tmp_path: Path, fresh: str, apply: Callable[..., Result], writes: Writes
) -> None:
    estates.write(tmp_path, 4, prefix=fresh)
    for number in (2, 3):
        path = tmp_path / "departments" / f"{fresh}{number}.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("\nspec:", "\n  labels: {team: south}\nspec:", 1), encoding="utf-8")
    by_list = {"commonpool:departments": [f"{fresh}0", f"{fresh}1"]}
    by_label = {"commonpool:departmentLabels": {"team": "south"}}
    apply(tmp_path, f"{fresh}-list", by_list)
    assert namespaces_written(writes()) == {f"{fresh}0-main", f"{fresh}1-main"}
    apply(tmp_path, f"{fresh}-label", by_label)
    assert namespaces_written(writes()) == {f"{fresh}2-main", f"{fresh}3-main"}
    assert apply(tmp_path, f"{fresh}-list", by_list).counts == {}
    assert apply(tmp_path, f"{fresh}-label", by_label).counts == {}
    assert writes() == []


def test_f3_two_runs_at_once_for_different_departments_both_end_as_declared_twenty_times_over(
    tmp_path: Path, fresh: str, on_cluster: OnCluster, apply: Callable[..., Result]
) -> None:
    estates.write(tmp_path, 2, prefix=fresh)

    names = (f"{fresh}0", f"{fresh}1")

    def apply_one(name: str) -> dict[str, int]:
        program = departments_run.program_of(tmp_path, name, {"commonpool:departments": [name]})
        both_are_ready.wait(30)
        result: Result = on_cluster(lambda cluster: up(program, cluster))
        assert not result.problems, result.problems
        return result.counts

    with ThreadPoolExecutor(2) as both:
        for turn in range(20):
            both_are_ready = threading.Barrier(2)
            for number, name in enumerate(names):
                text = estates.department(name, number, environment=("test", "staging")[turn % 2])
                (tmp_path / "departments" / f"{name}.yaml").write_text(text, encoding="utf-8")
            done = list(both.map(apply_one, names))
            assert done[0] == done[1]
            assert set(done[0]) == ({"create"} if turn == 0 else {"update"})
    for name in names:
        assert apply(tmp_path, name, {"commonpool:departments": [name]}).counts == {}


def test_a_department_that_another_stack_holds_is_refused(
    tmp_path: Path, fresh: str, on_cluster: OnCluster, apply: Callable[..., Result]
) -> None:
    estates.write(tmp_path, 1, prefix=fresh)
    apply(tmp_path, f"{fresh}-one")
    program = departments_run.program_of(tmp_path, f"{fresh}-two")
    refused = on_cluster(lambda cluster: up(program, cluster))
    assert {problem.code for problem in refused.problems} == {"foreign_object"}, refused.problems
    assert on_cluster(lambda cluster: preview(program, cluster)).problems
    assert apply(tmp_path, f"{fresh}-one").counts == {}


def test_killed_at_twenty_random_points_of_200_departments_it_ends_as_declared(
    tmp_path: Path, fresh: str, embedded_pool: EmbeddedPool, on_cluster: OnCluster, writes: Writes
) -> None:
    """CASES F1 and F2: no object lost, doubled or left over; the state readable at every point; no manual step."""
    estates.write(tmp_path, 200, prefix=fresh)
    script = Path(departments_run.__file__)
    command = [sys.executable, str(script), str(embedded_pool.kubeconfig), str(tmp_path), fresh]
    points = random.Random(20260101)
    for _ in range(20):
        die_after = points.randrange(0, 150)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit() and int(line) >= die_after:
                break
        process.kill()
        process.wait()
        process.stdout.close()
        state = on_cluster(lambda cluster: states.load(cluster, "commonpool", fresh))
        assert all(record.uid for record in state.records.values())
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout.splitlines()[-1])["problems"] == []
    bodies = declared(tmp_path)
    assert on_cluster(lambda cluster: differing(cluster, bodies)) == []
    assert on_cluster(lambda cluster: members(cluster, fresh)) == {place(body) for body in bodies}
    writes()
    assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]) == {
        "counts": {},
        "problems": [],
    }
    assert writes() == []


def declared(folder: Path) -> list[dict[str, Any]]:
    estate = load_estate(folder)
    return [body for one in estate.departments for body in department.objects(estate, one)]


def place(body: dict[str, Any]) -> tuple[str, str, str]:
    return body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]


async def differing(cluster: Cluster, bodies: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Declared objects that do not stand as declared."""

    async def wrong(body: dict[str, Any]) -> bool:
        kind, namespace, name = place(body)
        live = await cluster.read(body["apiVersion"], kind, namespace, name)
        return live is None or not holds(live, body)

    answers = await asyncio.gather(*(wrong(body) for body in bodies))
    return [place(body) for body, found in zip(bodies, answers, strict=True) if found]


async def members(cluster: Cluster, stack: str) -> set[tuple[str, str, str]]:
    """Every object of the stack, by its membership label; of those that it only patches, by its records."""
    state = await states.load(cluster, "commonpool", stack)
    patched = (record.identity for record in state.records.values() if record.patch)
    found = {(one.kind, one.namespace, one.name) for one in patched}
    for api_version, kind in {(record.api_version, record.identity.kind) for record in state.records.values()}:
        items, _ = await cluster.list_objects(api_version, kind, selector=f"{PART_OF}={state.part_of}")
        found |= {(kind, one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in items}
    return found
