"""What keeps a machine from being let go, against a cluster that is written down here."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from commonpool.engine import Cluster
from commonpool.machines import Access, MachineError
from commonpool.machines.leaving import reset
from commonpool.model import Machine
from commonpool.model.inventory import MachineFacts

FACTS = MachineFacts.model_validate({"flavor": "standard", "cpu": "2", "memory": "4Gi", "role": "storage"})
SHARE = {"metadata": {"name": "old-disk"}, "status": {"phase": "Bound"},
         "spec": {"nfs": {"server": "10.20.2.31", "path": "/srv/disk"}}}  # fmt: skip


class Written:
    """A cluster with one volume, on which nothing may be changed."""

    async def list_objects(self, version: str, kind: str, **_: Any) -> tuple[list[dict[str, Any]], str]:
        return ([SHARE] if kind == "PersistentVolume" else []), "1"

    async def read(self, *_: str) -> None:
        return None

    async def request(self, method: str, path: str) -> dict[str, Any]:
        assert method == "GET"
        return {"items": []}


def test_a_machine_whose_export_is_in_use_elsewhere_is_not_reset(tmp_path: Path) -> None:
    """No pod runs on it, and no service stands on it: it is others' pods that would lose their disk."""
    machine = Machine("old", "room", "10.20.2.31", FACTS, "hosts.yml")
    with pytest.raises(MachineError, match="old holds old-disk"):
        asyncio.run(reset(cast(Cluster, Written()), [machine], tmp_path, Access(), lambda _: None))
