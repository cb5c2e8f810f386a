"""The CIS Kubernetes Benchmark by number, asked of the processes that run, of their files, and of what onboarding writes.

`cis.yaml` lists every number with what is asked, or why it is otherwise here; the handbook's table is written from it with
`COMMONPOOL_ACCEPT=1`.
"""

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarks.listing import Item, checked_table, existing_tests, items
from commonpool.embedded import EmbeddedPool
from commonpool.embedded.configuration import CIPHERS
from escapes.attempts import CORE
from escapes.caller import Caller
from escapes.ground import Ground

ROOT = Path(__file__).resolve().parents[2]
NODE = ROOT / "playbooks" / "roles" / "node"
ITEMS = items("cis")
# How many numbers each part of version 1.12 has; none may be left out.
PARTS = {"1.1": 21, "1.2": 30, "1.3": 7, "1.4": 2, "2": 7, "3.1": 3, "3.2": 2, "4.1": 10, "4.2": 14, "4.3": 1,
         "5.1": 13, "5.2": 12, "5.3": 2, "5.4": 2, "5.5": 1, "5.6": 4}  # fmt: skip


def test_every_number_is_answered_once() -> None:
    counts = dict.fromkeys(PARTS, 0)
    for item in ITEMS:
        counts[item.number.rpartition(".")[0]] += 1
    assert counts == PARTS
    assert len({item.number for item in ITEMS}) == len(ITEMS)


@pytest.mark.parametrize("item", [one for one in ITEMS if one.word == "flag"], ids=str)
def test_a_running_component_has_the_flag(embedded_pool: EmbeddedPool, item: Item) -> None:
    asked = item.asked
    value = flags(embedded_pool, asked["of"]).get(asked["name"])
    match asked:
        case {"unset": True}:
            assert value is None
        case {"set": True}:
            assert value
        case {"is": wanted}:
            assert value == wanted
        case {"has": wanted}:
            assert wanted in (value or "").split(",")
        case {"lacks": wanted}:
            assert wanted not in (value or "").split(",")
        case {"least": wanted}:
            assert int(value or 0) >= wanted
        case {"strong": True}:
            assert value == CIPHERS
            assert all("ECDHE" in one and ("GCM" in one or "CHACHA20" in one) for one in value.split(","))
        case _:
            raise AssertionError(f"{item}: nothing is asked")


def flags(pool: EmbeddedPool, component: str) -> dict[str, str]:
    """The command line of a running component; controller manager and scheduler share a process and follow each other."""
    shared = {"kube-controller-manager": 0, "kube-scheduler": 1}
    process = "kube-controllers" if component in shared else component
    pid = next(one.pid for one in pool.status().components if one.name == process)
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    if component in shared:
        middle = words.index("--")
        words = [words[:middle], words[middle + 1 :]][shared[component]]
    found = (word.removeprefix("--").partition("=") for word in words if word.startswith("--"))
    return {name: value for name, _, value in found}


@pytest.mark.parametrize("item", [one for one in ITEMS if one.word in ("mode", "owner")], ids=str)
def test_a_file_is_for_its_owner(embedded_pool: EmbeddedPool, item: Item) -> None:
    root = embedded_pool.layout.root
    paths = [path for pattern in item.asked["paths"] for path in root.glob(pattern)]
    assert paths
    for path in paths:
        if item.word == "owner":
            assert path.stat().st_uid == os.getuid(), path
        else:
            assert stat.S_IMODE(path.stat().st_mode) & ~int(item.asked["most"], 8) == 0, path


@pytest.mark.parametrize("item", [one for one in ITEMS if one.word == "line"], ids=str)
def test_a_file_says_it(embedded_pool: EmbeddedPool, item: Item) -> None:
    root = embedded_pool.layout.root
    text = (root / item.asked["file"]).read_text(encoding="utf-8")
    if "has" in item.asked:
        lines = [line.strip() for line in text.splitlines()]
        assert item.asked["has"] in lines
        assert lines.index(item.asked["has"]) < lines.index("- identity: {}"), "the first provider is what writes"
    else:
        assert text != (root / item.asked["unlike"]).read_text(encoding="utf-8")


@pytest.mark.parametrize("item", [one for one in ITEMS if one.word == "node"], ids=str)
def test_a_machine_gets_the_configuration(item: Item) -> None:
    asked = item.asked
    if "task" in asked:
        tasks = yaml.safe_load((NODE / "tasks" / "main.yml").read_text(encoding="utf-8"))
        files = [file for task in tasks for file in task.get("commonpool.pool.services", {}).get("files", ())]
        mode = next(file.get("mode", "0644") for file in files if "path" in file and file["path"] == asked["task"])
        assert int(mode, 8) & ~int(asked["most"], 8) == 0
        return
    kind = "kubelet" if "kubelet" in asked else "kube-proxy"
    text = (NODE / "templates" / f"{kind}.yaml.j2").read_text(encoding="utf-8")
    values: Any = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "0", text))
    for part in asked[kind].split("."):
        values = values.get(part) if isinstance(values, dict) else None
    assert values == asked["is"]


def test_what_other_tests_prove_is_proven_by_tests_that_exist() -> None:
    known = existing_tests()
    assert [item.number for item in ITEMS if item.word == "test" and item.asked not in known] == []


def test_the_handbooks_table_is_the_list() -> None:
    checked_table("cis", ITEMS)


@pytest.mark.parametrize("part", ["exec?command=id&stdout=true", "attach", "portforward", "proxy/"])
def test_who_enters_a_pod_is_in_the_audit_log(embedded_pool: EmbeddedPool, part: str) -> None:
    """Also over WebSockets, where entering is a `get`."""
    caller = Caller.of_kubeconfig("administrator", embedded_pool.kubeconfig)
    answer = caller.send("GET", f"{CORE}/namespaces/kube-system/pods/nobody/{part}")
    assert (answer.status >= 400, bool(answer.audit)) == (True, True)
    assert Ground(embedded_pool, embedded_pool.layout.root, caller).audited([answer.audit]) == set()
