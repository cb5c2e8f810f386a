"""The copy of Envoy Gateway that is built: edited where it is said, refused where it does not fit any more."""

from pathlib import Path

import pytest
import yaml
from commonpool.embedded.error import BuildFailed
from commonpool.embedded.gateway_source import definitions, replaced


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "gateway@v9"
    folder.mkdir()
    (folder / "a.go").write_text('listen("0.0.0.0")\nread("/certs")\nread("/certs")\n')
    return folder


def entry(tmp_path: Path, *pairs: list[str]) -> Path:
    path = tmp_path / "replacements.yaml"
    path.write_text(yaml.safe_dump([{"file": "a.go", "pairs": list(pairs)}]))
    return path


def test_what_is_named_is_replaced_and_the_pinned_file_stays(tmp_path: Path, module: Path) -> None:
    found = dict(replaced(entry(tmp_path, ['"0.0.0.0"', "place.Control"]), module))
    assert found["a.go"].startswith("listen(place.Control)\n")
    assert "0.0.0.0" in (module / "a.go").read_text()


@pytest.mark.parametrize(("text", "times"), [("gone", "0 times"), ('read("/certs")', "2 times")])
def test_a_text_that_does_not_stand_there_once_stops_the_build(
    tmp_path: Path, module: Path, text: str, times: str
) -> None:
    with pytest.raises(BuildFailed, match=times):
        list(replaced(entry(tmp_path, [text, "x"]), module))


def test_definitions_lose_their_descriptions_but_not_a_field_of_that_name(tmp_path: Path) -> None:
    schema = {"description": "Words.", "properties": {"description": {"type": "string", "description": "More words."}}}
    one = {"kind": "CustomResourceDefinition", "spec": {"schema": schema}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump_all([{"kind": "ValidatingAdmissionPolicy"}, one]))
    assert definitions(tmp_path) == [
        {"kind": "CustomResourceDefinition", "spec": {"schema": {"properties": {"description": {"type": "string"}}}}}
    ]
