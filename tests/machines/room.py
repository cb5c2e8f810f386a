"""An estate whose one server room is the test hosts, and the command line as the operator of that room types it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from commonpool.embedded.binaries import KUBERNETES, built, find_go
from commonpool.embedded.hosts import Lan
from commonpool.machines.image import image

# The host is inside of another one here, which may not lower what the kernel holds against a process.
INSIDE = {"commonpool_joined": True, "node_oom_score": 0, "container_runtime_restrict_oom_score": True}
IMAGE = "commonpool.local/probe:1"
SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "estate"


@dataclass
class Answer:
    """What a command printed, and its exit code."""

    code: int
    output: str
    talk: str

    @property
    def json(self) -> Any:
        """The document on standard output."""
        return json.loads(self.output)

    def items(self) -> dict[str, dict[str, Any]]:
        """The list on standard output, by name."""
        return {item["name"]: item for item in self.json["items"]}


def pod(name: str, namespace: str, node: str, *words: str) -> dict[str, Any]:
    """A pod of the probe, on a node, by the strictest rules."""
    closed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "probe", "image": IMAGE, "imagePullPolicy": "Never", "args": [*words], "securityContext": closed,
                 "resources": {"limits": {"cpu": "100m", "memory": "32Mi"}}}  # fmt: skip
    spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}}  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}}}  # fmt: skip


class Room:
    """One estate on one LAN."""

    def __init__(self, lan: Lan, folder: Path) -> None:
        """`declare` writes the inventory."""
        self.lan, self.folder, self.estate = lan, folder, folder / "estate"
        self.estate.mkdir(parents=True)
        pool = yaml.safe_load((SAMPLE / "pool.yaml").read_text(encoding="utf-8"))
        compute = pool["spec"]["compute"]
        compute["sites"] = [{**compute["sites"][0], "name": "test-room", "inventory": "hosts.yml"}]
        self.pool = pool
        self.volumes()

    def volumes(self, *declared: Mapping[str, Any]) -> None:
        """The pool with these volumes."""
        self.pool["spec"]["storage"]["volumes"] = [dict(one) for one in declared]
        (self.estate / "pool.yaml").write_text(yaml.safe_dump(self.pool, allow_unicode=True), encoding="utf-8")

    def declare(self, extra: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Every host of the LAN is a machine of the inventory; `extra` adds variables, or machines that are not there."""
        hosts: dict[str, dict[str, Any]] = {
            name: {"ansible_host": host.address} for name, host in self.lan.hosts.items()
        }
        for name, variables in (extra or {}).items():
            hosts[name] = hosts.get(name, {}) | dict(variables)
        common = {
            "ansible_user": "commonpool",
            "ansible_python_interpreter": "/usr/bin/python3",
            "commonpool_flavor": "standard",
            "commonpool_cpu": "2",
            "commonpool_memory": "4Gi",
        }
        inventory = {"all": {"vars": common, "hosts": hosts}}
        (self.estate / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")

    def command(self, *words: str, timeout: float = 300) -> Answer:
        """Run `commonpool` on the LAN."""
        with self.started(*words) as process:
            try:
                output, talk = process.communicate(timeout=timeout)
            finally:
                process.kill()
        return Answer(process.returncode, output, talk)

    def started(self, *words: str) -> "subprocess.Popen[str]":
        """`commonpool` on the LAN, as it runs."""
        environment = os.environ | {"COMMONPOOL_DATA": str(self.folder / "data"), "NO_COLOR": "1"}
        with self.lan.entered():
            return subprocess.Popen(
                [sys.executable, "-m", "commonpool.cli", *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                cwd=self.estate,
            )  # fmt: skip

    def machine(self, *words: str, timeout: float = 300) -> Answer:
        """`commonpool machine …` with the operator's key where it takes one."""
        key = [] if words[0] in ("trust", "list") else ["--private-key", str(self.lan.key)]
        return self.command("machine", *words, *key, timeout=timeout)

    def kubectl(self, *words: str, given: str = "", kubeconfig: Path | None = None) -> Answer:
        """kubectl as the administrator, or with another kubeconfig."""
        program = [str(built(KUBERNETES) / "kubernetes"), "kubectl"]
        place = kubeconfig or self.folder / "data" / "pools" / "default" / "kubeconfig"
        with self.lan.entered():
            result = subprocess.run(
                [*program, "--kubeconfig", str(place), *words], input=given, capture_output=True, text=True, timeout=120
            )
        return Answer(result.returncode, result.stdout, result.stderr)

    def apply(self, *bodies: Mapping[str, Any]) -> None:
        """`kubectl apply`, which must succeed."""
        answer = self.kubectl(
            "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
        )
        assert answer.code == 0, answer.talk

    def bring_probe(self, *names: str) -> None:
        """The image of the probe, to these nodes."""
        made = self.probe(IMAGE).read_bytes()
        for name in names:
            (self.lan.hosts[name].root / "root/probe.tar").write_bytes(made)
            program = "/opt/commonpool-*/bin/ctr --address /run/commonpool/containerd.sock"
            self.lan.ssh(name, f"{program} -n k8s.io images import /root/probe.tar")

    def node_kubeconfig(self, name: str, folder: Path) -> Path:
        """A kubeconfig with the credential that a machine holds."""
        own = folder / "node.pem"
        own.write_text(self.lan.ssh(name, "cat /var/lib/kubelet/pki/kubelet-client-current.pem"), encoding="utf-8")
        entry = self.kubectl("config", "view", "--raw", "-o", "json").json
        entry["users"][0]["user"] = {"client-certificate": str(own), "client-key": str(own)}
        place = folder / "kubeconfig"
        place.write_text(json.dumps(entry), encoding="utf-8")
        return place

    def probe(self, name: str) -> Path:
        """An OCI archive of the probe under a full name."""
        source, folder = Path(__file__).with_name("probe"), self.folder / "probe"
        folder.mkdir(exist_ok=True)
        environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
        command = [find_go(source), "build", "-trimpath", "-o", str(folder / "probe"), "."]
        subprocess.run(command, cwd=source, env=environment, check=True)
        target = folder / f"{name.replace('/', '-')}.tar"
        return image(name, {"probe": (folder / "probe").read_bytes()}, ["/probe"], target)

    @property
    def machines(self) -> Path:
        """Where surveys and runs are kept."""
        return self.folder / "data" / "machines" / "jiangnan"

    def texts(self) -> list[tuple[Path, str]]:
        """Every file that work on machines left."""
        paths = [path for path in self.machines.rglob("*") if path.is_file()]
        return [(path, path.read_text(encoding="utf-8", errors="replace")) for path in paths]
