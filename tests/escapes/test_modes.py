"""The same denials in every mode: tried or done, alone or in parallel, anew or resumed, adopted, split (T34); owners (T11); what is read (T33)."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import estates
import pytest
from programs import BARE

from escapes.attempts import CATALOGUE, CORE, OTHER, OWN, SYSTEM, container, pod, thing
from escapes.caller import Caller
from escapes.ground import ROOT, Ground, apply, attack, differences

CANARY = "canary-30b7-of-water1"
MODES: dict[str, list[str]] = {
    "preview": ["preview"],
    "one at a time": ["up", "--yes", "--skip-preview", "--parallel", "1"],
    "many at a time": ["up", "--yes", "--skip-preview", "--parallel", "32"],
    "resumed": ["up", "--yes", "--skip-preview", "--continue-on-error"],
    "adopted": ["up", "--yes", "--skip-preview", "--adopt"],
}


def run(words: list[str], credential: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "commonpool.cli", *words, "--kubeconfig", str(credential)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("group", CATALOGUE)
def test_what_is_refused_is_refused_when_it_is_only_tried(ground: Ground, group: str) -> None:
    """A dry run takes another way through the API server, and tells what the real request would be told."""
    # A dry run is shown the first address of the range, whatever it asked for: of that alone it cannot be told.
    tried = [one for one in ground.attempts(group) if one.method != "GET" and "of name resolution" not in one.words]
    for person in ("admin", "account"):
        assert attack(ground.people[person], tried, "dryRun=All").survived == []


@pytest.fixture(scope="module")
def pipeline(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline's own credential."""
    path = tmp_path_factory.mktemp("pipeline") / "kubeconfig"
    issued = run(["credential", "ci", "--write", str(path), "--apply"], ground.pool.kubeconfig)
    assert issued.returncode == 0, issued.stderr
    return path


@pytest.mark.parametrize("mode", MODES)
def test_the_engine_in_no_mode_writes_beyond_the_pool(
    ground: Ground, pipeline: Path, tmp_path: Path, mode: str
) -> None:
    """A program that names another's namespace, by the credential that applies: no object, whatever the order and the way."""
    name = f"beyond-{mode.replace(' ', '-')}"
    source = BARE.replace('space = resource("Namespace", "space", {"metadata": {"name": name}})\n', "")
    source = source.replace("depends_on=[space]", "")
    source += f'for n in range(5):\n    resource("ConfigMap", f"c{{n}}", {{"metadata": {{"namespace": "{SYSTEM}", "name": f"{name}-{{n}}"}}}})\n'
    (tmp_path / "Pulumi.yaml").write_text(f"name: {name}\nruntime: python\n", encoding="utf-8")
    (tmp_path / "__main__.py").write_text(source, encoding="utf-8")
    before = ground.state()
    ended = run([*MODES[mode], "--program", str(tmp_path), "-c", f"name={name}"], pipeline)
    if mode == "resumed":
        ended = run([*MODES[mode], "--program", str(tmp_path), "-c", f"name={name}"], pipeline)
    assert (ended.returncode, "into no other" in ended.stdout + ended.stderr) == (1, True), ended.stdout + ended.stderr
    touched = [
        line for line in differences(before, ground.state()) if name in line and " commonpool-system/" not in line
    ]
    assert touched == []


def test_a_manifest_that_is_refused_is_refused_in_every_mode(ground: Ground, tmp_path: Path) -> None:
    """More than there is, by a department alone, by a stack alone, tried, adopted, forced: nothing is written."""
    estates.write(tmp_path, 2, prefix="water")
    greedy = tmp_path / "departments" / "water1.yaml"
    greedy.write_text(estates.department("water1", 1, cpu='"100000"'), encoding="utf-8")
    before = ground.state()
    for words in (*MODES.values(), ["up", "--yes", "--target", "water0"], ["up", "--yes", "--stack", "departments"]):
        ended = run([*words, "--estate", str(tmp_path)], ground.pool.kubeconfig)
        assert (ended.returncode, "[capacity-exceeded]" in ended.stderr) == (1, True), (words, ended.stderr)
    assert list(differences(before, ground.state())) == []


@pytest.fixture
def handed_over(ground: Ground) -> Iterator[tuple[Path, Path]]:
    """A namespace `lake-a-main` of department `lake`, with a Secret; `lake-a` may be declared, whose `main` it would be."""
    old, new = (ground.root / "departments" / f"{name}.yaml" for name in ("lake", "lake-a"))
    old.write_text(estates.department("lake", 5).replace("- name: main", "- name: a-main"), encoding="utf-8")
    apply(ground.pool, ground.root, "--stack", "departments")
    secret = thing("v1", "Secret", "of-lake", "lake-a-main", stringData={"password": CANARY})
    assert ground.administrator.send("POST", f"{CORE}/namespaces/lake-a-main/secrets", secret).status == 201
    yield old, new
    for path in (old, new):
        path.unlink(missing_ok=True)
    apply(ground.pool, ground.root, "--stack", "departments")


def test_a_namespace_gets_no_other_owner_with_what_is_in_it(ground: Ground, handed_over: tuple[Path, Path]) -> None:
    """T11: two owners of one name are refused, and so is a new owner of what the old one left."""
    old, new = handed_over
    new.write_text(estates.department("lake-a", 6), encoding="utf-8")
    words = ["up", "--yes", "--skip-preview", "--stack", "departments", "--estate", str(ground.root)]
    both = run(words, ground.pool.kubeconfig)
    assert (both.returncode, "lake-a-main" in both.stderr) == (1, True), both.stderr
    before = ground.read(f"{CORE}/namespaces/lake-a-main")["metadata"]
    old.unlink()
    for mode in ([], ["--adopt"], ["--force-conflicts"]):
        ended = run([*words, *mode], ground.pool.kubeconfig)
        assert (ended.returncode, "stays its department's" in ended.stdout + ended.stderr) == (1, True), ended.stdout
    after = ground.read(f"{CORE}/namespaces/lake-a-main")["metadata"]
    assert (after["uid"], after["labels"]) == (before["uid"], before["labels"])
    ground.pool.issue_kubeconfig("oidc:lake-a", ("oidc:lake-a-admins",), ground.root / "lake-a.kubeconfig", days=1)
    newcomer = Caller.of_kubeconfig("newcomer", ground.root / "lake-a.kubeconfig")
    assert newcomer.send("GET", f"{CORE}/namespaces/lake-a-main/secrets").status == 403, "nor by its bindings"


OF_A_DEPARTMENT = [
    ["status"],
    ["department", "show", "water1", "-o", "json"],
    ["policy", "list"],
    ["preview", "--diff"],
]
OF_THE_PLATFORM = [["status", "-o", "json"], ["preview", "--diff"], ["refresh"], ["doctor", "-o", "json"]]


def test_no_command_reads_out_what_another_department_keeps(ground: Ground) -> None:
    """T33: neither to a department nor to the administrator, of whom somebody may look at the screen."""
    place = f"{CORE}/namespaces/{OTHER}"
    secret = thing("v1", "Secret", "kept", OTHER, stringData={"password": CANARY})
    note = thing("v1", "ConfigMap", "kept", OTHER, data={"note": CANARY})
    room = pod("kept", OTHER, containers=[container(env=[{"name": "TOKEN", "value": CANARY}])])
    made = {"secrets": secret, "configmaps": note, "pods": room}
    for kind, body in made.items():
        body["metadata"]["annotations"] = {"note": CANARY}
        assert ground.administrator.send("POST", f"{place}/{kind}", body).status == 201
    department = ground.root / "admin.kubeconfig"
    told = ""
    for credential, commands in ((department, OF_A_DEPARTMENT), (ground.pool.kubeconfig, OF_THE_PLATFORM)):
        for words in commands:
            ended = run([*words, "--estate", str(ground.root)], credential)
            told += ended.stdout + ended.stderr
    for kind in made:
        ground.administrator.send("DELETE", f"{place}/{kind}/kept")
    assert "water1" in told
    assert CANARY not in told
    assert base64.b64encode(CANARY.encode()).decode() not in told
    assert OWN in told
