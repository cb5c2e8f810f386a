"""Our own stacks are ordinary Pulumi programs: over the SDK's public protocol, in a process of their own, they are the same."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from commonpool.engine import Cluster, preview
from commonpool.engine.project import load
from commonpool.model import Estate

ROOT = Path(__file__).resolve().parents[2]
OnCluster = Callable[[Callable[[Cluster], Coroutine[Any, Any, Any]]], Any]


@pytest.mark.parametrize("stack", ["pool", "services", "departments"])
def test_a_stack_run_as_anybodys_program_declares_what_stands(
    sample: Estate, on_cluster: OnCluster, stack: str
) -> None:
    found = on_cluster(lambda cluster: preview(load(ROOT, stack), cluster))
    assert (found.problems, found.counts) == ((), {})
    assert found.unchanged > 40
    assert found.outputs
