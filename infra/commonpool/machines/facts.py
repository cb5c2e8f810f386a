"""What is known of a machine, from what the survey printed there. Pure: the same evidence gives the same facts.

A part that is missing leaves its fact unknown (None), which is never taken for good or for bad.
"""

import contextlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_PART = re.compile(r"^== ([a-z]+)$", re.MULTILINE)
_NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "fuse.sshfs", "glusterfs", "ceph")
_OURS = ("containerd", "kubelet", "kube-proxy")
# The files that say what a machine exports for the pool, by the kernel's server and by nfs-ganesha.
EXPORTS = frozenset({"/etc/exports.d/commonpool.exports", "/etc/commonpool/exports.conf"})
# By the name of the process: servers that hold data of their own.
DATA_SERVERS: Mapping[str, str] = {
    "postgres": "PostgreSQL",
    "mysqld": "MySQL",
    "mariadbd": "MariaDB",
    "mongod": "MongoDB",
    "redis-server": "Redis",
    "oracle": "Oracle",
    "ora_pmon": "Oracle",
    "sqlservr": "SQL Server",
    "dmserver": "DM8",
    "kingbase": "KingbaseES",
    "nfsd": "NFS server",
    "ganesha.nfsd": "NFS server",
    "smbd": "Samba",
    "beam.smp": "RabbitMQ",
    "influxd": "InfluxDB",
    "clickhouse-serv": "ClickHouse",
}


@dataclass(frozen=True)
class Disk:
    """A physical disk; `health` is smartctl's word, empty where it cannot be read; `hours` it has run."""

    name: str
    size: int
    rotating: bool
    model: str
    health: str
    hours: int | None


@dataclass(frozen=True)
class Facts:
    """One machine. Sizes in bytes, times in seconds; `kernel_exports` is whether its kernel has an NFS server."""

    architecture: str | None = None
    kernel: str | None = None
    system: str | None = None
    system_name: str | None = None
    model: str = ""
    bios_year: int | None = None
    virtual: str = ""
    processors: int | None = None
    processor: str = ""
    x86_64_level: int | None = None
    memory: int | None = None
    swap: int | None = None
    cgroup: str | None = None
    missing_kernel_features: list[str] | None = None
    python: str | None = None
    root: str | None = None
    clock_skew: float | None = None
    clock_synchronised: bool | None = None
    free_space: int | None = None
    read_only: list[str] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    disk_capacity: int | None = None
    failing_disks: list[str] = field(default_factory=list)
    read_latency: float | None = None
    network_mounts: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    listening: list[str] = field(default_factory=list)
    data_servers: list[str] = field(default_factory=list)
    data_places: list[str] = field(default_factory=list)
    in_pool: bool = False
    kernel_exports: bool | None = None
    exports_for_pool: bool = False

    def to_json(self) -> dict[str, Any]:
        """Every fact by its name."""
        return asdict(self)


def facts(evidence: str, asked: tuple[float, float]) -> Facts:
    """Facts from the survey's output; `asked` is when the question was sent and answered, by our clock."""
    parts = _parts(evidence)

    def read(part: str, how: Callable[[str], Any]) -> Any:  # noqa: ANN401
        text = parts.get(part, "").strip()
        with contextlib.suppress(ValueError, IndexError, KeyError):
            return how(text) if text else None
        return None  # what cannot be read is unknown

    model = _pairs(parts.get("model", ""), "=")
    system = _pairs(parts.get("system", ""), "=")
    kernel = parts.get("kernel", "").split()
    mounts = [line.split()[:4] for line in parts.get("mounts", "").splitlines() if len(line.split()) >= 4]
    disks = read("disks", lambda text: _disks(text, parts.get("health", ""))) or []
    processes = {line.split()[-1] for line in parts.get("processes", "").splitlines() if len(line.split()) > 2}
    exporting = set(parts.get("exports", "").split())
    ours = {DATA_SERVERS["nfsd"]} if exporting and exporting <= EXPORTS else set()  # it serves nobody but the pool
    processor = parts.get("processor", "")
    return Facts(
        architecture=kernel[2] if len(kernel) == 3 else None,
        kernel=kernel[1] if len(kernel) == 3 else None,
        system=f"{system['ID']} {system.get('VERSION_ID', '')}".strip() if "ID" in system else None,
        system_name=system.get("PRETTY_NAME"),
        model=" ".join(word for word in (model.get("sys_vendor"), model.get("product_name")) if word),
        bios_year=_year(model.get("bios_date", "")),
        virtual=model.get("virtual", "").replace("none", ""),
        processors=read("processor", lambda text: int(text.split()[0])),
        processor=next((line.split(":", 1)[1].strip() for line in processor.splitlines() if "model name" in line), ""),
        x86_64_level=_level(processor),
        memory=read("memory", lambda text: _kibibytes(_pairs(text, ":")["MemTotal"])),
        swap=read("memory", lambda text: _kibibytes(_pairs(text, ":")["SwapTotal"])),
        cgroup=read("cgroup", lambda text: "v2" if text.split()[0] == "cgroup2fs" else "v1"),
        missing_kernel_features=_missing(parts),
        python=read("python", str),
        root=read("privilege", str),
        clock_skew=read("time", lambda text: _skew(float(text), asked)),
        clock_synchronised=read("clock", lambda text: text.endswith("=yes")),
        free_space=read("space", lambda text: int(text.splitlines()[1].split()[3]) * 1024),
        read_only=sorted(_read_only(mounts)),
        disks=disks,
        disk_capacity=sum(disk.size for disk in disks) if disks else None,
        failing_disks=[disk.name for disk in disks if disk.health == "FAILED"],
        read_latency=read("latency", _latency),
        network_mounts=sorted(mount[1] for mount in mounts if mount[2] in _NETWORK_FILE_SYSTEMS),
        addresses=sorted(word for word in parts.get("addresses", "").split() if re.fullmatch(r"[0-9a-f.:]+/[0-9]+", word)),
        listening=_listening(parts.get("listening", "")),
        data_servers=sorted({word for name, word in DATA_SERVERS.items() if name in processes} - ours),
        data_places=parts.get("data", "").split(),
        in_pool=all(name in processes for name in _OURS[:2]),
        kernel_exports="nfsd" in _kernel(parts) if "modules" in parts else None,
        exports_for_pool=not exporting.isdisjoint(EXPORTS),
    )  # fmt: skip


def complete(evidence: str) -> bool:
    """Whether the survey ran to its end there."""
    return "end" in _parts(evidence)


def _parts(evidence: str) -> dict[str, str]:
    pieces = _PART.split(evidence.replace("\r\n", "\n"))
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def _pairs(text: str, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator) for line in text.splitlines() if separator in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _kibibytes(text: str) -> int:
    return int(text.split()[0]) * 1024


def _year(date: str) -> int | None:
    found = re.search(r"(19|20)[0-9]{2}", date)
    return int(found[0]) if found else None


def _skew(there: float, asked: tuple[float, float]) -> float:
    """How far its clock is off; 0 when it lies between question and answer."""
    sent, answered = asked
    if there < sent - 1:  # its clock was read in whole seconds
        return there - sent
    return max(0.0, there - answered)


def _missing(parts: Mapping[str, str]) -> list[str] | None:
    if "modules" not in parts:
        return None
    return [name for name in ("overlay",) if name not in _kernel(parts)]


def _kernel(parts: Mapping[str, str]) -> set[str]:
    """Modules that are loaded or can be, and file systems."""
    return {*parts.get("modules", "").split(), *parts.get("filesystems", "").split()}


def _read_only(mounts: Iterable[list[str]]) -> set[str]:
    """Places that a node writes to and that are mounted read-only."""
    options = {place: set(flags.split(",")) for _, place, _, flags in mounts}
    return {place for place in ("/", "/var", "/var/lib", "/etc") if "ro" in options.get(place, ())}


def _disks(text: str, health: str) -> list[Disk]:
    reports = {
        block.split("\n", 1)[0].strip(): block.partition("\n")[2]
        for block in re.split(r"^-- ", health, flags=re.MULTILINE)[1:]
    }
    found = []
    for line in text.splitlines():
        values = dict(word.partition("=")[::2] for word in shlex.split(line))
        if values.get("TYPE") != "disk":
            continue
        report = reports.get(values["NAME"], "")
        word = re.search(r"self-assessment test result: (\w+)|SMART Health Status: (\w+)", report)
        hours = re.search(r"Power_On_Hours.*?(\d+)(?: \(.*\))?\s*$|Power On Hours:\s+([\d,]+)", report, re.MULTILINE)
        found.append(
            Disk(
                values["NAME"],
                int(values.get("SIZE") or 0),
                values.get("ROTA") == "1",
                values.get("MODEL", "").strip(),
                next((group for group in word.groups() if group), "") if word else "",
                int(next(group for group in hours.groups() if group).replace(",", "")) if hours else None,
            )
        )
    return found


def _latency(text: str) -> float | None:
    """Seconds for one read of 4 KiB past all caches, from dd's report of 256 of them."""
    found = re.search(r"copied, ([0-9.e-]+) s", text)
    return round(float(found[1]) / 256, 6) if found else None


def _listening(text: str) -> list[str]:
    found = set()
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or words[3].startswith(("127.", "[::1]")):
            continue
        program = re.search(r'\(\("([^"]+)"', line)
        found.add(f"{words[3].rpartition(':')[2]}/tcp" + (f" {program[1]}" if program else ""))
    return sorted(found)


# What each level of the x86-64 psABI adds, by the flag that stands for it.
_LEVELS = (
    ("cx16", "popcnt", "sse4_2", "ssse3"),
    ("avx", "avx2", "bmi1", "bmi2", "fma", "movbe"),
    ("avx512f", "avx512bw"),
)


def _level(processor: str) -> int | None:
    flags = next((set(line.split()) for line in processor.splitlines() if line.startswith("flags")), None)
    if flags is None:
        return None
    level = 1
    for wanted in _LEVELS:
        if not flags.issuperset(wanted):
            break
        level += 1
    return level
