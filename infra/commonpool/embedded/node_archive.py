"""Everything that a node needs and its distribution does not have, in one archive: programs, CNI plugins, images.

Built once from pinned Go modules and kept by the hash of its parts; a machine gets it over SSH and needs no network beyond.
"""

import gzip
import hashlib
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from commonpool.embedded.binaries import KUBERNETES, VERSION, Module, Observer, alone, as_it_is, built, fetching, silent
from commonpool.folder import cache_folder
from commonpool.machines.image import image

_PLAIN = ("-ldflags=-s -w",)
_STATIC_C = ("-tags=netgo,osusergo,seccomp", "-ldflags=-s -w -extldflags -static")
_SOON = "1 to 3 minutes on 2 cores"
MODULES = {
    "node": Module("node", "kubelet and kube-proxy", _SOON, 2300, KUBERNETES.flags, as_it_is),
    "runtime": Module("runtime", "containerd", _SOON, 900, _PLAIN, as_it_is, "tool"),
    "runc": Module("runc", "runc", _SOON, 200, _STATIC_C, as_it_is, "tool", c_compiler=True),
    "dns": Module("dns", "CoreDNS", _SOON, 900, _PLAIN, as_it_is),
}
REGISTRY = "commonpool.local"  # no registry: images of this name are only ever imported
PROGRAMS = {"node": ("node",), "runtime": ("containerd", "containerd-shim-runc-v2", "ctr"), "runc": ("runc",)}
PLUGINS = ("ptp", "host-local", "loopback", "portmap")
LINKS = ("kubelet", "kube-proxy", "pool-network")


@dataclass(frozen=True)
class NodeArchive:
    """The archive and what is in it, by names that hold the hash."""

    path: Path
    digest: str

    @property
    def pause_image(self) -> str:
        """What holds a pod's namespaces."""
        return f"{REGISTRY}/pause:{self.digest}"

    @property
    def dns_image(self) -> str:
        """CoreDNS."""
        return f"{REGISTRY}/coredns:{self.digest}"


def node_archive(observer: Observer = silent) -> NodeArchive:
    """The archive, made now if these parts never were packed. Raises `BuildFailed`."""
    with fetching(list(MODULES.values())[1:], observer):
        folders = {name: built(module, observer) for name, module in MODULES.items()}
    recipe = "\n".join((*sorted(folder.name for folder in folders.values()), *PLUGINS, *LINKS, "layout 1"))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    made = NodeArchive(cache_folder() / "nodes" / f"{digest}.tar.gz", digest)
    made.path.parent.mkdir(parents=True, exist_ok=True)
    with alone(made.path.with_suffix(".lock"), lambda: observer("another process packs the archive; waiting", None)):
        if not made.path.exists():
            observer("packing what nodes need", None)
            _pack(made, folders)
    return made


def _pack(made: NodeArchive, folders: dict[str, Path]) -> None:
    with tempfile.TemporaryDirectory(dir=made.path.parent, prefix="packing-") as scratch:
        root = Path(scratch) / f"commonpool-{made.digest}"
        for folder in ("bin", "cni", "images"):
            (root / folder).mkdir(parents=True)
        for module, names in PROGRAMS.items():
            for name in names:
                shutil.copy2(folders[module] / name, root / "bin" / name)
        for name in LINKS:
            (root / "bin" / name).symlink_to("node")
        for name in PLUGINS:
            shutil.copy2(folders["runtime"] / name, root / "cni" / name)
        pause = (folders["node"] / "pause").read_bytes()
        image(made.pause_image, {"pause": pause}, ["/pause"], root / "images" / "pause.tar")
        # CoreDNS's module is named `dns`, and so is what is built from it.
        image(
            made.dns_image,
            {"coredns": (folders["dns"] / "dns").read_bytes()},
            ["/coredns"],
            root / "images" / "dns.tar",
        )
        (root / "zz-complete").write_text(f"{VERSION} {made.digest}\n", encoding="utf-8")
        target = Path(scratch) / "archive"
        with gzip.open(target, "wb", compresslevel=1) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
            archive.add(root, root.name, filter=_anonymous)
        target.replace(made.path)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by root on the machine, whoever built it here."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
