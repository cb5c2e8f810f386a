"""What a cluster of somebody's own gets less of than an embedded pool, and that it is said."""

from dataclasses import replace
from pathlib import Path

from commonpool.cli.target import Target, left_out, programs
from commonpool.components.compute import nodes
from commonpool.components.unit import SIMULATE

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "examples" / "estate"


def test_a_cluster_gets_no_simulated_machines_unless_somebody_asks(tmp_path: Path) -> None:
    """A simulated Node may have the name of a real one."""
    cluster = Target(estate=SAMPLE, kubeconfig=tmp_path / "kubeconfig", stacks=("pool",))
    estate = cluster.load()
    [pool] = programs(cluster, estate)
    assert pool.config[SIMULATE] == "false"
    assert nodes(estate.pool, estate.machines, simulate=False) == []
    assert "ha-01 and 37 more: machines that have not joined are left out" in left_out(cluster, estate)[0]
    asked = replace(cluster, config={SIMULATE: "true"})
    [pool] = programs(asked, estate)
    assert pool.config[SIMULATE] == "true"
    assert not [words for words in left_out(asked, estate) if "have not joined" in words]


def test_agreements_under_which_nothing_is_granted_are_named(tmp_path: Path) -> None:
    """Where no exchange is named, those that need one would be left out in silence."""
    cluster = Target(estate=SAMPLE, kubeconfig=tmp_path / "kubeconfig", stacks=("services",))
    [words] = [words for words in left_out(cluster, cluster.load()) if "exchange" in words]
    assert words.startswith("companies-for-research: nothing is granted")
    served = replace(cluster, config={"commonpool:exchange": "10.0.0.7:9000"})
    assert not [words for words in left_out(served, served.load()) if "exchange" in words]


def test_an_embedded_pool_leaves_nothing_out() -> None:
    target = Target(estate=SAMPLE, pool="one")
    assert left_out(target, target.load()) == []
