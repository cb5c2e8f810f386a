"""Tokens of the server beside an X-Road client: asked for before the last one ends, and what is mounted is read as it stands."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from commonpool.exchange.x_road_server import RENEWED_SECONDS, Asked, Mounted, NoCredential

CONSUMED = {"HOST": "people.d0.pool", "URL": "http://people.d0.pool:8080", "AUDIENCE": "people.d0.pool"}


async def read(service: str) -> Mapping[str, str] | None:
    return {"people": CONSUMED, "database": {"HOST": "x", "PORT": "1"}}.get(service)


def test_a_token_is_renewed_before_it_ends_and_serves_on_while_none_can_be_had() -> None:
    lives = iter([RENEWED_SECONDS + 100, RENEWED_SECONDS - 1, None, 3600])
    asked: list[str] = []

    async def ask(audience: str) -> tuple[str, float]:
        asked.append(audience)
        life = next(lives)
        if life is None:
            raise NoCredential("the API server is away")
        return f"token {len(asked)}", time.time() + life

    async def work() -> None:
        ways = Asked(read, ask)
        found = [await ways.find("people") for _ in range(2)]
        assert [one.token for one in found if one] == ["token 1", "token 1"]
        ways._tokens["people.d0.pool"] = ("token 1", time.time() + RENEWED_SECONDS - 1)  # time has passed
        for token in ("token 2", "token 2", "token 4"):
            way = await ways.find("people")
            assert way is not None
            assert way.token == token
        assert (await ways.find("nothing"), await ways.find("database")) == (None, None)
        assert asked == ["people.d0.pool"] * 4

    asyncio.run(work())


def test_without_any_token_the_call_ends_with_the_reason() -> None:
    async def ask(audience: str) -> tuple[str, float]:
        raise NoCredential("the API server is away")

    with pytest.raises(NoCredential, match="is away"):
        asyncio.run(Asked(read, ask).find("people"))


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
