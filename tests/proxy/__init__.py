"""Real Envoys and Envoy Gateways, callers and backends."""
