"""The evaluation of departments: a pure function of sealed journals, the declared catalogue and a versioned formula.

Whoever has the exported journal and the estate's files recomputes the same bytes; nothing is read from a cluster, a clock or
a person's opinion, and no number is a floating-point one.
"""

from commonpool.evaluation.facts import Facts, Period
from commonpool.evaluation.proposal import propose
from commonpool.evaluation.score import Evaluation, Formula, Source, evaluate

__all__ = ["Evaluation", "Facts", "Formula", "Period", "Source", "evaluate", "propose"]
