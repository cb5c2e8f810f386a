"""`commonpool embedded …`: the embedded pool from the command line."""

import time
from dataclasses import asdict
from pathlib import Path

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Format, Output, table
from commonpool.embedded import EmbeddedPool, EmbeddedStatus, pool_names


def start(name: str, output: Output) -> None:
    """Start a pool and say where it is."""
    pool = EmbeddedPool(name)
    began = time.monotonic()
    pool.start(lambda message, done: output.progress(message if done is None else f"{message} ({done:.0%})"))
    found = pool.status()
    output.say(f"embedded pool {name} is ready at {found.url} ({time.monotonic() - began:.1f} s)")
    output.data(f"export KUBECONFIG={found.kubeconfig}")


def stop(name: str, output: Output) -> None:
    """Stop a pool."""
    words = "stopped; its data stays" if EmbeddedPool(name).stop() else "does not run"
    output.say(f"embedded pool {name} {words}")


def reset(name: str, output: Output, *, yes: bool) -> None:
    """Delete a pool's data; the name must be typed, or --yes given."""
    pool = EmbeddedPool(name)
    if not yes:
        if not output.interactive:
            raise CommandFailed(
                f"this deletes all data of the embedded pool {name}", code="confirmation_needed", next_step="add --yes"
            )
        try:
            typed = input(f"This deletes all data in {pool.layout.root}. Type the pool's name to go on: ")
        except EOFError:
            typed = ""
        if typed.strip() != name:
            raise CommandFailed("nothing was deleted", code="declined")
    pool.reset()
    output.say(f"embedded pool {name} is gone")


def status(name: str | None, output: Output) -> None:
    """One pool, or all of this machine."""
    found = [EmbeddedPool(one).status() for one in ([name] if name else pool_names())]
    if output.format is Format.JSON:
        output.json(
            {"apiVersion": "commonpool.dev/v1", "kind": "EmbeddedPoolList", "items": [_document(one) for one in found]}
        )
    elif not found:
        output.data("no embedded pool on this machine; `commonpool embedded start` makes one")
    for one in found if output.format is Format.TEXT else ():
        output.data("\n".join(_lines(one, output)))


def kubeconfig(name: str, user: str, groups: tuple[str, ...], path: Path | None, days: int, output: Output) -> None:
    """Issue a kubeconfig, or tell where the administrator's is."""
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
        f"{output.paint(one.name, 'bold')}: {state}  {one.url}  Kubernetes {one.version}",
        f"  data {one.data}",
        f"  kubeconfig {one.kubeconfig}",
        f"  certificates until {expires} (renewed 30 days before), memory {total:.0f} MB",
        f"  proxy {one.proxy.address}, {_ports(one)}",
        *(
            output.paint(
                f"  Envoy refused {found.kind} {found.name} (the last good one serves on): {found.reason}", "red"
            )
            for found in one.proxy.rejections
        ),
        *("  " + line for line in table(["component", "state", "pid", "restarts", "memory"], rows).splitlines()),
    ]


def _ports(one: EmbeddedStatus) -> str:
    return f"port {', '.join(map(str, one.proxy.ports))}" if one.proxy.ports else "no Gateway is served"


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
            "ports": list(one.proxy.ports),
            "rejections": [asdict(found) for found in one.proxy.rejections],
        },
        "certificatesExpire": one.certificates_expire.isoformat() if one.certificates_expire else None,
        "components": [
            {
                "name": part.name,
                "state": part.state,
                "pid": part.pid,
                "restarts": part.restarts,
                "rssBytes": part.rss_bytes,
            }
            for part in one.components
        ],
    }
