"""What keeps an Envoy within bounds under overload, as parts of its bootstrap. Pure.

Envoy's defaults do not: no limit of memory, no limit of connections, statistics for every combination of names. What
belongs to a listener or a route (header sizes, streams, time limits, paths) is configured there and not here.
"""

from typing import Any

MEGABYTE = 1 << 20
# A thread that answers nothing for so long is beyond hope: Envoy ends, and whoever watches it starts another. Far above what
# a thread waits for a processor on a machine with too much to do.
STUCK_SECONDS = 30
CONNECTIONS = 20_000  # of callers at a time; each costs some 20 to 60 kB under load, hence 1.2 GB at the very worst
_MONITOR = "type.googleapis.com/envoy.extensions.resource_monitors"
# What is read: by `service show`, the cut-over engine and the dashboard. Without a list, every host of every service
# would have some 100 counters.
_STATISTICS = (
    r"(server|listener|listener_manager|cluster_manager|control_plane|overload|runtime|http|tcp|tls_inspector|filesystem)\..*",
    r"envoy\.overload_actions\..*",
    r"envoy\.resource_monitors\..*",
    r"cluster\..*\.(upstream_(rq|cx|flow)_.*|membership_.*|health_check\..*|outlier_detection\..*|circuit_breakers\..*)",
    r"cluster\.[^.]*\.grpc\.[0-9]+",
    r"cluster\..*\.(update_.*|bind_errors|retry_or_shadow_abandoned|max_host_weight|ssl\.(handshake|connection_error|fail_.*))",
)


def bounds(heap_megabytes: int, connections: int = CONNECTIONS) -> dict[str, Any]:
    """Parts of a bootstrap: overload manager, watchdogs, statistics, runtime."""
    watchdog = {"kill_timeout": f"{STUCK_SECONDS}s"}
    return {
        "watchdogs": {"main_thread_watchdog": watchdog, "worker_watchdog": watchdog},
        "overload_manager": overload_manager(heap_megabytes, connections),
        "stats_config": {
            "use_all_default_tags": True,
            "stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": one}} for one in _STATISTICS]}},
        },
        # As Envoy Gateway's own bootstrap has it: the default of 100 refuses regular expressions that people do write, and
        # one refused route keeps every later change of its listener out.
        "layered_runtime": {
            "layers": [
                {
                    "name": "bounds",
                    "static_layer": {
                        "re2.max_program_size.error_level": 4_294_967_295,
                        "re2.max_program_size.warn_level": 1000,
                    },
                }
            ]
        },
        "deferred_stat_options": {"enable_deferred_creation_stats": True},  # none for a service that nobody calls
    }


def overload_manager(heap_megabytes: int, connections: int = CONNECTIONS) -> dict[str, Any]:
    """Give memory back, then close idle connections, then the greediest streams, then refuse, and never die of it."""
    heap = "envoy.resource_monitors.fixed_heap"

    def at(share: float) -> list[dict[str, Any]]:
        return [{"name": heap, "threshold": {"value": share}}]

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": heap,
                "typed_config": {
                    "@type": f"{_MONITOR}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": heap_megabytes * MEGABYTE,
                },
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{_MONITOR}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": connections,
                },
            },
        ],
        # From 1 MB upwards, streams are counted by what they hold, so that the greediest can be told.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": at(0.85)},
            {"name": "envoy.overload_actions.disable_http_keepalive", "triggers": at(0.9)},
            {
                "name": "envoy.overload_actions.reset_high_memory_stream",
                "triggers": [{"name": heap, "scaled": {"scaling_threshold": 0.9, "saturation_threshold": 0.98}}],
            },
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": at(0.95)},
            {"name": "envoy.overload_actions.stop_accepting_connections", "triggers": at(0.98)},
        ],
    }
