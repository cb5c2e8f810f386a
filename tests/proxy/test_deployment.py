"""The manifests for a real cluster, judged by a real API server and a real Envoy Gateway."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import yaml
from commonpool.engine import Cluster, kubeconfig
from commonpool.proxy.deployment import ImageRefused, Images, configured, manifests

from proxy.conftest import Proxy, until
from proxy.declarations import ENVOY_GATEWAY, GATEWAY_API, NAMESPACE

FOLDER = Path(__file__).resolve().parents[2] / "service-proxy"
DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGES = Images(f"mirror.example.gov/envoyproxy/gateway@{DIGEST}", f"mirror.example.gov/envoyproxy/envoy@{DIGEST}")


def found(kind: str) -> list[dict[str, Any]]:
    return [body for body in manifests(FOLDER, IMAGES, "LoadBalancer") if body["kind"] == kind]


def ask(proxy: Proxy, work: Callable[[Cluster], Coroutine[Any, Any, None]]) -> None:
    async def connected() -> None:
        async with await Cluster.connect(kubeconfig.load(proxy.pool.kubeconfig)) as cluster:
            await work(cluster)

    asyncio.run(connected())


def test_the_api_server_takes_every_manifest(proxy: Proxy) -> None:
    async def dry_run(cluster: Cluster) -> None:
        for body in manifests(FOLDER, IMAGES, "LoadBalancer"):
            await cluster.apply(body, dry_run=True, force=True, field_manager="tests-deployment")

    ask(proxy, dry_run)


def test_its_pods_are_admitted_under_the_restricted_profile_and_a_privileged_one_is_not(proxy: Proxy) -> None:
    proxy.apply(*found("ServiceAccount"))

    def pod(template: dict[str, Any], name: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}

    async def dry_run(cluster: Cluster) -> None:
        for body in (*found("Deployment"), *found("Job")):
            template = body["spec"]["template"]
            await cluster.apply(pod(template, body["metadata"]["name"]), dry_run=True, field_manager="tests-deployment")
            template["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
            with pytest.raises(Exception, match="violates PodSecurity"):
                await cluster.apply(pod(template, "privileged"), dry_run=True, field_manager="tests-deployment")

    ask(proxy, dry_run)


def test_envoy_gateway_takes_the_settings_of_its_envoys_and_would_refuse_wrong_ones(proxy: Proxy) -> None:
    settings = yaml.safe_load(configured(FOLDER, IMAGES, "LoadBalancer"))["envoyProxy"]
    envoys = {
        "apiVersion": ENVOY_GATEWAY,
        "kind": "EnvoyProxy",
        "metadata": {"name": "checked", "namespace": NAMESPACE},
        "spec": settings,
    }
    reference = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "checked", "namespace": NAMESPACE}
    checked = {
        "apiVersion": GATEWAY_API,
        "kind": "GatewayClass",
        "metadata": {"name": "checked"},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller", "parametersRef": reference},
    }

    def accepted() -> str:
        conditions = proxy.read(checked)["status"].get("conditions", [])
        return next((one["status"] for one in conditions if one["type"] == "Accepted"), "")

    proxy.apply(envoys, checked)
    until(lambda: accepted() == "True", "Envoy Gateway accepts the settings")
    patches = {"type": "JSONPatch", "jsonPatches": [{"op": "remove", "path": "/dynamic_resources"}]}
    proxy.apply({**envoys, "spec": {**settings, "bootstrap": patches}})
    until(lambda: accepted() == "False", "Envoy Gateway refuses a bootstrap without its own server")


@pytest.mark.parametrize("image", ["", "envoyproxy/envoy", "envoyproxy/envoy:v1.40", "envoyproxy/envoy@sha256:123"])
def test_an_image_without_a_digest_is_refused(image: str) -> None:
    with pytest.raises(ImageRefused, match="--envoy-image"):
        Images(IMAGES.envoy_gateway, image)


def test_the_script_refuses_without_digests_and_prints_manifests_with_them() -> None:
    command = [sys.executable, str(FOLDER / "render.py")]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--envoy-gateway-image" in refused.stderr
    named = ["--envoy-gateway-image", IMAGES.envoy_gateway, "--envoy-image", IMAGES.envoy]
    printed = subprocess.run([*command, *named], capture_output=True, text=True, check=True).stdout
    assert list(yaml.safe_load_all(printed)) == manifests(FOLDER, IMAGES, "LoadBalancer")


def test_no_part_of_it_stands_alone_or_without_bounds() -> None:
    deployment = found("Deployment")[0]["spec"]
    envoys = yaml.safe_load(configured(FOLDER, IMAGES, "LoadBalancer"))["envoyProxy"]["provider"]["kubernetes"]
    assert deployment["replicas"] >= 2
    assert envoys["envoyDeployment"]["replicas"] >= 2
    assert envoys["envoyPDB"]["minAvailable"] >= 1
    assert envoys["envoyDeployment"]["container"]["resources"]["limits"]["memory"]
    for pod in (deployment["template"]["spec"], envoys["envoyDeployment"]["pod"]):
        assert pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert {one["metadata"]["name"] for one in found("PodDisruptionBudget")} == {"envoy-gateway"}
