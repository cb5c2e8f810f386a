"""From what a machine printed to what it is good for; pure."""

import json
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from commonpool.machines import Facts, facts, judge
from commonpool.machines.survey import explain
from commonpool.machines.verdict import ROLES, rules
from hypothesis import given
from hypothesis import strategies as st

TODAY = date(2026, 11, 24)
GIB = 1 << 30
GOOD = Facts(
    architecture="x86_64", kernel="6.1.0-13-amd64", system="debian 12", system_name="Debian 12", processors=8,
    x86_64_level=3, memory=32 * GIB, swap=0, cgroup="v2", missing_kernel_features=[], python="3.11", root="sudo",
    clock_skew=0.0, free_space=100 * GIB, disk_capacity=200 * GIB,
)  # fmt: skip
EVIDENCE = """Warning: something that a login script printed
== time
1795503763
== kernel
Linux 3.10.0-1160.el7.x86_64 x86_64
== system
NAME="CentOS Linux"
VERSION_ID="7"
ID="centos"
PRETTY_NAME="CentOS Linux 7 (Core)"
== model
sys_vendor=Dell Inc.
product_name=PowerEdge R720
bios_date=05/21/2012
virtual=none
== processor
16
model name\t: Intel(R) Xeon(R) CPU E5-2640
flags\t\t: fpu cx16 popcnt sse4_2 ssse3 avx
== memory
MemTotal:       65807320 kB
SwapTotal:       8388604 kB
== cgroup
tmpfs
cpu\t1
== mounts
/dev/sda2 / ext4 rw,relatime 0 0
nas:/export /mnt/nas nfs rw,hard 0 0
== space
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/sda2        10255636  3000000   6711680      31% /
== disks
NAME="sda" TYPE="disk" SIZE="598879502336" ROTA="1" RO="0" FSTYPE="" MOUNTPOINT="" MODEL="PERC H710"
NAME="sda2" TYPE="part" SIZE="10499500000" ROTA="1" RO="0" FSTYPE="ext4" MOUNTPOINT="/" MODEL=""
== health
-- sda
SMART overall-health self-assessment test result: FAILED!
  9 Power_On_Hours          0x0032   001   001   000    Old_age   Always       -       87211
== latency
1048576 bytes (1.0 MB) copied, 0.512 s, 2.0 MB/s
== listening
LISTEN 0 128 0.0.0.0:3306 0.0.0.0:* users:(("mysqld",pid=812,fd=21))
LISTEN 0 128 127.0.0.1:25 0.0.0.0:* users:(("master",pid=700,fd=13))
== processes
      1 mysql mysqld
      1 root sshd
== end
"""


def test_a_machine_of_2012_is_read_rightly() -> None:
    seen = facts(EVIDENCE.replace("\n", "\r\n"), (1795503760.0, 1795503764.0))
    assert (seen.system, seen.kernel, seen.bios_year) == ("centos 7", "3.10.0-1160.el7.x86_64", 2012)
    assert (seen.model, seen.processors, seen.x86_64_level) == ("Dell Inc. PowerEdge R720", 16, 2)
    assert (seen.memory, seen.cgroup, seen.clock_skew) == (65807320 * 1024, "v1", 0.0)
    assert seen.disks[0].hours == 87211
    assert (seen.failing_disks, seen.read_latency) == (["sda"], 0.002)
    assert (seen.network_mounts, seen.listening) == (["/mnt/nas"], ["3306/tcp mysqld"])
    assert seen.data_servers == ["MySQL"]
    assert (seen.python, seen.root, seen.addresses) == (None, None, [])


def test_it_stays_as_a_backend_and_every_reason_is_told() -> None:
    verdict = judge(facts(EVIDENCE, (1795503760.0, 1795503764.0)), TODAY)
    assert verdict.role == "backend"
    assert {reason.rule for reason in verdict.against("node")} == {
        "disk-failing", "holds-data", "kernel", "python-missing", "space", "system-support",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "role", "rule"),
    [
        ({}, "node", None),
        ({"cgroup": "v1"}, "node", None),
        ({"memory": GIB}, "agent-only", "memory-for-a-node"),
        ({"memory": GIB, "disk_capacity": 4000 * GIB}, "storage", "memory-for-a-node"),
        ({"memory": GIB // 8}, "retire", "memory-for-anything"),
        ({"data_servers": ["PostgreSQL"]}, "backend", "holds-data"),
        ({"root": "no", "data_servers": ["Oracle"]}, "backend", "no-root"),
        ({"read_only": ["/"]}, "retire", "disk-read-only"),
        ({"clock_skew": -7200.0}, "agent-only", "clock"),
        ({"clock_skew": 59.0}, "node", None),
        ({"kernel": "5.12.19"}, "agent-only", "kernel"),
        ({"kernel": "5.13"}, "node", None),
        ({"kernel": "10.0.1"}, "node", None),
        ({"python": "3.10"}, "node", None),
        ({"python": "3.6"}, "agent-only", "python"),
        ({"architecture": "loongarch64"}, "agent-only", "architecture"),
        ({"architecture": "aarch64"}, "agent-only", "architecture"),
        ({"init": "other"}, "agent-only", "no-systemd"),
        ({"free_space": 6 * GIB}, "agent-only", "space"),
        ({"free_space": 6 * GIB, "in_pool": True}, "node", None),
        ({"system": "ubuntu 20.04"}, "agent-only", "system-support"),
        ({"system": "plan9 4"}, "node", None),
    ],
)
def test_one_changed_fact_decides(change: dict[str, Any], role: str, rule: str | None) -> None:
    verdict = judge(replace(GOOD, **change), TODAY)
    assert verdict.role == role
    assert rule is None or rule in {reason.rule for reason in verdict.against("node")}


def test_control_groups_of_the_old_kind_are_forecast_and_the_new_kind_is_not() -> None:
    def forecasts(evidence: str) -> set[str]:
        return {one.rule for one in judge(facts(evidence, (1795503760.0, 1795503764.0)), TODAY).forecasts}

    assert "cgroup-v1" in forecasts(EVIDENCE)
    assert "cgroup-v1" not in forecasts(EVIDENCE.replace("== cgroup\ntmpfs", "== cgroup\ncgroup2fs"))


@pytest.mark.parametrize(
    ("server", "settings"),
    [("nfsd", "/etc/exports.d/commonpool.exports"), ("ganesha.nfsd", "/etc/commonpool/exports.conf")],
)
def test_the_nfs_server_of_the_pools_own_exports_stands_against_nothing(server: str, settings: str) -> None:
    def seen(*exports: str) -> tuple[list[str], bool]:
        parts = f"== exports\n{chr(10).join(exports)}\n== processes\n      8 root {server}"
        found = facts(EVIDENCE.replace("== processes", parts), (1795503760.0, 1795503764.0))
        return found.data_servers, found.exports_for_pool

    assert seen() == (["MySQL", "NFS server"], False)
    assert seen(settings) == (["MySQL"], True)
    assert seen(settings, "/etc/exports") == (["MySQL", "NFS server"], True), "somebody's own beside the pool's"


def test_whether_the_kernel_has_an_nfs_server_is_seen_where_it_can_be() -> None:
    def kernel(parts: str) -> bool | None:
        return facts(EVIDENCE.replace("== mounts", parts), (1795503760.0, 1795503764.0)).kernel_exports

    assert kernel("== mounts") is None
    assert kernel("== modules\noverlay\n== mounts") is False
    assert kernel("== modules\noverlay\nnfsd\n== mounts") is True
    assert kernel("== filesystems\nnfsd\n== modules\noverlay\n== mounts") is True


def test_a_resolver_at_loopback_is_told_and_the_file_behind_it_found() -> None:
    def seen(part: str) -> tuple[str | None, list[str]]:
        found = facts(f"== resolver\n{part}\n== end", (0.0, 1.0))
        return found.resolv_conf, [one.rule for one in judge(found, TODAY).notes]

    resolved = "/run/systemd/resolve/resolv.conf"
    assert seen(f"{resolved}\n10.0.0.53") == (resolved, [])
    assert seen("/etc/resolv.conf\n127.0.0.1\n10.0.0.53") == ("/etc/resolv.conf", ["local-resolver"])


def test_a_forecast_turns_into_a_reason_on_the_day_after() -> None:
    assert judge(GOOD, date(2028, 6, 30)).role == "node"
    assert "system-support" in {reason.rule for reason in judge(GOOD, date(2028, 7, 1)).against("node")}


def test_what_is_unknown_excludes_nothing_but_what_needs_it() -> None:
    assert {reason.rule for reason in judge(Facts(), TODAY).reasons} == {"python-missing", "no-disks", "serves-nothing"}


def test_a_person_wins_and_the_rules_are_still_heard() -> None:
    verdict = judge(replace(GOOD, memory=GIB), TODAY, ("node", "One small pod", "2026-11-01"))
    assert (verdict.role, verdict.overruled) == ("node", "agent-only")
    assert verdict.against("node")
    assert judge(GOOD, TODAY, ("node", "As the rules", "2026-11-01")).overruled is None


def test_every_rule_says_where_it_comes_from_and_looks_at_a_fact_that_exists() -> None:
    names = [rule["id"] for rule in rules()["rules"]]
    assert len(names) == len(set(names))
    for rule in rules()["rules"]:
        assert rule["source"], rule["id"]
        assert rule["fact"] in Facts.__dataclass_fields__, rule["id"]
        assert sum(word in rule for word in ("reason", "forecast", "note")) == 1, rule["id"]
        assert set(rule.get("excludes", ())) <= set(ROLES), rule["id"]


@pytest.mark.parametrize(
    "words",
    ["kernel\nLinux {0} x86_64", "python\n{0}", "memory\nMemTotal: {0} kB\nSwapTotal: {0} kB", "processor\n{0}",
     "space\nx\n/dev/a 1 2 {0} 3% /", 'disks\nNAME="{0}" TYPE="disk" SIZE="{0}"', "system\nID=a\nPRETTY_NAME={0}"],
)  # fmt: skip
@pytest.mark.parametrize("long", ["9" * 5000, "9" * 4299, "\udcff\ud800", "w" * 100_000])
def test_what_one_machine_prints_stops_no_survey_and_fills_no_record(words: str, long: str) -> None:
    """Numbers of more than 4,300 digits are an error in Python; what is no UTF-8 there can be written nowhere."""
    seen = facts(
        f"== {words.format(long)}\n== listening\n" + f"LISTEN 0 1 0.0.0.0:1{long[:300]} x\n" * 3000 + "== end",
        (0.0, 1.0),
    )
    judge(seen, TODAY)
    assert len(json.dumps(seen.to_json(), ensure_ascii=False).encode()) < 400_000


@given(st.text(max_size=300), st.sampled_from(["time", "memory", "processor", "space", "disks", "kernel", "mounts"]))
def test_no_nonsense_that_a_machine_prints_is_taken_for_a_fact(text: str, part: str) -> None:
    seen = facts(f"== {part}\n{text}\n== end\n", (0.0, 1.0))
    judge(seen, TODAY)


@pytest.mark.parametrize(
    ("words", "then"),
    [
        ("ssh: Could not resolve hostname m-1: Name or service not known", "ansible_host"),
        ("ssh: connect to host 10.0.0.1 port 22: No route to host", "cable"),
        ("m-1: Permission denied (publickey)", "authorized_keys"),
        ("Incorrect sudo password", "--ask-become-pass"),
    ],
)
def test_what_to_do_next_fits_why_a_machine_was_not_seen(words: str, then: str) -> None:
    machine: Any = SimpleNamespace(name="m-1")
    assert then in explain(machine, words)[1]
