"""Every form of key and token that Yelp's detect-secrets knows, looked for in every file of the repository and in a pool's logs.

Passwords by their names are looked for by the linter (rules S105 to S107), chosen secrets by `test_canary.py`.
"""

import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from commonpool.embedded import EmbeddedPool
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.plugins.base import RegexBasedDetector

ROOT = Path(__file__).resolve().parents[2]
MOST = 2 << 20  # bytes; no file of the repository is longer, and the audit log of many tests may be
NONE = {"Public IP (ipv4)"}  # addresses are what manifests are about


@cache
def detectors() -> dict[str, RegexBasedDetector]:
    """One for each form, by its name; not those that look for disorder, in which hashes and signatures abound."""
    classes: dict[str, Any] = get_mapping_from_secret_type_to_class()
    return {name: one() for name, one in classes.items() if issubclass(one, RegexBasedDetector) and name not in NONE}


def found(paths: Iterable[Path]) -> list[tuple[str, str, str]]:
    """(file, form, how it begins) of everything that looks like a secret; of a long file at its end."""
    texts = ((str(path), path.read_bytes()[-MOST:].decode(errors="replace")) for path in paths)
    return [
        (name, form, str(match)[:12])
        for name, text in texts
        for form, detector in detectors().items()
        for match in detector.analyze_string(text)
    ]


def test_the_repository_holds_no_secret() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert len(paths) > 400
    assert found(paths) == []


def test_the_logs_of_a_pool_hold_no_secret(embedded_pool: EmbeddedPool) -> None:
    logs = [path for path in embedded_pool.layout.logs.rglob("*") if path.is_file()]
    assert {"kube-apiserver.log", "audit.log"} <= {path.name for path in logs}
    assert found(logs) == []


def test_the_scanner_finds_what_it_is_there_for(tmp_path: Path) -> None:
    """Not written out here, or it would be found here."""
    secrets = {
        "Private Key": ("-----BEGIN ", "PRIVATE KEY", "-----"),
        "JSON Web Token": ("eyJhbGciOiJSUzI1NiJ9", ".eyJzdWIiOiJhIn0", ".c2lnbmF0dXJl"),
        "AWS Access Key": ("AKIA", "ABCDEFGHIJKLMNOP"),
        "GitHub Token": ("ghp_", "a" * 36),
        "Basic Auth Credentials": ("https://somebody:", "something", "@example.org/"),
    }
    for form, parts in secrets.items():
        path = tmp_path / form
        path.write_text("".join(parts), encoding="utf-8")
        assert form in {what for _, what, _ in found([path])}
