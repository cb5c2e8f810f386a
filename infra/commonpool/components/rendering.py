"""What the objects of every component have in common: labels, names, metadata. Pure."""

from typing import Any

from commonpool.model import Flavor, Pool

Body = dict[str, Any]
PREFIX = "commonpool.dev"
FLAVOR = f"{PREFIX}/flavor"
DEPARTMENT = f"{PREFIX}/department"
SERVICE = f"{PREFIX}/service"
SITE = f"{PREFIX}/site"
SIMULATED = f"{PREFIX}/simulated"
STAND_IN = f"{PREFIX}/stand-in"
GRANTED_FLAVORS = f"{PREFIX}/flavors"
# An annotation with their names, and a label that says whether it is every one.
GRANTED_REGISTRIES = f"{PREFIX}/registries"
EVERY_REGISTRY, LISTED_REGISTRIES = "all", "listed"
POD_SECURITY = "pod-security.kubernetes.io"
PROXY_NAMESPACE, PROXY_CLASS, SHARED_GATEWAY = "commonpool-proxy", "commonpool", "shared"


def labels(pool: Pool, **extra: str) -> dict[str, str]:
    """Labels that everything of a pool carries; the keys of `extra` are ours, without the prefix."""
    own = {f"{PREFIX}/{key.replace('_', '-')}": value for key, value in extra.items()}
    return {"app.kubernetes.io/managed-by": "commonpool", f"{PREFIX}/pool": pool.name, **own}


def body(api_version: str, kind: str, name: str, pool: Pool, *, namespace: str = "", **fields: Any) -> Body:  # noqa: ANN401
    """An object with our labels; `fields` are its top-level fields."""
    metadata: Body = {"name": name, "labels": labels(pool)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def priority_class(flavor: str, *, burst: bool = False) -> str:
    """The class of a pod on a flavor: `flavor-standard`, or `flavor-standard-burst` for preemptible ones."""
    return f"flavor-{flavor}-burst" if burst else f"flavor-{flavor}"


def all_classes(flavors: list[Flavor]) -> list[str]:
    """Every PriorityClass of the pool's flavors."""
    return [priority_class(flavor.name, burst=burst) for flavor in flavors for burst in (False, True)]
