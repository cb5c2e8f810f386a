"""Host keys beside an inventory."""

from pathlib import Path

from commonpool.machines.host_keys import pin


def test_where_nobody_answered_no_file_is_left_that_says_nothing(tmp_path: Path) -> None:
    pin(tmp_path / "known_hosts", [])
    assert list(tmp_path.iterdir()) == []
