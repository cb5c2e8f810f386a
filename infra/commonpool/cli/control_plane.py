"""`commonpool embedded …`: the embedded pool from the command line."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from commonpool.cli.consent import answered
from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output
from commonpool.embedded import EmbeddedPool, EmbeddedStatus, Issuer, pool_names


def start(
    name: str,
    output: Output,
    *,
    listen: str | None,
    port: int | None,
    provider: tuple[str, str, Path | None] | None = None,
) -> None:
    """Start a pool and say where it is. Address, port and provider (URL, audience, authority) are kept for later starts."""
    pool = EmbeddedPool(name)
    chosen = pool.settings
    if listen is not None and listen not in _own_addresses():
        raise CommandFailed(
            f"--listen {listen}: write 127.0.0.1 for this machine only, 0.0.0.0 for every address,"
            " or the one of its own addresses by which machines that join reach it",
            code="usage",
        )
    wanted = replace(chosen, address=listen or chosen.address, port=chosen.port if port is None else port)
    if provider:
        wanted = replace(wanted, issuers=(_issuer(*provider),))
    began = time.monotonic()
    with output.working(f"starting the embedded pool {name}"):
        pool.start(output.build, None if wanted == chosen else wanted)
    found = pool.status()
    output.say(f"embedded pool {name} is ready at {found.url} ({time.monotonic() - began:.1f} s)")
    if output.structured:
        output.document("EmbeddedPool", **_document(found))
    else:
        output.data(f"export KUBECONFIG={found.kubeconfig}")


def _own_addresses() -> set[str]:
    import psutil

    found = {one.address for addresses in psutil.net_if_addrs().values() for one in addresses}
    return {*found, "127.0.0.1", "0.0.0.0"}  # noqa: S104


def _issuer(url: str, audience: str, authority: Path | None) -> Issuer:
    if not url.startswith("https://"):
        raise CommandFailed(f"--issuer {url}: Kubernetes takes people only from https:// addresses", code="usage")
    try:
        return Issuer(url, audience, authority.read_text(encoding="ascii") if authority else "")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"--issuer-ca {authority}: {error}", code="usage") from error


def stop(names: Sequence[str], output: Output) -> None:
    """Stop pools, one after the other."""
    for name in names:
        with output.working(f"stopping the embedded pool {name}"):
            stopped = EmbeddedPool(name).stop()
        output.say(f"embedded pool {name} {'stopped; its data stays' if stopped else 'does not run'}")


def reset(names: Sequence[str], output: Output, *, yes: bool) -> None:
    """Delete the data of pools; each name must be typed, or --yes given."""
    for name in names:
        pool = EmbeddedPool(name)
        if not yes and not output.interactive:
            raise CommandFailed(
                f"this deletes all data of the embedded pool {name}", code="confirmation_needed", next_step="add --yes"
            )
        question = f"This deletes all data in {pool.layout.root}. Type {name} to go on: "
        if not yes and answered(question, output) != name:
            raise CommandFailed("nothing was deleted", code="declined")
        known, existed = pool_names(), pool.layout.root.exists()
        with output.working(f"deleting the embedded pool {name}"):
            pool.reset()
        output.say(
            f"embedded pool {name} is gone" if existed else f"there is no embedded pool {name}: {nearest(name, known)}"
        )


def status(names: Sequence[str], output: Output) -> None:
    """The named pools, or all of this machine."""
    for name in names:
        _need(name)
    found = [EmbeddedPool(one).status() for one in names or pool_names()]
    if output.structured:
        output.document("EmbeddedPoolList", items=[_document(one) for one in found])
    elif not found:
        output.data("no embedded pool on this machine; `commonpool embedded start` makes one")
    else:
        output.data("\n\n".join("\n".join(_lines(one, output)) for one in found))


def _need(name: str) -> None:
    known = pool_names()
    if name not in known:
        raise CommandFailed(f"there is no embedded pool {name!r}", code="pool_unknown", next_step=nearest(name, known))


def kubeconfig(name: str, user: str, groups: tuple[str, ...], path: Path | None, days: int, output: Output) -> None:
    """Issue a kubeconfig, or tell where the administrator's is."""
    _need(name)
    pool = EmbeddedPool(name)
    if not user:
        output.data(str(pool.kubeconfig))
        return
    if path is None:
        raise CommandFailed(
            "a kubeconfig with a key is not printed", code="usage", next_step="name a file with --write FILE"
        )
    pool.issue_kubeconfig(user, groups, path, days)
    output.say(f"wrote {path}: user {user}, groups {', '.join(groups) or 'none'}, valid for {days} days")


def _lines(one: EmbeddedStatus, output: Output) -> list[str]:
    state = (
        output.paint("ready", "green")
        if one.ready
        else output.paint("running, not ready", "yellow")
        if one.running
        else "stopped"
    )
    rows = [
        [part.name, part.state, str(part.pid or "-"), str(part.restarts), f"{part.rss_bytes / 1e6:.0f} MB"]
        for part in one.components
    ]
    total = sum(part.rss_bytes for part in one.components) / 1e6
    expires = one.certificates_expire.date().isoformat() if one.certificates_expire else "-"
    return [
        f"{output.title(one.name)}: {state}  {one.url}  Kubernetes {one.version}",
        f"  data {one.data}",
        f"  kubeconfig {one.kubeconfig}",
        f"  certificates until {expires} (renewed 30 days before), memory {total:.0f} MB",
        f"  proxy {one.proxy.address}, {_ports(one)}",
        *(
            output.paint(
                f"  Envoy refuses {found.kind} since {found.since} (the last good one serves on): {found.reason}", "red"
            )
            for found in one.proxy.rejections
        ),
        *(output.paint(f"  {words}; {step}", "red") for words, step in one.troubles),
        *output.table(["component", "state", "pid", "restarts", "memory"], rows, left=2).splitlines(),
    ]


def _ports(one: EmbeddedStatus) -> str:
    words = [
        str(declared) if declared == port else f"{declared} (held by another program, served on {port})"
        for declared, port in one.proxy.ports.items()
    ]
    return f"port {', '.join(words)}" if words else "no Gateway is served"


def _document(one: EmbeddedStatus) -> dict[str, object]:
    return {
        "name": one.name,
        "running": one.running,
        "ready": one.ready,
        "url": one.url,
        "version": one.version,
        "data": str(one.data),
        "kubeconfig": str(one.kubeconfig),
        "proxy": {
            "address": one.proxy.address,
            "ports": [{"declared": declared, "served": port} for declared, port in one.proxy.ports.items()],
            "rejections": [asdict(found) for found in one.proxy.rejections],
        },
        "certificatesExpire": one.certificates_expire.isoformat() if one.certificates_expire else None,
        "components": [
            {
                "name": part.name,
                "state": part.state,
                "pid": part.pid,
                "restarts": part.restarts,
                "lastWords": part.last_words or None,
                "rssBytes": part.rss_bytes,
            }
            for part in one.components
        ],
    }
