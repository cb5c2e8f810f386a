"""Whatever bytes stand in a manifest: it validates, or every problem has its place and rule; never a traceback (M11).

Runs for some 10 s; `make fuzz` goes on until it is stopped, `COMMONPOOL_FUZZ_SECONDS` says for how long. What broke it once
is kept in `corpus/`, as `<kind>-<words>.yaml`, and tried first.
"""

import contextlib
import io
import os
import random
import re
import resource
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from commonpool.cli import run
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from model.spoiling import ROOT, SAMPLE, TOKENS, sample, spoiled, targets

CORPUS = Path(__file__).parent / "corpus"
FOUND = CORPUS / "found"
LINE = re.compile(r"[^\n]+?:[1-9]\d*:[1-9]\d*: [^\n]+ \[[a-z0-9-]+\]")
FURTHER = re.compile(r"  (who|fix|next): .*|error: the estate has \d+ problems? \[estate_refused\]")
MEMORY = 256 << 20  # bytes of data beyond what the process has: the largest manifest is 1 MiB
HANGING = timedelta(seconds=120)  # no bound of speed: only against standing still
TARGETS = targets()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the sample with its inventories; whatever reads it has bounded memory."""
    root = tmp_path_factory.mktemp("fuzz")
    for folder in (SAMPLE, "inventories"):
        shutil.copytree(ROOT / folder, root / folder)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    used = int(status.partition("VmData:")[2].split()[0]) << 10
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, before[1]))
    yield root
    resource.setrlimit(resource.RLIMIT_DATA, before)


def outcome(place: Path, word: str, content: bytes) -> str:
    """What is wrong with how the command line takes this content; the sample is whole again afterwards."""
    path = place / TARGETS[word]
    path.write_bytes(content)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["validate", "--estate", str(place / SAMPLE)])
    finally:
        path.write_bytes(sample(TARGETS[word]))
    if code == 0:  # on time or late, that is no problem of the manifest
        return "" if err.getvalue().replace("\n", "").isprintable() else f"not printable: {err.getvalue()[:500]!r}"
    lines = err.getvalue().split("\n")
    located = [line for line in lines if LINE.fullmatch(line)]
    strange = [line for line in lines if line and line not in located and not FURTHER.fullmatch(line)]
    if code != 1 or strange or not located or out.getvalue():
        return f"exit code {code}, {len(located)} problems, {strange[:3]}, {out.getvalue()[:200]}"
    return "" if err.getvalue().replace("\n", "").isprintable() else f"not printable: {err.getvalue()[:500]!r}"


def test_the_sample_itself_validates(place: Path) -> None:
    assert {word: outcome(place, word, sample(path)) for word, path in TARGETS.items()} == dict.fromkeys(TARGETS, "")


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("*.yaml")))
def test_what_broke_it_once_breaks_it_no_more(place: Path, name: str) -> None:
    assert outcome(place, name.partition("-")[0], (CORPUS / name).read_bytes()) == ""


def _spoil(place: Path, word: str, chance: int, examples: int) -> None:
    @seed(chance)
    @settings(
        max_examples=examples,
        database=None,
        deadline=HANGING,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.one_of(spoiled(sample(TARGETS[word])), st.lists(st.sampled_from(TOKENS), max_size=8).map(b"".join)))
    def validates_or_is_refused(content: bytes) -> None:
        wrong = outcome(place, word, content)
        if wrong:
            FOUND.mkdir(exist_ok=True)
            (FOUND / f"{word}.yaml").write_bytes(content)  # the last one that fails is the smallest
        assert not wrong, f"{wrong}; kept in {FOUND / word}.yaml: mend it, and move it to {CORPUS}"

    validates_or_is_refused()


def test_any_bytes_validate_or_are_problems_with_a_place_and_a_rule(place: Path) -> None:
    given_time = os.environ.get("COMMONPOOL_FUZZ_SECONDS")
    end = time.monotonic() + float(given_time or 10)
    chances = random.Random(None if given_time else 20261126)
    words = sorted(TARGETS)
    while time.monotonic() < end:
        _spoil(place, chances.choice(words), chances.getrandbits(32), 20)
