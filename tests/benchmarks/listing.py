"""Lists of other people's checks: what we ask for each, or why it is otherwise here, and the handbook's table of them."""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"


_WORDS = {"owner": "holds: the one user who runs the pool", "attack": "each attempt is refused"}


@dataclass(frozen=True)
class Item:
    """One check: its number, what it is about, the word of what is asked, and why where that needs a reason."""

    number: str
    title: str
    word: str
    asked: Any
    because: str = ""

    def __str__(self) -> str:
        return self.number

    @property
    def answer(self) -> str:
        """As the handbook says it."""
        if self.word == "differs":
            return f"differs: {self.asked}"
        words = f"`{self.asked}`" if self.word == "test" else _WORDS.get(self.word, "holds")
        return f"{words}; {self.because}" if self.because else words


def items(name: str) -> list[Item]:
    """The list `<name>.yaml`."""
    found = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))
    return [_item(one) for one in found]


def _item(values: dict[str, Any]) -> Item:
    number, title, because = str(values.pop("check")), values.pop("title"), values.pop("because", "")
    ((word, asked),) = values.items()
    return Item(number, title, word, asked, because)


@cache
def existing_tests() -> frozenset[str]:
    """Names of all tests."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))


def checked_table(name: str, listed: list[Item]) -> None:
    """The page's table of the list is what it would be; written anew with `COMMONPOOL_ACCEPT=1`."""
    rows = [f"| {item.number} | {item.title} | {item.answer} |" for item in listed]
    table = "\n".join(["| | check | here |", "|---|---|---|", *rows])
    text = PAGE.read_text(encoding="utf-8")
    head, start, rest = text.partition(f"<!-- {name} -->\n")
    _, end, tail = rest.partition(f"<!-- /{name} -->")
    assert start and end
    wanted = f"{head}{start}{table}\n{end}{tail}"
    if os.environ.get("COMMONPOOL_ACCEPT") == "1":
        PAGE.write_text(wanted, encoding="utf-8")
    assert text == wanted or os.environ.get("COMMONPOOL_ACCEPT") == "1", "accept a change with COMMONPOOL_ACCEPT=1"
