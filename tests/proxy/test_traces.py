"""Traces by OpenTelemetry, received by a real receiver of its protocol (OTLP over gRPC)."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import estates
import grpc  # type: ignore[import-untyped]
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DeclaredEstate


class Receiver(service.TraceServiceServicer):
    """Keeps the attributes of every span that arrives."""

    def __init__(self) -> None:
        self.spans: list[dict[str, str]] = []
        self.lock = threading.Lock()

    def Export(self, request: Any, context: Any) -> Any:
        with self.lock:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += [{one.key: one.value.string_value for one in span.attributes} for span in scope.spans]
        return messages.ExportTraceServiceResponse()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, int]]:
    found = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service.add_TraceServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found, port
    server.stop(0)


def test_calls_are_traced_with_caller_service_and_case_once_a_collector_is_declared(
    serving: Proxy,
    tmp_path_factory: pytest.TempPathFactory,
    start_backend: Callable[[str], Backend],
    receiver: tuple[Receiver, int],
) -> None:
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("traces"), 3))
    host = declared.offer("traced", port=8080, at=start_backend("traced").port)
    declared.consume(d1=["traced"])
    path = declared.root / "pool.yaml"
    text = path.read_text(encoding="utf-8")
    traces = f"traces: {{host: localhost, port: {receiver[1]}, percent: 100}}"
    path.write_text(text.replace("    proxy:\n", f"    proxy:\n      {traces}\n"), encoding="utf-8")
    try:
        declared.up("pool", "services", "departments")

        def traced() -> bool:
            declared.call(host, caller="d1-main", headers={"x-commonpool-case": "case-7"})
            return any(one.get("service") == "traced" for one in receiver[0].spans)

        until(traced, "a span arrives")
    finally:
        path.write_text(text, encoding="utf-8")
        declared.up("pool")
    span = next(one for one in receiver[0].spans if one.get("service") == "traced")
    wanted = {"caller": "system:serviceaccount:d1-main:default", "department": "d1", "case": "case-7"}
    assert {key: span[key] for key in wanted} == wanted
