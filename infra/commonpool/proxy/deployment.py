"""The manifests of Envoy Gateway and its Envoys for a real cluster, out of `service-proxy/`. Pure.

What it refuses: an image that is named by a tag. Whoever can push to a registry can make a tag mean something else, and
these two see every call.
"""

import hashlib
import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from commonpool.envoy.bootstrap import CLUSTERS_TIMEOUT
from commonpool.envoy.bounds import bounds
from commonpool.proxy.rights import RIGHTS

HEAP_MEGABYTES = 1152  # three quarters of the container's memory, which holds buffers and code too
SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")
_DIGEST = re.compile(r"[a-z0-9][a-z0-9.:/_-]*@sha256:[0-9a-f]{64}")


class ImageRefused(Exception):
    """An image without a digest; the message says what would pass."""


@dataclass(frozen=True)
class Images:
    """The two images, each by its digest, from a registry that the cluster's machines reach."""

    envoy_gateway: str
    envoy: str

    def __post_init__(self) -> None:
        """Raises `ImageRefused`."""
        for option, image in (("--envoy-gateway-image", self.envoy_gateway), ("--envoy-image", self.envoy)):
            if not _DIGEST.fullmatch(image):
                raise ImageRefused(
                    f"{option} {image or 'is missing'}: an image is named by its digest,"
                    " registry/name@sha256:… with 64 hex digits; `skopeo inspect docker://NAME:TAG` tells it"
                )


def manifests(folder: Path, images: Images, service_type: str) -> list[dict[str, Any]]:
    """Every object in the order in which it is applied. Raises `ValueError` for an unknown type of Service."""
    if service_type not in SERVICE_TYPES:
        raise ValueError(f"{service_type!r} is no type of Service; there are {', '.join(SERVICE_TYPES)}")
    configuration = configured(folder, images, service_type)
    texts = {
        "RIGHTS": json.dumps(RIGHTS),
        "ENVOY_GATEWAY_IMAGE": images.envoy_gateway,
        "ENVOY_GATEWAY_CONFIGURATION": textwrap.indent(configuration, "    "),
        "CONFIGURATION_HASH": hashlib.sha256(configuration.encode()).hexdigest()[:16],
    }
    found: list[dict[str, Any]] = []
    for path in sorted((folder / "cluster").glob("*.yaml")):
        found += yaml.safe_load_all(Template(path.read_text(encoding="utf-8")).substitute(texts))
    return found


def configured(folder: Path, images: Images, service_type: str) -> str:
    """Envoy Gateway's own configuration file."""
    return Template((folder / "envoy-gateway.yaml").read_text(encoding="utf-8")).substitute(
        ENVOY_GATEWAY_IMAGE=images.envoy_gateway,
        ENVOY_IMAGE=images.envoy,
        SERVICE_TYPE=service_type,
        BOOTSTRAP=json.dumps(bootstrap_patches()),
    )


def bootstrap_patches() -> dict[str, Any]:
    """The bounds of every Envoy, put into the bootstrap that Envoy Gateway writes."""
    parts = bounds(HEAP_MEGABYTES)
    patches: list[dict[str, Any]] = [
        {"op": "replace", "path": "/dynamic_resources/cds_config/initial_fetch_timeout", "value": CLUSTERS_TIMEOUT},
        {"op": "replace", "path": "/overload_manager", "value": parts["overload_manager"]},
        {"op": "add", "path": "/stats_config/stats_matcher", "value": parts["stats_config"]["stats_matcher"]},
    ]
    return {"type": "JSONPatch", "jsonPatches": patches}
