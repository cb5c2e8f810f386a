"""What a manifest says about itself stands on its namespaces, where people at the cluster look."""

from pathlib import Path

import estates
from commonpool.components.department import objects
from commonpool.components.rendering import PREFIX
from commonpool.model import load_estate


def test_owner_duty_source_and_term_stand_on_the_namespace(tmp_path: Path) -> None:
    estates.write(tmp_path, 1)
    path = tmp_path / "departments" / "d0.yaml"
    text = path.read_text(encoding="utf-8").replace(
        "owner: {role: Office}", "owner: {role: Office, email: o@d.example}"
    )
    path.write_text(text + "      source: https://git.example/d0\n", encoding="utf-8")
    estate = load_estate(tmp_path)
    namespace = next(body for body in objects(estate, estate.departments[0]) if body["kind"] == "Namespace")
    notes = namespace["metadata"]["annotations"]
    wanted = {"owner": "Office o@d.example", "source": "https://git.example/d0", "end": "2028-01-01"}
    assert {word: notes[f"{PREFIX}/{word}"] for word in wanted} == wanted
    assert f"{PREFIX}/description" not in notes, "what is not said is not made up"
