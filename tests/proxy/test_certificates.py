"""Systems outside of the pool: known by a certificate of the pool's, admitted by the manifest, and by nothing that they say."""

import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import estates
import pytest
from commonpool.embedded import https
from commonpool.embedded.certificate import Authority
from commonpool.proxy.certificate import issue

from proxy import systems
from proxy.backend import Backend
from proxy.conftest import Proxy, until
from proxy.estate import DOMAIN, Answer, DeclaredEstate
from proxy.test_stand_ins import command

HOST = f"register.d0.{DOMAIN}"
PORT = 8447
DESK = f"spiffe://{DOMAIN}/department/d1/system/desk"


@pytest.fixture(scope="module")
def estate(serving: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeclaredEstate]:
    """`register` of d0, called by d1's system `desk` and by pods of d2, whose own system does not list it."""
    declared = DeclaredEstate(serving.pool, estates.write(tmp_path_factory.mktemp("certified"), 3))
    with Backend("old") as old:
        declared.offer("register", port=8080, at=old.port)
        with systems.way_in(declared, PORT):
            systems.declare(declared, "d1", ["register"])
            systems.declare(declared, "d2", [])
            declared.consume(d2=["register"])
            declared.up("services", "departments")
            yield declared


@pytest.fixture(scope="module")
def desk(estate: DeclaredEstate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of d1's system, as the command makes it; it gets through."""
    folder = tmp_path_factory.mktemp("desk")
    found = json.loads(
        command(estate, "service", "certificate", "d1", "desk", "--write", str(folder), "--for", "10m", "-o", "json")
    )
    assert found["identity"] == DESK
    assert Path(found["key"]).stat().st_mode & 0o777 == 0o600
    ways = json.loads(Path(found["ways"]).read_text(encoding="utf-8"))
    served = f"https://{estate.pool.proxy_address}:{estate.port(PORT)}"
    assert ways["services"] == {"register": {"host": HOST, "url": served}}
    assert ways["authority"] == https.authority(estate.pool.layout).read_text(encoding="utf-8")
    until(lambda: ask(estate, folder).status == 200, "the declared system passes")
    return folder


def ask(estate: DeclaredEstate, folder: Path | None, *words: str, port: int = PORT) -> Answer:
    """Call with the certificate `desk` of a folder, and further words for curl; status 0 when no connection comes about."""
    served = f"{estate.pool.proxy_address}:{estate.port(port)}"
    command = ["curl", "-sS", "-w", "\n%{http_code}", "--connect-to", f"{HOST}:{port}:{served}", "-m", "10"]
    command += ["--cacert", str(https.authority(estate.pool.layout)), *words]
    command += ["--cert", f"{folder}/desk.crt", "--key", f"{folder}/desk.key"] if folder else []
    ended = subprocess.run([*command, f"https://{HOST}:{port}/a"], capture_output=True, text=True, check=False)
    body, _, status = ended.stdout.rpartition("\n")
    return Answer(int(status), {}, body.encode())


def made(folder: Path, authority: Authority, identity: str, minutes: int = 10) -> Path:
    """A folder with a certificate that any authority signs for any name."""
    key = authority.pair.key.read_bytes()
    now = datetime.now(UTC) + timedelta(minutes=min(0, minutes - 10))
    issued = issue(authority.pair.certificate.read_bytes(), key, identity, timedelta(minutes=10), now)
    (folder / "desk.crt").write_bytes(issued.certificate)
    (folder / "desk.key").write_bytes(issued.key)
    return folder


def own_authority(estate: DeclaredEstate) -> Authority:
    return Authority(estate.pool.layout.pki, "clients-ca")


def test_a_declared_system_passes_and_the_backend_is_told_who_it_is(estate: DeclaredEstate, desk: Path) -> None:
    answer = ask(estate, desk, "-H", "X-Other: kept")
    assert (answer.status, answer.json["name"], answer.json["path"]) == (200, "old", "/a")
    headers = answer.json["headers"]
    assert (headers["x-commonpool-subject"], headers["x-commonpool-department"]) == (DESK, "d1")
    assert (headers["x-commonpool-service"], headers["x-other"]) == ("register", "kept")


@pytest.mark.parametrize(
    "header",
    ["x-commonpool-subject", "x-commonpool-audience", "x-commonpool-department", "x-forwarded-client-cert", "x-user"],
)
def test_what_a_system_says_of_itself_reaches_neither_backend_nor_decision(
    estate: DeclaredEstate, desk: Path, header: str, tmp_path: Path
) -> None:
    answer = ask(estate, desk, "-H", f"{header}: forged")
    assert (answer.status, answer.json["headers"]["x-commonpool-subject"]) == (200, DESK)
    assert "forged" not in answer.json["headers"].values()
    other = made(tmp_path, own_authority(estate), DESK.replace("d1", "d2"))
    assert ask(estate, other, "-H", f"{header}: {DESK}").status == 403


def test_a_system_that_is_not_declared_gets_403_with_the_reason(estate: DeclaredEstate, tmp_path: Path) -> None:
    folder = str(tmp_path)
    command(estate, "service", "certificate", "d2", "desk", "--write", folder)
    answer = ask(estate, tmp_path)
    words = f"{DESK.replace('d1', 'd2')} is no declared consumer of {HOST}"
    assert (answer.status, answer.json["detail"][: len(words)]) == (403, words)


def test_no_other_certificate_gets_through_the_handshake(estate: DeclaredEstate, desk: Path, tmp_path: Path) -> None:
    pki = estate.pool.layout.pki
    refused = {
        "none": None,
        "of another authority": made(folder(tmp_path, "1"), Authority(folder(tmp_path, "ca"), "clients-ca"), DESK),
        "of the API server's authority": made(folder(tmp_path, "2"), Authority(pki, "ca"), DESK),
        "of another pool": made(folder(tmp_path, "3"), own_authority(estate), DESK.replace(DOMAIN, "x.example")),
        "ended": made(folder(tmp_path, "4"), own_authority(estate), DESK, minutes=-10),
    }
    assert {what: ask(estate, one).status for what, one in refused.items()} == dict.fromkeys(refused, 0)
    assert ask(estate, desk).status == 200


def folder(parent: Path, name: str) -> Path:
    found = parent / name
    found.mkdir()
    return found


def test_a_certificate_is_no_token_and_a_token_no_certificate(estate: DeclaredEstate, desk: Path) -> None:
    token = estate.token("d1-main", HOST)
    assert ask(estate, desk, port=PORT - 1).status == 401
    assert ask(estate, None, "-H", f"Authorization: Bearer {token}").status == 0
    answer = ask(estate, desk, "-H", f"Authorization: Bearer {token}")
    assert "authorization" not in answer.json["headers"]
    assert answer.json["headers"]["x-commonpool-subject"] == DESK


def test_a_revoked_system_is_refused_soon_after_the_apply_on_a_connection_that_stands(
    estate: DeclaredEstate, desk: Path
) -> None:
    """Within 2 s is the promise; a busy machine gets more here, and the time is told."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # `ask` verifies the proxy; here it is about us
    context.load_cert_chain(desk / "desk.crt", desk / "desk.key")
    connection = http.client.HTTPSConnection(estate.pool.proxy_address, estate.port(PORT), context=context, timeout=10)

    def status() -> int:
        connection.request("GET", "/", headers={"Host": HOST})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert status() == 200
    standing = connection.sock
    systems.declare(estate, "d1", [])
    estate.up("services", "departments")
    applied = time.monotonic()
    until(lambda: status() == 403, "the revoked system is refused")
    print(f"revocation reached the data plane {time.monotonic() - applied:.2f} s after the apply")
    assert connection.sock is standing, "and without another handshake"
    connection.close()
    systems.declare(estate, "d1", ["register"])
    estate.up("services", "departments")
    until(lambda: ask(estate, desk).status == 200, "and passes again")


def test_a_certificate_is_made_for_declared_systems_only(estate: DeclaredEstate, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"d1 declares no system 'desc'.*\[system_unknown\]"):
        command(estate, "service", "certificate", "d1", "desc", "--write", str(tmp_path))
    with pytest.raises(AssertionError, match=r"between 10m and 168h"):
        command(estate, "service", "certificate", "d1", "desk", "--write", str(tmp_path), "--for", "720h")
