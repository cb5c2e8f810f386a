"""The evaluation for people: a page and a PDF, the same bytes for the same evaluation. Pure."""

from datetime import UTC, datetime, time
from importlib.resources import files
from typing import Any

from commonpool.evaluation.score import Evaluation, Line, shown

WIDTH, HEIGHT = 277.0, 190.0  # millimetres inside the margins of A4 across
QUOTA = 18.0  # of it, for one column
FULL, LOW, EMPTY, SOFT, INK = (31, 111, 139), (180, 83, 63), (230, 234, 238), (91, 107, 123), (22, 32, 43)
FONT = "NotoSansSC"  # embedded as far as it is used: no reader needs a font for Chinese


def to_html(evaluation: Evaluation) -> str:
    """A page without scripts and without anything fetched; prints, and reads well by screen reader."""
    from commonpool.page import rendered

    title = f"{evaluation.title}: evaluation"
    return rendered("commonpool.evaluation", title, filters={}, width="76rem", evaluation=evaluation, shown=shown)


def to_pdf(evaluation: Evaluation) -> bytes:
    """Scores and indicators as plots, and the table, on A4 across."""
    import fpdf

    class Pages(fpdf.FPDF):
        def footer(self) -> None:
            self.set_y(-9)
            self.set_font(FONT, size=7)
            self.set_text_color(*SOFT)
            self.cell(WIDTH, 4, f"{self.title}, page {self.page_no()} of {{nb}}", align="R")

    pdf = Pages(orientation="landscape", format="A4")
    pdf.set_lang("en")
    pdf.set_creation_date(datetime.combine(evaluation.period.last, time(), UTC))
    pdf.set_title(f"{evaluation.title}: evaluation {evaluation.period.first} to {evaluation.period.last}")
    pdf.set_margins(10, 10)
    pdf.set_auto_page_break(True, 10)
    pdf.add_font(FONT, fname=str(files("pylopdf_fonts_zh_cn").joinpath("NotoSansSC-Regular.otf")))
    pdf.add_page()
    _Sheet(pdf, evaluation).draw()
    return bytes(pdf.output())


class _Sheet:
    """Draws from top to bottom."""

    def __init__(self, pdf: Any, evaluation: Evaluation) -> None:  # noqa: ANN401
        self.pdf, self.evaluation = pdf, evaluation

    def draw(self) -> None:
        evaluation = self.evaluation
        self._text(f"{evaluation.title}: evaluation", 16, INK, 9)
        period = evaluation.period
        self._text(f"{period.first} to {period.last}. Formula {evaluation.formula.version}.", 9, SOFT, 8)
        self._bars()
        self._months()
        self._sources()

    def _text(self, text: str, size: float, colour: tuple[int, int, int], height: float) -> None:
        self.pdf.set_font(FONT, size=size)
        self.pdf.set_text_color(*colour)
        self.pdf.multi_cell(WIDTH, height, text, new_x="LMARGIN", new_y="NEXT")

    def _cell(self, width: float, text: str, align: str = "L", *, end: bool = False) -> None:
        self.pdf.cell(width, 6, text, align=align, new_x="LMARGIN" if end else "RIGHT", new_y="NEXT" if end else "TOP")

    def _bars(self) -> None:
        """One line for each department: the score, and a small bar for each indicator."""
        each = (WIDTH - 60 - 62 - QUOTA - 40) / len(self.evaluation.formula.indicators)
        self._heading(each)
        for line in self.evaluation.lines:
            if self.pdf.will_page_break(6):
                self.pdf.add_page()
                self._heading(each)
            self._line(line, each)
        if not self.evaluation.lines:
            self._text("There is no department to judge.", 9, INK, 6)

    def _heading(self, each: float) -> None:
        """What the columns are, on every page."""
        pdf = self.pdf
        pdf.set_font(FONT, size=8)
        pdf.set_text_color(*SOFT)
        self._cell(60, "Department")
        self._cell(62, "Score")
        for one in self.evaluation.formula.indicators:
            self._cell(each, one.title.split(" ")[0])
        self._cell(QUOTA, "Quota", "R")
        self._cell(40, f"Funds a month ({self.evaluation.currency})", "R", end=True)

    def _line(self, line: Line, each: float) -> None:
        pdf = self.pdf
        pdf.set_font(FONT, size=9)
        pdf.set_text_color(*INK)
        name = line.facts.department
        pdf.set_font(
            FONT, size=min(9.0, 9 * 58 / pdf.get_string_width(name))
        )  # a long one is smaller, not over the score
        self._cell(60, name)
        pdf.set_font(FONT, size=9)
        self._cell(12, shown(line.score) or "–", "R")
        colour = LOW if line.effect.quota_percent < 0 else FULL
        self._bar(2, 46, float(line.score or 0), colour)
        for one in self.evaluation.formula.indicators:
            share = line.facts.shares[one.name]
            if share.judged:
                self._bar(0, each - 4, float(share.points), FULL)
            else:
                self._cell(each - 4, "–")
            pdf.set_x(pdf.get_x() + 4)
        percent = line.effect.quota_percent
        self._cell(QUOTA, f"{percent:+d} %" if percent else "as it is", "R")
        funds = f"{line.price:,.0f}" + (f" → {line.funds:,.0f}" if line.funds != line.price else "")
        self._cell(40, funds, "R", end=True)

    def _bar(self, gap: float, width: float, points: float, colour: tuple[int, int, int]) -> None:
        pdf = self.pdf
        x, y = pdf.get_x() + gap, pdf.get_y() + 1.6
        pdf.set_fill_color(*EMPTY)
        pdf.rect(x, y, width, 2.8, style="F")
        if points:
            pdf.set_fill_color(*colour)
            pdf.rect(x, y, width * points / 100, 2.8, style="F")
        pdf.set_x(x + width + (2 if gap else 0))

    def _months(self) -> None:
        """Calls under agreements by month, all departments together."""
        months: dict[str, int] = {}
        for line in self.evaluation.lines:
            for month, count in line.facts.months.items():
                months[month] = months.get(month, 0) + count
        if not months:
            return
        pdf = self.pdf
        self._text("Calls under agreements by month", 10, INK, 9)
        base, top = pdf.get_y() + 28, max(months.values())
        step = min(24.0, WIDTH / len(months))
        for number, (month, count) in enumerate(sorted(months.items())):
            height = 22 * count / top
            x = 11 + number * step
            pdf.set_fill_color(*FULL)
            pdf.rect(x, base - height, step * 0.7, height, style="F")
            pdf.set_font(FONT, size=7)
            pdf.set_text_color(*SOFT)
            pdf.text(x, base + 4, month)
            pdf.text(x, base - height - 1, f"{count:,}")
        pdf.set_y(base + 7)

    def _sources(self) -> None:
        self._text(
            "What is judged; what does not apply takes no part (–), and its weight goes to the others", 10, INK, 9
        )
        for indicator in self.evaluation.formula.indicators:
            self._text(f"{indicator.title}, weight {indicator.weight}: {indicator.of}", 8, SOFT, 5)
        self._text("What it is computed from", 10, INK, 9)
        for one in self.evaluation.sources:
            self._text(f"{one.origin}: {one.size:,} records, root {one.root}", 8, SOFT, 5)
        self._text(f"the catalogue {self.evaluation.catalogue}", 8, SOFT, 5)
