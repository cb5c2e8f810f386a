"""Envoy's external processing messages, read and made. Pure."""

import json
from collections.abc import Mapping

from commonpool.exchange.processing_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    HeaderValue,
    HeaderValueOption,
    HttpHeaders,
    HttpStatus,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
    StreamedBodyResponse,
    TrailersResponse,
)

CHUNK = 64 << 10  # bytes of one message; gRPC takes four megabytes
PROBLEM = "application/problem+json"
ROUTE, CODE_DETAILS = "xds.route_name", "response.code_details"
_FILTER = "envoy.filters.http.ext_proc"


def headers(message: HttpHeaders) -> dict[str, str]:
    """By lower-case name; repeated ones joined by commas, as HTTP allows."""
    found: dict[str, str] = {}
    for one in message.headers.headers:
        value = one.raw_value.decode("utf-8", "backslashreplace") if one.raw_value else one.value
        found[one.key] = f"{found[one.key]},{value}" if one.key in found else value
    return found


def route(message: ProcessingRequest) -> str:
    """The name of the route that Envoy chose."""
    return _attribute(message, ROUTE)


def of_proxy(message: ProcessingRequest) -> bool:
    """Whether Envoy says that an answer is its own, and of no service."""
    return _attribute(message, CODE_DETAILS) not in ("", "via_upstream")


def _attribute(message: ProcessingRequest, name: str) -> str:
    attributes = message.attributes.get(_FILTER)
    return str(attributes.fields[name].string_value) if attributes else ""


def service_of(route: str) -> str:
    """The service of a route's name, `httproute/service-<name>/…`; empty for another."""
    parts = route.split("/")
    named = len(parts) > 2 and parts[0] in ("httproute", "grpcroute") and parts[1].startswith("service-")
    return parts[1].removeprefix("service-") if named else ""


def _common(change: Mapping[str, str], remove: tuple[str, ...]) -> CommonResponse:
    mutation = HeaderMutation(set_headers=_options(change), remove_headers=list(remove))
    return CommonResponse(header_mutation=mutation)


def _options(change: Mapping[str, str]) -> list[HeaderValueOption]:
    overwrite = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return [
        HeaderValueOption(header=HeaderValue(key=key, raw_value=value.encode()), append_action=overwrite)
        for key, value in change.items()
    ]


def request_headers(change: Mapping[str, str], remove: tuple[str, ...] = ()) -> ProcessingResponse:
    """Let the request go on."""
    return ProcessingResponse(request_headers=HeadersResponse(response=_common(change, remove)))


def response_headers(change: Mapping[str, str], remove: tuple[str, ...] = ()) -> ProcessingResponse:
    """Let the answer's head go on."""
    return ProcessingResponse(response_headers=HeadersResponse(response=_common(change, remove)))


def _body(content: bytes, *, end: bool) -> BodyResponse:
    streamed = StreamedBodyResponse(body=content, end_of_stream=end)
    return BodyResponse(response=CommonResponse(body_mutation=BodyMutation(streamed_response=streamed)))


def request_body(content: bytes, *, end: bool) -> ProcessingResponse:
    """A piece of the request."""
    return ProcessingResponse(request_body=_body(content, end=end))


def response_body(content: bytes, *, end: bool) -> list[ProcessingResponse]:
    """A part of the answer, in pieces."""
    places = range(0, len(content), CHUNK) or range(1)
    last = len(places) - 1
    return [
        ProcessingResponse(response_body=_body(content[place : place + CHUNK], end=end and number == last))
        for number, place in enumerate(places)
    ]


def request_trailers() -> ProcessingResponse:
    """Let the request's end go on."""
    return ProcessingResponse(request_trailers=TrailersResponse())


def response_trailers() -> ProcessingResponse:
    """Let the answer's end go on."""
    return ProcessingResponse(response_trailers=TrailersResponse())


def refusal(
    status: int, kind: str, title: str, detail: str, extra: Mapping[str, str] | None = None
) -> ProcessingResponse:
    """Answer in the service's place (RFC 9457)."""
    words = {"type": f"https://commonpool.dev/problems/{kind}", "title": title, "status": status, "detail": detail}
    immediate = ImmediateResponse(
        status=HttpStatus(code=status),
        headers=HeaderMutation(set_headers=_options({"content-type": PROBLEM, **(extra or {})})),
        body=json.dumps(words, ensure_ascii=False).encode(),
        details=f"commonpool.{kind}",  # by which the proxy leaves these words as they are
    )
    return ProcessingResponse(immediate_response=immediate)
