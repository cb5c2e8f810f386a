#!/usr/bin/env python3
"""Print the manifests of the service proxy for a cluster: `python service-proxy/render.py --help`."""

import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "infra"))

import yaml  # noqa: E402
from commonpool.embedded import binaries, gateway_source  # noqa: E402
from commonpool.embedded.error import EmbeddedError  # noqa: E402
from commonpool.proxy.deployment import SERVICE_TYPES, ImageRefused, Images, manifests  # noqa: E402


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        """Written out: what is applied should be readable where it stands."""
        return True


def main() -> int:
    """Manifests go to the standard output, everything else to the standard error."""
    parser = argparse.ArgumentParser(description="Manifests of Envoy Gateway and its Envoys, to be applied by kubectl.")
    parser.add_argument("--definitions", action="store_true", help="the custom resource definitions instead")
    parser.add_argument("--envoy-gateway-image", default="", help="registry/gateway@sha256:…, of version 1.9.1")
    parser.add_argument("--envoy-image", default="", help="registry/envoy@sha256:…, of version 1.40")
    parser.add_argument("--service-type", choices=SERVICE_TYPES, default="LoadBalancer", help="how callers reach Envoy")
    given = parser.parse_args()
    try:
        if given.definitions:
            folder = binaries.source_folder(binaries.ENVOY_GATEWAY)
            found = gateway_source.pinned_definitions(binaries.find_go(folder), folder)
        else:
            images = Images(given.envoy_gateway_image, given.envoy_image)
            found = manifests(FOLDER, images, given.service_type)
    except (ImageRefused, EmbeddedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    yaml.dump_all(found, sys.stdout, _Dumper, sort_keys=False, allow_unicode=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
