"""What is known of a machine, from what the survey printed there. Pure: the same evidence gives the same facts.

A part that is missing leaves its fact unknown (None), which is never taken for good or for bad.
"""

import base64
import contextlib
import fnmatch
import hashlib
import ipaddress
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

_PART = re.compile(r"^== ([a-z]+)$", re.MULTILINE)
_NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "fuse.sshfs", "glusterfs", "ceph")
_OURS = "/opt/commonpool-"  # what the pool brings lies below it, the programs of its kubelet too
_DIGITS = 18  # more have no number that a machine honestly tells; of thousands Python makes an error
LONGEST_WORD = 200  # characters of what a machine says of itself
MOST_WORDS = 1000  # in a list of such
# The files that say what a machine exports for the pool, by the kernel's server and by nfs-ganesha.
EXPORTS = frozenset({"/etc/exports.d/commonpool.exports", "/etc/commonpool/exports.conf"})
# By the name of the process, as a pattern: servers that hold data of their own.
DATA_SERVERS: Mapping[str, str] = {
    "postgres": "PostgreSQL",
    "postmaster": "PostgreSQL",
    "gaussdb": "openGauss",
    "mysqld": "MySQL",
    "mariadbd": "MariaDB",
    "mongod": "MongoDB",
    "redis-server": "Redis",
    "oracle": "Oracle",
    "ora_pmon_*": "Oracle",
    "db2sysc": "Db2",
    "oninit": "Informix",
    "dataserver": "SAP ASE",
    "observer": "OceanBase",
    "slapd": "OpenLDAP",
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
    """One machine. Sizes in bytes, times in seconds; `kernel_exports` is whether its kernel has an NFS server.

    `reached` is the address by which we came; `resolv_conf` the file by which pods find name servers, `local_resolvers` those in
    it that are the machine itself; `firewalls` hold back what is not allowed; `kubelets` are others' than the pool's.
    `in_pool` is whether something of a pool lies there, `pool_server` and `pool_authority` (SHA-256) whose node it is.
    """

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
    reached: str | None = None
    init: str | None = None
    resolv_conf: str | None = None
    local_resolvers: list[str] = field(default_factory=list)
    firewalls: list[str] = field(default_factory=list)
    kubelets: list[str] = field(default_factory=list)
    in_pool: bool = False
    pool_server: str | None = None
    pool_authority: str | None = None
    kernel_exports: bool | None = None
    exports_for_pool: bool = False

    def to_json(self) -> dict[str, Any]:
        """Every fact by its name."""
        return asdict(self)


def facts(evidence: str, asked: tuple[float, float]) -> Facts:
    """Facts from the survey's output; `asked` is when the question was sent and answered, by our clock."""
    found = _read(_parts(evidence), asked)
    return replace(found, **{one.name: _bounded(getattr(found, one.name)) for one in fields(found)})


def _bounded(value: Any) -> Any:  # noqa: ANN401
    """A machine says what it likes, and what it says is kept in the pool beside what others say."""
    match value:
        case str():
            return value[:LONGEST_WORD]
        case list():
            return [_bounded(one) for one in value[:MOST_WORDS]]
        case Disk():
            return replace(value, name=_bounded(value.name), model=_bounded(value.model))
        case _:
            return value


def _read(parts: Mapping[str, str], asked: tuple[float, float]) -> Facts:

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
    pool = _pairs(parts.get("pool", ""), ":")
    return Facts(
        architecture=kernel[2] if len(kernel) == 3 else None,
        kernel=kernel[1] if len(kernel) == 3 else None,
        system=f"{system['ID']} {system.get('VERSION_ID', '')}".strip() if "ID" in system else None,
        system_name=system.get("PRETTY_NAME"),
        model=" ".join(word for word in (model.get("sys_vendor"), model.get("product_name")) if word),
        bios_year=_year(model.get("bios_date", "")),
        virtual=model.get("virtual", "").replace("none", ""),
        processors=read("processor", lambda text: _number(text.split()[0])),
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
        free_space=read("space", lambda text: _number(text.splitlines()[1].split()[3]) * 1024),
        read_only=sorted(_read_only(mounts)),
        disks=disks,
        disk_capacity=sum(disk.size for disk in disks) if disks else None,
        failing_disks=[disk.name for disk in disks if disk.health == "FAILED"],
        read_latency=read("latency", _latency),
        network_mounts=sorted(mount[1] for mount in mounts if mount[2] in _NETWORK_FILE_SYSTEMS),
        addresses=sorted(word for word in parts.get("addresses", "").split() if re.fullmatch(r"[0-9a-f.:]+/[0-9]+", word)),
        listening=_listening(parts.get("listening", "")),
        data_servers=sorted({word for name, word in DATA_SERVERS.items() if fnmatch.filter(processes, name)} - ours),
        data_places=parts.get("data", "").split(),
        reached=read("reached", lambda text: str(ipaddress.ip_address(text.split()[0]))),
        init=read("init", str),
        resolv_conf=read("resolver", lambda text: text.split()[0]),
        local_resolvers=[word for word in parts.get("resolver", "").split() if re.match(r"127\.|::1$", word)],
        firewalls=sorted(filter(None, parts.get("firewall", "").strip().split("\n"))),
        kubelets=sorted({place for place in parts.get("kubelets", "").split() if not place.startswith(_OURS)}),
        in_pool=_OURS in parts.get("pool", ""),
        pool_server=pool.get("server"),
        pool_authority=read("pool", lambda _: digest(base64.b64decode(pool["certificate-authority-data"]))),
        kernel_exports="nfsd" in _kernel(parts) if "modules" in parts else None,
        exports_for_pool=not exporting.isdisjoint(EXPORTS),
    )  # fmt: skip


def digest(authority: bytes) -> str:
    """What a pool's authority (PEM) is known by."""
    return hashlib.sha256(authority.strip()).hexdigest()


def complete(evidence: str) -> bool:
    """Whether the survey ran to its end there."""
    return "end" in _parts(evidence)


def _parts(evidence: str) -> dict[str, str]:
    # What is no UTF-8 there Ansible hands on as halves of characters, which nothing can write down again.
    text = evidence.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    pieces = _PART.split(text.replace("\r\n", "\n"))
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def _pairs(text: str, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator) for line in text.splitlines() if separator in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _kibibytes(text: str) -> int:
    return _number(text.split()[0]) * 1024


def _number(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{len(text)} digits")
    return int(text)


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
                _number(values.get("SIZE") or "0"),
                values.get("ROTA") == "1",
                values.get("MODEL", "").strip(),
                next((group for group in word.groups() if group), "") if word else "",
                _number(next(group for group in hours.groups() if group).replace(",", "")) if hours else None,
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
