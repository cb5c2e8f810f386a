"""Which kinds an API server serves, where, and whether they live in namespaces.

The kinds that every pool has are known beforehand, so that a run that changes nothing asks nothing; all others come from
aggregated discovery (KEP-3352), asked once and again when a kind is missing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from commonpool.engine.error import UnknownKind


@dataclass(frozen=True)
class KindInfo:
    """One served kind; `path` is the collection's URL path without a namespace."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def url(self, namespace: str = "", name: str = "") -> str:
        """Path of the collection, or of one object in it."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        middle = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{middle}/{self.plural}{'/' + name if name else ''}"


_CLUSTER = """
v1 Namespace namespaces|v1 Node nodes|v1 PersistentVolume persistentvolumes
storage.k8s.io/v1 StorageClass storageclasses|scheduling.k8s.io/v1 PriorityClass priorityclasses
rbac.authorization.k8s.io/v1 ClusterRole clusterroles|rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings
apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions
"""
_NAMESPACED = """
v1 ConfigMap configmaps|v1 Secret secrets|v1 Service services|v1 ServiceAccount serviceaccounts|v1 Pod pods
v1 ResourceQuota resourcequotas|v1 LimitRange limitranges|v1 PersistentVolumeClaim persistentvolumeclaims
apps/v1 Deployment deployments|rbac.authorization.k8s.io/v1 Role roles
rbac.authorization.k8s.io/v1 RoleBinding rolebindings|networking.k8s.io/v1 NetworkPolicy networkpolicies
coordination.k8s.io/v1 Lease leases
"""


def _parse(table: str, namespaced: bool) -> Iterable[KindInfo]:
    for line in table.strip().replace("|", "\n").splitlines():
        api_version, kind, plural = line.split()
        yield KindInfo(api_version, kind, plural, namespaced)


KNOWN: Mapping[tuple[str, str], KindInfo] = {
    (info.api_version, info.kind): info for info in (*_parse(_CLUSTER, False), *_parse(_NAMESPACED, True))
}
ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def kinds_of(document: Mapping[str, Any]) -> list[KindInfo]:
    """The kinds in an aggregated discovery document that can be listed, preferred and other versions alike."""
    found = []
    for group in document.get("items", ()):
        name = group["metadata"].get("name", "")
        for version in group.get("versions", ()):
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for resource in version.get("resources", ()):
                if "list" in resource.get("verbs", ()):
                    kind = resource["responseKind"]["kind"]
                    found.append(KindInfo(api_version, kind, resource["resource"], resource["scope"] == "Namespaced"))
    return found


def unknown(api_version: str, kind: str, served: Iterable[KindInfo]) -> UnknownKind:
    """The error for a kind that is not served, with the nearest that are."""
    near = get_close_matches(f"{api_version} {kind}", [f"{info.api_version} {info.kind}" for info in served], n=3)
    hint = f"; served are {', '.join(near)}" if near else ""
    return UnknownKind(f"the API server serves no kind {kind} in {api_version}{hint}", status=404, reason="NotFound")
