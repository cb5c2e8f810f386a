"""Whether the cluster's nodes enforce NetworkPolicies, tried with pods of our own in a namespace that ends with the trial.

Two pods listen on a node, one of them closed by a policy. A third must reach the open one, and must not reach the closed
one. They run from the image that every machine we brought in holds, so nothing is fetched. It claims nothing about nodes
without that image, nor about simulated ones, where no pod runs at all.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from commonpool.components.rendering import SIMULATED
from commonpool.engine import Cluster
from commonpool.machines.joining import ready

PORT = 8080
SECONDS = 60.0  # for each stage; the probe itself tries for 20
_ROLE = "commonpool.dev/probe"
_IMAGE = "commonpool.local/pause:"
Word = Literal["enforced", "open", "unknown"]


@dataclass(frozen=True)
class Trial:
    """What came out, and in words what was seen."""

    word: Word
    words: str


async def try_policies(cluster: Cluster) -> Trial:
    """Raises `EngineError` when the pods may not be made."""
    nodes, _ = await cluster.list_objects("v1", "Node")
    real = [one for one in nodes if (one["metadata"].get("labels") or {}).get(SIMULATED) != "true" and ready(one)]
    if not real:
        return Trial("unknown", "no real node is ready: no pod runs here, so nothing can be tried")
    able = [(one["metadata"]["name"], image) for one in real if (image := _image(one))]
    if not able:
        return Trial("unknown", "no node holds the probe's image, which machines get when they are brought in")
    namespace = f"commonpool-doctor-{secrets.token_hex(3)}"
    try:
        return await _try(cluster, namespace, able[0], able[-1])
    finally:
        await cluster.delete("v1", "Namespace", "", namespace)


def _image(node: Mapping[str, Any]) -> str:
    """The probe's image as this node names it; empty where it holds none."""
    names = (name for image in node["status"].get("images") or () for name in image.get("names") or ())
    return next((name for name in names if name.startswith(_IMAGE)), "")


async def _try(cluster: Cluster, namespace: str, there: tuple[str, str], here: tuple[str, str]) -> Trial:
    for body in _ground(namespace):
        await cluster.apply(body, field_manager="commonpool-doctor")
    if await _until(cluster, "ServiceAccount", namespace, "default", lambda found: True) is None:
        return Trial("unknown", "the cluster gives new namespaces no service account")
    serve = ["serve", f":{PORT}"]
    for name in ("open", "closed"):
        await cluster.create(_pod(namespace, name, there, [_container(name, there, serve)]))
    places = {}
    for name in ("open", "closed"):
        pod = await _until(cluster, "Pod", namespace, name, lambda found: found["status"].get("phase") == "Running")
        if pod is None:
            return Trial("unknown", f"the probe's pod does not come up on {there[0]} within {SECONDS:.0f} s")
        places[name] = f"{pod['status']['podIP']}:{PORT}"
    asks = _pod(namespace, "asks", here, [_container("closed", here, ["shut", places["closed"]])])
    # First of all the network must carry: else what is not there would be taken for closed.
    asks["spec"]["initContainers"] = [_container("open", here, ["reach", places["open"]])]
    await cluster.create(asks)
    ended = await _until(cluster, "Pod", namespace, "asks", lambda found: found["status"].get("phase") in ("Succeeded", "Failed"))  # fmt: skip
    return _read(ended, there[0], here[0])


def _read(ended: Mapping[str, Any] | None, there: str, here: str) -> Trial:
    status = (ended or {}).get("status", {})
    codes = [_code(status.get(part)) for part in ("initContainerStatuses", "containerStatuses")]
    way = f"from {here} to {there}" if here != there else f"on {there}"
    match codes:
        case [0, 0]:
            return Trial("enforced", f"{way} an open pod is reached and a closed one is not")
        case [0, 1]:
            return Trial("open", f"{way} a pod is reached that a policy closes")
        case _:
            return Trial("unknown", f"{way} pods do not reach one another at all")


def _code(statuses: Sequence[Mapping[str, Any]] | None) -> int | None:
    """The exit code of a pod's only container of a kind; None while it has none."""
    ended = (statuses or [{}])[0].get("state", {}).get("terminated")
    return int(ended["exitCode"]) if ended else None


async def _until(
    cluster: Cluster, kind: str, namespace: str, name: str, true: Callable[[dict[str, Any]], bool]
) -> dict[str, Any] | None:
    """The object once it is so; None when that does not come."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    while asyncio.get_running_loop().time() < deadline:
        found = await cluster.read("v1", kind, namespace, name)
        if found is not None and true(found):
            return found
        await asyncio.sleep(0.2)
    return None


def _ground(namespace: str) -> list[dict[str, Any]]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "closed", "namespace": namespace},
            "spec": {"podSelector": {"matchLabels": {_ROLE: "closed"}}, "policyTypes": ["Ingress"]},
        },
    ]


def _pod(namespace: str, name: str, node: tuple[str, str], containers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {_ROLE: name}},
        "spec": {
            "nodeName": node[0],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": containers,
        },
    }


def _container(name: str, node: tuple[str, str], words: list[str]) -> dict[str, Any]:
    amount = {"cpu": "10m", "memory": "16Mi"}
    return {
        "name": name,
        "image": node[1],
        "imagePullPolicy": "Never",
        "args": words,
        "resources": {"requests": amount, "limits": amount},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
