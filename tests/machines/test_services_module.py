"""The module that runs on machines, its parts that need no machine."""

import importlib.util
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PLACE = Path(__file__).resolve().parents[2] / "playbooks" / "plugins" / "modules" / "services.py"


@pytest.fixture
def services() -> ModuleType:
    spec = importlib.util.spec_from_file_location("services", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Asked:
    """What Ansible hands a module."""

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        assert words[:3] == ["journalctl", "-u", "commonpool-proxy"]
        return 0, "nft: too old\n", ""

    def fail_json(self, **values: Any) -> None:
        raise AssertionError(values["msg"])


def test_a_service_that_starts_and_ends_over_and_over_is_not_taken_for_well(
    services: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/livez"
    with pytest.raises(AssertionError, match=r"commonpool-proxy does not answer at .*: nft: too old"):
        services.Services(Asked()).await_answer("proxy", url)


def test_an_answer_is_waited_for_past_any_proxy(services: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    class Well(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Well) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        services.Services(Asked()).await_answer("proxy", f"http://127.0.0.1:{server.server_port}/livez")
