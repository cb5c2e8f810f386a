"""A gRPC backend in a process of its own, without generated code: `python grpc_backend.py PORT [SHARE]`.

`/tests.Echo/Say` returns what it got, `/tests.Echo/Count` streams one message for each byte, `/tests.Echo/Who` says who the
proxy says is calling, and `grpc.health.v1` says that it serves. That share of `Say` is answered with INTERNAL, which is a
200 of HTTP.
"""

import random
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]

SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


FAILING = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0


def _say(request: bytes, context: Any) -> bytes:
    if random.random() < FAILING:
        context.abort(grpc.StatusCode.INTERNAL, "it fails now and then")
    return request


def _count(request: bytes, context: Any) -> Iterator[bytes]:
    for number in range(len(request)):
        yield str(number).encode()


def _who(request: bytes, context: Any) -> bytes:
    return str(dict(context.invocation_metadata()).get("x-commonpool-department", "")).encode()


def _health(request: bytes, context: Any) -> bytes:
    return SERVING


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    def service(self, details: Any) -> Any:
        methods = {
            "/tests.Echo/Say": grpc.unary_unary_rpc_method_handler(_say),
            "/tests.Echo/Count": grpc.unary_stream_rpc_method_handler(_count),
            "/tests.Echo/Who": grpc.unary_unary_rpc_method_handler(_who),
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(_health),
        }
        return methods.get(details.method)


def main(port: int) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[_Methods()])
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
