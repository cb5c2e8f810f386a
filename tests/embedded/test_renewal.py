"""Certificates through the years: renewed in time, also what only the API server holds, after clocks were set and disks were full."""

import asyncio
import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import own_pool
import pytest
from commonpool.cli import checkup
from commonpool.cli.target import Target
from commonpool.embedded import EmbeddedPool, certificate, https, supervisor
from commonpool.embedded.certificate import Authority, Pair, signing_key
from commonpool.embedded.preparation import prepare
from commonpool.embedded.proxy import NAMESPACE
from commonpool.engine import Cluster, kubeconfig
from commonpool.model import load_estate
from cryptography import x509
from estates import SAMPLE

HOSTS = ("*.d0.pool.example", "d0.example")


def at(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """What is signed from here on is signed as if that many days had passed."""
    monkeypatch.setattr(certificate, "_now", lambda: datetime.now(UTC) + timedelta(days=days))


def test_an_authority_is_renewed_with_its_key_and_what_it_signed_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, -3500)
    first = Authority(tmp_path, "ca").pair.read()
    monkeypatch.undo()
    at(monkeypatch, 0)
    leaf = Authority(tmp_path, "ca").server("server", ("localhost",)).read()
    second = Authority(tmp_path, "ca").pair.read()
    assert second.not_valid_after_utc - first.not_valid_after_utc > timedelta(days=3000)
    for authority in (first, second):
        leaf.verify_directly_issued_by(authority)
    assert second.not_valid_after_utc > leaf.not_valid_after_utc
    assert Authority(tmp_path, "ca").pair.read() == second, "once is enough"


def test_what_was_signed_while_the_clock_ran_ahead_is_signed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody takes it before that day, and the pool does not start."""
    at(monkeypatch, 20)
    Authority(tmp_path, "ca").server("server", ("localhost",))
    monkeypatch.undo()
    pair = Authority(tmp_path, "ca").server("server", ("localhost",))
    for one in (pair, Authority(tmp_path, "ca").pair):
        assert one.read().not_valid_before_utc <= datetime.now(UTC)


def test_what_an_authority_signed_that_was_given_up_is_signed_anew(tmp_path: Path) -> None:
    first = Authority(tmp_path, "ca").server("server", ("localhost",)).read()
    for path in tmp_path.glob("ca.*"):
        path.unlink()
    second = Authority(tmp_path, "ca").server("server", ("localhost",)).read()
    assert second != first
    second.verify_directly_issued_by(Authority(tmp_path, "ca").pair.read())


@pytest.mark.parametrize("left", [b"", b"-----BEGIN CERTIFICATE-----\nMIIB"])
def test_half_a_certificate_is_made_anew(tmp_path: Path, left: bytes) -> None:
    pair = Authority(tmp_path, "ca").server("server", ("localhost",))
    pair.certificate.write_bytes(left)
    assert Authority(tmp_path, "ca").server("server", ("localhost",)).hosts == {"localhost"}


def test_the_public_half_of_the_tokens_key_follows_the_private_one(tmp_path: Path) -> None:
    private, public = signing_key(tmp_path, "service-account")
    content = public.read_bytes()
    public.unlink()
    assert signing_key(tmp_path, "service-account")[1].read_bytes() == content
    private.unlink()
    assert signing_key(tmp_path, "service-account")[1].read_bytes() != content


@pytest.mark.parametrize(("seconds", "due"), [(0.0, False), (86_400.0, True), (-86_400.0, True), (1.0, False)])
def test_a_machine_that_slept_or_whose_clock_was_set_looks_at_once(seconds: float, due: bool) -> None:
    clocks = supervisor.Clocks(time.monotonic(), time.time() - seconds)
    assert clocks.due() is due


@pytest.fixture(scope="module")
def pool() -> Iterator[EmbeddedPool]:
    with own_pool.running("renewal") as one:
        yield one


def ask(pool: EmbeddedPool, do: Any) -> Any:
    async def work() -> Any:
        async with await Cluster.connect(kubeconfig.load(pool.kubeconfig)) as cluster:
            return await do(cluster)

    return asyncio.run(work())


def served(pool: EmbeddedPool) -> x509.Certificate:
    """What the Secret holds that the proxy serves with."""
    secret = ask(pool, lambda cluster: cluster.read("v1", "Secret", NAMESPACE, "gateway"))
    return x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))


def make_old(pool: EmbeddedPool, monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """The Secret as `up` made it so many days ago."""
    for path in pool.layout.pki.glob("https.*"):
        path.unlink()
    at(monkeypatch, -days)
    ask(pool, lambda cluster: https.issue(pool.layout, cluster, "gateway", HOSTS))
    monkeypatch.undo()
    assert served(pool).not_valid_after_utc - datetime.now(UTC) < timedelta(days=365 - days + 1)


def examined(pool: EmbeddedPool) -> list[tuple[str, str, str]]:
    """What `commonpool doctor` says of certificates."""
    patient = checkup.Patient(Target(pool=pool.name), load_estate(SAMPLE), kubeconfig.load(pool.kubeconfig))
    found: list[tuple[str, str, str]] = ask(pool, lambda cluster: checkup.certificates(patient, cluster))
    return found


@pytest.mark.parametrize("days", [340, 400])
def test_what_the_proxy_serves_with_is_renewed_by_a_start_without_any_up(
    pool: EmbeddedPool, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    make_old(pool, monkeypatch, days)
    monkeypatch.setenv("COMMONPOOL_DATA", str(pool.layout.root.parent.parent))
    (told,) = examined(pool)
    assert (told[0], "renews what the pool made" in told[2]) == ("ill", True)
    assert f"Secret {NAMESPACE}/gateway {'ends' if days < 365 else 'ended'} " in told[1]
    pool.stop()
    pool.start()
    found = served(pool)
    assert found.not_valid_after_utc - datetime.now(UTC) > timedelta(days=300)
    assert certificate.subject_names(found) == set(HOSTS)
    (told,) = examined(pool)
    assert told[0] == "well", told


def test_a_pool_that_runs_through_the_year_renews_what_its_proxy_serves_with(
    pool: EmbeddedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(pool, monkeypatch, 340)
    ports = pool._ports()
    assert ports is not None
    watching = supervisor.Supervisor(pool.layout.root, Path("/nonexistent"))
    watching._renew()  # what the supervisor does four times a day
    assert watching.renewal is not None
    assert watching.renewal.wait(60) == 0
    assert served(pool).not_valid_after_utc - datetime.now(UTC) > timedelta(days=300)
    before = served(pool)
    assert pool.renew() == []
    assert served(pool) == before


def test_a_pool_starts_after_400_days_off(pool: EmbeddedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.stop()
    folders = (pool.layout.pki, pool.layout.root / "proxy")
    leaves = [path for folder in folders for path in folder.glob("*.crt") if not path.stem.endswith("ca")]
    assert len(leaves) > 10
    at(monkeypatch, -400)
    for path in leaves:
        path.unlink()
    ports = pool._ports()
    assert ports is not None
    prepare(pool.layout, ports, pool.settings)
    monkeypatch.undo()
    pair = Pair(pool.layout.pki / "apiserver.crt", pool.layout.pki / "apiserver.key")
    assert pair.expires < datetime.now(UTC)
    pool.start()
    assert pool.ready()
    assert pair.expires - datetime.now(UTC) > timedelta(days=300)
    assert {part.state for part in pool.status().components if part.name in ("envoy", "envoy-gateway")} == {"running"}
