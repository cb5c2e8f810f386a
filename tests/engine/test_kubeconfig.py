"""Kubeconfigs: who we are towards which server, and every way in which that can be unclear."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from commonpool.engine.error import CredentialRefused, EngineError
from commonpool.engine.kubeconfig import load


def write(path: Path, *, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None) -> Path:
    """A kubeconfig with one context `prod` (and one that it is not)."""
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "prod",
                "contexts": [
                    {"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "water"}},
                    {"name": "other", "context": {"cluster": "c"}},
                ],
                "clusters": [{"name": "c", "cluster": {"server": "https://pool.example:6443/", **(cluster or {})}}],
                "users": [{"name": "u", "user": user or {}}],
            }
        ),
        encoding="utf-8",
    )
    return path


def test_server_namespace_and_token_are_read(tmp_path: Path) -> None:
    """The plain case."""
    found = load(write(tmp_path / "config", user={"token": "t0ken"}))
    assert (found.server, found.namespace, found.token) == ("https://pool.example:6443", "water", "t0ken")


def test_representation_and_description_never_show_the_token(tmp_path: Path) -> None:
    """Both end in logs."""
    found = load(write(tmp_path / "config", user={"token": "t0ken"}))
    assert "t0ken" not in repr(found) + found.describe()


def test_material_is_read_inline_and_from_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    """Relative paths are relative to the kubeconfig."""
    (tmp_path / "key.pem").write_bytes(b"key")
    user = {"client-certificate-data": base64.b64encode(b"certificate").decode(), "client-key": "key.pem"}
    found = load(write(tmp_path / "config", user=user))
    assert (found.client_certificate, found.client_key) == (b"certificate", b"key")


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    """Otherwise we would go on as nobody."""
    user = {"client-certificate-data": base64.b64encode(b"certificate").decode()}
    with pytest.raises(EngineError, match="has no client-key"):
        load(write(tmp_path / "config", user=user))


def test_a_context_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    """File, wanted context, and the choice."""
    path = write(tmp_path / "config")
    with pytest.raises(EngineError) as caught:
        load(path, "prdo")
    assert all(word in str(caught.value) for word in (str(path), "'prdo'", "other, prod"))


def test_a_cluster_that_is_named_goes_before_that_of_the_context(tmp_path: Path) -> None:
    """A provider that names both means both."""
    path = write(tmp_path / "config")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["clusters"].append({"name": "second", "cluster": {"server": "https://second.example"}})
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    found = load(path, None, "second")
    assert (found.server, found.namespace) == ("https://second.example", "water")
    with pytest.raises(EngineError, match="third"):
        load(path, None, "third")


def test_several_files_of_the_environment_are_merged_and_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As kubectl does; files that do not exist are passed over."""
    (tmp_path / "one").write_text("users: [{name: u, user: {token: first}}]", encoding="utf-8")
    write(tmp_path / "two", user={"token": "second"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{tmp_path}/one:{tmp_path}/two")
    assert load().token == "first"


def test_no_kubeconfig_at_all_says_where_was_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to name one."""
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none")
    with pytest.raises(EngineError, match=rf"{tmp_path}/none.*--kubeconfig"):
        load()


def test_a_file_that_is_no_yaml_is_not_quoted(tmp_path: Path) -> None:
    """The line that cannot be parsed may be the one with the key."""
    path = tmp_path / "config"
    path.write_text("users:\n- {token: geheim, ]", encoding="utf-8")
    with pytest.raises(EngineError) as caught:
        load(path)
    assert "geheim" not in str(caught.value)
    assert f"{path}:2" in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_unverified_connection_is_honoured_and_warned_about(tmp_path: Path) -> None:
    """Only when the file says so, and never without a word."""
    assert load(write(tmp_path / "a")).warnings == ()
    found = load(write(tmp_path / "b", cluster={"insecure-skip-tls-verify": True}))
    assert found.insecure
    assert "insecure-skip-tls-verify" in found.warnings[0]


@pytest.mark.parametrize(
    ("server", "named", "without", "expected"),
    [
        ("https://pool.example", "", "", "http://gate.example:3128"),
        ("https://pool.example", "http://own.example:8080", "", "http://own.example:8080"),
        ("https://pool.example", "", "pool.example", ""),
        ("https://10.20.0.1:6443", "", "10.0.0.0/8", ""),
        ("https://127.0.0.1:6443", "", "", ""),
        ("http://pool.example", "", "", ""),  # there is one for HTTPS alone
    ],
)
def test_a_cluster_is_reached_by_the_proxy_of_its_entry_else_of_the_environment_and_this_machine_by_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, named: str, without: str, expected: str
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://gate.example:3128")
    monkeypatch.setenv("NO_PROXY", without)
    cluster = {"server": server} | ({"proxy-url": named} if named else {})
    assert load(write(tmp_path / "config", cluster=cluster)).proxy == expected


def test_impersonation_is_carried_in_headers(tmp_path: Path) -> None:
    """Leaving it out would act with more rights than the file gives."""
    found = load(write(tmp_path / "config", user={"token": "t", "as": "ci", "as-groups": ["a", "b"]}))
    assert found.impersonate == (("Impersonate-User", "ci"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))


@pytest.mark.parametrize("user", [{"as": "ci", "as-user-extra": {"a": ["b"]}}, {"username": "a", "password": "b"}])
def test_what_cannot_be_honoured_is_refused(tmp_path: Path, user: dict[str, Any]) -> None:
    """It might be what limits the rights."""
    with pytest.raises(EngineError):
        load(write(tmp_path / "config", user=user))


def test_the_token_file_goes_before_the_inline_token_and_is_read_again(tmp_path: Path) -> None:
    """Rotation writes the file."""
    (tmp_path / "token").write_text("one\n", encoding="utf-8")
    found = load(write(tmp_path / "config", user={"tokenFile": "token", "token": "inline"}))
    assert found.token == "one"
    (tmp_path / "token").write_text("two\n", encoding="utf-8")
    assert found.renewable
    assert found.renewed_token() == "two"


def plugin(tmp_path: Path, script: str) -> dict[str, Any]:
    """An exec plugin that runs this Python script."""
    path = tmp_path / "plugin.py"
    path.write_text(script, encoding="utf-8")
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(path)],
            "interactiveMode": "Never",
        }
    }


def test_an_exec_plugin_gives_the_token(tmp_path: Path) -> None:
    """Through the official client."""
    answer = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "minted"}}
    found = load(write(tmp_path / "config", user=plugin(tmp_path, f"print({json.dumps(json.dumps(answer))})")))
    assert found.token == "minted"
    assert found.renewed_token() == "minted"


@pytest.mark.parametrize(
    "script", ["raise SystemExit(3)", "print('no json')", 'print(\'{"status": {}, "kind": "ExecCredential"}\')']
)
def test_a_plugin_that_fails_is_named_and_never_leads_to_an_anonymous_request(tmp_path: Path, script: str) -> None:
    """Whatever way it fails."""
    with pytest.raises(CredentialRefused, match="plugin"):
        load(write(tmp_path / "config", user=plugin(tmp_path, script)))
