"""The messages between Envoy and the exchange are generated, and nothing that is installed spoils what others import."""

import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("commonpool", "exchange")


def test_the_modules_in_the_repository_are_those_of_the_messages(tmp_path: Path) -> None:
    outputs = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    program = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "infra")]
    subprocess.run([*program, *outputs, str(FOLDER / "processing.proto")], check=True)
    for name in ("processing_pb2.py", "processing_pb2.pyi"):
        stored = (ROOT / "infra" / FOLDER / name).read_text(encoding="utf-8")
        assert stored == (tmp_path / FOLDER / name).read_text(encoding="utf-8"), f"{name} is old: make messages"


def test_no_module_comes_from_two_distributions() -> None:
    """Whichever is unpacked last has the file, and that is chance."""
    owners = Counter(
        str(file) for one in metadata.distributions() for file in one.files or () if file.suffix in (".py", ".so")
    )
    assert [file for file, number in owners.items() if number > 1] == []
