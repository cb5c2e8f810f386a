"""Secrets that would be recognised anywhere, and nowhere found: outputs, state, store, logs, temporary files (CASES F19)."""

import base64
import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster
from commonpool.engine import state as states
from programs import Stack

CANARY = "canary-7f1d02-Zq9/ä"
SOURCE = """
import json
token = config.require_secret("token")
noted = {**inside, "name": "noted", "annotations": {"note": token}}
first = k8s.core.v1.Secret("noted", metadata=noted, string_data={"t": token, "again": config.get("round")})
text = token.apply(lambda found: json.dumps({
    "apiVersion": "v1", "kind": "Secret", "metadata": {**{"namespace": name}, "name": "chart"}, "stringData": {"t": found}}))
k8s.yaml.v2.ConfigGroup("chart", yaml=text, opts=Options(depends_on=[space]))
read = k8s.core.v1.Secret.get("read", f"{name}/noted", opts=Options(depends_on=[first]))
pulumi.export("data", read.data)
pulumi.export("token", pulumi.Output.concat("Bearer ", token))
if config.get_bool("broken"):
    k8s.core.v1.Secret("bad", metadata={**inside, "name": token}, type=token, string_data={"t": token})
"""


@pytest.fixture
def stack(embedded_pool: EmbeddedPool, tmp_path: Path, fresh: str) -> Stack:
    return Stack(embedded_pool, tmp_path, fresh)


def spellings() -> Iterator[bytes]:
    """The canary as it is, and as base64 holds it after any number of other bytes."""
    plain = CANARY.encode()
    yield plain
    yield plain.hex().encode()
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + plain)
        yield coded[4 if before else 0 : -4]


def hits(content: bytes) -> list[bytes]:
    return [spelling for spelling in spellings() if spelling in content]


def hits_below(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and hits(path.read_bytes())]


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    for number, before in enumerate(("", "x", "xy")):
        (tmp_path / str(number)).write_bytes(base64.b64encode(f"{before}{CANARY} and more".encode()))
    assert len(hits_below(tmp_path)) == 3


def test_a_secret_is_in_nothing_that_we_write(stack: Stack, embedded_pool: EmbeddedPool, tmp_path: Path) -> None:
    stack.load(SOURCE)
    secret, temporary = tmp_path / "token", tmp_path / "temporary"
    secret.write_text(CANARY + "\n", encoding="utf-8")
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    told = b""
    for words in (
        ["preview", "--diff", "-c", "round=1"],
        ["up", "--yes", "--output", "json", "-c", "round=1"],
        ["up", "--yes", "--diff", "-c", "round=2"],
        ["up", "--yes", "--output", "markdown", "-c", "broken=true"],
        ["refresh", "--output", "json"],
    ):
        where = ["--program", str(stack.folder), "--kubeconfig", str(stack.kubeconfig), "-c", f"name={stack.name}"]
        command = [sys.executable, "-m", "commonpool.cli", *words, *where, "--secret", f"token=@{secret}"]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=300, check=False)
        told += done.stdout + done.stderr
    for name in ("noted", "chart"):
        live = stack.read("v1", "Secret", stack.name, name)
        assert base64.b64decode(live["data"]["t"]).decode() == CANARY
        assert "kubectl.kubernetes.io/last-applied-configuration" not in live["metadata"].get("annotations", {})
    assert b"[secret]" in told
    assert hits(told) == []
    assert hits(content_of_state(stack)) == []
    assert hits_below(temporary) == []
    assert hits_below(embedded_pool.layout.root) == [], "the store, its log, the audit log, every component's log"
    assert stack.destroy().problems == ()


def content_of_state(stack: Stack) -> bytes:
    """What the pool remembers of the stack, unpacked, without the outputs that it knows to be secret.

    Those it must remember, for other stacks that refer to them; they lie where secrets do, and nowhere else in it.
    """
    kept = {"token", "data"}

    async def work(cluster: Cluster) -> bytes:
        items, _ = await cluster.list_objects("v1", "Secret", namespace=states.NAMESPACE)
        ours = [item for item in items if item["metadata"]["labels"].get(states.PROJECT_LABEL) == stack.name]
        contents = [gzip.decompress(base64.b64decode(item["data"]["content"])) for item in ours]
        found = [orjson.loads(content) for content in contents]
        for parent in (one for one in found if "outputs" in one):
            assert set(parent["secretOutputs"]) == kept
            parent["outputs"] = {name: value for name, value in parent["outputs"].items() if name not in kept}
        return orjson.dumps(found)

    found = stack.ask(work)
    assert b"noted" in found, "the state is what it was taken for"
    return found
