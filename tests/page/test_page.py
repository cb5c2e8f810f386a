"""Pages for a browser: each complete in one file, readable by keyboard, by ear, on a phone, and whoever wrote parts of it."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import estates
import pytest
from commonpool.evaluation import Formula, Period, Source, evaluate
from commonpool.evaluation.report import to_html as evaluation_page
from commonpool.ledger import Ledger
from commonpool.ledger.table import to_html as ledger_page
from commonpool.machines import Facts, Survey, judge
from commonpool.machines.page import page as survey_page
from commonpool.model import Estate, load_estate
from commonpool.page import chinese

PERIOD = Period(date(2026, 1, 1), date(2026, 12, 31))
OLD = Facts(
    architecture="x86_64", kernel="5.12.19", system="ubuntu 20.04", processors=8, memory=32 << 30, python="3.11"
)
HAN = re.compile(r"[\u3400-\u9fff]")


def judged(estate: Estate) -> str:
    sources = [Source("office", 0, "root")]
    day = replace(estate, day=PERIOD.last)
    return evaluation_page(evaluate(day, [], PERIOD, formula=Formula.load(), sources=sources, catalogue="sha256:0"))


def surveyed(estate: Estate) -> str:
    verdict = judge(OLD, PERIOD.last, ("node", "明年迁移 <b>", "2026-11-01"))
    seen = [Survey(one, "2026-11-24T09:12:03+08:00", facts=OLD, verdict=verdict) for one in estate.machines[:2]]
    dumb = Survey(estate.machines[2], "2026-11-24T09:12:03+08:00", "it does not answer", "check power")
    return survey_page([*seen, dumb] if estate.departments else [], f"Machines of {estate.pool.spec.display_name}")


PAGES: dict[str, Callable[[Estate], str]] = {
    "ledger": lambda estate: ledger_page(Ledger.of(estate), estate),
    "evaluation": judged,
    "survey": surveyed,
}


class Outline(HTMLParser):
    """What of a page is judged here."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.unmarked = ""
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append((tag, dict(attrs).get("lang")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, f"{tag} closes what is not open"

    def handle_data(self, data: str) -> None:
        language = next((language for _, language in reversed(self._open) if language), None)
        if HAN.search(data) and language == "en" and self._open[-1][0] != "title":
            self.unmarked += data

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [values for tag, values in self.tags if tag in names]


@pytest.fixture(params=["sample", "empty"])
def estate(request: pytest.FixtureRequest, tmp_path: Path) -> Estate:
    return load_estate(estates.SAMPLE if request.param == "sample" else estates.write(tmp_path, 0))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_can_be_read_in_every_way(name: str, estate: Estate) -> None:
    found = Outline(PAGES[name](estate))
    assert not found.of("script", "link", "img", "iframe", "object"), "nothing runs, nothing is fetched"
    assert [values["lang"] for values in found.of("html")] == ["en"]
    assert len(found.of("main")) == 1
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(values.get("scope") for values in found.of("th"))
    regions = [values for values in found.of("div") if values.get("class") == "scroll"]
    assert len(regions) == len(found.of("table")), "every table scrolls by itself, by keyboard too"
    assert all(values["tabindex"] == "0" and values["aria-label"] for values in regions)
    assert all(values.get("aria-label") for values in found.of("svg"))
    assert found.unmarked == "", "a browser knows what is Chinese"


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_page_says_so(name: str, tmp_path: Path) -> None:
    empty = PAGES[name](load_estate(estates.write(tmp_path, 0)))
    assert re.search(r"There is none yet|There is no department to judge|No machine was looked at", empty)


def test_what_others_wrote_is_only_text_on_a_page() -> None:
    assert chinese("<b>省水利厅") == '&lt;b&gt;<span lang="zh-Hans">省水利厅</span>'
    assert "<b>" not in surveyed(load_estate(estates.SAMPLE))
