"""What the keeper of test hosts notes, and the command line reads meanwhile."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from commonpool.embedded.configuration import Layout
from commonpool.embedded.hosts.trial import Trial


def test_threads_that_note_at_once_leave_one_whole_note(tmp_path: Path) -> None:
    trial = Trial(Layout(tmp_path))
    with ThreadPoolExecutor(8) as threads:
        for noted in [threads.submit(trial.note, "working", f"step {number}", ["a", "b"]) for number in range(400)]:
            noted.result()
    assert json.loads((trial.folder / "state.json").read_text(encoding="utf-8"))["words"].startswith("step ")
    assert [path.name for path in trial.folder.iterdir()] == ["state.json"]
