"""What the server beside an X-Road client is known by: a system's certificate, or a pod's token; both are read as they stand."""

import asyncio
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commonpool.embedded.certificate import Authority
from commonpool.exchange.x_road_server import Certified, Mounted, NoCredential
from commonpool.proxy.certificate import issue

CONSUMED = {"HOST": "people.d0.pool", "URL": "http://people.d0.pool:8080", "AUDIENCE": "people.d0.pool"}
PLACE = {"host": "people.d0.pool", "url": "https://127.0.0.1:8444"}


def made(folder: Path, ends: datetime, **services: dict[str, str]) -> Path:
    """The three files of a system `desk`, good for an hour up to `ends`."""
    authority = Authority(folder.parent, "clients-ca").pair
    hour = timedelta(hours=1)
    pair = issue(
        authority.certificate.read_bytes(), authority.key.read_bytes(), "spiffe://pool/desk", hour, ends - hour
    )
    folder.mkdir(exist_ok=True)
    (folder / "desk.crt").write_bytes(pair.certificate)
    (folder / "desk.key").write_bytes(pair.key)
    ways = {"services": services, "authority": authority.certificate.read_text(encoding="utf-8")}
    (folder / "desk.json").write_text(json.dumps(ways), encoding="utf-8")
    return folder / "desk.json"


def test_a_certificate_is_replaced_in_place_and_the_former_one_serves_until_the_new_one_is_whole(
    tmp_path: Path,
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=30)
    ways = Certified(made(tmp_path / "outside", soon, people=PLACE))
    first = asyncio.run(ways.find("people"))
    assert first is not None
    assert (first.host, first.url, first.token) == (PLACE["host"], PLACE["url"], "")
    assert asyncio.run(ways.find("people")) == first, "what is as it was is not read again"
    assert asyncio.run(ways.find("roads")) is None
    made(tmp_path / "next", soon, people=PLACE, roads=PLACE)
    for name in ("desk.key", "desk.crt"):
        shutil.copy(tmp_path / "next" / name, tmp_path / "outside" / name)
        assert asyncio.run(ways.find("roads")) is None
    shutil.copy(tmp_path / "next" / "desk.json", tmp_path / "outside" / "desk.json")
    second = asyncio.run(ways.find("roads"))
    assert second is not None
    assert second.tls is not first.tls


@pytest.mark.parametrize(
    ("ends", "lost", "words"),
    [(-1, "", "ended on"), (30, "desk.key", "cannot be used"), (30, "desk.json", "cannot be used")],
)
def test_without_a_certificate_that_counts_the_call_ends_with_the_reason(
    tmp_path: Path, ends: int, lost: str, words: str
) -> None:
    file = made(tmp_path / "outside", datetime.now(UTC) + timedelta(minutes=ends), people=PLACE)
    if lost:
        (file.parent / lost).unlink()
    with pytest.raises(NoCredential, match=words):
        asyncio.run(Certified(file).find("people"))


def test_what_is_mounted_in_a_pod_is_read_anew_for_each_call(tmp_path: Path) -> None:
    token = tmp_path / "token"
    folder = tmp_path / "consume" / "people"
    folder.mkdir(parents=True)
    for name, value in (CONSUMED | {"TOKEN_FILE": str(token)}).items():
        (folder / name).write_text(value, encoding="utf-8")
    ways = Mounted(tmp_path / "consume")
    with pytest.raises(NoCredential, match="cannot be read"):
        asyncio.run(ways.find("people"))
    for content in ("first\n", "second\n"):
        token.write_text(content, encoding="utf-8")
        found = asyncio.run(ways.find("people"))
        assert found is not None
        assert (found.token, found.url) == (content.strip(), CONSUMED["URL"])
    assert asyncio.run(ways.find("other")) is None
    assert asyncio.run(ways.find("..")) is None
