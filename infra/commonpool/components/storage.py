"""Storage tiers as StorageClasses, and old disks and shares as static PersistentVolumes. Pure."""

from commonpool.components.rendering import PREFIX, Body, body
from commonpool.model import Pool
from commonpool.model.pool import Volume


def storage_classes(pool: Pool) -> list[Body]:
    """One for each tier, of the tier's name."""
    found = []
    for tier in pool.spec.storage.tiers:
        storage_class = body(
            "storage.k8s.io/v1",
            "StorageClass",
            tier.name,
            pool,
            provisioner=tier.provisioner,
            reclaimPolicy=tier.reclaim_policy,
            volumeBindingMode=tier.binding_mode,
            allowVolumeExpansion=tier.expandable,
        )
        storage_class["metadata"]["annotations"] = {
            "storageclass.kubernetes.io/is-default-class": str(tier.default).lower(),
            f"{PREFIX}/description": tier.description,
            f"{PREFIX}/media": tier.media,
        }
        found.append(storage_class)
    return found


def persistent_volumes(pool: Pool) -> list[Body]:
    """One for each declared volume."""
    return [persistent_volume(pool, volume) for volume in pool.spec.storage.volumes]


def persistent_volume(pool: Pool, volume: Volume) -> Body:
    """A static volume: an NFS share, or a disk with affinity to its machine. Always retained: the data was there before us."""
    spec: Body = {
        "capacity": {"storage": str(volume.capacity)},
        "accessModes": list(volume.access_modes),
        "storageClassName": volume.tier,
        "persistentVolumeReclaimPolicy": "Retain",
        "volumeMode": "Filesystem",
    }
    if volume.nfs:
        spec["nfs"] = {"server": volume.nfs.server, "path": volume.nfs.path}
        if volume.nfs.options:
            spec["mountOptions"] = list(volume.nfs.options)
    if volume.local:
        where = {"key": "kubernetes.io/hostname", "operator": "In", "values": [volume.local.machine]}
        spec["local"] = {"path": volume.local.path}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [where]}]}}
    found = body("v1", "PersistentVolume", volume.name, pool, spec=spec)
    if volume.installed:
        found["metadata"]["annotations"] = {f"{PREFIX}/installed": volume.installed}
    return found
