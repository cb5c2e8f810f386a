"""What a class of sharing needs, and what it must not have. Pure but for positions."""

from datetime import date

from commonpool.model.document import Location
from commonpool.model.estate import Estate
from commonpool.model.sharing import Sharing
from commonpool.model.subject import Found, Subject


def check_sharing(subject: Subject, where: Location, sharing: Sharing) -> Found:
    """Every problem of one class of sharing; `where` is its place."""
    if sharing.class_ == "not-shared":
        yield from _exemption(subject, where, sharing)
        return
    if sharing.basis or sharing.exemption_ends:
        yield subject.problem(
            where,
            f"sharing is {sharing.class_} and yet cites an exemption",
            "exemption-useless",
            "take basis and exemptionEnds out, or write class: not-shared",
        )
    if sharing.class_ == "conditional" and not sharing.conditions:
        yield subject.problem(
            where, "conditional sharing names no condition", "condition-missing", "add conditions: [what must hold]"
        )
    if sharing.class_ == "unconditional" and sharing.conditions:
        yield subject.problem(
            (*where, "conditions"),
            "unconditional sharing has conditions; conditions beyond the class are forbidden (Decree 809)",
            "condition-added",
            "take conditions out, or write class: conditional",
        )


def _exemption(subject: Subject, where: Location, sharing: Sharing) -> Found:
    if sharing.conditions:
        yield subject.problem(
            (*where, "conditions"),
            "what is not shared has no conditions of sharing",
            "condition-added",
            "take conditions out, or write class: conditional",
        )
    missing = [
        word for word, value in (("basis", sharing.basis), ("exemptionEnds", sharing.exemption_ends)) if not value
    ]
    if missing:
        yield subject.problem(
            where,
            f"sharing is refused without {' and '.join(missing)}: sharing is the rule, and only a law makes an exception",
            "exemption-missing",
            "add basis: {law: …, article: …} and exemptionEnds:, or write class: conditional",
        )


def ended(estate: Estate) -> Found:
    """Exemptions from sharing whose last day is over; `up` goes on, and `validate` refuses."""
    for word, things in (("service", estate.services), ("dataset", estate.datasets)):
        for one in things:
            last = one.spec.sharing.exemption_ends if one.spec.sharing else None
            if last and estate.day > date.fromisoformat(last):
                yield Subject(estate, f"{word}/{one.name}").problem(
                    ("spec", "sharing", "exemptionEnds"),
                    f"the exemption from sharing ended on {last}",
                    "exemption-ended",
                    "share it, or look at the law again and write the new last day",
                )
