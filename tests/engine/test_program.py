"""How a program is started under its own interpreter, whatever is installed there."""

import subprocess
import sys
from pathlib import Path

import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import preview, program_process
from commonpool.engine import program as programs
from programs import BARE, Stack, messages

# The names of an SDK of 2023, which knew no sources of stack traces.
OLDER = {
    "pulumi/__init__.py": "",
    "pulumi/runtime/__init__.py": "Settings = configure = resource = run_in_stack = set_all_config = None",
    "pulumi/runtime/proto/__init__.py": "",
}


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh, head=BARE)


def test_an_older_sdk_is_enough(tmp_path: Path) -> None:
    for name, text in OLDER.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    script = Path(program_process.__file__)
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(script.parent)!r}]; import program_process"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_where_python_puts_our_own_folder_on_the_path_is_no_matter(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import error as module\npulumi.export('own', module.OWN)"
    (tmp_path / "error.py").write_text("OWN = True", encoding="utf-8")
    folder = Path(program_process.__file__).parent
    (tmp_path / "linked").symlink_to(folder)
    script = tmp_path / "linked" / "program_process.py"
    monkeypatch.setattr(programs, "__file__", str(script.with_name("program.py")))
    assert stack.preview(source).outputs == {"own": True}
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert stack.preview(source).outputs == {"own": True}


def test_an_environment_that_lacks_the_sdk_is_named(stack: Stack) -> None:
    program = stack.load("")
    interpreter = stack.folder / "venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    interpreter.chmod(0o755)
    runtime = "runtime: {name: python, options: {virtualenv: venv}}"
    (stack.folder / "Pulumi.yaml").write_text(f"name: {stack.name}\n{runtime}\n", encoding="utf-8")
    refused = messages(stack.run(preview, program))
    assert f"see that {interpreter} has what the program needs" in refused
