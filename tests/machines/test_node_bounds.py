"""What a machine does before pods leave it nothing: it evicts, by bytes and by files."""

import re
from pathlib import Path

import yaml

ROLE = Path(__file__).resolve().parents[2] / "playbooks" / "roles" / "node"


def test_files_without_number_are_evicted_as_files_without_end_are() -> None:
    """A list of one's own replaces kubelet's, which has files in it: a million empty ones take no byte and every place."""
    text = (ROLE / "templates" / "kubelet.yaml.j2").read_text(encoding="utf-8")
    hard = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "0", text))["evictionHard"]
    assert set(hard) == {
        "memory.available",
        "nodefs.available",
        "nodefs.inodesFree",
        "imagefs.available",
        "imagefs.inodesFree",
    }
