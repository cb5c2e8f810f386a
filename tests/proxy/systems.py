"""Systems outside of the pool: the way in that tests open for them, and what a department declares of them."""

import contextlib
from collections.abc import Iterator

from proxy.estate import DeclaredEstate
from proxy.test_stand_ins import command


@contextlib.contextmanager
def way_in(estate: DeclaredEstate, port: int) -> Iterator[None]:
    """The pool's port for callers with certificates, applied as after `make up`, while this lasts."""
    path = estate.root / "pool.yaml"
    before = path.read_text(encoding="utf-8")
    opened = f"httpsPort: {port - 1}\n      certificate: served-outside\n"
    opened += f"      clientCertificates: {{port: {port}, authority: clients}}"
    path.write_text(before.replace("httpsPort: 8443", opened), encoding="utf-8")
    command(estate, "up", "--yes", "--skip-preview", "--stack", "pool")
    try:
        yield
    finally:
        for one in (estate.root / "departments").iterdir():
            declare(estate, one.stem, None)
        path.write_text(before, encoding="utf-8")
        estate.up("pool")


def declare(estate: DeclaredEstate, department: str, consumes: list[str] | None) -> None:
    """What a department's system `desk` may call; no system for None."""
    path = estate.root / "departments" / f"{department}.yaml"
    head, _, rest = path.read_text(encoding="utf-8").partition("  namespaces:")
    one = f"{{name: desk, description: A desk in the field, consumes: [{', '.join(consumes or ())}]}}"
    own = "" if consumes is None else f"  systems:\n    - {one}\n"
    path.write_text(f"{head.partition('  systems:')[0]}{own}  namespaces:{rest}", encoding="utf-8")
