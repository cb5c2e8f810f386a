"""Two machines of the sample estate join for real on this machine, and a department's service runs on them.

Everything is on a LAN of its own, so that no test hosts of a person who works here are in the way.
"""

import http.client
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import estates
import pytest
import yaml
from commonpool.embedded import EmbeddedPool
from commonpool.embedded.hosts import Lan
from commonpool.embedded.hosts.trial import Trial
from room import Room

pytestmark = pytest.mark.timeout(1500)
IMAGE = "registry.jiangnan.example/greeting:1"
NAMESPACE = "service-greeting"
HOST = "greeting.d0.pool.jiangnan.example"


def until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def room(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """The sample's pool with its trial room alone, two departments, a service of one; the hosts joined, its image on them."""
    made = Room(lan, tmp_path_factory.mktemp("trial"))
    estate = estates.write(made.estate, 2)
    shutil.copy(estates.INVENTORIES / "trial-room" / "hosts.yml", estate)
    pool = yaml.safe_load((estate / "pool.yaml").read_text(encoding="utf-8"))
    sites = pool["spec"]["compute"]["sites"]
    pool["spec"]["compute"]["sites"] = [{**sites[-1], "inventory": "hosts.yml"}]
    pool["spec"]["storage"]["volumes"] = []
    pool["spec"]["network"]["proxy"].pop("domains", None)
    (estate / "pool.yaml").write_text(yaml.safe_dump(pool, allow_unicode=True), encoding="utf-8")
    workload = {
        "image": IMAGE,
        "command": ["/probe", "web", "from a real node"],
        "ports": [{"name": "http", "port": 8080}],
        "replicas": 1,
        "resources": {"cpu": "200m", "memory": "64Mi"},
    }
    backend = {"name": "new", "pods": True}
    estates.add_service(estate, "greeting", endpoint={"protocol": "HTTP"}, backends=[backend], workload=workload)
    estates.consume(estate, "d1", "greeting")
    for path in [*(estate / "departments").iterdir(), *(estate / "services").iterdir()]:
        text = path.read_text(encoding="utf-8").replace("flavor: performance", "flavor: trial")
        text = text.replace("protectionLevel: 2", "protectionLevel: 1").replace("memory: 16Mi", "memory: 128Mi")
        text = text.replace("cpu: 10m", "cpu: 200m")
        path.write_text(text, encoding="utf-8")
    try:
        for words in (("up", "--yes", "--stack", "pool"), ("embedded", "hosts")):
            answer = made.command(*words, timeout=1000)
            assert answer.code == 0, answer.output + answer.talk + _log(made)
        yield made
    finally:
        made.command("embedded", "reset", "--yes")


def _trial(room: Room) -> Trial:
    return Trial(EmbeddedPool("default", room.folder / "data").layout)


def _log(room: Room) -> str:
    log = _trial(room).log
    return log.read_text(encoding="utf-8")[-2000:] if log.exists() else ""


def test_the_machines_are_real_and_said_to_be(room: Room) -> None:
    nodes = {one["metadata"]["name"]: one for one in room.kubectl("get", "nodes", "-o", "json").json["items"]}
    assert set(nodes) == {"trial-1", "trial-2"}
    for node in nodes.values():
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3"
        assert node["metadata"]["labels"]["commonpool.dev/flavor"] == "trial"
        assert "commonpool.dev/simulated" not in node["metadata"]["labels"]
    answer = room.command("embedded", "hosts", "--no-wait")
    assert "trial-1 and trial-2 are real" in answer.talk


def test_a_departments_service_runs_there_and_is_reached_through_the_proxy_by_name(room: Room) -> None:
    key = str(_trial(room).folder / "operator")
    answer = room.command("machine", "image", str(room.probe(IMAGE)), "--private-key", key, "-o", "json")
    assert {name: item["state"] for name, item in answer.items().items()} == {
        "trial-1": "brought",
        "trial-2": "brought",
    }
    again = room.command("machine", "image", str(room.probe(IMAGE)), "--private-key", key, "-o", "json")
    assert {item["state"] for item in again.items().values()} == {"unchanged"}
    applied = room.command("up", "--yes", "--timeout", "40s", timeout=300)
    assert applied.code == 0, applied.output + applied.talk + room.kubectl("describe", "pods", "-n", NAMESPACE).output
    pods = room.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json").json["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} <= {"trial-1", "trial-2"}
    pool = EmbeddedPool("default", room.folder / "data")
    token = room.kubectl("create", "token", "default", "-n", "d1-main", "--audience", HOST).output.strip()

    def ask(**headers: str) -> tuple[int, bytes]:
        with room.lan.entered():
            connection = http.client.HTTPConnection(pool.proxy_address, pool.proxy_port(8080), timeout=5)
            try:
                connection.request("GET", "/", headers={"Host": HOST, **headers})
                answer = connection.getresponse()
                return answer.status, answer.read()
            except OSError as error:
                return 0, str(error).encode()
            finally:
                connection.close()

    # Envoy looks at a backend that nobody calls once a minute, and wants two good answers after a bad one.
    until(lambda: ask(Authorization=f"Bearer {token}") == (200, b"from a real node"), "the service answers", 200)
    assert ask()[0] == 401


def test_images_of_foreign_registries_and_other_files_are_refused(room: Room, tmp_path: Path) -> None:
    answer = room.command("machine", "image", str(room.probe("docker.io/greeting:1")))
    assert "is not of a registry of this pool" in answer.talk
    (tmp_path / "x.tar").write_text("no archive", encoding="utf-8")
    assert "is no OCI archive" in room.command("machine", "image", str(tmp_path / "x.tar")).talk


def test_stopped_hosts_come_back_with_their_disks_and_reset_leaves_nothing(room: Room) -> None:
    assert "stopped" in room.command("embedded", "hosts", "--stop").talk
    folder = str(_trial(room).folder)
    assert folder not in Path("/proc/mounts").read_text(encoding="utf-8")
    answer = room.command("embedded", "hosts")
    assert answer.code == 0, _log(room)
    assert "were booted and are ready again" in answer.talk
    assert room.command("embedded", "reset", "--yes").code == 0
    assert folder not in Path("/proc/mounts").read_text(encoding="utf-8")
    assert not Path(folder).exists()
    with room.lan.entered():
        links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    assert "-br" not in links.replace(f"{room.lan.prefix}-br", "")
