"""The bootstrap of an Envoy that takes everything else from Envoy Gateway over mutual TLS. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonpool.envoy.bounds import bounds

XDS_PORT = 18000
# Envoy Gateway does not answer for clusters while there are none, and Envoy asks for listeners only after that answer: with
# its own setting, never to give up, a Gateway without routes would not be served.
CLUSTERS_TIMEOUT = "3s"
METRICS_PORT = 19002
_TYPE = "type.googleapis.com/envoy.extensions"
_HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {
            "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
        },
    }
}


@dataclass(frozen=True)
class Identity:
    """Who this Envoy is for Envoy Gateway, and how both prove it."""

    node: str
    fleet: str  # the GatewayClass whose Gateways are merged into this fleet
    authority: Path
    certificate: Path
    key: Path


def bootstrap(identity: Identity, control: str, admin: Path, heap_megabytes: int) -> dict[str, Any]:
    """`control` is the address of Envoy Gateway and of the metrics listener; `admin` the path of the admin socket."""
    return {
        "node": {"id": identity.node, "cluster": identity.fleet},
        # A socket in a folder of the owner's own: the admin interface has no other protection.
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": "xds_cluster",
                            # The default backs off up to 30 s: what changed while Envoy Gateway was away comes too late.
                            "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "2s"}},
                        }
                    }
                ],
            },
            "lds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "cds_config": {"ads": {}, "initial_fetch_timeout": CLUSTERS_TIMEOUT, "resource_api_version": "V3"},
        },
        "static_resources": {
            "listeners": [_metrics_listener(control)],
            "clusters": [_xds_cluster(identity, control), _admin_cluster(admin)],
        },
        **bounds(heap_megabytes),
    }


def _xds_cluster(identity: Identity, control: str) -> dict[str, Any]:
    return {
        "name": "xds_cluster",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": _endpoint("xds_cluster", {"socket_address": {"address": control, "port_value": XDS_PORT}}),
        "typed_extension_protocol_options": _HTTP2,
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "envoy-gateway",
                "common_tls_context": {
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_3",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "tls_certificates": [
                        {
                            "certificate_chain": {"filename": str(identity.certificate)},
                            "private_key": {"filename": str(identity.key)},
                        }
                    ],
                    "validation_context": {
                        "trusted_ca": {"filename": str(identity.authority)},
                        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "envoy-gateway"}}],
                    },
                },
            },
        },
    }


def _admin_cluster(admin: Path) -> dict[str, Any]:
    return {
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _endpoint("admin", {"pipe": {"path": str(admin)}}),
    }


def _endpoint(cluster: str, address: dict[str, Any]) -> dict[str, Any]:
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def _metrics_listener(control: str) -> dict[str, Any]:
    """Prometheus reads from here; of the admin interface, exactly one path is passed on."""
    route = {
        "match": {"path": "/stats/prometheus", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
        "route": {"cluster": "admin"},
    }
    connection_manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "metrics",
        "normalize_path": True,
        "route_config": {"virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}}
        ],
    }
    return {
        "name": "metrics",
        "address": {"socket_address": {"address": control, "port_value": METRICS_PORT}},
        "bypass_overload_manager": True,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]}
        ],
    }
