"""Estates small enough to compute by hand: given flavors, machines and grants, written as real files and read back."""

from pathlib import Path
from typing import Any

import estates
import yaml
from commonpool.model import Estate, load_estate


def build(folder: Path, case: dict[str, Any]) -> Estate:
    """An estate on the sample's pool, with the machines, over-commit and grants of a case.

    Where a case does not say what the system keeps, its machines' numbers are what is left beside it.
    """
    kept = case.get("systemReserved")
    pool = yaml.safe_load((estates.SAMPLE / "pool.yaml").read_text(encoding="utf-8"))
    compute = pool["spec"]["compute"]
    compute["sites"] = [{"name": "room", "displayName": "Room", "zone": "internal", "inventory": "hosts.yml"}]
    compute["overCommit"] = case.get("overCommit", {"cpu": "1.0", "memory": "1.0"})
    compute["systemReserved"] = kept or {"cpu": "1", "memory": "1Gi"}
    pool["spec"]["storage"]["volumes"] = []
    hosts = {
        f"{flavor}-{number}": {
            "ansible_host": "127.0.0.1",
            "commonpool_flavor": flavor,
            "commonpool_cpu": str(int(one["cpu"]) + (kept is None)),
            "commonpool_memory": f"{int(one['memory'].removesuffix('Gi')) + (kept is None)}Gi",
            "commonpool_role": one.get("role", "node"),
        }
        for flavor, one in case["machines"].items()
        for number in range(one["count"])
    }
    (folder / "departments").mkdir(parents=True, exist_ok=True)
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}), encoding="utf-8")
    (folder / "pool.yaml").write_text(yaml.safe_dump(pool, allow_unicode=True), encoding="utf-8")
    for number, (name, namespaces) in enumerate(case["departments"].items()):
        manifest = yaml.safe_load(estates.department(name, number))
        blank = manifest["spec"]["namespaces"][0]
        manifest["spec"]["namespaces"] = [
            blank | {"name": short, "resources": resources} for short, resources in namespaces.items()
        ]
        text = yaml.safe_dump(manifest, allow_unicode=True)
        (folder / "departments" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_estate(folder)
