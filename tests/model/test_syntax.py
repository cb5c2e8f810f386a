"""The edit that a broken YAML text is answered with lets the parser get further."""

import pytest
from commonpool.model.document import parse
from commonpool.model.quantity import Quantity, nearest


@pytest.mark.parametrize(
    ("broken", "fix", "mended"),
    [
        ("a：x\nb: 2\n", "write ': ' instead of '：' at line 1, column 2", "a: x\nb: 2\n"),
        ("a:\n  - b： x\n    c: y\n", "write ': ' instead of '：' at line 2, column 6", "a:\n  - b:  x\n    c: y\n"),
        ("a: {b: [x]，c: y}\n", "write ', ' instead of '，' at line 1, column 11", "a: {b: [x], c: y}\n"),
        ("a:\n\tb: x\n", "write spaces instead of the tab", "a:\n  b: x\n"),
        ("a:\n  b: x\n c: y\n", "indent it by 2 spaces, not 1, as line 2 is", "a:\n  b: x\n  c: y\n"),
        ("a:\n  - b: x\n   c: y\n", "indent it by 4 spaces, not 3, as line 2 is", "a:\n  - b: x\n    c: y\n"),
        ("a: x\n  b: y\n", "indent it by 0 spaces, not 2, as line 1 is", "a: x\nb: y\n"),
        ("a: x: y\n", "put the value in quotes", 'a: "x: y"\n'),
        ("a: @x\n", "put the value in quotes", 'a: "@x"\n'),
        ("a: x\nb y\nc: z\n", "write ': ' behind the key at line 2, column 1", "a: x\nb: y\nc: z\n"),
        ("-a: x\n  b: y\n", "write a space behind '-' at line 1, column 1", "- a: x\n  b: y\n"),
        ('a: "x\nb: "y"\n', "close the quote that opens at line 1, column 4", 'a: "x"\nb: "y"\n'),
        ("a: 'x\n", "close the quote that opens at line 1, column 4", "a: 'x'\n"),
        (
            "a: {b: x\nc: y\n",
            "write } where what opens at line 1, column 4 ends, or the comma before this",
            "a: {b: x}\nc: y\n",
        ),
    ],
)
def test_a_slip_is_answered_with_the_edit_that_passes(broken: str, fix: str, mended: str) -> None:
    (problem,) = parse(broken, "m").problems
    assert (problem.rule, problem.fix) == ("yaml-syntax", fix)
    assert not parse(mended, "m").problems


def test_full_width_marks_inside_of_a_text_are_not_blamed() -> None:
    (problem,) = parse("a:\n  b: 洪水，预报：一\n c: y\n", "m").problems
    assert problem.fix == "indent it by 2 spaces, not 1, as line 2 is"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1.5GB", "1.5G"), ("16 Gi", "16Gi"), ("10gib", "10Gi"), ("64K", "64k"), ("１０Gi", "10Gi"), ("8Kb", "8k")],
)
def test_the_quantity_that_was_meant_is_one(written: str, meant: str) -> None:
    assert nearest(written) == meant
    assert Quantity.parse(meant)


@pytest.mark.parametrize("written", ["-1", "a lot", "", "1.5.2", "NaN"])
def test_no_quantity_is_made_up(written: str) -> None:
    assert nearest(written) == ""
