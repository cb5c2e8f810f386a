"""What a join waits for before the machine's token goes: a certificate that holds, not one of long ago."""

import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from commonpool.embedded import certificate
from commonpool.embedded.certificate import Authority

ROLE = Path(__file__).resolve().parents[2] / "playbooks" / "roles" / "node"
PLACES = {"/var/lib/kubelet/pki": "pki", "/etc/commonpool": "etc"}


def waiting(folder: Path, seconds: int) -> "subprocess.Popen[str]":
    """The role's own words, at places below a folder."""
    words = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["node_certified"]
    for there, here in PLACES.items():
        (folder / here).mkdir(exist_ok=True)
        words = words.replace(there, str(folder / here))
    words = words.replace("{{ node_join_seconds }}", str(seconds))
    (folder / "etc" / "bootstrap.kubeconfig").write_text("token")
    return subprocess.Popen(["sh", "-c", words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def certify(folder: Path, monkeypatch: pytest.MonkeyPatch, days_ago: int) -> None:
    """What kubelet keeps: certificate and key in one file."""
    monkeypatch.setattr(certificate, "_now", lambda: datetime.now(UTC) - timedelta(days=days_ago))
    (folder / "made").mkdir(exist_ok=True)
    pair = Authority(folder / "made", "ca").client(f"node-{days_ago}", "system:node:a")
    monkeypatch.undo()
    scratch = folder / "scratch.pem"
    scratch.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    (folder / "pki").mkdir(exist_ok=True)
    scratch.replace(folder / "pki" / "kubelet-client-current.pem")


def test_a_machine_that_was_off_for_a_year_keeps_its_token_until_it_is_certified_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify(tmp_path, monkeypatch, 400)
    process = waiting(tmp_path, 30)
    threading.Event().wait(1)
    assert process.poll() is None
    assert (tmp_path / "etc" / "bootstrap.kubeconfig").exists()
    certify(tmp_path, monkeypatch, 0)
    assert process.wait(20) == 0
    assert not (tmp_path / "etc" / "bootstrap.kubeconfig").exists()


def test_a_certificate_that_holds_already_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certify(tmp_path, monkeypatch, 10)
    assert waiting(tmp_path, 30).wait(20) == 0
    assert not (tmp_path / "etc" / "bootstrap.kubeconfig").exists()
