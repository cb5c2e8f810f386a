"""Pages of the handbook as a reader follows them: the files they show, and the commands they give, in order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FILE = "# file: "


@dataclass(frozen=True)
class Block:
    """A fenced block: its place, its language with further words, its text."""

    line: int
    words: tuple[str, ...]
    text: str

    @property
    def path(self) -> str:
        """The file that it shows; empty when it shows none."""
        first = self.text.partition("\n")[0]
        return first.removeprefix(FILE) if first.startswith(FILE) else ""


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            assert token.map is not None
            yield Block(token.map[0] + 1, tuple(token.info.split()), token.content)
