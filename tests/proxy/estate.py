"""An estate that tests declare step by step, applied by the command itself, and its callers with their tokens."""

import asyncio
import base64
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import estates
from commonpool.embedded import EmbeddedPool
from commonpool.engine import Cluster, kubeconfig
from commonpool.proxy import metrics
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = "pool.jiangnan.example"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class DeclaredEstate:
    """Three departments, d0 to d2, each with the namespace `<name>-main`; d0 offers what the tests add."""

    pool: EmbeddedPool
    root: Path
    stand_ins: dict[str, str] = field(default_factory=lambda: {"-": "127.0.0.1:1"})
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def up(self, *stacks: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Apply it, as a person would."""
        chosen = [word for stack in stacks for word in ("--stack", stack)]
        stand_ins = f"commonpool:standIns={json.dumps(self.stand_ins)}"
        command = [sys.executable, "-m", "commonpool.cli", "up", "--yes", "--skip-preview", "--estate", str(self.root)]
        command += [*chosen, "-c", stand_ins, "--kubeconfig", str(self.pool.kubeconfig)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert not check or ended.returncode == 0, ended.stdout + ended.stderr
        return ended

    def offer(self, name: str, *, machine: str = "ha-registry-1", port: int, at: int, **spec: Any) -> str:
        """Declare a service of d0 whose machine is played at a loopback port; returns its host."""
        fields = {
            "endpoint": {"protocol": "HTTP"},
            "backends": [{"name": "old", "machines": [machine], "port": port}],
            "health": {"path": "/healthz", "interval": "1s", "timeout": "1s"},
        }
        self.stand_ins[f"{machine}:{port}"] = f"127.0.0.1:{at}"
        estates.add_service(self.root, name, **{**fields, **spec})
        return f"{name}.d0.{DOMAIN}"

    def consume(self, **by_department: list[str]) -> None:
        """Say which services departments consume; the others stay as they are."""
        for department, services in by_department.items():
            estates.consume(self.root, department, *services)

    def token(self, namespace: str, *audiences: str, account: str = "default", seconds: int = 3600) -> str:
        """What Kubernetes gives a pod of the namespace; kept for further calls."""
        key = (f"{namespace}/{account}/{seconds}", " ".join(audiences))
        if key not in self._tokens:
            self._tokens[key] = asyncio.run(self._request(namespace, audiences, account, seconds))
        return self._tokens[key]

    async def _request(self, namespace: str, audiences: Sequence[str], account: str, seconds: int) -> str:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": list(audiences), "expirationSeconds": seconds},
        }
        async with await Cluster.connect(kubeconfig.load(self.pool.kubeconfig)) as cluster:
            answer = await cluster.request(
                "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body
            )
        return str(answer["status"]["token"])

    def expired(self, namespace: str, audience: str, seconds_ago: float = 3600) -> str:
        """A token whose time is over, signed with the API server's own key: it makes none that lives for a moment only."""
        head, payload, _ = self.token(namespace, audience).split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        claims |= {"iat": claims["iat"] - 7200, "nbf": claims["nbf"] - 7200, "exp": int(time.time() - seconds_ago)}
        text = f"{head}.{_encoded(json.dumps(claims).encode())}"
        pem = (self.pool.layout.pki / "service-account.key").read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def port(self, declared: int = 8080) -> int:
        """Where a declared port is served."""
        return self.pool.proxy_port(declared)

    def healthy(self, name: str) -> int | None:
        """How many backends of a service Envoy sends calls to; None while it knows none."""
        text = metrics.scrape(self.pool.proxy_metrics, rf"^cluster\.httproute/service-{name}/")
        found = [int(value) for key, _, value in metrics.lines(text) if key == metrics.HEALTHY]
        return min(found, default=None)

    def call(self, host: str, path: str = "/", *, caller: str = "", method: str = "GET", **options: Any) -> Answer:
        """Call a service through the proxy, with the token of a namespace's default account where one is named.

        `begun`, an event, is set once the first byte of the answer is here.
        """
        headers = {"Host": host, **options.get("headers", {})}
        if caller:
            headers["Authorization"] = f"Bearer {self.token(caller, host)}"
        connection = http.client.HTTPConnection(self.pool.proxy_address, self.port(), timeout=15)
        try:
            connection.request(method, path, body=options.get("body"), headers=headers)
            answer = connection.getresponse()
            first = answer.read(1)
            if "begun" in options:
                options["begun"].set()
            return Answer(answer.status, dict(answer.getheaders()), first + answer.read())
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, {}, str(error).encode())
        finally:
            connection.close()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
