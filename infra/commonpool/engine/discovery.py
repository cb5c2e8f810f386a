"""Which kinds an API server serves, where, and whether they live in namespaces.

The kinds that every pool has are known beforehand, so that a run that changes nothing asks nothing; all others come
from aggregated discovery (KEP-3352), asked once and again when a kind is missing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from commonpool.engine.error import Refused, UnknownKind

# What may stand in a URL's path as it is; `..` and `/` would lead to another object than the one named.
_SEGMENT = re.compile(r"[A-Za-z0-9:_-][A-Za-z0-9:._~@-]*")


@dataclass(frozen=True)
class KindInfo:
    """One served kind: where its collection is and whether it lives in namespaces."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    listable: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    def url(self, namespace: str = "", name: str | None = None, subresource: str = "") -> str:
        """Path of the collection, or of one object in it. Raises `Refused` for what can be no name.

        An empty name is refused as well: it would turn a request for one object into one for all of them.
        """
        path = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        if self.namespaced and (namespace or name is not None):
            path += f"/namespaces/{_segment(namespace)}"
        path += f"/{self.plural}"
        if name is not None:
            path += f"/{_segment(name)}"
        return f"{path}/{subresource}" if subresource else path


def _segment(text: str) -> str:
    if not _SEGMENT.fullmatch(text):
        raise Refused(f"{text!r} can be no name of a Kubernetes object", status=422, reason="Invalid")
    return text


_CLUSTER = """
v1 Namespace namespaces|v1 Node nodes|v1 PersistentVolume persistentvolumes
storage.k8s.io/v1 StorageClass storageclasses|scheduling.k8s.io/v1 PriorityClass priorityclasses
rbac.authorization.k8s.io/v1 ClusterRole clusterroles
rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings
apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions
admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy validatingadmissionpolicies
admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings
"""
_NAMESPACED = """
v1 ConfigMap configmaps|v1 Secret secrets|v1 Service services|v1 ServiceAccount serviceaccounts|v1 Pod pods
v1 ResourceQuota resourcequotas|v1 LimitRange limitranges|v1 PersistentVolumeClaim persistentvolumeclaims
apps/v1 Deployment deployments|apps/v1 StatefulSet statefulsets|apps/v1 DaemonSet daemonsets
apps/v1 ReplicaSet replicasets|batch/v1 Job jobs|batch/v1 CronJob cronjobs|rbac.authorization.k8s.io/v1 Role roles
rbac.authorization.k8s.io/v1 RoleBinding rolebindings|networking.k8s.io/v1 NetworkPolicy networkpolicies
networking.k8s.io/v1 Ingress ingresses|discovery.k8s.io/v1 EndpointSlice endpointslices
coordination.k8s.io/v1 Lease leases
"""


def _parse(table: str, namespaced: bool) -> Iterable[KindInfo]:
    for line in table.strip().replace("|", "\n").splitlines():
        api_version, kind, plural = line.split()
        yield KindInfo(api_version, kind, plural, namespaced)


KNOWN: Mapping[tuple[str, str], KindInfo] = {
    (info.api_version, info.kind): info for info in (*_parse(_CLUSTER, False), *_parse(_NAMESPACED, True))
}
_FORM = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
ACCEPT = f"{_FORM.format('v2')},{_FORM.format('v2beta1')}"  # the latter: API servers before 1.30


def kinds_of(document: Mapping[str, Any]) -> dict[tuple[str, str], KindInfo]:
    """The kinds in an aggregated discovery document by (apiVersion, kind), preferred and other versions alike."""
    found: dict[tuple[str, str], KindInfo] = {}
    for group in document.get("items") or ():
        name = group["metadata"].get("name", "")
        for version in group.get("versions") or ():
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for resource in version.get("resources") or ():
                kind = (resource.get("responseKind") or {}).get("kind")
                if not kind:
                    continue
                listable = "list" in (resource.get("verbs") or ())
                info = KindInfo(api_version, kind, resource["resource"], resource["scope"] == "Namespaced", listable)
                if listable or (api_version, kind) not in found:
                    found[api_version, kind] = info
    return found


def unknown(api_version: str, kind: str, served: Iterable[KindInfo]) -> UnknownKind:
    """The error for a kind that is not served, with the nearest that are."""
    known = list(served)
    same = [f"{info.api_version} {info.kind}" for info in known if info.kind == kind]
    names = [f"{info.api_version} {info.kind}" for info in known]
    near = same or get_close_matches(f"{api_version} {kind}", names, n=3)
    hint = f"; served are {', '.join(near)}" if near else ""
    return UnknownKind(f"the API server serves no kind {kind} in {api_version}{hint}", status=404, reason="NotFound")
