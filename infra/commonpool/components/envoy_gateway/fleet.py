"""What holds for everything that passes the proxy: the fleet's settings, the bounds of callers, who callers are. Pure.

How many instances run, and where, is no part of this: it stands in Envoy Gateway's own configuration (`service-proxy/`), under
which the settings here are merged.
"""

from collections.abc import Mapping, Sequence

from commonpool.components.envoy_gateway import (
    CERTIFIED,
    GROUP,
    PROBLEM,
    SETTINGS,
    VERSION,
    backend_reference,
    for_class,
    target,
)
from commonpool.components.gateway import (
    AGREEMENT_HEADER,
    AUDIENCE_HEADER,
    BACKEND_HEADER,
    CASE_HEADER,
    CLIENTS,
    DEPARTMENT_HEADER,
    EXCHANGE_HEADER,
    HTTP,
    SERVICE_HEADER,
    SUBJECT_HEADER,
    secured,
)
from commonpool.components.rendering import PROXY_NAMESPACE, SHARED_GATEWAY, Body, body
from commonpool.model import Pool, SharedService
from commonpool.model.proxy import ClientCertificates, Proxy, TraceCollector

ISSUER = "https://kubernetes.default.svc"
KEYS = f"{ISSUER}/openid/v1/jwks"
API_SERVER = "kubernetes"  # the Backend from which the keys come; whoever runs the proxy declares it
PROVIDER = "pool"
# Between two looks at the keys: for so long tokens of a new key are refused, and those of one that was taken back accepted. They
# hold on while the API server does not answer.
KEYS_SECONDS = "30s"
COLLECTOR = "traces"
LONGEST_CONNECTION = "15m"  # with a certificate, whose time is looked at when a connection begins
KNOWN_TOKENS = 1000  # by each thread of an Envoy, some 2 kB each
# What a caller must not say of itself: our own headers, and those by which older applications take somebody's word for who
# calls, from where, and what is asked, so that records would tell of another request.
IDENTITY_HEADERS = (
    SUBJECT_HEADER,
    AUDIENCE_HEADER,
    DEPARTMENT_HEADER,
    SERVICE_HEADER,
    AGREEMENT_HEADER,
    BACKEND_HEADER,
    EXCHANGE_HEADER,
    "x-department",
    "x-email",
    "x-groups",
    "x-roles",
    "x-user",
    "x-user-email",
    "x-user-id",
    "x-user-name",
    "x-userinfo",
    "x-username",
    "cf-connecting-ip",
    "client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-real-ip",
)
OVERRIDES = (
    "proxy",  # a program's way to the outside, where a server makes environment variables of headers (httpoxy)
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-rewrite-url",
)
# Of proxies, of what terminates TLS and of what signs people in, and their side doors. Envoy writes the address of who calls
# and the scheme after these are gone.
_FAMILIES = (
    "cf-access-",
    "client-cert",
    "remote-",
    "ssl-client-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-auth-user",
    "x-authenticated-",
    "x-authentik-",
    "x-client-cert",
    "x-client-dn",
    "x-client-verify",
    "x-consumer-",
    "x-credential-identifier",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-original-",
    "x-pomerium-",
    "x-remote-",
    "x-ssl-",
    "x-webauth-",
)
# And names with signs in them that old servers take for a dash or an underscore.
_REMOVED = [
    {"type": "RegularExpression", "value": f"({'|'.join(_FAMILIES)}).*"},
    {"type": "RegularExpression", "value": "[a-z0-9-]*[^a-z0-9:-].*"},
]
ENDINGS = (
    "/check_drain_close",
    "/metadata",
)  # what `tcp_endings` sets on a listener, and no pipeline sets anything else
_TYPES = "type.googleapis.com/envoy"


def objects(pool: Pool) -> list[Body]:
    """Everything of the pool's proxy that is Envoy Gateway's own."""
    proxy = pool.spec.network.proxy
    if proxy is None:
        return []
    found = [_settings(pool, proxy.traces), _clients(pool, proxy), _callers(pool, proxy)]
    if proxy.client_certificates:
        found.append(_certified_clients(pool, proxy, proxy.client_certificates))
    found += [_answers(pool, proxy), _statistics(pool, proxy), _known_tokens(pool, proxy)]
    found.append(_trailers(pool, proxy))
    if proxy.traces:
        endpoint = {"fqdn": {"hostname": proxy.traces.host, "port": proxy.traces.port}}
        found.append(
            body(VERSION, "Backend", COLLECTOR, pool, namespace=PROXY_NAMESPACE, spec={"endpoints": [endpoint]})
        )
    return found


def _settings(pool: Pool, traces: TraceCollector | None) -> Body:
    telemetry: Body = {
        # Also without a gRPC service: the first one would change the listener, and every caller would connect anew.
        "metrics": {"enableGRPCStats": True},
        "accessLog": {
            "settings": [
                {
                    "format": {"type": "JSON", "json": _ACCESS},
                    "sinks": [{"type": "File", "file": {"path": "/dev/stdout"}}],
                }
            ]
        },
    }
    if traces:
        telemetry["tracing"] = {
            "samplingFraction": {"numerator": traces.percent, "denominator": 100},
            "provider": {"type": "OpenTelemetry", "backendRefs": [backend_reference(COLLECTOR)]},
            "tags": {
                "caller": f"%REQ({SUBJECT_HEADER})%",
                "department": f"%REQ({DEPARTMENT_HEADER})%",
                "service": f"%REQ({SERVICE_HEADER})%",
                "case": f"%REQ({CASE_HEADER})%",
            },
        }
    spec = {
        "mergeType": "StrategicMerge",
        "mergeGateways": True,
        # A call above its department's share is none of the day's, and leaves no evidence that fills the journal.
        "filterOrder": [{"name": _RATES, "before": "envoy.filters.http.ext_proc"}],
        "telemetry": telemetry,
        "shutdown": {"drainTimeout": "60s", "minDrainDuration": "5s"},
    }
    return body(VERSION, "EnvoyProxy", SETTINGS, pool, namespace=PROXY_NAMESPACE, spec=spec)


# One line for each call, denied ones included; without the query, which holds what is asked about whom.
_ACCESS = {
    "time": "%START_TIME%",
    "caller": f"%REQ({SUBJECT_HEADER})%",
    "department": f"%REQ({DEPARTMENT_HEADER})%",
    "service": f"%REQ({SERVICE_HEADER})%",
    "agreement": f"%REQ({AGREEMENT_HEADER})%",
    "case": f"%REQ({CASE_HEADER})%",
    "host": "%REQ(:AUTHORITY)%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "route": "%ROUTE_NAME%",
    "backend": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "status": "%RESPONSE_CODE%",
    "outcome": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "milliseconds": "%DURATION%",
    "backendMilliseconds": "%REQUEST_DURATION%",
    "bytesReceived": "%BYTES_RECEIVED%",
    "bytesSent": "%BYTES_SENT%",
    "from": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "request": "%REQ(X-REQUEST-ID)%",
    "trace": "%TRACE_ID%",
}


def _clients(pool: Pool, proxy: Proxy) -> Body:
    spec = {"targetRefs": [target("Gateway", SHARED_GATEWAY)], **_bounds(proxy)}
    return body(VERSION, "ClientTrafficPolicy", SHARED_GATEWAY, pool, namespace=PROXY_NAMESPACE, spec=spec)


def _certified_clients(pool: Pool, proxy: Proxy, certificates: ClientCertificates) -> Body:
    """Callers without a certificate of the pool's do not get through the handshake; who they are is in the certificate alone."""
    bounds = _bounds(proxy)
    changes = bounds["headers"]["earlyRequestHeaders"]
    proven = {SUBJECT_HEADER: "%DOWNSTREAM_PEER_URI_SAN%", AUDIENCE_HEADER: CERTIFIED}
    # What is set replaces what a caller wrote, and would be removed last.
    changes["remove"] = [name for name in changes["remove"] if name not in proven]
    changes["set"] = [{"name": name, "value": value} for name, value in proven.items()]
    bounds["connection"]["connectionLimit"]["maxConnectionDuration"] = LONGEST_CONNECTION
    known = {
        "caCertificateRefs": [{"kind": "Secret", "name": certificates.authority}],
        "subjectAltNames": {"uris": [{"type": "Prefix", "value": f"spiffe://{pool.spec.network.domain}/department/"}]},
    }
    spec = {"targetRefs": [target("Gateway", SHARED_GATEWAY, CLIENTS)], **bounds, "tls": {"clientValidation": known}}
    name = f"{SHARED_GATEWAY}-{CLIENTS}"
    return body(VERSION, "ClientTrafficPolicy", name, pool, namespace=PROXY_NAMESPACE, spec=spec)


def _bounds(proxy: Proxy) -> Body:
    """Bounds of callers, and one reading of a path and of a name for the proxy and every backend (CVE-2019-9901)."""
    return {
        "path": {"escapedSlashesAction": "RejectRequest"},
        "headers": {
            "withUnderscoresAction": "RejectRequest",
            "xForwardedClientCert": {"mode": "Sanitize"},
            "requestID": "PreserveOrGenerate",
            "host": {"stripTrailingHostDot": True},
            "earlyRequestHeaders": {"remove": [*IDENTITY_HEADERS, *OVERRIDES], "removeOnMatch": _REMOVED},
        },
        "connection": {"connectionLimit": {"value": proxy.connections}, "bufferLimit": "64Ki"},
        "timeout": {"http": {"requestHeadersReceivedTimeout": "10s", "idleTimeout": "5m", "streamIdleTimeout": "5m"}},
        "http2": {
            "maxConcurrentStreams": 200,
            "initialStreamWindowSize": "256Ki",
            "initialConnectionWindowSize": "1Mi",
            "onInvalidMessage": "TerminateStream",
        },
        # With the first gRPC service this would be on for all: any caller could then have an answer's body moved into a header
        # before the exchange sees it, with every field.
        "grpc": {"enableWeb": False},
    }


def _callers(pool: Pool, proxy: Proxy) -> Body:
    """Who callers are where no certificate says it: the pool's own tokens for service accounts, verified once for all services.

    The audience is not looked at here but by each service's rules: so all services share one provider with one set of keys, and
    a new service changes no listener, which would make every caller connect anew.
    """
    provider = {
        "name": PROVIDER,
        "issuer": ISSUER,
        "remoteJWKS": {"uri": KEYS, "backendRefs": [backend_reference(API_SERVER)], "cacheDuration": KEYS_SECONDS},
        "claimToHeaders": [{"header": SUBJECT_HEADER, "claim": "sub"}, {"header": AUDIENCE_HEADER, "claim": "aud"}],
        "recomputeRoute": True,
        "extractFrom": {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]},
    }
    places = [target("Gateway", SHARED_GATEWAY, listener) for listener in _with_tokens(proxy)]
    spec = {"targetRefs": places, "jwt": {"providers": [provider]}}
    return body(VERSION, "SecurityPolicy", "callers", pool, namespace=PROXY_NAMESPACE, spec=spec)


def _with_tokens(proxy: Proxy) -> dict[str, str]:
    """The listeners on which a token is needed, with the place of their filters."""
    return {name: chain for name, chain in _listeners(proxy).items() if name != CLIENTS}


def _listeners(proxy: Proxy) -> dict[str, str]:
    """The shared Gateway's listeners, with the place of their filters."""
    return {HTTP: "default_filter_chain"} | dict.fromkeys(secured(proxy), "filter_chains[*]")


def tcp_clients(pool: Pool, service: SharedService) -> Body:
    """Bounds of the callers of a service whose connections are passed on."""
    spec: Body = {
        "targetRefs": [target("Gateway", service.name)],
        "timeout": {"tcp": {"idleTimeout": service.spec.timeouts.idle}},
    }
    most = service.spec.limits.total.concurrent
    if most:
        spec["connection"] = {"connectionLimit": {"value": most}}
    return body(VERSION, "ClientTrafficPolicy", service.name, pool, namespace=service.namespace_name, spec=spec)


def tcp_endings(pool: Pool, service: SharedService, ended: Sequence[str]) -> Body:
    """Ends every standing connection of such a service when an agreement on it ends; who may, connects anew.

    The proxy does not know whose a connection is. A list of ended agreements that changes makes the listener's chain of
    filters another one, by which the old one's connections end: at their next piece in either direction, and the idle ones
    with the proxy's drain time.
    """
    listener = {
        "type": f"{_TYPES}.config.listener.v3.Listener",
        "name": f"{service.namespace_name}/{service.name}/main",
    }
    proxied = f"$.filter_chains[*].filters[?(@.name=='{_TCP_PROXY}')].typed_config"
    known = {"filter_metadata": {"commonpool": {"ended": list(ended)}}}
    drained, noted = ENDINGS
    operations = [
        {"op": "add", "jsonPath": proxied, "path": drained, "value": True},
        {"op": "add", "jsonPath": "$.filter_chains[*]", "path": noted, "value": known},
    ]
    patches = [listener | {"operation": one} for one in operations]
    spec = {"targetRef": for_class(), "type": "JSONPatch", "jsonPatches": patches}
    return body(VERSION, "EnvoyPatchPolicy", service.name, pool, namespace=service.namespace_name, spec=spec)


def _answers(pool: Pool, proxy: Proxy) -> Body:
    """What the proxy answers instead of a backend: a problem document that says why, and when to come back.

    A patch, because Envoy Gateway has no field for it that would not add a filter to every call for each service.
    """
    mappers = {"mappers": [_answer(*words) for words in _REASONS]}
    return _patch(pool, "answers", _listeners(proxy), "", {"/local_reply_config": mappers})


def _statistics(pool: Pool, proxy: Proxy) -> Body:
    """Statuses of gRPC counted for each backend, and not for each method: callers choose the names of methods."""
    filter_ = f".http_filters[?(@.name=='{_GRPC_STATISTICS}')].typed_config"
    return _patch(pool, "statistics", _listeners(proxy), filter_, {"/stats_for_all_methods": False})


def _trailers(pool: Pool, proxy: Proxy) -> Body:
    """What a caller writes behind a request's end is not passed on: some servers put it among the headers, where it would count.

    HTTP/1.1 has it dropped anyway, and no client of gRPC writes any.
    """
    kind = f"{_TYPES}.extensions.filters.http.header_mutation.v3.HeaderMutation"
    everything = {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": ".*"}}}}
    filter_ = {
        "name": "commonpool.trailers",
        "typed_config": {"@type": kind, "mutations": {"request_trailers_mutations": [everything]}},
    }
    return _patch(pool, "trailers", _listeners(proxy), "", {"/http_filters/0": filter_})


def _known_tokens(pool: Pool, proxy: Proxy) -> Body:
    """Signatures are verified once for each token: that is a third of what a call costs. Its time is looked at each time.

    A token that was seen holds to its end, an hour at most by default, also when the key that signed it is taken back before.
    What else it says is not copied into each call's metadata: nothing reads it there.
    """
    providers = f".http_filters[?(@.name=='{_TOKENS}')].typed_config.providers[*]"
    values = {"/jwt_cache_config": {"jwt_cache_size": KNOWN_TOKENS}, "/payload_in_metadata": ""}
    return _patch(pool, "known-tokens", _with_tokens(proxy), providers, values)


def _patch(pool: Pool, name: str, listeners: Mapping[str, str], place: str, values: Mapping[str, object]) -> Body:
    """A policy that sets values, by their paths, below a place in the connection manager of shared listeners."""
    patches = [
        {
            "type": f"{_TYPES}.config.listener.v3.Listener",
            "name": f"{PROXY_NAMESPACE}/{SHARED_GATEWAY}/{listener}",
            "operation": {
                "op": "add",
                "jsonPath": f"$.{chain}.filters[?(@.name=='{_CONNECTION_MANAGER}')].typed_config{place}",
                "path": path,
                "value": value,
            },
        }
        for listener, chain in listeners.items()
        for path, value in values.items()
    ]
    spec = {"targetRef": for_class(), "type": "JSONPatch", "jsonPatches": patches}
    return body(VERSION, "EnvoyPatchPolicy", name, pool, namespace=PROXY_NAMESPACE, spec=spec)


_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
_TCP_PROXY = "envoy.filters.network.tcp_proxy"
_TOKENS = "envoy.filters.http.jwt_authn"
_RATES = "envoy.filters.http.local_ratelimit"
_GRPC_STATISTICS = "envoy.filters.http.grpc_stats"
_OWN_ANSWER = "direct_response"
_EXCHANGE = "commonpool."  # what the process in the way of calls says has its own words
_UNWORDED = f"response.code_details != '{_OWN_ANSWER}' && !response.code_details.startsWith('{_EXCHANGE}')"
# (flag, status or details that tell, status of the answer, what to call it, what to say, seconds after which to come back)
_REASONS: tuple[tuple[str | int, int, str, str, int], ...] = (
    (429, 429, "too-many-requests", "%REQ(X-COMMONPOOL-SUBJECT)% sends more calls in a second than its department's share", 1),
    ("UO", 429, "too-many-requests", "%REQ(X-COMMONPOOL-SUBJECT)% has as many calls under way as its department's share", 1),
    ("UH", 503, "no-healthy-backend", "no backend of %REQ(:AUTHORITY)% is healthy", 5),
    ("UF", 503, "backend-unreachable", "no backend of %REQ(:AUTHORITY)% could be reached", 5),
    ("UC", 502, "backend-broke-off", "the backend of %REQ(:AUTHORITY)% broke the connection off", 0),
    ("UT", 504, "backend-too-slow", "the backend of %REQ(:AUTHORITY)% did not answer in time", 0),
    ("NR", 404, "no-such-service", "no service of the pool is called %REQ(:AUTHORITY)%; `commonpool service list` tells their names", 0),
    ("max_duration_timeout", 408, "call-too-long", "the call lasted longer than the service lets any call last", 0),
    ("upgrade_failed", 403, "no-upgrade", "WebSockets and other upgrades are not passed on: use requests, streams of HTTP, or gRPC", 0),
    (401, 401, "no-valid-token", "a token of the pool for the audience %REQ(:AUTHORITY)% is needed; %RESPONSE_CODE_DETAILS%", 0),
    (403, 403, "agreement-not-in-force", "the agreement by which %REQ(X-COMMONPOOL-SUBJECT)% calls %REQ(:AUTHORITY)% is over, or has not begun", 0),
)  # fmt: skip


def _answer(tells: str | int, status: int, name: str, detail: str, seconds: int) -> Body:
    if isinstance(tells, int):
        comparison = {"op": "EQ", "value": {"default_value": tells, "runtime_key": f"commonpool.answers.{tells}"}}
        when: Body = {
            "and_filter": {"filters": [{"status_code_filter": {"comparison": comparison}}, _details(_UNWORDED)]}
        }
    elif tells.isupper():
        when = {"response_flag_filter": {"flags": [tells]}}
    else:
        when = _details(f"response.code_details == '{tells}'")
    found: Body = {
        "filter": when,
        "status_code": status,
        "body_format_override": {
            "content_type": PROBLEM,
            "json_format": {
                "type": f"https://commonpool.dev/problems/{name}",
                "title": name.replace("-", " ").capitalize(),
                "status": status,
                "detail": detail,
                "request": "%REQ(X-REQUEST-ID)%",
            },
        },
    }
    if seconds:
        header = {
            "header": {"key": "retry-after", "value": str(seconds)},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
        found["headers_to_add"] = [header]
    return found


def _details(expression: str) -> Body:
    """A filter by what Envoy says of an answer."""
    kind = f"{_TYPES}.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    return {"extension_filter": {"name": "cel", "typed_config": {"@type": kind, "expression": expression}}}


def guarded_kinds() -> dict[str, list[str]]:
    """The kinds of this implementation by which somebody could reroute calls, for the admission policy."""
    return {
        GROUP: [
            "backends", "backendtrafficpolicies", "clienttrafficpolicies", "envoyextensionpolicies", "envoypatchpolicies",
            "envoyproxies", "httproutefilters", "securitypolicies",
        ]
    }  # fmt: skip
