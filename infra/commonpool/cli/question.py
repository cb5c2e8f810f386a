"""Questions to a person at a terminal; where there is none, the missing answers are named at once."""

import json

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target

_WORDS = {
    "display_name": ("--display-name", "Name for people"),
    "code": ("--organisation-code", "Unified social credit code (18 characters)"),
    "filing": ("--filing-number", "Filing number"),
    "budget": ("--budget-item", "Budget item (digits)"),
    "email": ("--email", "Mailbox of the owner's office"),
    "phone": ("--phone", "Telephone of the duty desk"),
    "business_class": ("--business-class", "Business class"),
    "flavor": ("--flavor", "Hardware class"),
}
_QUOTED = ("display_name", "filing", "email")


def answers(target: Target, given: dict[str, str | None], output: Output) -> dict[str, str]:
    """The answers to all questions, ready to stand in a manifest. Raises `CommandFailed` for missing ones."""
    from datetime import date

    from commonpool.model import load_estate

    estate = load_estate(target.estate_folder())
    given = dict(given)
    if given.get("flavor") is None:
        given["flavor"] = estate.pool.spec.compute.flavors[0].name if not output.interactive else None
    missing = [word for word in _WORDS if given.get(word) is None]
    if missing and not output.interactive:
        raise CommandFailed(
            "some answers are missing and nobody can be asked: " + ", ".join(_WORDS[word][0] for word in missing),
            code="usage",
            next_step="give them as options, or run it at a terminal",
        )
    found = {word: given[word] if word not in missing else _ask(word, output) for word in _WORDS}
    today = date.today()
    quoted = {
        word: json.dumps(value, ensure_ascii=False) if word in _QUOTED else str(value) for word, value in found.items()
    }
    return quoted | {
        "level": estate.pool.spec.level,
        "start": today.isoformat(),
        "review": f"{today.year + 1}-06-30",
        "end": f"{today.year + 2}-12-31",
    }


def _ask(word: str, output: Output) -> str:
    output.clear()
    try:
        return input(f"{_WORDS[word][1]}: ").strip()
    except EOFError:
        raise CommandFailed("the input ended before all answers; nothing was written", code="declined") from None
